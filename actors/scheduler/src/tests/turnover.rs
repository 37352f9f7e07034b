//! From one active scheduler to the next.

use tidegate_kernel::{Effect, Note};
use tidegate_protocol::{Key, SlotState, WakeOutcome};

use super::bench::{Bench, commit_in, commits_in};
use super::words::*;
use crate::SchedulerConfig;

#[test]
fn a_new_active_scheduler_repeats_the_orders_of_the_former_one() {
    let mut bench = Bench::with(SchedulerConfig::new(ME, STORE));
    bench.store(&[
        version(7),
        starting(7, 0, 3, 5),
        running(7, 1, 2, 5),
        slot(7, 2, 8, SlotState::Stopping, 6),
        host(5, 10),
        host(6, 10),
    ]);
    assert_eq!(
        bench.elect(),
        [
            Effect::Note(Note::Elected { epoch: 1 }),
            provision(5, slot_record(7, 0, 3, SlotState::Starting, 5), None),
            stop(6, instance(7, 2, 8), None),
        ]
    );
}

#[test]
fn a_new_active_scheduler_stops_what_lost_its_version_meanwhile() {
    let mut bench = Bench::with(SchedulerConfig::new(ME, STORE));
    bench.store(&[starting(7, 0, 3, 5), host(5, 10)]);
    let effects = bench.elect();
    assert_eq!(slots_written(&effects), [(7, 0, 3, SlotState::Stopping)]);
}

#[test]
fn an_election_in_the_middle_of_a_feed_message_acts_on_all_of_it() {
    let mut bench = Bench::with(SchedulerConfig::new(ME, STORE));
    bench.store(&[version(7), starting(7, 0, 3, 5), host(5, 10)]);
    let (_, txn) = commit_in(&bench.pass(0));
    let (key, record) = running(7, 0, 3, 5);
    let feed = bench.commit(&[txn.writes, vec![write(&key, &record)]]);
    assert_eq!(
        bench.deliver(feed),
        [Effect::Note(Note::Elected { epoch: 1 })],
        "the instance needs no order any more"
    );
}

#[test]
fn a_deposed_scheduler_drops_its_queue_and_what_it_waits_for() {
    let mut bench = Bench::active(&[
        version(7),
        version(8),
        free(7, 0, 0),
        free(8, 0, 0),
        host(5, 1),
    ]);
    let commits = commits_in(&bench.wake(GATEWAY, 7, 1));
    assert_eq!(
        outcomes(&bench.wake(GATEWAY, 8, 1)),
        [WakeOutcome::NoCapacity]
    );
    assert_eq!(
        bench.store_at_once(&[lease(OTHER, 2, 0), fence(OTHER, 2)]),
        [
            Effect::Note(Note::Deposed { epoch: 1 }),
            Effect::Forget(commits[0].0)
        ]
    );
    assert_eq!(bench.store(&[host(6, 10)]), []);
    bench.elect();
    assert_eq!(bench.store(&[host(6, 10)]), [], "the queue is empty");
    assert_eq!(claims(&bench.wake(GATEWAY, 8, 1)), [(8, 0, 1, 5)]);
}

#[test]
fn the_stops_of_a_former_term_do_not_bind_the_next() {
    let mut bench = Bench::active(&[version(7), running(7, 0, 1, 5), host(5, 1)]);
    let first = commit_in(&bench.feed(&[(Key::Version(7), None)]));
    bench.store_at_once(&[lease(OTHER, 2, 0), fence(OTHER, 2)]);
    let effects = bench.elect();
    let second = commit_in(&effects);
    assert_ne!(first.0, second.0);
    assert_eq!(slots_written(&effects).len(), 1);
}

#[test]
fn a_version_that_is_gone_leaves_nothing_behind_in_whatever_order_it_went() {
    let gone = [
        (Key::Version(7), None),
        (slot_key(7, 0), None),
        (Key::Route("app7".into()), None),
    ];
    for first in 0..gone.len() {
        let mut bench = Bench::active(&[version(7), free(7, 0, 0), route("app7", 7)]);
        bench.wake(GATEWAY, 7, 1);
        for step in 0..gone.len() {
            bench.feed(&gone[(first + step) % gone.len()..][..1]);
        }
        assert!(bench.scheduler.view.versions.is_empty());
        assert_eq!(bench.pass(20_000), []);
    }
}
