//! Apps that crash, hang, or will not go.

use tidegate_protocol::{InstanceState, SlotState, limits};

use tidegate_kernel::{DriverCommand, DriverReport};

use super::{rig::Rig, words::*};

#[test]
fn an_app_that_exits_at_once_is_reported_with_its_last_words() {
    let mut rig = Rig::starting(1);
    let reason = "ended before it was healthy: exit code 1";
    assert_eq!(
        rig.report_exited(1, "exit code 1"),
        [
            note(1, InstanceState::Failed, reason),
            failed(instance(1), reason, "the end"),
            rig.commit(1, free_slot(1)),
        ]
    );
    assert_eq!(rig.report_checked(1, false), [], "a check of what is gone");
}

#[test]
fn an_app_that_exits_before_its_start_is_reported_as_well() {
    let mut rig = Rig::making(1);
    let reason = "could not be started: exit code 127";
    assert_eq!(
        rig.report_exited(1, "exit code 127"),
        [
            note(1, InstanceState::Failed, reason),
            failed(instance(1), reason, "the end"),
            rig.commit(1, free_slot(1)),
        ]
    );
}

#[test]
fn an_app_that_hangs_is_checked_once_in_each_check_timeout_and_fails() {
    let mut rig = Rig::starting(1);
    let reason = "it did not become healthy within 10000 ms";
    assert_eq!(
        rig.until(10_000),
        [
            (5_050, check(1)),
            (10_000, note(1, InstanceState::Failed, reason)),
            (10_000, kill(1)),
        ]
    );
}

#[test]
fn a_late_healthy_answer_counts_a_late_unhealthy_one_does_not() {
    let mut rig = Rig::starting(1);
    rig.until(5_010);
    assert_eq!(rig.report_checked(1, false), []);
    assert_eq!(rig.until(5_050), [(5_050, check(1))]);

    let mut rig = Rig::starting(1);
    rig.until(5_010);
    assert_eq!(
        rig.report_checked(1, true),
        [
            note(1, InstanceState::Running, ""),
            rig.commit(1, running_slot(1)),
        ]
    );
}

#[test]
fn three_failed_checks_in_a_row_end_a_running_app() {
    let mut rig = Rig::running(1);
    for at in [10_000, 20_000] {
        assert_eq!(rig.until(at), [(at, check(1))]);
        assert_eq!(rig.report_checked(1, false), []);
    }
    assert_eq!(rig.until(30_000), [(30_000, check(1))]);
    assert_eq!(rig.report_checked(1, true), [], "not in a row");
    for at in [40_000, 50_000] {
        rig.until(at);
        assert_eq!(rig.report_checked(1, false), []);
    }
    rig.until(60_000);
    let reason = "failed 3 health checks in a row";
    assert_eq!(
        rig.report_checked(1, false),
        [note(1, InstanceState::Failed, reason), kill(1)]
    );
    assert_eq!(
        rig.report_exited(1, "signal 9"),
        [
            failed(instance(1), reason, "the end"),
            rig.commit(2, free_slot(1)),
        ]
    );
}

#[test]
fn checks_without_an_answer_count_as_failed() {
    let mut rig = Rig::running(1);
    let reason = "failed 3 health checks in a row";
    assert_eq!(
        rig.until(45_000),
        [
            (10_000, check(1)),
            (25_000, check(1)),
            (40_000, check(1)),
            (45_000, note(1, InstanceState::Failed, reason)),
            (45_000, kill(1)),
        ]
    );
}

#[test]
fn a_running_app_that_exits_frees_its_slot() {
    let mut rig = Rig::running(1);
    let reason = "ended: signal 11";
    assert_eq!(
        rig.report_exited(1, "signal 11"),
        [
            note(1, InstanceState::Failed, reason),
            failed(instance(1), reason, "the end"),
            rig.commit(2, free_slot(1)),
        ]
    );
}

#[test]
fn a_failed_app_that_does_not_die_is_killed_again_and_again() {
    let mut rig = Rig::making(1);
    let reason = "it did not start within 10000 ms";
    assert_eq!(
        rig.until(20_000),
        [
            (10_000, note(1, InstanceState::Failed, reason)),
            (10_000, kill(1)),
            (15_000, kill(1)),
            (15_000, driver(DriverCommand::Inventory)),
            (20_000, kill(1)),
            (20_000, driver(DriverCommand::Inventory)),
        ]
    );
    assert_eq!(rig.put_slot(slot(1, SlotState::Stopping)), []);
    assert_eq!(
        rig.inventory(&[]),
        [failed(instance(1), reason, ""), rig.commit(1, free_slot(1)),]
    );
}

#[test]
fn last_words_and_reasons_are_bounded() {
    let mut rig = Rig::starting(1);
    let effects = rig.report(DriverReport::Exited {
        instance: instance(1),
        reason: "r".repeat(5_000),
        log_tail: format!("{}z", "é".repeat(limits::LOG_TAIL_BYTES_MAX)),
    });
    let reason = format!("ended before it was healthy: {}", "r".repeat(995));
    let log_tail = format!("{}z", "é".repeat((limits::LOG_TAIL_BYTES_MAX - 1) / 2));
    assert_eq!(
        effects,
        [
            note(1, InstanceState::Failed, &reason),
            failed(instance(1), &reason, &log_tail),
            rig.commit(1, free_slot(1)),
        ]
    );
}

#[test]
fn without_an_active_scheduler_a_failure_still_frees_the_slot() {
    let mut rig = Rig::running(1);
    rig.delete(tidegate_protocol::Key::Lease);
    assert_eq!(
        rig.report_exited(1, "exit code 1"),
        [
            note(1, InstanceState::Failed, "ended: exit code 1"),
            rig.commit(2, free_slot(1)),
        ]
    );
}
