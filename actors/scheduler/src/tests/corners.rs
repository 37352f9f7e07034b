//! What holds only at a bound, or for who looks from outside.

use tidegate_kernel::{Actor as _, Load, Now};
use tidegate_protocol::{HostRecord, HostState, Key, NodeId, Record};

use super::bench::{Bench, commits_in};
use super::words::*;
use crate::SchedulerConfig;
use crate::view::View;

/// The records of the slots that effects write.
fn endpoints_written(effects: &[tidegate_kernel::Effect]) -> Vec<String> {
    let mut endpoints = Vec::new();
    for write in commits_in(effects).into_iter().flat_map(|(_, t)| t.writes) {
        let key = Key::parse(&write.key).unwrap();
        if let Record::Slot(slot) = Record::parse(&key, &write.value.unwrap()).unwrap() {
            endpoints.push(slot.endpoint);
        }
    }
    endpoints
}

fn with_endpoint((key, record): (Key, Record)) -> (Key, Record) {
    let Record::Slot(mut slot) = record else {
        panic!("{record:?}");
    };
    slot.endpoint = "127.0.0.1:4000".into();
    (key, Record::Slot(slot))
}

#[test]
fn a_claim_and_a_reclaim_forget_where_the_slot_was_reached() {
    let records = [version(7), with_endpoint(free(7, 0, 0)), host(5, 10)];
    let mut bench = Bench::active(&records);
    assert_eq!(endpoints_written(&bench.wake(GATEWAY, 7, 1)), [""]);

    let records = [version(7), with_endpoint(running(7, 0, 3, 5)), host(5, 10)];
    let mut bench = Bench::active(&records);
    bench.host_dies(5);
    assert_eq!(endpoints_written(&bench.live(30_000)), [""]);
}

#[test]
fn only_a_scheduler_with_something_to_look_after_ticks() {
    let reason = |bench: &Bench| bench.scheduler.next_deadline().unwrap().1;
    let standby = Bench::standby();
    assert_ne!(reason(&standby), "tick");
    let idle = Bench::active(&[version(7), free(7, 0, 0), host(5, 10)]);
    assert!(!idle.scheduler.needs_tick());
    let awake = Bench::active(&[version(7), running(7, 0, 3, 5), host(5, 10)]);
    assert!(awake.scheduler.needs_tick());
    let mut waiting = Bench::active(&[version(7), free(7, 0, 0)]);
    waiting.wake(GATEWAY, 7, 1);
    assert!(waiting.scheduler.needs_tick());
    assert_eq!(waiting.scheduler.load(), [Load::new("wakes", 1, 1_024)]);
    let mut claiming = Bench::active(&[version(7), free(7, 0, 0), host(5, 10)]);
    claiming.wake(GATEWAY, 7, 1);
    assert!(claiming.scheduler.needs_tick());
}

#[test]
#[should_panic(expected = "only the active scheduler")]
fn a_queue_of_a_standby_breaks_an_invariant() {
    let mut bench = Bench::active(&[version(7), free(7, 0, 0)]);
    bench.wake(GATEWAY, 7, 1);
    let standby = Bench::standby();
    bench.scheduler.election = standby.scheduler.election;
    bench.scheduler.check();
}

#[test]
#[should_panic(expected = "occupied slots")]
fn a_slot_that_no_host_counts_breaks_an_invariant() {
    let mut bench = Bench::active(&[version(7), running(7, 0, 3, 5), host(5, 10)]);
    let index = bench.scheduler.view.versions.get_mut(&7).unwrap();
    index.slots.clear();
    bench.scheduler.view.check();
}

#[test]
fn a_host_is_news_when_it_is_new_returns_or_changes() {
    let config = SchedulerConfig::new(ME, STORE);
    let mut view = View::default();
    let record = |beat, state: HostState| HostRecord {
        beat,
        state: state.into(),
        ..HostRecord::default()
    };
    let mut is_news = |seconds: u64, beat, state| {
        let now = Now::at_ms(seconds * 1_000);
        view.set_host(now, NodeId(5), Some(record(beat, state)), &config)
    };
    assert!(is_news(0, 1, HostState::Active));
    assert!(!is_news(5, 2, HostState::Active));
    assert!(!is_news(34, 3, HostState::Active));
    assert!(is_news(64, 4, HostState::Active), "it returned");
    assert!(is_news(65, 5, HostState::Draining));
}

#[test]
fn a_former_version_is_kept_awake_for_the_rollback_window_only() {
    let config = SchedulerConfig::new(ME, STORE);
    let mut view = View::default();
    let window = config.rollback_window;
    view.set_spec(7, Some(spec(7)), &config);
    view.set_route(Now::at_ms(0), "app", Some(7), &config);
    let end = Now::at_ms(0).mono + window;
    let routed = view.version_mut(7, &config);
    assert!(!routed.may_be_rolled_back_to(Now::at_ms(0).mono, window));
    view.set_route(Now::at_ms(0), "app", Some(8), &config);
    let version = view.version_mut(7, &config);
    assert!(version.may_be_rolled_back_to(Now::at_ms(0).mono, window));
    assert!(!version.may_be_rolled_back_to(end, window));
}

#[test]
fn instances_that_run_keep_others_of_their_version_out_of_their_zone() {
    // By its occupied share, host 5 would come first.
    let mut bench = Bench::active(&[
        version(7),
        version(8),
        running(7, 0, 1, 5),
        free(7, 1, 0),
        running(8, 0, 1, 6),
        host_in(5, "a", 100),
        host_in(6, "b", 10),
    ]);
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 3)), [(7, 1, 1, 6)]);
}

#[test]
fn a_claim_that_was_fed_and_answered_counts_once() {
    let mut bench = Bench::active(&[version(7), free(7, 0, 0), free(7, 1, 0), host(5, 10)]);
    let claim = bench.wake(GATEWAY, 7, 1);
    assert_eq!(claims(&claim), [(7, 0, 1, 5)]);
    bench.apply(&claim);
    assert_eq!(claims(&bench.wake(GATEWAY, 7, 3)), [(7, 1, 1, 5)]);
}

#[test]
fn a_slot_that_is_free_forgives_nothing() {
    let mut bench = Bench::active(&[version(7), free(7, 0, 0), free(7, 1, 0), host(5, 10)]);
    let claim = bench.wake(GATEWAY, 7, 1);
    bench.apply(&claim);
    bench.message(metald(5), failed(instance(7, 0, 1), "exit code 1"));
    bench.live(120_000);
    bench.store(&[free(7, 0, 1)]);
    assert!(bench.scheduler.view.versions[&7].failure.is_some());
}
