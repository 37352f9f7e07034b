//! Both engines do what the model does, whatever is asked of them.

mod model;

use std::path::Path;

use model::Model;
use proptest::prelude::*;
use proptest::sample::select;
use tidegate_protocol::limits::VALUE_BYTES_MAX;
use tidegate_protocol::{Bytes, FeedEntry, Precondition, Txn, Write};
use tidegate_storage::{Engine, FjallEngine, FjallOptions, MemoryEngine};

const KEYS: [&str; 7] = ["a", "a/1", "a/2", "a0", "b/1", "b/2/x", "ü/1"];
const PREFIXES: [&str; 8] = ["", "a", "a/", "b/", "b/2", "b/2/x", "c", "ü"];
const LOG_CHANGES_MAX: usize = 12;

#[derive(Clone, Debug)]
enum Op {
    Commit(Vec<TxnPlan>),
    /// Distance from the newest revision, and how many bytes.
    Feed(i64, usize),
    /// Everything from here by feeds, piece by piece.
    CatchUp(i64, usize),
    Snapshot(Vec<&'static str>),
    Range(&'static str, &'static str, usize),
    Reopen,
}

#[derive(Clone, Debug)]
struct TxnPlan {
    expects: Vec<(&'static str, Expect)>,
    /// Of distinct keys.
    writes: Vec<(&'static str, Option<usize>)>,
}

/// A revision that a precondition names, seen from when the batch is sent.
#[derive(Clone, Copy, Debug)]
enum Expect {
    Current,
    Absent,
    Other(u64),
}

fn txn_plan() -> impl Strategy<Value = TxnPlan> {
    let expect = prop_oneof![
        8 => Just(Expect::Current),
        2 => Just(Expect::Absent),
        1 => (0u64..40).prop_map(Expect::Other),
    ];
    let value = prop_oneof![
        30 => (0usize..40).prop_map(Some),
        10 => Just(None),
        1 => Just(Some(VALUE_BYTES_MAX)),
        1 => Just(Some(VALUE_BYTES_MAX + 1)),
    ];
    let writes = prop::collection::btree_map(select(&KEYS[..]), value, 0..4);
    let expects = prop::collection::vec((select(&KEYS[..]), expect), 0..3);
    // Writes come in any order, not only sorted.
    (
        expects,
        writes
            .prop_map(|w| w.into_iter().collect::<Vec<_>>())
            .prop_shuffle(),
    )
        .prop_map(|(expects, writes)| TxnPlan { expects, writes })
}

fn op() -> impl Strategy<Value = Op> {
    let back = -25i64..3;
    let bytes = prop_oneof![Just(0), 1usize..200, Just(usize::MAX)];
    prop_oneof![
        10 => prop::collection::vec(txn_plan(), 0..5).prop_map(Op::Commit),
        4 => (back.clone(), bytes.clone()).prop_map(|(a, b)| Op::Feed(a, b)),
        2 => (back, bytes).prop_map(|(a, b)| Op::CatchUp(a, b)),
        2 => prop::collection::vec(select(&PREFIXES[..]), 0..3).prop_map(Op::Snapshot),
        2 => (select(&PREFIXES[..]), select(&KEYS[..]), 0usize..5)
            .prop_map(|(p, a, l)| Op::Range(p, a, l)),
        1 => Just(Op::Reopen),
    ]
}

impl TxnPlan {
    fn resolve(&self, model: &Model, fill: u8) -> Txn {
        let preconditions = self.expects.iter().map(|(key, expect)| Precondition {
            key: (*key).to_owned(),
            revision: match expect {
                Expect::Current => model.revision_of(key),
                Expect::Absent => 0,
                Expect::Other(revision) => *revision,
            },
        });
        let writes = self.writes.iter().map(|(key, bytes)| Write {
            key: (*key).to_owned(),
            value: bytes.map(|length| Bytes::from(vec![fill; length])),
        });
        Txn {
            preconditions: preconditions.collect(),
            writes: writes.collect(),
        }
    }
}

/// An engine that can be closed and opened again.
trait Subject {
    fn engine(&mut self) -> &mut dyn Engine;
    fn reopen(&mut self);
}

struct Memory(MemoryEngine);

impl Subject for Memory {
    fn engine(&mut self) -> &mut dyn Engine {
        &mut self.0
    }

    fn reopen(&mut self) {
        self.0 = self.0.clone();
    }
}

struct OnDisk<'a> {
    dir: &'a Path,
    engine: Option<FjallEngine>,
}

impl OnDisk<'_> {
    fn open(dir: &Path) -> FjallEngine {
        let options = FjallOptions {
            log_changes_max: LOG_CHANGES_MAX,
            free_bytes_min: 0,
            memtable_bytes: 128 * 1024,
            ..FjallOptions::default()
        };
        FjallEngine::open(dir, &options).unwrap()
    }
}

impl Subject for OnDisk<'_> {
    fn engine(&mut self) -> &mut dyn Engine {
        self.engine.as_mut().unwrap()
    }

