//! Slots that are taken back.

use tidegate_kernel::{Effect, Note};
use tidegate_protocol::{Key, NodeId, Record, SlotState, WakeOutcome};

use super::bench::{Bench, commit_in, commits_in};
use super::words::*;

/// Active, with version 7 running on host 5.
fn bench(slot: (Key, Record)) -> Bench {
    Bench::active(&[version(7), slot, free(7, 1, 0), host(5, 10), host(6, 10)])
}

fn reclaimed(slot: u32, epoch: u64, host: u32, reason: &'static str) -> Effect {
    Effect::Note(Note::Reclaimed {
        instance: instance(7, slot, epoch),
        host: NodeId(host),
        reason,
    })
}

#[test]
fn the_slots_of_a_host_silent_for_thirty_seconds_are_freed_under_a_new_epoch() {
    let mut bench = bench(running(7, 0, 3, 5));
    bench.host_dies(5);
    assert_eq!(bench.live(25_000), []);
    let effects = bench.live(5_000);
    let (id, _) = commit_in(&effects);
    let key = slot_key(7, 0).to_string();
    let expected = txn(&[bench.fence(), (&key, 1)], &[free(7, 0, 4)]);
    assert_eq!(
        effects,
        [
            commit(id, expected),
            reclaimed(0, 3, 5, "its host is silent")
        ]
    );
    assert_eq!(bench.apply(&effects), []);
}

#[test]
fn a_stopping_slot_of_a_silent_host_is_freed_too() {
    let mut bench = bench(slot(7, 0, 3, SlotState::Stopping, 5));
    bench.host_dies(5);
    assert_eq!(
        slots_written(&bench.live(30_000)),
        [(7, 0, 4, SlotState::Free)]
    );
}

#[test]
fn a_silent_host_gets_no_new_instance() {
    let mut bench = bench(free(7, 0, 0));
    bench.host_dies(5);
    bench.live(30_000);
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 1)), [(7, 0, 1, 6)]);
}

#[test]
fn a_host_that_was_never_heard_of_is_given_as_long() {
    let mut bench = bench(free(7, 0, 0));
    bench.live(60_000);
    bench.store(&[running(7, 0, 3, 99)]);
    assert_eq!(bench.live(29_000), []);
    assert_eq!(
        slots_written(&bench.live(1_000)),
        [(7, 0, 4, SlotState::Free)]
    );
}

#[test]
fn a_start_is_given_twice_its_timeout_and_fifteen_seconds() {
    let mut bench = bench(free(7, 0, 3));
    let claim = bench.wake(GATEWAY, 7, 1);
    bench.apply(&claim);
    assert_eq!(bench.live(54_000), []);
    let effects = bench.live(1_000);
    assert_eq!(slots_written(&effects), [(7, 0, 5, SlotState::Free)]);
    let late = reclaimed(0, 4, 5, "it did not start in time");
    assert_eq!(effects[1], late);
}

#[test]
fn an_instance_that_started_in_time_stays() {
    let mut bench = bench(free(7, 0, 3));
    let claim = bench.wake(GATEWAY, 7, 1);
    bench.apply(&claim);
    bench.live(30_000);
    bench.store(&[running(7, 0, 4, 5)]);
    assert_eq!(bench.live(60_000), []);
}

#[test]
fn nobody_is_silent_while_the_store_is() {
    let mut bench = bench(running(7, 0, 3, 5));
    bench.store(&[starting(7, 1, 1, 6)]);
    bench.feed_is_up = false;
    assert_eq!(bench.pass(300_000), []);
    bench.feed_is_up = true;
    assert_eq!(
        bench.pass(29_000),
        [],
        "counted from when it is heard again"
    );
    assert_eq!(
        slots_written(&bench.pass(3_000)),
        [(7, 1, 2, SlotState::Free), (7, 0, 4, SlotState::Free)]
    );
}

/// The store answers, and refuses or swallows every commit, for five minutes; then it takes
/// them again. What the scheduler does meanwhile, and when it is elected anew.
fn through_a_stall(bench: &mut Bench) -> (Vec<Effect>, Vec<Effect>) {
    bench.renewals_are_up = false;
    let meanwhile = bench.pass(300_000);
    bench.renewals_are_up = true;
    assert!(!bench.is_active());
    loop {
        let effects = bench.acts_within(20_000);
        if !commits_in(&effects).is_empty() {
            return (meanwhile, bench.apply(&effects));
        }
    }
}

fn reclaims(effects: &[Effect]) -> Vec<&Effect> {
    let is_reclaim = |e: &&Effect| matches!(e, Effect::Note(Note::Reclaimed { .. }));
    effects.iter().filter(is_reclaim).collect()
}

#[test]
fn nobody_is_silent_while_the_store_takes_no_commits() {
    let mut bench = bench(running(7, 0, 3, 5));
    bench.store(&[running(7, 1, 1, 6)]);
    let (meanwhile, elected) = through_a_stall(&mut bench);
    assert_eq!(reclaims(&meanwhile), Vec::<&Effect>::new());
    let epoch = bench.scheduler.active_epoch().unwrap();
    assert_eq!(elected, [Effect::Note(Note::Elected { epoch })]);
    assert_eq!(bench.live(120_000), []);
}

#[test]
fn a_host_that_died_while_the_store_took_no_commits_is_noticed_thirty_seconds_after() {
    let mut bench = bench(running(7, 0, 3, 5));
    bench.store(&[running(7, 1, 1, 6)]);
    bench.host_dies(5);
    through_a_stall(&mut bench);
    assert_eq!(bench.live(29_000), []);
    let effects = bench.live(2_000);
    assert_eq!(slots_written(&effects), [(7, 0, 4, SlotState::Free)]);
}

#[test]
fn no_start_is_late_while_the_store_takes_no_commits() {
    let mut bench = bench(starting(7, 0, 3, 5));
    let (meanwhile, elected) = through_a_stall(&mut bench);
    assert_eq!(reclaims(&meanwhile), Vec::<&Effect>::new());
    assert_eq!(reclaims(&elected), Vec::<&Effect>::new());
    assert_eq!(bench.live(54_000), []);
    let late = reclaimed(0, 3, 5, "it did not start in time");
    assert_eq!(reclaims(&bench.live(2_000)), [&late]);
}

#[test]
fn the_renewals_of_the_lease_alone_show_that_the_only_host_is_dead() {
    let records = [version(7), running(7, 0, 3, 5), free(7, 1, 0), host(5, 10)];
    let mut bench = Bench::active(&records);
    assert_eq!(bench.pass(28_000), []);
    let effects = bench.acts_within(3_000);
    assert_eq!(
        reclaims(&effects),
        [&reclaimed(0, 3, 5, "its host is silent")]
    );
    bench.apply(&effects);
    let asked = bench.wake(GATEWAY, 7, 1);
    assert_eq!(outcomes(&asked), [WakeOutcome::NoCapacity]);
    assert_eq!(claims(&asked), []);
}

#[test]
fn a_standby_takes_nothing_back() {
    let mut bench = Bench::standby();
    bench.store(&[lease(OTHER, 1, 0), fence(OTHER, 1)]);
    bench.store(&[version(7), running(7, 0, 3, 5)]);
    for beat in 1..20 {
        bench.store(&[lease(OTHER, 1, beat)]);
        assert_eq!(bench.pass(5_000), []);
    }
}
