//! Instances that die, and what whoever waits for them hears.

use tidegate_kernel::Effect;
use tidegate_protocol::{Message, SlotState, WakeOutcome, WakeReply};

use super::bench::Bench;
use super::words::*;

/// Active, with version 7 of two free slots and a host for ten.
fn bench() -> Bench {
    Bench::active(&[version(7), free(7, 0, 0), free(7, 1, 0), host(5, 10)])
}

/// Claims slot 0 under its next epoch, which then dies.
fn start_and_die(bench: &mut Bench) -> Vec<Effect> {
    start_and_die_of(bench, "exit code 1")
}

fn start_and_die_of(bench: &mut Bench, reason: &str) -> Vec<Effect> {
    let claim = bench.wake(GATEWAY, 7, 1);
    let [(7, index, epoch, 5)] = claims(&claim)[..] else {
        panic!("a claim: {claim:?}");
    };
    bench.apply(&claim);
    let effects = bench.message(metald(5), failed(instance(7, index, epoch), reason));
    bench.store(&[free(7, index, epoch)]);
    effects
}

fn failures(effects: &[Effect]) -> Vec<WakeReply> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send {
                to: GATEWAY,
                body: Message::WakeReply(reply),
                after: None,
            } if reply.outcome() == WakeOutcome::Failed => Some(reply.clone()),
            _ => None,
        })
        .collect()
}

/// The time that the last failure is to be waited for.
fn delay(effects: &[Effect]) -> u64 {
    match failures(effects).as_slice() {
        [reply] => reply.retry_after_ms,
        other => panic!("one failure: {other:?}"),
    }
}

#[test]
fn whoever_waits_hears_the_reason_and_the_time_left() {
    let mut bench = bench();
    let effects = start_and_die(&mut bench);
    let left = delay(&effects);
    assert!((500..=1_000).contains(&left), "{left}");
    let reply = |retry_after_ms| WakeReply {
        version: 7,
        outcome: WakeOutcome::Failed.into(),
        retry_after_ms,
        reason: "exit code 1".into(),
        log_tail: "exit code 1: last words".into(),
        before_start: false,
    };
    assert_eq!(effects, [wake_reply(GATEWAY, reply(left))]);
    bench.now += 100;
    assert_eq!(
        bench.wake(SISTER, 7, 1),
        [wake_reply(SISTER, reply(left - 100))]
    );
    bench.now += left;
    assert_eq!(claims(&bench.wake(SISTER, 7, 1)), [(7, 0, 2, 5)]);
}

#[test]
fn only_those_who_asked_lately_are_told() {
    let mut bench = bench();
    let claim = bench.wake(GATEWAY, 7, 1);
    bench.apply(&claim);
    bench.store(&[running(7, 0, 1, 5)]);
    bench.live(10_000);
    let effects = bench.message(metald(5), failed(instance(7, 0, 1), "signal 9"));
    assert_eq!(effects, []);
}

#[test]
fn a_slot_whose_end_is_known_counts_for_nothing() {
    let mut bench = bench();
    let claim = bench.wake(GATEWAY, 7, 1);
    bench.apply(&claim);
    bench.message(metald(5), failed(instance(7, 0, 1), "exit code 1"));
    let answer = bench.wake(GATEWAY, 7, 1);
    assert_eq!(failures(&answer).len(), 1, "the store still says STARTING");
}

#[test]
fn the_wait_doubles_up_to_a_minute() {
    let mut bench = bench();
    for full in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000] {
        let left = delay(&start_and_die(&mut bench));
        assert!((full / 2..=full).contains(&left), "{left} of {full}");
        assert_eq!(failures(&bench.wake(GATEWAY, 7, 1)).len(), 1);
        bench.live(left);
    }
}

