//! What a restarted metald adopts, ends, and gives back.

use tidegate_kernel::DriverReport;
use tidegate_protocol::{InstanceRef, InstanceState, Key, Record, SlotRecord, SlotState};

use super::{rig::Rig, words::*};

/// The region with slot 0 as given.
fn region_with(slot: SlotRecord) -> Vec<(Key, Record)> {
    let key = key(&slot);
    let mut records = region();
    records.retain(|(k, _)| *k != key);
    records.push((key, Record::Slot(slot)));
    records
}

/// What a metald does that comes back to this slot and this instance.
fn recover(slot: SlotRecord, found: &[InstanceRef]) -> (Rig, Vec<tidegate_kernel::Effect>) {
    let mut rig = Rig::started();
    assert_eq!(rig.snapshot(region_with(slot)), []);
    let effects = rig.inventory(found);
    (rig, effects)
}

#[test]
fn nothing_is_touched_before_both_sides_have_spoken() {
    let adopted = [note(1, InstanceState::Running, "adopted")];
    let mut rig = Rig::started();
    assert_eq!(rig.provision(slot(2, SlotState::Starting)), []);
    assert_eq!(rig.stop(1), []);
    assert_eq!(rig.snapshot(region_with(running_slot(1))), []);
    assert_eq!(rig.inventory(&[instance(1)]), adopted);

    let mut rig = Rig::started();
    assert_eq!(rig.inventory(&[instance(1)]), []);
    assert_eq!(rig.snapshot(region_with(running_slot(1))), adopted);
}

#[test]
fn a_mirror_that_was_loaded_but_is_no_longer_live_is_not_believed() {
    let mut rig = Rig::started();
    rig.snapshot(region_with(running_slot(1)));
    rig.until_without_store(20_000);
    assert_eq!(rig.inventory(&[instance(1)]), []);
    assert!(!rig.metald.is_ready());
    assert_eq!(
        rig.put_slot(running_slot(1)),
        [note(1, InstanceState::Running, "adopted")]
    );
}

#[test]
fn the_driver_is_asked_until_it_answers() {
    let mut rig = Rig::started();
    let ask = || driver(tidegate_kernel::DriverCommand::Inventory);
    let asked = rig.until_without_store(10_000);
    assert_eq!(asked, [(5_000, ask()), (10_000, ask())]);
    rig.inventory(&[]);
    assert_eq!(rig.until_without_store(60_000), []);
}

#[test]
fn an_adopted_instance_that_was_starting_goes_on_being_checked() {
    let (mut rig, effects) = recover(slot(1, SlotState::Starting), &[instance(1)]);
    assert_eq!(effects, [note(1, InstanceState::Starting, "adopted")]);
    assert_eq!(rig.until(0), [(0, check(1))]);
    assert_eq!(
        rig.report_checked(1, true),
        [
            note(1, InstanceState::Running, ""),
            rig.commit(1, running_slot(1)),
        ]
    );
}

#[test]
fn an_adopted_instance_that_was_running_is_checked_at_once_and_then_as_ever() {
    let (mut rig, _) = recover(running_slot(1), &[instance(1)]);
    assert_eq!(rig.until(0), [(0, check(1))]);
    assert_eq!(rig.report_checked(1, true), []);
    assert_eq!(rig.until(10_000), [(10_000, check(1))]);
}

#[test]
fn an_adopted_instance_on_another_endpoint_says_so() {
    let moved = SlotRecord {
        endpoint: "10.0.0.7:1".into(),
        ..running_slot(1)
    };
    let (rig, effects) = recover(moved, &[instance(1)]);
    assert_eq!(
        effects,
        [
            note(1, InstanceState::Running, "adopted"),
            rig.commit(1, running_slot(1)),
        ]
    );
}

#[test]
fn an_adopted_instance_whose_slot_is_stopping_is_stopped() {
    let (mut rig, effects) = recover(stopping_slot(1), &[instance(1)]);
    assert_eq!(
        effects,
        [
            note(1, InstanceState::Running, "adopted"),
            note(1, InstanceState::Stopping, "its slot is stopping"),
        ]
    );
    assert_eq!(rig.until(2_000), [(2_000, terminate(1))]);
}

