//! From a claim to a running instance, or to a refusal.

use tidegate_kernel::{BlobCommand, DriverReport, Effect, Note};
use tidegate_protocol::{
    Bytes, Digest, InstanceRef, InstanceState, Key, Message, Provision, Record, SlotRecord,
    SlotState, VersionSpec,
};

use super::{rig::Rig, words::*};

#[test]
fn a_claim_becomes_a_running_instance() {
    let mut rig = Rig::serving();
    assert_eq!(
        rig.put_slot(slot(1, SlotState::Starting)),
        [note(1, InstanceState::Provisioning, "")]
    );
    assert_eq!(
        rig.blob,
        [BlobCommand::LoadManifest {
            digest: Digest([9; 32])
        }]
    );
    assert_eq!(rig.artifact_arrives(), [start(1)]);
    assert_eq!(
        rig.report_started(1),
        [note(1, InstanceState::Starting, ""), check(1)]
    );
    assert_eq!(
        rig.report_checked(1, true),
        [
            note(1, InstanceState::Running, ""),
            rig.commit(1, running_slot(1)),
        ]
    );
    assert_eq!(rig.put_slot(running_slot(1)), []);
}

#[test]
fn a_message_ahead_of_the_feed_starts_but_waits_for_the_claim_before_it_says_running() {
    let mut rig = Rig::serving();
    assert_eq!(
        rig.provision(slot(1, SlotState::Starting)),
        [note(1, InstanceState::Provisioning, "")]
    );
    assert_eq!(rig.artifact_arrives(), [start(1)]);
    rig.report_started(1);
    assert_eq!(
        rig.report_checked(1, true),
        [note(1, InstanceState::Running, "")]
    );
    let shown = rig.put_slot(slot(1, SlotState::Starting));
    assert_eq!(shown, [rig.commit(1, running_slot(1))]);
}

#[test]
fn a_message_after_the_feed_is_no_news() {
    let mut rig = Rig::running(3);
    for epoch in [1, 2, 3] {
        assert_eq!(rig.provision(slot(epoch, SlotState::Starting)), []);
    }
    assert_eq!(rig.stop(2), [], "of an older epoch");
    assert_eq!(rig.stop(4), [], "of one that is not here");
}

#[test]
fn a_message_that_contradicts_itself_is_noted_and_dropped() {
    let mut rig = Rig::serving();
    let here = slot(1, SlotState::Starting);
    let elsewhere = SlotRecord {
        host: OTHER_HOST.0,
        ..here.clone()
    };
    let of_other_version = SlotRecord {
        version: VERSION + 1,
        ..here.clone()
    };
    for (slot, spec) in [
        (None, Some(spec(VERSION))),
        (Some(here), None),
        (Some(elsewhere), Some(spec(VERSION))),
        (Some(of_other_version), Some(spec(VERSION))),
    ] {
        let effects = rig.message(SCHEDULER, Message::Provision(Provision { slot, spec }));
        assert!(
            matches!(
                effects[..],
                [tidegate_kernel::Effect::Note(
                    tidegate_kernel::Note::Malformed { .. }
                )]
            ),
            "{effects:?}"
        );
    }
}

#[test]
fn checks_of_a_starting_instance_grow_apart() {
    let mut rig = Rig::starting(1);
    let mut at = 0;
    for pause in [50, 100, 200, 400, 500, 500] {
        assert_eq!(rig.report_checked(1, false), []);
        assert_eq!(rig.until(at + pause - 1), []);
        at += pause;
        assert_eq!(rig.until(at), [(at, check(1))]);
    }
}

#[test]
fn what_is_not_healthy_in_time_fails() {
    let mut rig = Rig::starting(1);
    rig.report_checked(1, false);
    while rig.now_ms < 10_500 {
        let done = rig.until(rig.now_ms - 1_000 + 500);
        assert!(done.iter().all(|(_, effect)| *effect == check(1)));
        rig.report_checked(1, false);
    }
    let reason = "it did not become healthy within 10000 ms";
    assert_eq!(
        rig.until(10_000),
        [
            (10_000, note(1, InstanceState::Failed, reason)),
            (10_000, kill(1)),
        ]
    );
    assert_eq!(
        rig.report_exited(1, "signal 9"),
        [
            failed(instance(1), reason, "the end"),
            rig.commit(1, free_slot(1)),
        ]
    );
    assert_eq!(rig.put_slot(free_slot(1)), []);
    assert_eq!(
        rig.put_slot(slot(2, SlotState::Starting)),
        [note(2, InstanceState::Provisioning, "")]
    );
}

#[test]
fn an_artifact_that_does_not_arrive_fails_the_start() {
    let mut rig = Rig::serving();
    rig.put_slot(slot(1, SlotState::Starting));
    let reason = "its artifact did not arrive within 10000 ms";
    let done = rig.until(10_000);
    let commit = rig.commit(1, free_slot(1));
    assert_eq!(
        done,
        [
            (10_000, note(1, InstanceState::Failed, reason)),
            (10_000, failed_before_start(instance(1), reason)),
            (10_000, commit),
        ]
    );
}

