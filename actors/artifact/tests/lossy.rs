//! A fetcher, its sources and their blob stores over a network that loses, repeats and
//! reorders, with blobs that arrive damaged, sources that are silent or lack what others
//! have, and a node that begins anew: every artifact ends up whole.

use std::collections::BTreeMap;

use tidegate_artifact::{Fetcher, FetcherConfig, Origin, OriginConfig, Progress};
use tidegate_kernel::{
    Actor as _, BlobCommand, BlobReport, Duration, Effect, Effects, Event, Now, Rng, Seed,
};
use tidegate_protocol::{
    Address, Bytes, Digest, Manifest, ManifestEntry, Message, NodeId, Prost as _, Role, limits,
};

const ORIGIN: Address = Address::new(NodeId(1), Role::Origin, 0);
const NODE: Address = Address::new(NodeId(2), Role::Edge, 0);
/// The origin, and two peers that have what they have.
const SOURCES: [Address; 3] = [
    ORIGIN,
    Address::new(NodeId(3), Role::Origin, 0),
    Address::new(NodeId(4), Role::Origin, 0),
];
const ARTIFACTS: u8 = 12;

/// A blob store whose digests are given, not computed: the first byte of a blob names it.
#[derive(Default)]
struct Blobs {
    whole: BTreeMap<Digest, Bytes>,
    partial: BTreeMap<Digest, Vec<u8>>,
}

impl Blobs {
    fn run(&mut self, command: BlobCommand, truth: &BTreeMap<Digest, Bytes>) -> Option<BlobReport> {
        Some(match command {
            BlobCommand::Check { digest } | BlobCommand::Verify { digest } => BlobReport::Checked {
                digest,
                present: self.whole.contains_key(&digest),
            },
            BlobCommand::CountDropped => BlobReport::Dropped { count: 0 },
            BlobCommand::LoadManifest { digest } => BlobReport::Manifest {
                digest,
                manifest: self
                    .whole
                    .get(&digest)
                    .and_then(|bytes| Manifest::decode(bytes.clone()).ok()),
            },
            BlobCommand::Append {
                digest,
                offset,
                data,
            } => {
                let partial = self.partial.entry(digest).or_default();
                if offset == 0 {
                    partial.clear();
                }
                assert_eq!(partial.len() as u64, offset, "appended out of order");
                partial.extend_from_slice(&data);
                return None;
            }
            BlobCommand::Finish { digest } => {
                let received = Bytes::from(self.partial.remove(&digest).unwrap());
                let verified = truth[&digest] == received;
                if verified {
                    self.whole.insert(digest, received);
                }
                BlobReport::Finished { digest, verified }
            }
            BlobCommand::Read {
                digest,
                offset,
                length_max,
                reply_to,
            } => {
                let blob = self.whole.get(&digest);
                let data = blob.map_or(Bytes::new(), |blob| {
                    let begin = (offset as usize).min(blob.len());
                    let end = (begin + length_max as usize).min(blob.len());
                    blob.slice(begin..end)
                });
                BlobReport::Data {
                    digest,
                    offset,
                    total: blob.map(|blob| blob.len() as u64),
                    data,
                    reply_to,
                }
            }
        })
    }
}

struct Source {
    origin: Origin,
    blobs: Blobs,
    silent: bool,
}

#[derive(Clone)]
struct Flight {
    from: Address,
    to: Address,
    body: Message,
}

struct World {
    rng: Rng,
    now: Now,
    truth: BTreeMap<Digest, Bytes>,
    sources: BTreeMap<Address, Source>,
    fetcher: Fetcher,
    at_node: Blobs,
    reports: Vec<BlobReport>,
    network: Vec<Flight>,
    fetched: Vec<Digest>,
}

/// Artifacts of a few blobs each, some shared, some empty, some of several chunks.
fn truth(rng: &mut Rng) -> BTreeMap<Digest, Bytes> {
    let mut truth: BTreeMap<Digest, Bytes> = BTreeMap::new();
    for n in 0..10u8 {
        let chunks = limits::BLOB_CHUNK_BYTES as u64;
        let length = match rng.below(4) {
            0 => 0,
            1 => rng.below(100),
            2 => chunks,
            _ => rng.below(7 * chunks),
        };
        truth.insert(Digest([n; 32]), vec![n; length as usize].into());
    }
    for n in 0..ARTIFACTS {
        let files = (0..10u8).filter(|_| rng.chance(300_000)).map(|blob| {
            let digest = Digest([blob; 32]);
            ManifestEntry {
                path: format!("{n}-{blob}"),
                digest: digest.into(),
                size: truth[&digest].len() as u64,
                executable: false,
            }
        });
        let manifest = Manifest {
            files: files.collect(),
        };
        truth.insert(artifact(n), manifest.encode_to_vec().into());
    }
    truth
}

fn artifact(n: u8) -> Digest {
    Digest([100 + n; 32])
}

fn fetcher(rng: &mut Rng) -> Fetcher {
    let config = FetcherConfig {
        transfers_max: 3,
        origin_first: rng.chance(500_000),
        ..FetcherConfig::new(ORIGIN)
    };
    let mut fetcher = Fetcher::new(config, Seed(rng.u64()).rng());
    for peer in &SOURCES[1..] {
        fetcher.add_peer(*peer);
    }
    fetcher
}