#[test]
fn one_death_counts_once() {
    let mut bench = bench();
    let first = start_and_die(&mut bench);
    let again = failed(instance(7, 0, 1), "exit code 1");
    assert_eq!(bench.message(metald(5), again.clone()), []);
    bench.live(delay(&first));
    let second = start_and_die(&mut bench);
    assert_eq!(bench.message(metald(5), again), [], "long superseded");
    bench.live(delay(&second));
    let third = delay(&start_and_die(&mut bench));
    assert!((2_000..=4_000).contains(&third), "{third}");
}

#[test]
fn a_minute_of_running_clears_the_failures() {
    let mut bench = bench();
    for _ in 0..4 {
        let effects = start_and_die(&mut bench);
        bench.live(delay(&effects));
    }
    let claim = bench.wake(GATEWAY, 7, 1);
    bench.apply(&claim);
    bench.store(&[running(7, 0, 5, 5)]);
    bench.live(61_000);
    bench.message(metald(5), failed(instance(7, 0, 5), "signal 9"));
    bench.store(&[free(7, 0, 5)]);
    let left = delay(&bench.wake(GATEWAY, 7, 1));
    assert!(left <= 1_000, "{left}");
}

#[test]
fn a_shorter_life_clears_nothing() {
    let mut bench = bench();
    let first = start_and_die(&mut bench);
    bench.live(delay(&first));
    let claim = bench.wake(GATEWAY, 7, 1);
    bench.apply(&claim);
    bench.store(&[running(7, 0, 2, 5)]);
    bench.live(55_000);
    bench.message(metald(5), failed(instance(7, 0, 2), "signal 9"));
    bench.store(&[free(7, 0, 2)]);
    let left = delay(&bench.wake(GATEWAY, 7, 1));
    assert!(left >= 1_000, "{left}");
}

#[test]
fn an_instance_that_ran_before_does_not_excuse_a_later_failure() {
    let mut bench = bench();
    bench.store(&[running(7, 0, 1, 5)]);
    bench.live(120_000);
    let grown = bench.wake(GATEWAY, 7, 4);
    assert_eq!(claims(&grown), [(7, 1, 1, 5)]);
    bench.apply(&grown);
    bench.message(metald(5), failed(instance(7, 1, 1), "exit code 1"));
    bench.store(&[free(7, 1, 1)]);
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 4)), [], "it waits");
}

#[test]
fn another_instance_that_runs_is_coming_whatever_failed() {
    let mut bench = bench();
    bench.store(&[running(7, 0, 1, 5)]);
    let grown = bench.wake(GATEWAY, 7, 4);
    bench.apply(&grown);
    let effects = bench.message(metald(5), failed(instance(7, 1, 1), "exit code 1"));
    assert_eq!(effects, [], "nobody is turned away");
    assert_eq!(
        bench.wake(GATEWAY, 7, 4),
        [told(GATEWAY, 7, WakeOutcome::Coming)]
    );
}

#[test]
fn a_failing_version_leaves_its_place_to_the_next() {
    let mut bench = Bench::active(&[
        version(7),
        version(8),
        free(7, 0, 0),
        free(8, 0, 0),
        host(5, 1),
        slot(9, 0, 1, SlotState::Stopping, 5),
    ]);
    bench.wake(GATEWAY, 7, 1);
    bench.wake(GATEWAY, 8, 1);
    // The end of a life that another scheduler started.
    bench.message(metald(5), failed(instance(7, 0, 0), "exit code 1"));
    assert_eq!(claims(&bench.store(&[free(9, 0, 1)])), [(8, 0, 1, 5)]);
}

#[test]
fn a_failure_of_an_unknown_version_changes_nothing() {
    let mut bench = bench();
    let effects = bench.message(metald(5), failed(instance(1, 0, 1), "exit code 1"));
    assert_eq!(effects, []);
}

#[test]
fn whoever_waits_hears_that_nothing_was_run() {
    let mut bench = bench();
    let told = failures(&start_and_die_of(&mut bench, NO_ARTIFACT));
    assert_eq!((told.len(), told[0].before_start), (1, true), "{told:?}");
}