#[test]
fn the_time_of_a_start_begins_when_its_artifact_is_here() {
    let mut rig = Rig::serving();
    rig.put_slot(slot(1, SlotState::Starting));
    assert_eq!(rig.until(9_500), []);
    assert_eq!(rig.artifact_arrives(), [start(1)]);
    assert_eq!(rig.until(19_499), []);
    let reason = "it did not start within 10000 ms";
    assert_eq!(
        rig.until(19_500),
        [
            (19_500, note(1, InstanceState::Failed, reason)),
            (19_500, kill(1)),
        ]
    );
}

#[test]
fn a_driver_that_does_not_start_it_in_time_is_told_to_kill() {
    let mut rig = Rig::making(1);
    let reason = "it did not start within 10000 ms";
    assert_eq!(
        rig.until(10_000),
        [
            (10_000, note(1, InstanceState::Failed, reason)),
            (10_000, kill(1)),
        ]
    );
    assert_eq!(rig.report_started(1), [], "it is being killed already");
}

#[test]
fn what_the_driver_cannot_make_frees_its_slot() {
    let mut rig = Rig::making(1);
    let report = DriverReport::StartFailed {
        instance: instance(1),
        reason: "no such file: server".into(),
    };
    let reason = "could not be started: no such file: server";
    // Perhaps a blob was damaged: one look at the artifact, one more start.
    assert_eq!(
        rig.report(report.clone()),
        [Effect::Note(Note::Mark(
            "a start that failed is tried again"
        ))]
    );
    let load = BlobCommand::LoadManifest {
        digest: Digest([9; 32]),
    };
    assert_eq!(rig.blob, [load]);
    assert_eq!(rig.artifact_arrives(), [start(1)]);
    assert_eq!(
        rig.report(report),
        [
            note(1, InstanceState::Failed, reason),
            failed(instance(1), reason, ""),
            rig.commit(1, free_slot(1)),
        ]
    );
}

#[test]
fn a_full_host_refuses() {
    let mut rig = Rig::serving();
    let claim = |index| SlotRecord {
        index,
        ..slot(1, SlotState::Starting)
    };
    for index in [0, 1] {
        rig.put_slot(claim(index));
    }
    let refused = InstanceRef {
        slot: 2,
        ..instance(1)
    };
    let free = SlotRecord {
        index: 2,
        ..free_slot(1)
    };
    let effects = rig.put_slot(claim(2));
    assert_eq!(
        effects,
        [
            note_of(refused, InstanceState::Failed, "host is full"),
            failed_before_start(refused, "host is full"),
            rig.commit(1, free.clone()),
        ]
    );
    assert_eq!(rig.put_slot(free), []);
    assert_eq!(
        rig.put_slot(free_slot(2)),
        [note(
            1,
            InstanceState::Stopped,
            "its slot is no longer its own"
        ),]
    );
    assert_eq!(
        rig.put_slot(SlotRecord {
            epoch: 3,
            ..claim(2)
        }),
        [note_of(
            InstanceRef {
                epoch: 3,
                ..refused
            },
            InstanceState::Provisioning,
            ""
        )],
        "there is room again"
    );
}

#[test]
fn a_refusal_of_a_claim_that_the_feed_has_not_shown_frees_it_when_it_does() {
    let mut rig = Rig::serving();
    for index in [1, 2] {
        rig.put_slot(SlotRecord {
            index,
            ..slot(1, SlotState::Starting)
        });
    }
    assert_eq!(
        rig.provision(slot(1, SlotState::Starting)),
        [
            note(1, InstanceState::Failed, "host is full"),
            failed_before_start(instance(1), "host is full"),
        ]
    );
    let shown = rig.put_slot(slot(1, SlotState::Starting));
    assert_eq!(shown, [rig.commit(1, free_slot(1))]);
}

#[test]
fn a_claim_of_a_version_that_is_gone_is_given_back() {
    let mut rig = Rig::serving();
    assert_eq!(rig.delete(Key::Version(VERSION)), []);
    let effects = rig.put_slot(slot(1, SlotState::Starting));
    assert_eq!(
        effects,
        [
            note(1, InstanceState::Stopped, "its version is gone"),
            rig.commit(1, free_slot(1)),
        ]
    );
}

#[test]
fn an_artifact_without_a_name_fails_the_start() {
    let mut rig = Rig::serving();
    let spec = VersionSpec {
        artifact: Bytes::from_static(b"short"),
        ..spec(VERSION)
    };
    rig.put(Key::Version(VERSION), Record::Version(spec));
    let reason = "its artifact has no name: a digest is 32 bytes, or 64 hexadecimal digits";
    let effects = rig.put_slot(slot(1, SlotState::Starting));
    assert_eq!(
        effects,
        [
            note(1, InstanceState::Failed, reason),
            failed(instance(1), reason, ""),
            rig.commit(1, free_slot(1)),
        ]
    );
}

#[test]
fn slots_of_other_hosts_are_none_of_its_business() {
    let mut rig = Rig::serving();
    for state in [SlotState::Starting, SlotState::Running, SlotState::Stopping] {
        let elsewhere = SlotRecord {
            host: OTHER_HOST.0,
            ..slot(1, state)
        };
        assert_eq!(rig.put_slot(elsewhere), []);
    }
    assert_eq!(rig.until(60_000), []);
}