#[test]
fn an_instance_whose_slot_moved_on_is_ended_and_the_slot_left_alone() {
    let reason = "its slot is no longer its own";
    let elsewhere = SlotRecord {
        host: OTHER_HOST.0,
        ..running_slot(1)
    };
    for slot in [elsewhere, free_slot(1), free_slot(0)] {
        let (mut rig, effects) = recover(slot, &[instance(1)]);
        assert_eq!(
            effects,
            [terminate(1), note(1, InstanceState::Stopping, reason)]
        );
        assert_eq!(
            rig.report_exited(1, "exit code 0"),
            [note(1, InstanceState::Stopped, "exit code 0")]
        );
    }
}

#[test]
fn an_instance_whose_version_is_gone_is_ended_and_its_slot_freed() {
    let mut rig = Rig::started();
    let mut records = region_with(running_slot(1));
    records.retain(|(key, _)| *key != Key::Version(VERSION));
    rig.snapshot(records);
    assert_eq!(
        rig.inventory(&[instance(1)]),
        [
            terminate(1),
            note(1, InstanceState::Stopping, "its version is gone"),
        ]
    );
    assert_eq!(
        rig.until(10_000),
        [(10_000, kill(1))],
        "its grace is unknown"
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
fn of_two_instances_of_a_slot_only_its_own_is_adopted() {
    let (mut rig, effects) = recover(running_slot(3), &[instance(1), instance(3)]);
    assert_eq!(
        effects,
        [
            terminate(1),
            note(1, InstanceState::Stopping, "its slot is no longer its own"),
            note(3, InstanceState::Running, "adopted"),
        ]
    );
    assert_eq!(
        rig.report_exited(1, "exit code 0"),
        [note(1, InstanceState::Stopped, "exit code 0")]
    );
}

#[test]
fn what_was_lost_in_the_restart_is_given_back() {
    let (rig, effects) = recover(running_slot(1), &[]);
    let lost = "it was lost in a restart of the host";
    assert_eq!(
        effects,
        [
            note(1, InstanceState::Stopped, lost),
            rig.commit(1, free_slot(1)),
        ]
    );
    let (rig, effects) = recover(stopping_slot(1), &[]);
    assert_eq!(
        effects,
        [
            note(1, InstanceState::Stopped, "nothing is left to stop"),
            rig.commit(1, free_slot(1)),
        ]
    );
}

#[test]
fn a_claim_that_was_not_begun_is_provisioned() {
    let (_, effects) = recover(slot(1, SlotState::Starting), &[]);
    assert_eq!(effects, [note(1, InstanceState::Provisioning, "")]);
}

#[test]
fn a_claim_whose_place_is_taken_by_a_former_epoch_waits_for_its_end() {
    let (mut rig, effects) = recover(slot(3, SlotState::Starting), &[instance(1)]);
    assert_eq!(
        effects,
        [
            terminate(1),
            note(1, InstanceState::Stopping, "its slot is no longer its own"),
        ]
    );
    assert_eq!(
        rig.report_exited(1, "exit code 0"),
        [
            note(1, InstanceState::Stopped, "exit code 0"),
            note(3, InstanceState::Provisioning, ""),
        ]
    );
}

#[test]
fn what_starts_or_ends_during_the_recovery_is_not_missed() {
    let mut rig = Rig::started();
    rig.inventory(&[instance(1)]);
    assert_eq!(rig.report_exited(1, "exit code 1"), []);
    let effects = rig.snapshot(region_with(running_slot(1)));
    let lost = "it was lost in a restart of the host";
    assert_eq!(
        effects,
        [
            note(1, InstanceState::Stopped, lost),
            rig.commit(1, free_slot(1)),
        ]
    );

    let mut rig = Rig::started();
    rig.inventory(&[]);
    rig.report_started(1);
    assert_eq!(
        rig.snapshot(region_with(slot(1, SlotState::Starting))),
        [note(1, InstanceState::Starting, "adopted")]
    );
}

#[test]
fn a_start_alone_is_no_inventory() {
    let mut rig = Rig::started();
    rig.snapshot(region_with(running_slot(1)));
    let started = DriverReport::Started {
        instance: InstanceRef {
            slot: 1,
            ..instance(4)
        },
        endpoint: ENDPOINT.into(),
    };
    assert_eq!(rig.report(started), []);
    assert!(!rig.metald.is_ready());
    assert_eq!(
        rig.inventory(&[instance(1)]),
        [note(1, InstanceState::Running, "adopted")]
    );
}
