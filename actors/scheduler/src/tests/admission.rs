//! Wakes: who is let in, in which order, and what everybody else hears.

use tidegate_kernel::{Effect, Note};
use tidegate_protocol::{HostState, Key, Record, SlotState, WakeOutcome};

use super::bench::Bench;
use super::words::*;
use crate::SchedulerConfig;

/// Active, with version 7 of three free slots and a host for ten.
fn bench() -> Bench {
    Bench::active(&[
        version(7),
        free(7, 0, 0),
        free(7, 1, 0),
        free(7, 2, 0),
        host(5, 10),
    ])
}

/// Active, with versions 7, 8 and 9 of one free slot each, and no host.
fn hostless() -> Bench {
    Bench::active(&[
        version(7),
        version(8),
        version(9),
        free(7, 0, 0),
        free(8, 0, 0),
        free(9, 0, 0),
    ])
}

#[test]
fn the_wakes_of_many_gateways_make_one_instance() {
    let mut bench = bench();
    let first = bench.wake(GATEWAY, 7, 1);
    assert_eq!(claims(&first), [(7, 0, 1, 5)]);
    let coming = |to| vec![told(to, 7, WakeOutcome::Coming)];
    assert_eq!(bench.wake(SISTER, 7, 1), coming(SISTER));
    bench.apply(&first);
    assert_eq!(bench.wake(GATEWAY, 7, 1), coming(GATEWAY));
    bench.store(&[running(7, 0, 1, 5)]);
    assert_eq!(bench.wake(SISTER, 7, 1), coming(SISTER));
}

#[test]
fn the_demand_of_all_senders_together_decides_how_many_run() {
    let mut bench = bench();
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 2)), [(7, 0, 1, 5)]);
    assert_eq!(claims(&bench.wake(SISTER, 7, 1)), [(7, 1, 1, 5)]);
    assert_eq!(claims(&bench.wake(SISTER, 7, 2)), [], "4 by 2 at once is 2");
    assert_eq!(
        claims(&bench.wake(FAR_GATEWAY, 7, u32::MAX)),
        [(7, 2, 1, 5)],
        "never more than the version may have"
    );
    assert_eq!(
        bench.wake(GATEWAY, 7, 2),
        [told(GATEWAY, 7, WakeOutcome::Coming)]
    );
}

#[test]
fn a_great_demand_claims_several_slots_at_once() {
    let mut bench = bench();
    let effects = bench.wake(GATEWAY, 7, 6);
    let expected = [(7, 0, 1, 5), (7, 1, 1, 5), (7, 2, 1, 5)];
    assert_eq!(claims(&effects), expected);
    assert_eq!(outcomes(&effects), [WakeOutcome::Coming]);
}

#[test]
fn a_wake_without_demand_wants_one() {
    let mut bench = bench();
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 0)), [(7, 0, 1, 5)]);
}

#[test]
fn the_last_report_of_a_sender_counts_for_ten_seconds() {
    let mut bench = bench();
    let first = bench.wake(GATEWAY, 7, 2);
    bench.apply(&first);
    bench.live(9_999);
    assert_eq!(claims(&bench.wake(SISTER, 7, 1)), [(7, 1, 1, 5)]);

    let mut bench = self::bench();
    let first = bench.wake(GATEWAY, 7, 2);
    bench.apply(&first);
    bench.live(10_000);
    assert_eq!(claims(&bench.wake(SISTER, 7, 1)), []);
}

#[test]
fn versions_are_admitted_in_the_order_of_their_first_wake() {
    let mut bench = hostless();
    for version in [8, 7, 9, 8] {
        let expected = [WAITS, told(GATEWAY, version, WakeOutcome::NoCapacity)];
        assert_eq!(bench.wake(GATEWAY, version, 1), expected);
    }
    assert_eq!(
        claims(&bench.store(&[host(5, 2)])),
        [(8, 0, 1, 5), (7, 0, 1, 5)]
    );
    assert_eq!(claims(&bench.store(&[host(6, 2)])), [(9, 0, 1, 6)]);
    assert_eq!(bench.store(&[host(4, 2)]), []);
}

#[test]
fn capacity_appears_when_a_slot_is_freed() {
    let mut bench = hostless();
    bench.store(&[host(5, 1), running(9, 0, 1, 5)]);
    bench.wake(GATEWAY, 7, 1);
    assert_eq!(
        claims(&bench.store(&[slot(9, 0, 1, SlotState::Stopping, 5)])),
        []
    );
    assert_eq!(claims(&bench.store(&[free(9, 0, 1)])), [(7, 0, 1, 5)]);
}

