use super::*;
use tidegate_kernel::Seed;
use tidegate_protocol::{BlobRead, ManifestEntry, Message, NodeId, Role, limits};

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

#[test]
fn an_artifact_that_is_here_costs_its_checks() {
    let mut b = bench();
    assert_eq!(b.want(A), [load(A)]);
    assert_eq!(b.want(A), []);
    assert_eq!(
        b.loaded(A, manifest(&[(1, 5), (2, 0)])),
        (vec![], vec![check(1), check(2)])
    );
    assert_eq!(b.checked(2, true), (vec![], vec![]));
    assert_eq!(b.checked(1, true), (fetched(A), vec![]));
    assert!(!b.fetcher.wants(&A));
    assert_eq!(b.fetcher.next_deadline(), None);
}

#[test]
fn an_artifact_without_files_is_fetched_with_its_manifest() {
    let mut b = bench();
    b.want(A);
    assert_eq!(b.loaded(A, manifest(&[])), (fetched(A), vec![]));
}

#[test]
fn what_is_missing_comes_from_the_origin() {
    let mut b = bench();
    b.want(A);
    assert_eq!(b.loaded(A, None), (missing(A), vec![read(A)]));
    assert_eq!(
        b.data(A, 3, "man"),
        (vec![], vec![append(A, "man"), finish(A)])
    );
    assert_eq!(b.finished(A, true), (vec![], vec![load(A)]));
    b.loaded(A, manifest(&[(1, 2), (2, 0)]));
    assert_eq!(b.checked(1, false), (vec![], vec![read(blob(1))]));
    assert_eq!(b.checked(2, false), (vec![], vec![read(blob(2))]));
    let effects = vec![append(blob(2), ""), finish(blob(2))];
    assert_eq!(b.data(blob(2), 0, ""), (vec![], effects));
    assert_eq!(b.finished(blob(2), true), (vec![], vec![]));
    let effects = vec![append(blob(1), "ab"), finish(blob(1))];
    assert_eq!(b.data(blob(1), 2, "ab"), (vec![], effects));
    assert_eq!(b.data(blob(1), 2, "ab"), (vec![], vec![]));
    assert_eq!(b.finished(blob(1), true), (fetched(A), vec![]));
}

#[test]
fn a_blob_of_two_artifacts_is_fetched_once() {
    let mut b = Bench::fetching(&[(1, 2)]);
    b.want(B);
    assert_eq!(b.loaded(B, manifest(&[(1, 2)])), (vec![], vec![]));
    b.data(blob(1), 2, "ab");
    let both = [fetched(A), fetched(B)].concat();
    assert_eq!(b.finished(blob(1), true), (both, vec![]));
}

#[test]
fn what_does_not_verify_is_fetched_again() {
    let mut b = Bench::fetching(&[(1, 2)]);
    b.data(blob(1), 2, "xx");
    let corrupt = Effect::Note(Note::Corrupt {
        artifact: A,
        blob: blob(1),
    });
    assert_eq!(b.finished(blob(1), false), (vec![], vec![corrupt]));
    assert!(b.fetcher.next_deadline().unwrap().0 >= Now::at_ms(2_000).mono);
    assert_eq!(b.timer(), [load(A)]);
    b.loaded(A, manifest(&[(1, 2)]));
    assert_eq!(b.checked(1, false), (vec![], vec![read(blob(1))]));
    b.data(blob(1), 2, "ab");
    assert_eq!(b.finished(blob(1), true), (fetched(A), vec![]));
}

#[test]
fn a_blob_that_the_origin_lacks_holds_up_nothing_else() {
    let mut b = bench_with(FetcherConfig {
        working_max: 1,
        ..FetcherConfig::new(ORIGIN)
    });
    b.want(A);
    b.loaded(A, manifest(&[(1, 2), (2, 2)]));
    b.checked(1, false);
    b.checked(2, false);
    assert_eq!(b.want(B), []);
    assert_eq!(b.origin_lacks(blob(1)), (vec![], vec![]));
    b.data(blob(2), 2, "ab");
    // Only the lacking one is left: the next artifact has its turn.
    assert_eq!(b.finished(blob(2), true), (vec![], vec![load(B)]));
    assert_eq!(b.loaded(B, manifest(&[])), (fetched(B), vec![]));
    assert_eq!(b.timer(), [load(A)]);
    b.loaded(A, manifest(&[(1, 2), (2, 2)]));
    b.checked(2, true);
    assert_eq!(b.checked(1, false), (vec![], vec![read(blob(1))]));
}