fn source(me: Address, rng: &mut Rng) -> Source {
    let config = OriginConfig {
        reads_max: 6,
        ..OriginConfig::new(me)
    };
    Source {
        origin: Origin::new(config, Seed(rng.u64()).rng()),
        blobs: Blobs::default(),
        silent: false,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Seed(seed).derive("lossy").rng();
        let truth = truth(&mut rng);
        Self {
            sources: SOURCES.map(|me| (me, source(me, &mut rng))).into(),
            fetcher: fetcher(&mut rng),
            truth,
            rng,
            now: Now::default(),
            at_node: Blobs::default(),
            reports: Vec::new(),
            network: Vec::new(),
            fetched: Vec::new(),
        }
    }

    fn want_all(&mut self) {
        let mut fx = Effects::new();
        for n in 0..ARTIFACTS {
            assert!(self.fetcher.want(self.now, artifact(n), &mut fx));
        }
        self.node_effects(fx);
    }

    fn step(&mut self, faults: bool) {
        self.now.mono = self.now.mono + Duration::from_millis(20);
        if self.rng.chance(50_000) {
            self.upload();
        }
        if self.rng.chance(5_000) {
            self.go_silent(faults);
        }
        if faults && self.rng.chance(4_000) {
            self.restart_node();
        }
        if self
            .fetcher
            .next_deadline()
            .is_some_and(|(at, _)| at <= self.now.mono)
        {
            let mut fx = Effects::new();
            self.fetcher.on_timer(self.now, &mut fx);
            self.node_effects(fx);
        }
        while !self.reports.is_empty() && self.rng.chance(800_000) {
            let report = self.reports.remove(0);
            let mut fx = Effects::new();
            let progress = self.fetcher.on_blob(self.now, report, &mut fx);
            self.progress(progress);
            self.node_effects(fx);
        }
        self.deliver(faults);
    }

    /// One more blob comes to the origin, and perhaps to peers.
    fn upload(&mut self) {
        let lacking = |digest: &&Digest| !self.sources[&ORIGIN].blobs.whole.contains_key(*digest);
        let lacking: Vec<Digest> = self.truth.keys().filter(lacking).copied().collect();
        if let Some(i) = self.rng.index(lacking.len()) {
            for (me, source) in &mut self.sources {
                if *me == ORIGIN || self.rng.chance(500_000) {
                    let blob = self.truth[&lacking[i]].clone();
                    source.blobs.whole.insert(lacking[i], blob);
                }
            }
        }
    }

    /// Each source answers or does not, from now on; after the faults only the origin does
    /// for certain.
    fn go_silent(&mut self, faults: bool) {
        for (me, source) in &mut self.sources {
            source.silent = self.rng.chance(300_000) && (faults || *me != ORIGIN);
        }
    }

    fn restart_node(&mut self) {
        self.fetcher = fetcher(&mut self.rng);
        self.reports.clear();
        self.fetched.clear();
        self.want_all();
    }

    fn deliver(&mut self, faults: bool) {
        for _ in 0..self.rng.below(2 + self.network.len() as u64) {
            let Some(i) = self.rng.index(self.network.len()) else {
                return;
            };
            let Flight { from, to, body } = if faults && self.rng.chance(50_000) {
                self.network[i].clone()
            } else {
                self.network.swap_remove(i)
            };
            if faults && self.rng.chance(50_000) {
                continue;
            }
            match body {
                Message::BlobData(mut data) => {
                    if faults && self.rng.chance(10_000) {
                        data.data = vec![0xff; data.data.len()].into();
                    }
                    let mut fx = Effects::new();
                    let progress = self.fetcher.on_message(self.now, from, data, &mut fx);
                    self.progress(progress);
                    self.node_effects(fx);
                }
                body => self.source_event(to, body),
            }
        }
    }

    fn source_event(&mut self, me: Address, body: Message) {
        let source = self.sources.get_mut(&me).expect("only sources are asked");
        if source.silent {
            return;
        }
        let mut fx = Effects::new();
        let event = Event::Message { from: NODE, body };
        source.origin.handle(self.now, event, &mut fx);
        for effect in fx.take() {
            let Effect::Blob(command) = effect else {
                continue;
            };
            let report = source.blobs.run(command, &self.truth).unwrap();
            source.origin.handle(self.now, Event::Blob(report), &mut fx);
        }
        for effect in fx.take() {
            if let Effect::Send { to, body, .. } = effect {
                let from = me;
                self.network.push(Flight { from, to, body });
            }
        }
    }

    fn node_effects(&mut self, mut fx: Effects) {
        self.fetcher.check();
        for effect in fx.take() {
            match effect {
                Effect::Send { to, body, .. } => {
                    let from = NODE;
                    self.network.push(Flight { from, to, body });
                }
                Effect::Blob(command) => {
                    let report = self.at_node.run(command, &self.truth);
                    self.reports.extend(report);
                }
                _ => {}
            }
        }
    }

    fn progress(&mut self, progress: Vec<Progress>) {
        for step in progress {
            match step {
                Progress::Fetched { digest } => {
                    let manifest = self.at_node.whole[&digest].clone();
                    for file in Manifest::decode(manifest).unwrap().files {
                        let blob = Digest::try_from(&file.digest).unwrap();
                        assert!(self.at_node.whole.contains_key(&blob), "fetched too early");
                    }
                    self.fetched.push(digest);
                }
                Progress::Missing { .. } => {}
                Progress::Unusable { digest, reason } => panic!("{digest}: {reason}"),
            }
        }
    }
}

#[test]
fn every_artifact_ends_up_whole() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.want_all();
        for _ in 0..1_500 {
            world.step(true);
        }
        for _ in 0..6_000 {
            world.step(false);
        }
        world.fetched.sort_unstable();
        let all: Vec<Digest> = (0..ARTIFACTS).map(artifact).collect();
        assert_eq!(world.fetched, all, "seed {seed}");
        assert_eq!(world.fetcher.next_deadline(), None, "seed {seed}");
    }
}