#[test]
fn a_draining_host_has_no_room() {
    let mut bench = hostless();
    let (key, record) = host(5, 1);
    let Record::Host(mut record) = record else {
        panic!("a host");
    };
    record.state = HostState::Draining.into();
    bench.store(&[(key, Record::Host(record))]);
    assert_eq!(
        outcomes(&bench.wake(GATEWAY, 7, 1)),
        [WakeOutcome::NoCapacity]
    );
}

#[test]
fn growth_without_room_waits_but_what_runs_is_coming() {
    let mut bench = bench();
    bench.store(&[host(5, 1), running(7, 0, 1, 5)]);
    assert_eq!(
        bench.wake(GATEWAY, 7, 4),
        [told(GATEWAY, 7, WakeOutcome::Coming)]
    );
    assert_eq!(claims(&bench.store(&[host(6, 1)])), [(7, 1, 1, 6)]);
}

#[test]
fn a_version_without_a_free_slot_is_full() {
    let mut bench = hostless();
    bench.store(&[slot(7, 0, 1, SlotState::Stopping, 5)]);
    assert_eq!(
        bench.wake(GATEWAY, 7, 1),
        [told(GATEWAY, 7, WakeOutcome::Full)]
    );
}

#[test]
fn a_version_without_a_record_is_unknown() {
    let mut bench = hostless();
    let unknown = |version| vec![told(GATEWAY, version, WakeOutcome::Unknown)];
    assert_eq!(bench.wake(GATEWAY, 1, 1), unknown(1));
    bench.feed(&[(Key::Version(7), None)]);
    assert_eq!(bench.wake(GATEWAY, 7, 1), unknown(7));
}

#[test]
fn a_waiting_version_that_is_removed_leaves_the_queue() {
    let mut bench = hostless();
    bench.wake(GATEWAY, 7, 1);
    bench.feed(&[(Key::Version(7), None)]);
    assert_eq!(bench.store(&[host(5, 1)]), []);
}

#[test]
fn a_scheduler_that_is_not_active_says_so() {
    let mut bench = Bench::standby();
    assert_eq!(
        bench.wake(GATEWAY, 7, 1),
        [told(GATEWAY, 7, WakeOutcome::NotActive)]
    );
}

#[test]
fn an_entry_that_nobody_asks_for_leaves_after_ten_seconds() {
    let mut bench = hostless();
    bench.wake(GATEWAY, 7, 1);
    bench.wake(GATEWAY, 8, 1);
    bench.pass(9_000);
    bench.wake(GATEWAY, 8, 1);
    bench.pass(1_000);
    assert_eq!(claims(&bench.store(&[host(5, 2)])), [(8, 0, 1, 5)]);
}

#[test]
fn a_full_queue_refuses_and_stale_entries_behind_a_fresh_one_make_room() {
    let mut config = SchedulerConfig::new(ME, STORE);
    config.queue_max = 2;
    let region = [7, 8, 9].map(|v| [version(v), free(v, 0, 0)]).concat();
    let mut bench = Bench::active_with(config, &region);
    bench.wake(GATEWAY, 7, 1);
    bench.wake(GATEWAY, 8, 1);
    let full = Effect::Note(Note::Full { queue: "wakes" });
    let refused = [full, told(GATEWAY, 9, WakeOutcome::NoCapacity)];
    assert_eq!(bench.wake(GATEWAY, 9, 1), refused);
    for _ in 0..6 {
        bench.pass(2_000);
        bench.wake(GATEWAY, 7, 1);
    }
    let waits = [WAITS, told(GATEWAY, 9, WakeOutcome::NoCapacity)];
    assert_eq!(bench.wake(GATEWAY, 9, 1), waits);
    assert_eq!(
        claims(&bench.store(&[host(5, 5)])),
        [(7, 0, 1, 5), (9, 0, 1, 5)]
    );
}

#[test]
fn capacity_appears_when_a_silent_host_beats_again_or_a_host_grows() {
    let mut bench = hostless();
    bench.store(&[host(5, 1)]);
    bench.host_dies(5);
    bench.live(31_000);
    assert_eq!(
        outcomes(&bench.wake(GATEWAY, 7, 1)),
        [WakeOutcome::NoCapacity]
    );
    assert_eq!(claims(&bench.store(&[host(5, 1)])), [(7, 0, 1, 5)]);
    assert_eq!(
        outcomes(&bench.wake(GATEWAY, 8, 1)),
        [WakeOutcome::NoCapacity]
    );
    assert_eq!(bench.store(&[host(5, 1)]), [], "a heartbeat is no room");
    assert_eq!(claims(&bench.store(&[host(5, 2)])), [(8, 0, 1, 5)]);
}