#[test]
fn a_manifest_that_the_origin_lacks_is_asked_for_later() {
    let mut b = bench();
    b.want(A);
    b.loaded(A, None);
    assert_eq!(b.origin_lacks(A), (vec![], vec![]));
    assert_eq!(b.timer(), [load(A)]);
    assert_eq!(b.loaded(A, None), (vec![], vec![read(A)]));
}

#[test]
fn a_silent_origin_is_asked_again_and_then_after_a_rest() {
    let mut b = Bench::fetching(&[(1, 2)]);
    for _ in 0..4 {
        assert_eq!(b.timer(), [read(blob(1))]);
    }
    assert_eq!(b.timer(), []);
    assert_eq!(b.timer(), [load(A)]);
}

#[test]
fn what_the_manifest_must_not_say_makes_it_unusable() {
    let unusable = |(progress, effects): Step, expected: &str| match &progress[..] {
        [Progress::Unusable { digest: A, reason }] => {
            assert!(reason.contains(expected), "{reason}");
            effects
        }
        other => panic!("{other:?}"),
    };
    let mut b = bench();
    b.want(A);
    b.want(B);
    let step = b.loaded(A, manifest(&[(2, 1), (1, 1)]));
    assert_eq!(unusable(step, "sort the files"), []);

    b.want(A);
    b.loaded(A, None);
    let step = b.data(A, limits::MANIFEST_BYTES_MAX as u64 + 1, "x");
    assert_eq!(unusable(step, "its manifest has 8388609 bytes"), []);

    b.want(A);
    b.loaded(A, None);
    b.data(A, 1, "x");
    b.finished(A, true);
    assert_eq!(unusable(b.loaded(A, None), "names no manifest"), []);

    // The other artifact tells the truth about the blob and goes on.
    b.want(A);
    b.loaded(A, manifest(&[(1, 1)]));
    b.loaded(B, manifest(&[(1, 2)]));
    b.checked(1, false);
    let step = b.data(blob(1), 2, "ab");
    let effects = unusable(step, "1 bytes, the origin 2");
    assert_eq!(effects, [append(blob(1), "ab"), finish(blob(1))]);
    assert_eq!(b.finished(blob(1), true), (fetched(B), vec![]));
}

#[test]
fn a_forgotten_artifact_stops_what_only_it_needed() {
    let mut b = Bench::fetching(&[(1, 2), (2, 2)]);
    b.want(B);
    b.loaded(B, manifest(&[(2, 2)]));
    assert_eq!(b.forget(A), []);
    assert_eq!(b.data(blob(1), 2, "ab"), (vec![], vec![]));
    b.data(blob(2), 2, "ab");
    assert_eq!(b.finished(blob(2), true), (fetched(B), vec![]));
    assert_eq!(b.fetcher.next_deadline(), None);
}

#[test]
fn an_artifact_can_be_forgotten_in_every_stage_and_wanted_again() {
    let stages: [fn(&mut Bench); 6] = [
        |_| {},
        |b| drop(b.loaded(A, None)),
        |b| drop(b.loaded(A, manifest(&[(1, 2)]))),
        |b| {
            b.loaded(A, manifest(&[(1, 2)]));
            b.checked(1, false);
        },
        |b| {
            b.loaded(A, manifest(&[(1, 2)]));
            b.checked(1, false);
            b.data(blob(1), 2, "ab");
        },
        |b| {
            b.loaded(A, None);
            b.origin_lacks(A);
        },
    ];
    for reach in stages {
        let mut b = bench();
        b.want(A);
        reach(&mut b);
        assert_eq!(b.forget(A), []);
        assert_eq!(b.want(A), [load(A)]);
        b.loaded(A, manifest(&[(1, 2)]));
        // An answer to the former life.
        assert_eq!(b.finished(blob(1), false), (vec![], vec![]));
        assert_eq!(b.checked(1, true), (fetched(A), vec![]));
    }
}

