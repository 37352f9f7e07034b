//! Claims: what is committed, what waits for it, and what becomes of it.

use tidegate_kernel::{Effect, Note};
use tidegate_protocol::{
    Key, NodeId, SlotRecord, SlotState, WakeOutcome, store_commit_reply::Outcome,
};

use super::bench::{Bench, commit_in, commits_in};
use super::words::*;

const LOST_RACE: Effect = Effect::Note(Note::Mark("a claim lost a race"));

/// Active, with version 7 of two free slots (epochs 3 and 0) and a host for ten.
fn bench() -> Bench {
    Bench::active(&[version(7), free(7, 0, 3), free(7, 1, 0), host(5, 10)])
}

#[test]
fn a_claim_names_its_fence_and_the_slot_and_provision_waits_for_it() {
    let mut bench = bench();
    let slot_revision = 1;
    assert_eq!(bench.fence(), (Key::FENCE, 2));
    let effects = bench.wake(GATEWAY, 7, 1);
    let (id, _) = commit_in(&effects);
    let key = slot_key(7, 0).to_string();
    let claim = slot_record(7, 0, 4, SlotState::Starting, 5);
    let expected = [
        commit(
            id,
            txn(
                &[(Key::FENCE, 2), (&key, slot_revision)],
                &[starting(7, 0, 4, 5)],
            ),
        ),
        Effect::Note(Note::Claimed {
            instance: instance(7, 0, 4),
            host: NodeId(5),
        }),
        provision(5, claim, Some(id)),
        told(GATEWAY, 7, WakeOutcome::Coming),
    ];
    assert_eq!(effects, expected);
    assert_eq!(bench.apply(&effects), []);
    assert_eq!(bench.live(20_000), [], "nothing is left to do");
}

#[test]
fn a_claim_carries_the_epoch_of_its_election() {
    let mut bench = Bench::with(crate::SchedulerConfig::new(ME, STORE));
    bench.store(&[version(7), free(7, 0, 3), host(5, 10)]);
    bench.store(&[lease(ME, 6, 1), fence(ME, 6)]);
    bench.elect();
    let (_, txn) = commit_in(&bench.wake(GATEWAY, 7, 1));
    let claim = SlotRecord {
        fence: 7,
        ..slot_record(7, 0, 4, SlotState::Starting, 5)
    };
    let expected = write(&slot_key(7, 0), &tidegate_protocol::Record::Slot(claim));
    assert_eq!(txn.writes, [expected]);
}

#[test]
fn a_claim_that_lost_a_race_waits_for_the_feed() {
    let mut bench = bench();
    bench.store(&[(
        Key::Slot {
            version: 7,
            index: 1,
        },
        running(7, 1, 1, 5).1,
    )]);
    let (id, _) = commit_in(&bench.wake(GATEWAY, 7, 3));
    let conflict = Outcome::Conflict(slot_key(7, 0).to_string());
    assert_eq!(bench.answer(id, conflict), [LOST_RACE]);
    assert_eq!(
        bench.wake(GATEWAY, 7, 3),
        [told(GATEWAY, 7, WakeOutcome::Full)],
        "the slot is not what the mirror shows"
    );
    assert_eq!(bench.store(&[free(7, 0, 8)]), []);
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 3)), [(7, 0, 9, 5)]);
}

#[test]
fn a_conflict_after_the_feed_told_why_settles_the_claim() {
    let mut bench = bench();
    let (id, _) = commit_in(&bench.wake(GATEWAY, 7, 1));
    assert_eq!(bench.store(&[free(7, 0, 8)]), []);
    let conflict = Outcome::Conflict(slot_key(7, 0).to_string());
    assert_eq!(bench.answer(id, conflict), [LOST_RACE]);
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 1)), [(7, 0, 9, 5)]);
}

#[test]
fn a_conflict_that_the_mirror_never_explains_blocks_the_slot_for_five_seconds() {
    let mut bench = bench();
    let (id, _) = commit_in(&bench.wake(GATEWAY, 7, 1));
    bench.answer(id, Outcome::Conflict(slot_key(7, 0).to_string()));
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 1)), [(7, 1, 1, 5)]);
    bench.live(6_000);
    assert_eq!(
        claims(&bench.wake(GATEWAY, 7, 4)),
        [(7, 0, 4, 5), (7, 1, 1, 5)]
    );
}

#[test]
fn a_claim_without_an_answer_is_forgotten_after_five_seconds_and_decided_anew() {
    let mut bench = bench();
    let (id, first) = commit_in(&bench.wake(GATEWAY, 7, 1));
    assert_eq!(bench.pass(4_999), []);
    assert_eq!(
        bench.wake(GATEWAY, 7, 1),
        [told(GATEWAY, 7, WakeOutcome::Coming)]
    );
    assert_eq!(bench.pass(1_000), [Effect::Forget(id)]);
    let (again, second) = commit_in(&bench.wake(GATEWAY, 7, 1));
    assert_ne!(again, id);
    assert_eq!(second, first);
}

