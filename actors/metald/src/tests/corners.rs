//! What metald tells of itself, and what it must never come to.

use tidegate_kernel::{Actor as _, Duration, Load};

use tidegate_protocol::SlotState;

use super::rig::Rig;
use super::words::{instance, slot};
use crate::alarms::Subject;
use crate::recovery::Phase;

/// Epochs of the instances that are to run.
fn wanted(rig: &Rig) -> Vec<u64> {
    let lives = rig.metald.instances.iter();
    let wanted = lives.filter(|(_, instance)| instance.state.is_wanted());
    wanted.map(|(life, _)| life.epoch).collect()
}

#[test]
fn the_load_is_that_of_its_fetcher_and_of_log_reads() {
    let rig = Rig::running(1);
    let load = rig.metald.load();
    let queues: Vec<_> = load.iter().map(|load| load.queue).collect();
    let expected = [
        "artifacts",
        "artifacts in work",
        "checks of blobs",
        "transfers",
        "log reads",
    ];
    assert_eq!(queues, expected);
    let reads = rig.metald.config.log_reads_max;
    assert_eq!(load[4], Load::new("log reads", 0, reads));
}

#[test]
fn hosts_that_start_together_do_not_beat_together() {
    let mut rig = Rig::started();
    let period = Duration::from_secs(10);
    let drawn: Vec<Duration> = (0..10).map(|_| rig.metald.draw_offset(period)).collect();
    assert!(drawn.iter().all(|d| *d > Duration::ZERO && *d <= period));
    assert!(drawn.windows(2).all(|pair| pair[0] != pair[1]), "{drawn:?}");
}

#[test]
#[should_panic(expected = "is woken when it has to be")]
fn an_instance_without_its_alarm_breaks_an_invariant() {
    let mut rig = Rig::running(1);
    let lives: Vec<_> = rig.metald.instances.keys().copied().collect();
    rig.metald.alarms.set(Subject::Instance(lives[0]), None);
    rig.metald.check();
}

#[test]
#[should_panic(expected = "HostBeat")]
fn a_host_that_will_not_beat_breaks_an_invariant() {
    let mut rig = Rig::running(1);
    rig.metald.alarms.set(Subject::HostBeat, None);
    rig.metald.check();
}

#[test]
fn what_starts_while_it_recovers_is_known_by_its_newest_word() {
    let mut rig = Rig::started();
    rig.inventory(&[instance(1), instance(2)]);
    rig.report_started(1);
    let mut left: Vec<_> = match &rig.metald.phase {
        Phase::Recovering { inventory } => {
            let found = inventory.as_deref().unwrap_or_default();
            found.iter().map(|i| i.instance.epoch).collect()
        }
        Phase::Serving => panic!("the store has not answered"),
    };
    left.sort_unstable();
    assert_eq!(left, [1, 2]);
}

#[test]
fn an_instance_that_was_announced_ends_when_the_slot_goes_on_elsewhere() {
    let mut rig = Rig::serving();
    rig.provision(slot(1, SlotState::Starting));
    assert_eq!(wanted(&rig), [1]);
    let mut elsewhere = slot(2, SlotState::Starting);
    elsewhere.host += 1;
    rig.put_slot(elsewhere);
    assert_eq!(wanted(&rig), [0; 0]);
}

#[test]
fn an_end_that_is_told_twice_is_reported_once() {
    let mut rig = Rig::running(1);
    assert_ne!(rig.report_exited(1, "exit code 1"), []);
    assert_eq!(rig.report_exited(1, "exit code 1"), []);
}