#[test]
fn everything_is_bounded() {
    let mut b = bench_with(FetcherConfig {
        wanted_max: 2,
        working_max: 1,
        checks_max: 2,
        transfers_max: 1,
        ..FetcherConfig::new(ORIGIN)
    });
    assert_eq!(b.want(A), [load(A)]);
    assert_eq!(b.want(B), []);
    assert!(!b.fetcher.want(Now::at_ms(0), blob(9), &mut b.fx));
    assert_eq!(
        b.fx.take(),
        [Effect::Note(Note::Full { queue: "artifacts" })]
    );
    assert_eq!(
        b.loaded(A, manifest(&[(1, 2), (2, 2), (3, 2)])),
        (vec![], vec![check(1), check(2)])
    );
    let effects = vec![check(3), read(blob(1))];
    assert_eq!(b.checked(1, false), (missing(A), effects));
    assert_eq!(b.checked(2, false), (vec![], vec![]));
    b.data(blob(1), 2, "ab");
    assert_eq!(b.finished(blob(1), true), (vec![], vec![read(blob(2))]));
    assert_eq!(b.forget(A), [load(B)]);
}

#[test]
fn a_stranger_is_not_believed() {
    let mut b = Bench::fetching(&[(1, 2)]);
    let stranger = Address::new(NodeId(9), Role::Origin, 0);
    let data = BlobData {
        digest: blob(1).into(),
        total: 2,
        data: "ab".into(),
        ..BlobData::default()
    };
    assert_eq!(b.message(stranger, data), (vec![], vec![]));
    assert!(matches!(
        b.message(ORIGIN, BlobData::default()).1[..],
        [Effect::Note(Note::Malformed { .. })]
    ));
}

#[test]
fn peers_are_asked_before_the_origin_or_after_it() {
    for (origin_first, sources) in [(true, [ORIGIN, PEER]), (false, [PEER, ORIGIN])] {
        let mut b = bench_with(FetcherConfig {
            origin_first,
            ..FetcherConfig::new(ORIGIN)
        });
        b.fetcher.add_peer(PEER);
        b.want(A);
        let [first, second] = sources.map(|source| read_of(source, A, 0, CHUNK));
        assert_eq!(b.loaded(A, None), (missing(A), vec![first]));
        assert_eq!(b.lacks(sources[0], A), (vec![], vec![second]));
        // The first one's word has come twice.
        assert_eq!(b.lacks(sources[0], A), (vec![], vec![]));
        assert_eq!(b.lacks(sources[1], A), (vec![], vec![]));
        assert_eq!(b.timer(), [load(A)], "after a rest");
    }
}

#[test]
fn a_peer_that_is_gone_is_not_asked() {
    let mut b = bench_with(FetcherConfig {
        origin_first: false,
        ..FetcherConfig::new(ORIGIN)
    });
    b.fetcher.add_peer(PEER);
    b.fetcher.remove_peer(PEER);
    b.want(A);
    assert_eq!(b.loaded(A, None), (missing(A), vec![read(A)]));
}

#[test]
fn a_silent_source_costs_one_wait() {
    let mut b = Bench::fetching_from_peer(&[(1, 2), (2, 2)]);
    assert_eq!(b.timer(), [read(blob(1)), read(blob(2))]);
    assert_eq!(b.ms, 2_000);
    // Late as it is, it is the blob.
    let effects = vec![append(blob(1), "ab"), finish(blob(1))];
    assert_eq!(b.data_of(PEER, blob(1), 2, "ab"), (vec![], effects));

    let mut b = Bench::fetching_from_peer(&[(1, 2)]);
    b.timer();
    b.want(B);
    assert_eq!(
        b.loaded(B, None).1,
        [read(B)],
        "the next blob goes round it"
    );
}

#[test]
fn everybody_silent_is_asked_in_turn_and_given_up() {
    let mut b = Bench::fetching_from_peer(&[(1, 2)]);
    for source in [ORIGIN, PEER, ORIGIN, PEER, ORIGIN] {
        assert_eq!(b.timer(), [read_of(source, blob(1), 0, CHUNK)]);
    }
    assert_eq!(b.timer(), []);
    assert_eq!(b.timer(), [load(A)], "after a rest");
}

#[test]
fn a_transfer_goes_on_where_the_former_source_left_it() {
    let total = u64::from(CHUNK) + 5;
    let mut b = Bench::fetching_from_peer(&[(1, total)]);
    let first = BlobData {
        digest: blob(1).into(),
        total,
        data: vec![7; CHUNK as usize].into(),
        ..BlobData::default()
    };
    let rest = |source| read_of(source, blob(1), u64::from(CHUNK), 5);
    assert_eq!(b.message(PEER, first).1[1..], [rest(PEER)]);
    assert_eq!(b.lacks(PEER, blob(1)), (vec![], vec![rest(ORIGIN)]));
}

