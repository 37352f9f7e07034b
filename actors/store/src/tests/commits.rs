//! Batches, their bounds, and who is answered what.

use super::*;

#[test]
fn commits_collect_while_a_batch_is_at_the_engine() {
    let mut b = bench();
    assert_eq!(b.commit(GATEWAY, 1), [to_engine(b.batch, &[1])]);
    assert_eq!(b.commit(METALD, 2), []);
    assert_eq!(b.commit(GATEWAY, 3), []);
    assert_eq!(
        b.committed(b.batch, vec![entry("slot/1", 1)]),
        [
            answer(GATEWAY, 1, Outcome::Applied(1)),
            to_engine(b.batch + 1, &[2, 3])
        ]
    );
    let outcome = BatchOutcome {
        outcomes: vec![
            CommitOutcome::Conflict("slot/2".into()),
            CommitOutcome::Refused("disk full".into()),
        ],
        changes: Vec::new(),
        revision: 1,
    };
    let batch = b.batch + 1;
    assert_eq!(
        b.event(Event::Engine(EngineReply::Committed { batch, outcome })),
        [
            answer(METALD, 2, Outcome::Conflict("slot/2".into())),
            answer(GATEWAY, 3, Outcome::Refused("disk full".into())),
        ]
    );
}

#[test]
fn an_answer_of_the_engine_to_a_former_life_is_ignored() {
    let mut b = bench();
    b.commit(GATEWAY, 1);
    assert_eq!(b.committed(b.batch - 1, vec![entry("slot/1", 1)]), []);
    assert_eq!(b.feed(b.request, 3, vec![entry("slot/1", 1)]), []);
    assert_eq!(b.snapshot(b.request, 3, Vec::new()), []);
    assert_eq!(
        b.committed(b.batch, vec![entry("slot/1", 1)]),
        [answer(GATEWAY, 1, Outcome::Applied(1))]
    );
}

#[test]
fn a_batch_is_bounded_by_count_and_by_bytes() {
    let mut b = bench_with(StoreConfig {
        batch_txns_max: 2,
        batch_bytes_max: 16,
        ..StoreConfig::new(ME)
    });
    for id in [1, 2, 3, 4_000, 5_000] {
        b.commit(GATEWAY, id);
    }
    let mut batches = Vec::new();
    for (batch, count) in (b.batch..).zip([1, 2, 1, 1]) {
        let effects = b.conflicted(batch, count, 0);
        batches.extend(
            effects
                .into_iter()
                .filter(|e| matches!(e, Effect::Engine(_))),
        );
    }
    assert_eq!(
        batches,
        [
            to_engine(b.batch + 1, &[2, 3]),
            to_engine(b.batch + 2, &[4_000]),
            to_engine(b.batch + 3, &[5_000]),
        ]
    );
}

#[test]
fn a_full_queue_refuses() {
    let mut b = bench_with(StoreConfig {
        waiting_max: 2,
        waiting_bytes_max: 20,
        ..StoreConfig::new(ME)
    });
    let refused = |id| {
        let reason = "too many commits wait for the engine; try again later";
        [
            Effect::Note(Note::Full { queue: "commits" }),
            answer(GATEWAY, id, Outcome::Refused(reason.into())),
        ]
    };
    b.commit(GATEWAY, 1);
    assert_eq!(b.commit(GATEWAY, 2), []);
    assert_eq!(b.commit(GATEWAY, 1_000_000_000), refused(1_000_000_000));
    assert_eq!(b.commit(GATEWAY, 4), []);
    assert_eq!(b.commit(GATEWAY, 5), refused(5));
    b.conflicted(b.batch, 1, 0);
    assert_eq!(b.commit(GATEWAY, 6), []);
}

#[test]
fn a_commit_without_a_transaction_is_refused() {
    let mut b = bench();
    let empty = Message::StoreCommit(StoreCommit { id: 9, txn: None });
    assert_eq!(
        b.message(GATEWAY, empty),
        [answer(
            GATEWAY,
            9,
            Outcome::Refused("the commit carries no transaction; send one".into())
        )]
    );
}