    fn reopen(&mut self) {
        self.engine = None;
        self.engine = Some(Self::open(self.dir));
    }
}

fn hold_to_the_model(subject: &mut dyn Subject, ops: &[Op]) {
    let mut model = Model::new(LOG_CHANGES_MAX);
    for (step, op) in ops.iter().enumerate() {
        match op {
            Op::Commit(plans) => {
                let txns: Vec<Txn> = plans
                    .iter()
                    .map(|plan| plan.resolve(&model, step as u8))
                    .collect();
                assert_eq!(subject.engine().commit(&txns).unwrap(), model.commit(&txns));
            }
            Op::Feed(back, bytes_max) => {
                let after = model.revision().saturating_add_signed(*back);
                assert_eq!(
                    subject.engine().feed(after, *bytes_max).unwrap(),
                    model.feed(after, *bytes_max)
                );
            }
            Op::CatchUp(back, bytes_max) => {
                let after = model.revision().saturating_add_signed(*back);
                catch_up(subject.engine(), &model, after, *bytes_max);
            }
            Op::Snapshot(prefixes) => {
                let prefixes: Vec<String> = prefixes.iter().map(|p| (*p).to_owned()).collect();
                let expected = model
                    .content()
                    .into_values()
                    .filter(|entry| prefixes.iter().any(|p| entry.key.starts_with(p)))
                    .collect();
                assert_eq!(
                    subject.engine().snapshot(&prefixes).unwrap(),
                    (model.revision(), expected)
                );
            }
            Op::Range(prefix, after, limit) => {
                let expected: Vec<FeedEntry> = model
                    .content()
                    .into_values()
                    .filter(|entry| entry.key.starts_with(prefix) && entry.key.as_str() > *after)
                    .take(*limit)
                    .collect();
                assert_eq!(
                    subject.engine().range(prefix, after, *limit).unwrap(),
                    expected
                );
            }
            Op::Reopen => subject.reopen(),
        }
        assert_eq!(subject.engine().revision(), model.revision());
    }
    check_reads(subject.engine(), &model);
}

fn catch_up(engine: &dyn Engine, model: &Model, after: u64, bytes_max: usize) {
    let whole = model.feed(after, usize::MAX);
    let mut reached = after;
    let mut entries = Vec::new();
    while reached != whole.revision {
        let feed = engine.feed(reached, bytes_max).unwrap();
        if feed.gone {
            break;
        }
        assert!(feed.revision > reached, "a feed that makes no progress");
        assert!(
            feed.entries
                .iter()
                .all(|e| (reached + 1..=feed.revision).contains(&e.revision)),
            "a feed outside of what it says"
        );
        reached = feed.revision;
        entries.extend(feed.entries);
    }
    assert_eq!(entries, whole.entries);
}

fn check_reads(engine: &dyn Engine, model: &Model) {
    let content = model.content();
    for key in KEYS.into_iter().chain(["", "c", "a/"]) {
        let expected = content
            .get(key)
            .map(|entry| (entry.value.clone().unwrap(), entry.revision));
        assert_eq!(engine.read(key).unwrap(), expected, "{key}");
    }
    assert_eq!(
        engine.range("", "", usize::MAX).unwrap(),
        content.into_values().collect::<Vec<_>>()
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_memory_engine_does_what_the_model_does(ops in prop::collection::vec(op(), 1..60)) {
        hold_to_the_model(&mut Memory(MemoryEngine::with_log(LOG_CHANGES_MAX)), &ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_fjall_engine_does_what_the_model_does(ops in prop::collection::vec(op(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut subject = OnDisk { dir: dir.path(), engine: Some(OnDisk::open(dir.path())) };
        hold_to_the_model(&mut subject, &ops);
    }
}