#[test]
fn what_does_not_verify_begins_anew_from_the_next_source() {
    let mut b = Bench::fetching_from_peer(&[(1, 2)]);
    b.data_of(PEER, blob(1), 2, "xx");
    let corrupt = Effect::Note(Note::Corrupt {
        artifact: A,
        blob: blob(1),
    });
    assert_eq!(
        b.finished(blob(1), false),
        (vec![], vec![corrupt.clone(), read(blob(1))])
    );
    assert_eq!(b.data_of(PEER, blob(1), 2, "xx"), (vec![], vec![]));
    b.data(blob(1), 2, "yy");
    assert_eq!(b.finished(blob(1), false), (vec![], vec![corrupt]));
    assert_eq!(b.timer(), [load(A)], "after a rest");
}

#[test]
fn what_a_forgotten_artifact_queued_leaves_and_the_rest_keeps_its_turn() {
    let narrow = || {
        bench_with(FetcherConfig {
            checks_max: 1,
            transfers_max: 1,
            ..FetcherConfig::new(ORIGIN)
        })
    };
    let mut b = narrow();
    b.want(A);
    b.want(B);
    b.loaded(A, manifest(&[(1, 2), (2, 2)]));
    b.loaded(B, manifest(&[(3, 2), (4, 2)]));
    assert_eq!(b.forget(A), []);
    assert_eq!(b.checked(1, false), (vec![], vec![check(3)]));
    let effects = vec![check(4), read(blob(3))];
    assert_eq!(b.checked(3, false), (missing(B), effects));

    let mut b = narrow();
    b.want(A);
    b.want(B);
    b.loaded(A, manifest(&[(1, 2), (2, 2)]));
    b.loaded(B, manifest(&[(3, 2), (4, 2)]));
    for n in 1..=4 {
        b.checked(n, false);
    }
    assert_eq!(b.forget(A), [read(blob(3))]);
    b.data(blob(3), 2, "ab");
    assert_eq!(b.finished(blob(3), true), (vec![], vec![read(blob(4))]));
}

#[test]
fn an_artifact_that_waits_for_its_turn_is_forgotten_alone() {
    let mut b = bench_with(FetcherConfig {
        working_max: 1,
        ..FetcherConfig::new(ORIGIN)
    });
    b.want(A);
    b.want(B);
    b.want(blob(9));
    assert_eq!(b.forget(B), []);
    assert_eq!(
        b.loaded(A, manifest(&[])),
        (fetched(A), vec![load(blob(9))])
    );
}

#[test]
fn a_check_that_is_answered_twice_disturbs_no_transfer() {
    let mut b = Bench::fetching(&[(1, 2)]);
    assert_eq!(b.checked(1, false), (vec![], vec![]));
    let effects = vec![append(blob(1), "ab"), finish(blob(1))];
    assert_eq!(b.data(blob(1), 2, "ab"), (vec![], effects));
}

#[test]
fn a_manifest_may_be_as_large_as_the_limit() {
    let mut b = bench();
    b.want(A);
    b.loaded(A, None);
    let (progress, _) = b.data(A, limits::MANIFEST_BYTES_MAX as u64, "x");
    assert_eq!(progress, []);
}

#[test]
fn a_stranger_is_not_even_noted() {
    let mut b = Bench::fetching(&[(1, 2)]);
    let stranger = Address::new(NodeId(9), Role::Origin, 0);
    assert_eq!(b.message(stranger, BlobData::default()), (vec![], vec![]));
}

#[test]
fn the_load_is_that_of_its_queues() {
    let mut b = Bench::fetching(&[(1, 2), (2, 2)]);
    b.want(B);
    b.loaded(B, manifest(&[(3, 1)]));
    assert_eq!(
        b.fetcher.load(),
        [
            Load::new("artifacts", 2, 65_536),
            Load::new("artifacts in work", 2, 4),
            Load::new("checks of blobs", 1, 64),
            Load::new("transfers", 2, 8),
        ]
    );
}

#[test]
#[should_panic(expected = "working_max")]
fn more_work_than_allowed_breaks_an_invariant() {
    let b = Bench::fetching(&[(1, 2)]);
    let mut fetcher = b.fetcher;
    fetcher.working = fetcher.config.working_max + 1;
    fetcher.check();
}
