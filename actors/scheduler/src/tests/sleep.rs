//! Versions that are put to sleep, and what keeps them awake.

use tidegate_protocol::{Key, SlotState, VersionSpec};

use super::bench::{Bench, commits_in};
use super::words::*;

/// Active, with version 7 running twice on host 5, a gateway of two actors, and one of one.
fn bench() -> Bench {
    bench_of(spec(7))
}

fn bench_of(spec: VersionSpec) -> Bench {
    let mut bench = Bench::active(&[
        version_of(spec),
        running(7, 0, 1, 5),
        running(7, 1, 1, 5),
        free(7, 2, 0),
        route("app7", 7),
        host(5, 10),
        gateway(2, 2),
        gateway(3, 1),
    ]);
    bench.reporters = vec![GATEWAY, SISTER, FAR_GATEWAY];
    bench
}

const ASLEEP: [(u64, u32, u64, SlotState); 2] = [
    (7, 1, 1, SlotState::Stopping),
    (7, 0, 1, SlotState::Stopping),
];

#[test]
fn an_idle_version_stops_whole_the_highest_slot_first() {
    let mut bench = bench();
    assert_eq!(bench.live(59_000), []);
    let effects = bench.live(2_000);
    let commits = commits_in(&effects);
    let [(first, _), (second, _)] = commits.as_slice() else {
        panic!("two slots: {effects:?}");
    };
    let stopping = |id, index| {
        let key = slot_key(7, index).to_string();
        let record = slot(7, index, 1, SlotState::Stopping, 5);
        commit(id, txn(&[bench.fence(), (&key, 1)], &[record]))
    };
    let expected = [
        stopping(*first, 1),
        stop(5, instance(7, 1, 1), Some(*first)),
        stopping(*second, 0),
        stop(5, instance(7, 0, 1), Some(*second)),
    ];
    assert_eq!(effects, expected);
}

#[test]
fn a_version_that_a_gateway_names_stays() {
    let mut bench = bench();
    bench.busy = vec![7];
    assert_eq!(bench.live(300_000), []);
    bench.busy = vec![8];
    assert_eq!(bench.live(54_000), []);
    assert_eq!(slots_written(&bench.live(3_000)), ASLEEP);
}

#[test]
fn a_wake_is_use() {
    let mut bench = bench();
    bench.live(50_000);
    bench.wake(GATEWAY, 7, 1);
    assert_eq!(bench.live(59_000), []);
    assert_eq!(slots_written(&bench.live(2_000)), ASLEEP);
}

#[test]
fn each_instance_gets_its_minimum_life() {
    let mut bench = bench_of(VersionSpec {
        idle_ms: 1_000,
        lifetime_min_ms: 100_000,
        ..spec(7)
    });
    bench.live(50_000);
    bench.store(&[running(7, 2, 1, 5)]);
    assert_eq!(bench.live(99_000), []);
    assert_eq!(slots_written(&bench.live(2_000)).len(), 3);
}

#[test]
fn a_start_under_way_keeps_the_version_awake() {
    let mut bench = bench();
    bench.live(40_000);
    bench.store(&[starting(7, 2, 1, 5)]);
    assert_eq!(bench.live(30_000), []);
}

#[test]
fn one_gateway_actor_that_does_not_report_keeps_everything_awake() {
    for silent in 0..3 {
        let mut bench = bench();
        bench.reporters.remove(silent);
        assert_eq!(bench.live(300_000), []);
    }
}

#[test]
fn a_gateway_that_is_gone_need_not_report() {
    let mut bench = bench();
    bench.reporters.pop();
    bench.dies(&Key::Gateway(FAR_GATEWAY.node));
    assert_eq!(bench.live(102_000), [], "45 s of silence, then idle");
    assert_eq!(slots_written(&bench.live(4_000)), ASLEEP);
}

#[test]
fn without_any_live_gateway_nothing_is_known() {
    let mut bench = bench();
    bench.reporters.clear();
    bench.dies(&Key::Gateway(GATEWAY.node));
    bench.dies(&Key::Gateway(FAR_GATEWAY.node));
    assert_eq!(bench.live(300_000), []);
}

#[test]
fn what_a_gateway_saw_while_it_could_not_report_may_have_been_use() {
    let mut bench = bench();
    bench.live(40_000);
    let reporters = bench.reporters.clone();
    bench.reporters.pop();
    bench.live(30_000);
    bench.reporters = reporters;
    assert_eq!(bench.live(59_000), [], "idle counts from the next report");
    assert_eq!(slots_written(&bench.live(3_000)), ASLEEP);
}

#[test]
fn a_new_active_scheduler_counts_idle_time_from_its_election() {
    let mut bench = Bench::standby();
    bench.store(&[lease(OTHER, 1, 0), fence(OTHER, 1)]);
    bench.store(&[
        version(7),
        running(7, 0, 1, 5),
        running(7, 1, 1, 5),
        host(5, 10),
        gateway(2, 1),
    ]);
    for beat in 1..=40 {
        bench.store(&[lease(OTHER, 1, beat)]);
        assert_eq!(bench.live(5_000), []);
    }
    bench.reporters = vec![GATEWAY];
    bench.elect();
    assert_eq!(bench.live(59_000), []);
    assert_eq!(slots_written(&bench.live(2_000)), ASLEEP);
}

#[test]
fn a_version_that_never_sleeps_does_not() {
    let mut bench = bench_of(VersionSpec {
        idle_ms: 0,
        ..spec(7)
    });
    assert_eq!(bench.live(300_000), []);
}

#[test]
fn a_version_that_lost_its_route_is_kept_for_the_rollback_window() {
    const MINUTE: u64 = 60_000;
    let mut bench = bench();
    bench.live(10_000);
    bench.store(&[route("app7", 8)]);
    assert_eq!(bench.live(30 * MINUTE - 5_000), []);
    assert_eq!(slots_written(&bench.live(8_000)), ASLEEP);
}

#[test]
fn the_rollback_window_ends_with_the_rollback() {
    let mut bench = bench();
    bench.store(&[route("app7", 8)]);
    bench.store(&[route("app7", 7)]);
    assert_eq!(slots_written(&bench.live(62_000)), ASLEEP);
}

#[test]
fn what_a_removed_version_runs_is_stopped() {
    let mut bench = bench();
    bench.store(&[starting(7, 2, 1, 5), slot(7, 1, 1, SlotState::Stopping, 5)]);
    let effects = bench.feed(&[(Key::Version(7), None)]);
    assert_eq!(
        slots_written(&effects),
        [
            (7, 2, 1, SlotState::Stopping),
            (7, 0, 1, SlotState::Stopping)
        ]
    );
}

#[test]
fn a_stop_that_is_lost_is_decided_anew() {
    let mut bench = bench();
    let effects = bench.feed(&[(Key::Version(7), None)]);
    assert_eq!(commits_in(&effects).len(), 2);
    let again = bench.live(7_000);
    assert_eq!(slots_written(&again), ASLEEP);
}

#[test]
fn a_gateway_that_comes_back_has_to_report_anew() {
    let mut bench = bench();
    bench.live(55_000);
    bench.reporters.pop();
    bench.feed(&[(Key::Gateway(FAR_GATEWAY.node), None)]);
    bench.store(&[gateway(3, 1)]);
    assert_eq!(bench.live(10_000), []);
}
