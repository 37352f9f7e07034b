//! The fetcher as a specification: what each event makes it do.

use super::*;
use tidegate_kernel::Seed;
use tidegate_protocol::{BlobRead, ManifestEntry, Message, NodeId, Role, limits};

mod artifacts;
mod queues;
mod sources;

const ORIGIN: Address = Address::new(NodeId(1), Role::Origin, 0);
const PEER: Address = Address::new(NodeId(2), Role::Origin, 0);
const A: Digest = Digest([0xa; 32]);
const B: Digest = Digest([0xb; 32]);
const CHUNK: u32 = limits::BLOB_CHUNK_BYTES as u32;

struct Bench {
    fetcher: Fetcher,
    fx: Effects,
    ms: u64,
}

fn bench() -> Bench {
    bench_with(FetcherConfig::new(ORIGIN))
}

fn bench_with(config: FetcherConfig) -> Bench {
    Bench {
        fetcher: Fetcher::new(config, Seed(1).rng()),
        fx: Effects::new(),
        ms: 0,
    }
}

type Step = (Vec<Progress>, Vec<Effect>);

impl Bench {
    fn want(&mut self, digest: Digest) -> Vec<Effect> {
        assert!(self.fetcher.want(self.now(), digest, &mut self.fx));
        self.fetcher.check();
        self.fx.take()
    }

    fn forget(&mut self, digest: Digest) -> Vec<Effect> {
        self.fetcher.forget(self.now(), &digest, &mut self.fx);
        self.fetcher.check();
        self.fx.take()
    }

    fn blob(&mut self, report: BlobReport) -> Step {
        let progress = self.fetcher.on_blob(self.now(), report, &mut self.fx);
        self.fetcher.check();
        (progress, self.fx.take())
    }

    fn loaded(&mut self, digest: Digest, manifest: Option<Manifest>) -> Step {
        self.blob(BlobReport::Manifest { digest, manifest })
    }

    fn checked(&mut self, n: u8, present: bool) -> Step {
        let digest = blob(n);
        self.blob(BlobReport::Checked { digest, present })
    }

    fn finished(&mut self, digest: Digest, verified: bool) -> Step {
        self.blob(BlobReport::Finished { digest, verified })
    }

    fn data(&mut self, digest: Digest, total: u64, data: &'static str) -> Step {
        self.data_of(ORIGIN, digest, total, data)
    }

    fn data_of(&mut self, source: Address, digest: Digest, total: u64, data: &'static str) -> Step {
        let data = BlobData {
            digest: digest.into(),
            offset: 0,
            total,
            data: data.into(),
            missing: false,
        };
        self.message(source, data)
    }

    fn origin_lacks(&mut self, digest: Digest) -> Step {
        self.lacks(ORIGIN, digest)
    }

    fn lacks(&mut self, source: Address, digest: Digest) -> Step {
        let data = BlobData {
            digest: digest.into(),
            missing: true,
            ..BlobData::default()
        };
        self.message(source, data)
    }

    fn message(&mut self, from: Address, data: BlobData) -> Step {
        let progress = self
            .fetcher
            .on_message(self.now(), from, data, &mut self.fx);
        self.fetcher.check();
        (progress, self.fx.take())
    }

    fn timer(&mut self) -> Vec<Effect> {
        let (at, _) = self.fetcher.next_deadline().unwrap();
        self.ms = at.0.div_ceil(1_000_000);
        self.fetcher.on_timer(self.now(), &mut self.fx);
        self.fetcher.check();
        self.fx.take()
    }

    fn now(&self) -> Now {
        Now::at_ms(self.ms)
    }

    /// Wants A, whose manifest is here and names these blobs, none of which is.
    fn fetching(files: &[(u8, u64)]) -> Bench {
        bench().with_missing(files)
    }

    /// The same, with a peer that is asked before the origin.
    fn fetching_from_peer(files: &[(u8, u64)]) -> Bench {
        let mut b = bench_with(FetcherConfig {
            origin_first: false,
            ..FetcherConfig::new(ORIGIN)
        });
        b.fetcher.add_peer(PEER);
        b.with_missing(files)
    }

    fn with_missing(mut self, files: &[(u8, u64)]) -> Bench {
        self.want(A);
        self.loaded(A, manifest(files));
        for (n, _) in files {
            self.checked(*n, false);
        }
        self
    }
}

fn blob(n: u8) -> Digest {
    Digest([n; 32])
}

fn manifest(files: &[(u8, u64)]) -> Option<Manifest> {
    let files = files.iter().map(|(n, size)| ManifestEntry {
        path: format!("{n:03}"),
        digest: blob(*n).into(),
        size: *size,
        executable: false,
    });
    Some(Manifest {
        files: files.collect(),
    })
}

fn load(digest: Digest) -> Effect {
    Effect::Blob(BlobCommand::LoadManifest { digest })
}

fn check(n: u8) -> Effect {
    Effect::Blob(BlobCommand::Check { digest: blob(n) })
}

fn append(digest: Digest, data: &'static str) -> Effect {
    Effect::Blob(BlobCommand::Append {
        digest,
        offset: 0,
        data: data.into(),
    })
}

fn finish(digest: Digest) -> Effect {
    Effect::Blob(BlobCommand::Finish { digest })
}

fn read(digest: Digest) -> Effect {
    read_of(ORIGIN, digest, 0, CHUNK)
}

fn read_of(source: Address, digest: Digest, offset: u64, length_max: u32) -> Effect {
    Effect::Send {
        to: source,
        body: Message::BlobRead(BlobRead {
            digest: digest.into(),
            offset,
            length_max,
        }),
        after: None,
    }
}

fn fetched(digest: Digest) -> Vec<Progress> {
    vec![Progress::Fetched { digest }]
}

fn missing(digest: Digest) -> Vec<Progress> {
    vec![Progress::Missing { digest }]
}
