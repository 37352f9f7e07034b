//! Lost messages, conflicts, claims that change hands.

use tidegate_protocol::{
    InstanceState, Key, Message, SlotRecord, SlotState, StoreCommitReply,
    store_commit_reply::Outcome,
};

use super::{rig::Rig, words::*};

fn reply(rig: &mut Rig, outcome: Outcome) -> Vec<tidegate_kernel::Effect> {
    let reply = StoreCommitReply {
        id: 0,
        outcome: Some(outcome),
    };
    rig.message(STORE, Message::StoreCommitReply(reply))
}

fn elsewhere(epoch: u64) -> SlotRecord {
    SlotRecord {
        host: OTHER_HOST.0,
        ..slot(epoch, SlotState::Starting)
    }
}

#[test]
fn a_commit_without_an_effect_is_forgotten_and_decided_anew() {
    let mut rig = Rig::starting(1);
    rig.report_checked(1, true);
    assert_eq!(rig.until(4_999), []);
    let done = rig.until(5_000);
    let again = rig.commit(2, running_slot(1));
    assert_eq!(done, [(5_000, forget(1)), (5_000, again)]);
}

#[test]
fn a_conflict_waits_for_the_feed_and_decides_from_it() {
    let mut rig = Rig::starting(1);
    rig.report_checked(1, true);
    assert_eq!(reply(&mut rig, Outcome::Conflict("slot".into())), []);
    let rewritten = SlotRecord {
        fence: 4,
        ..slot(1, SlotState::Starting)
    };
    let effects = rig.put_slot(rewritten);
    let decided = SlotRecord {
        fence: 4,
        ..running_slot(1)
    };
    assert_eq!(effects, [rig.commit(2, decided)]);
}

#[test]
fn an_applied_commit_is_believed_when_the_feed_shows_it() {
    let mut rig = Rig::starting(1);
    rig.report_checked(1, true);
    assert_eq!(reply(&mut rig, Outcome::Applied(9)), []);
    rig.put_unseen(running_slot(1));
    assert_eq!(rig.until(1_000), []);
    assert_eq!(rig.catch_up(), []);
    let checks = rig.until(9_999);
    assert_eq!(checks, [], "nothing is left to write");
}

#[test]
fn one_commit_at_a_time_a_crash_waits_for_the_one_in_flight() {
    let mut rig = Rig::starting(1);
    rig.report_checked(1, true);
    let reason = "ended: exit code 1";
    assert_eq!(
        rig.report_exited(1, "exit code 1"),
        [
            note(1, InstanceState::Failed, reason),
            failed(instance(1), reason, "the end"),
        ]
    );
    let effects = rig.put_slot(running_slot(1));
    assert_eq!(effects, [rig.commit(2, free_slot(1))]);
}

#[test]
fn a_crash_while_the_commit_in_flight_is_lost_frees_the_slot_after_its_time() {
    let mut rig = Rig::starting(1);
    rig.report_checked(1, true);
    rig.report_exited(1, "exit code 1");
    let done = rig.until(5_000);
    let free = rig.commit(2, free_slot(1));
    assert_eq!(done, [(5_000, forget(1)), (5_000, free)]);
}

#[test]
fn a_free_commit_that_is_lost_is_repeated_until_the_feed_shows_it() {
    let mut rig = Rig::running(1);
    rig.report_exited(1, "exit code 1");
    let done = rig.until(10_000);
    let free = |rig: &Rig, n| rig.commit(n, free_slot(1));
    assert_eq!(
        done,
        [
            (5_000, forget(2)),
            (5_000, free(&rig, 3)),
            (10_000, forget(3)),
            (10_000, free(&rig, 4)),
        ]
    );
    assert_eq!(rig.put_slot(free_slot(1)), []);
    assert_eq!(rig.until(60_000), []);
}

#[test]
fn a_stop_ahead_of_the_feed_frees_over_what_the_feed_brings() {
    let mut rig = Rig::running(1);
    let seen = rig.revision_of(&running_slot(1));
    rig.put_unseen(stopping_slot(1));
    rig.stop(1);
    assert_eq!(
        rig.report_exited(1, "exit code 0"),
        [
            note(1, InstanceState::Stopped, "exit code 0"),
            commit_over(2, seen, free_slot(1)),
        ]
    );
    let effects = rig.catch_up();
    assert_eq!(effects, [rig.commit(3, free_slot(1))]);
}

#[test]
fn a_superseded_instance_ends_and_leaves_the_slot_alone() {
    let mut rig = Rig::running(1);
    assert_eq!(
        rig.put_slot(elsewhere(2)),
        [
            note(1, InstanceState::Stopping, "its slot is no longer its own"),
            terminate(1),
        ]
    );
    assert_eq!(
        rig.report_exited(1, "exit code 0"),
        [note(1, InstanceState::Stopped, "exit code 0")]
    );
    assert_eq!(rig.until(60_000), []);
}

