//! Stopping what runs, gently.

use tidegate_kernel::{DriverCommand, Effect, Event};
use tidegate_protocol::{InstanceState, Record, SlotState, VersionSpec, limits};

use super::{rig::Rig, words::*};

#[test]
fn a_stopping_instance_is_a_lame_duck_then_ends_then_frees_its_slot() {
    let mut rig = Rig::running(1);
    assert_eq!(
        rig.put_slot(stopping_slot(1)),
        [note(1, InstanceState::Stopping, "its slot is stopping")]
    );
    assert_eq!(rig.until(1_999), []);
    assert_eq!(rig.until(2_000), [(2_000, terminate(1))]);
    assert_eq!(
        rig.report_exited(1, "exit code 0"),
        [
            note(1, InstanceState::Stopped, "exit code 0"),
            rig.commit(1 + 1, free_slot(1)),
        ]
    );
    assert_eq!(rig.put_slot(free_slot(1)), []);
    assert_eq!(rig.until(60_000), []);
}

#[test]
fn a_message_ahead_of_the_feed_stops_it_as_well() {
    let mut rig = Rig::running(1);
    assert_eq!(
        rig.stop(1),
        [note(1, InstanceState::Stopping, "the scheduler stops it")]
    );
    assert_eq!(rig.stop(1), [], "once");
    assert_eq!(rig.put_slot(stopping_slot(1)), []);
    assert_eq!(rig.until(2_000), [(2_000, terminate(1))]);
}

#[test]
fn what_never_took_traffic_is_ended_at_once() {
    let mut rig = Rig::starting(1);
    assert_eq!(
        rig.put_slot(slot(1, SlotState::Stopping)),
        [
            note(1, InstanceState::Stopping, "its slot is stopping"),
            terminate(1),
        ]
    );
    let mut rig = Rig::making(1);
    assert_eq!(
        rig.put_slot(slot(1, SlotState::Stopping)),
        [
            note(1, InstanceState::Stopping, "its slot is stopping"),
            kill(1),
        ]
    );
    assert_eq!(
        rig.report_exited(1, "signal 9"),
        [
            note(1, InstanceState::Stopped, "signal 9"),
            rig.commit(1, free_slot(1)),
        ]
    );
}

#[test]
fn what_the_driver_never_heard_of_frees_its_slot_at_once() {
    let mut rig = Rig::serving();
    rig.put_slot(slot(1, SlotState::Starting));
    let effects = rig.put_slot(slot(1, SlotState::Stopping));
    assert_eq!(
        effects,
        [
            note(1, InstanceState::Stopped, "its slot is stopping"),
            rig.commit(1, free_slot(1)),
        ]
    );
    assert_eq!(rig.artifact_arrives(), [], "nobody waits for it any more");
}

#[test]
fn grace_is_bounded_whatever_the_version_says() {
    let mut rig = Rig::serving();
    let patient = VersionSpec {
        stop_grace_ms: u64::MAX,
        ..spec(VERSION)
    };
    let key = tidegate_protocol::Key::Version(VERSION);
    rig.put(key, Record::Version(patient));
    rig.put_slot(slot(1, SlotState::Starting));
    rig.artifact_arrives();
    rig.report_started(1);
    rig.put_slot(slot(1, SlotState::Stopping));
    let end = limits::STOP_GRACE_MS_MAX;
    assert_eq!(rig.until(end), [(end, kill(1))]);
}

#[test]
fn what_ignores_being_asked_is_killed_until_it_is_gone() {
    let mut rig = Rig::running(1);
    rig.put_slot(stopping_slot(1));
    assert_eq!(
        rig.until(42_000),
        [
            (2_000, terminate(1)),
            (32_000, kill(1)),
            (37_000, kill(1)),
            (37_000, Effect::Driver(DriverCommand::Inventory)),
            (42_000, kill(1)),
            (42_000, Effect::Driver(DriverCommand::Inventory)),
        ]
    );
    assert_eq!(rig.inventory(&[instance(1)]), [], "it is still there");
    assert_eq!(
        rig.report_exited(1, "signal 9"),
        [
            note(1, InstanceState::Stopped, "signal 9"),
            rig.commit(2, free_slot(1)),
        ]
    );
}

#[test]
fn a_timer_that_fires_late_kills_again_all_the_same() {
    let mut rig = Rig::running(1);
    rig.put_slot(stopping_slot(1));
    rig.until(36_999);
    rig.now_ms += 2;
    let inventory = Effect::Driver(DriverCommand::Inventory);
    assert_eq!(rig.event(Event::Timer), [kill(1), inventory]);
}

#[test]
fn an_end_that_nobody_reported_is_seen_in_the_inventory() {
    let mut rig = Rig::running(1);
    rig.put_slot(stopping_slot(1));
    rig.until(32_000);
    assert_eq!(rig.inventory(&[]), [], "asked for before the second kill");
    rig.until(37_000);
    assert_eq!(
        rig.inventory(&[]),
        [
            note(1, InstanceState::Stopped, "nothing of it is left"),
            rig.commit(2, free_slot(1)),
        ]
    );
}

#[test]
fn a_lame_duck_that_ends_by_itself_is_stopped() {
    let mut rig = Rig::running(1);
    rig.put_slot(stopping_slot(1));
    assert_eq!(
        rig.report_exited(1, "exit code 1"),
        [
            note(1, InstanceState::Stopped, "exit code 1"),
            rig.commit(2, free_slot(1)),
        ]
    );
}