#[test]
fn a_claim_that_the_feed_shows_is_not_counted_twice_while_its_answer_is_out() {
    let mut bench = bench();
    bench.store(&[host(5, 2)]);
    let (_, txn) = commit_in(&bench.wake(GATEWAY, 7, 2));
    let feed = bench.take(&txn);
    assert_eq!(bench.deliver(feed), []);
    let effects = bench.wake(GATEWAY, 7, 3);
    assert_eq!(claims(&effects), [(7, 1, 1, 5)], "two wanted, one is there");
}

#[test]
fn an_applied_claim_counts_until_the_mirror_shows_it() {
    let mut bench = bench();
    let (id, txn) = commit_in(&bench.wake(GATEWAY, 7, 2));
    let feed = bench.take(&txn);
    let applied = Outcome::Applied(bench.revision);
    assert_eq!(bench.answer(id, applied), []);
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 2)), []);
    assert_eq!(bench.deliver(feed), []);
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 2)), []);
    assert_eq!(bench.live(10_000), [], "settled, not forgotten");
}

#[test]
fn a_refused_claim_is_not_tried_again_at_once() {
    let mut bench = bench();
    let (id, first) = commit_in(&bench.wake(GATEWAY, 7, 1));
    assert_eq!(bench.answer(id, Outcome::Refused("disk full".into())), []);
    assert_eq!(
        bench.wake(GATEWAY, 7, 1),
        [told(GATEWAY, 7, WakeOutcome::Coming)]
    );
    assert_eq!(bench.pass(6_000), [Effect::Forget(id)]);
    assert_eq!(commit_in(&bench.wake(GATEWAY, 7, 1)).1, first);
}

#[test]
fn a_claim_refused_by_the_fence_deposes_and_forgets_the_others() {
    let mut bench = bench();
    let claims = commits_in(&bench.wake(GATEWAY, 7, 4));
    let [(first, _), (second, _)] = claims.as_slice() else {
        panic!("two claims: {claims:?}");
    };
    assert_eq!(
        bench.answer(*first, Outcome::Conflict(Key::FENCE.into())),
        [
            Effect::Note(Note::Mark("a deposed scheduler's claim was refused")),
            Effect::Note(Note::Deposed { epoch: 1 }),
            Effect::Forget(*first),
            Effect::Forget(*second),
        ]
    );
}

/// A claim was applied, its answer was lost and it was forgotten. Its change then comes in
/// one message with a change that makes the scheduler look for room.
#[test]
fn nothing_is_decided_in_the_middle_of_a_feed_message() {
    let mut bench = bench();
    bench.store(&[slot(7, 1, 1, SlotState::Stopping, 5), host(5, 2)]);
    let (id, txn_sent) = commit_in(&bench.wake(GATEWAY, 7, 1));
    assert_eq!(bench.pass(6_000), [Effect::Forget(id)]);
    // In the queue again, since the host is full meanwhile.
    bench.store(&[host(5, 1)]);
    assert_eq!(
        outcomes(&bench.wake(GATEWAY, 7, 1)),
        [WakeOutcome::NoCapacity]
    );
    let (key, record) = host(6, 10);
    let feed = bench.commit(&[vec![write(&key, &record)], txn_sent.writes]);
    assert_eq!(bench.deliver(feed), [], "the slot is claimed already");
}

#[test]
fn claims_that_are_not_in_the_mirror_take_up_room() {
    let mut bench = Bench::active(&[
        version(7),
        version(8),
        version(9),
        free(7, 0, 0),
        free(8, 0, 0),
        free(9, 0, 0),
        host(5, 1),
        host(6, 1),
    ]);
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 1)), [(7, 0, 1, 5)]);
    assert_eq!(claims(&bench.wake(GATEWAY, 8, 1)), [(8, 0, 1, 6)]);
    assert_eq!(
        outcomes(&bench.wake(GATEWAY, 9, 1)),
        [WakeOutcome::NoCapacity]
    );
}

#[test]
fn claims_that_are_not_in_the_mirror_count_for_the_spread_over_zones() {
    let mut bench = Bench::active(&[
        version(7),
        free(7, 0, 0),
        free(7, 1, 0),
        free(7, 2, 0),
        host_in(4, "a", 10),
        host_in(5, "a", 10),
        host_in(6, "b", 10),
    ]);
    let effects = bench.wake(GATEWAY, 7, 6);
    let hosts: Vec<u32> = claims(&effects).iter().map(|c| c.3).collect();
    assert_eq!(hosts, [4, 6, 5]);
}

#[test]
fn a_free_slot_takes_up_no_room_whatever_host_it_names() {
    let mut bench = Bench::active(&[
        version(7),
        free(7, 0, 0),
        slot(9, 0, 1, SlotState::Free, 5),
        host(5, 1),
    ]);
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 1)), [(7, 0, 1, 5)]);
}