#[test]
fn a_superseded_instance_ends_in_every_state() {
    let gone = |mut rig: Rig| rig.put_slot(elsewhere(2));
    let reason = "its slot is no longer its own";
    let stopping = note(1, InstanceState::Stopping, reason);

    let mut rig = Rig::serving();
    rig.put_slot(slot(1, SlotState::Starting));
    assert_eq!(gone(rig), [note(1, InstanceState::Stopped, reason)]);
    assert_eq!(gone(Rig::making(1)), [stopping.clone(), kill(1)]);
    assert_eq!(gone(Rig::starting(1)), [stopping, terminate(1)]);

    let mut rig = Rig::running(1);
    rig.put_slot(stopping_slot(1));
    assert_eq!(gone(rig), [terminate(1)], "a lame duck waits no longer");

    let mut rig = Rig::running(1);
    rig.put_slot(stopping_slot(1));
    rig.report_exited(1, "exit code 0");
    assert_eq!(gone(rig), [], "it had ended");
}

#[test]
fn a_slot_that_is_deleted_or_freed_supersedes() {
    let mut rig = Rig::running(1);
    let slot_key = Key::Slot {
        version: VERSION,
        index: 0,
    };
    let ends = [
        note(1, InstanceState::Stopping, "its slot is no longer its own"),
        terminate(1),
    ];
    assert_eq!(rig.delete(slot_key), ends);
    assert_eq!(Rig::running(1).put_slot(free_slot(1)), ends);
}

#[test]
fn a_new_claim_for_the_same_host_waits_until_the_old_instance_has_ended() {
    let mut rig = Rig::running(1);
    let reclaimed = slot(3, SlotState::Starting);
    assert_eq!(
        rig.put_slot(reclaimed.clone()),
        [
            note(1, InstanceState::Stopping, "its slot is no longer its own"),
            terminate(1),
        ]
    );
    assert_eq!(rig.provision(reclaimed), [], "not beside the old one");
    assert_eq!(
        rig.report_exited(1, "exit code 0"),
        [
            note(1, InstanceState::Stopped, "exit code 0"),
            note(3, InstanceState::Provisioning, ""),
        ]
    );
}

#[test]
fn a_repeated_claim_of_a_life_that_is_over_does_not_revive_it() {
    let mut rig = Rig::making(1);
    rig.report_exited(1, "exit code 1");
    assert_eq!(rig.provision(slot(1, SlotState::Starting)), []);
    rig.put_slot(free_slot(1));
    assert_eq!(rig.provision(slot(1, SlotState::Starting)), []);
}

#[test]
fn a_claim_that_a_live_mirror_never_shows_is_given_up() {
    let mut rig = Rig::serving();
    rig.provision(slot(1, SlotState::Starting));
    rig.artifact_arrives();
    rig.report_started(1);
    rig.report_checked(1, true);
    assert_eq!(
        rig.until(30_000),
        [
            (10_000, check(1)),
            (25_000, check(1)),
            (
                30_000,
                note(1, InstanceState::Stopping, "its slot is no longer its own")
            ),
            (30_000, terminate(1)),
        ]
    );
}

#[test]
fn a_claim_is_not_given_up_while_the_store_is_silent() {
    let mut rig = Rig::serving();
    rig.put_unseen(slot(1, SlotState::Starting));
    rig.provision(slot(1, SlotState::Starting));
    rig.artifact_arrives();
    rig.report_started(1);
    rig.report_checked(1, true);
    for second in (10..=120).step_by(10) {
        let done = rig.until_without_store(second * 1_000);
        assert_eq!(done, [(second * 1_000, check(1))]);
        rig.report_checked(1, true);
    }
    let effects = rig.catch_up();
    assert_eq!(effects, [rig.commit(1, running_slot(1))]);
}

#[test]
fn a_claim_that_is_shown_after_it_was_given_up_is_freed_at_the_end() {
    let mut rig = Rig::serving();
    rig.put_unseen(slot(1, SlotState::Starting));
    rig.provision(slot(1, SlotState::Starting));
    rig.artifact_arrives();
    rig.report_started(1);
    rig.report_checked(1, true);
    rig.until(30_000);
    assert_eq!(rig.catch_up(), [], "it is being ended");
    assert_eq!(
        rig.report_exited(1, "exit code 0"),
        [
            note(1, InstanceState::Stopped, "exit code 0"),
            rig.commit(1, free_slot(1)),
        ]
    );
}

#[test]
fn a_deleted_slot_ends_a_claim_that_was_never_shown_only_after_its_time() {
    let mut rig = Rig::serving();
    rig.provision(slot(1, SlotState::Starting));
    let slot_key = Key::Slot {
        version: VERSION,
        index: 0,
    };
    assert_eq!(rig.delete(slot_key), []);
    rig.artifact_arrives();
    rig.report_started(1);
    rig.report_checked(1, true);
    let done = rig.until(30_000);
    assert_eq!(done.last(), Some(&(30_000, terminate(1))));
}

#[test]
fn a_started_instance_that_nobody_knows_is_killed() {
    let mut rig = Rig::serving();
    assert_eq!(rig.report_started(4), [kill(4)]);
    for report in [
        rig.report_exited(4, "signal 9"),
        rig.report_checked(4, true),
    ] {
        assert_eq!(report, []);
    }
}

#[test]
fn a_state_that_this_build_does_not_know_changes_nothing() {
    let mut rig = Rig::running(1);
    let newer = SlotRecord {
        state: 99,
        ..running_slot(1)
    };
    assert_eq!(rig.put_slot(newer), []);
}
