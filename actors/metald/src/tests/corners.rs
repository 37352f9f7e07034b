//! What metald tells of itself, and what it must never come to.

use tidegate_kernel::{Actor as _, Duration, Load};

use super::rig::Rig;
use crate::alarms::Subject;

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
