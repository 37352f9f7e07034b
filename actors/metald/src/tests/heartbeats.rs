//! The signs of life.

use tidegate_kernel::{CommitId, Effect, Event};
use tidegate_protocol::{
    Address, HostRecord, HostState, InstanceState, InstanceStatus, InstancesRecord, Key, Message,
    Record, SlotState, StoreCommitReply, store_commit_reply::Outcome,
};

use super::{rig::Rig, words::*};
use crate::heartbeat::STATUSES_MAX;

/// The heartbeats that left, each as it will be stored; all are blind and to the own store.
fn beats(rig: &mut Rig) -> Vec<Record> {
    let sent = std::mem::take(&mut rig.background);
    let commits = sent.into_iter().filter_map(|effect| match effect {
        Effect::Commit { store, txn, .. } => {
            assert_eq!((store, &txn.preconditions[..]), (STORE, &[][..]));
            let write = txn.writes.into_iter().next().unwrap();
            let key = Key::parse(&write.key).unwrap();
            assert!([Key::Host(HOST), Key::Instances(HOST)].contains(&key));
            Some(Record::parse(&key, &write.value.unwrap()).unwrap())
        }
        _ => None,
    });
    commits.collect()
}

fn host(beat: u64) -> Record {
    Record::Host(HostRecord {
        node: HOST.0,
        name: "host-7".into(),
        zone: "a".into(),
        state: HostState::Active.into(),
        capacity: 2,
        beat,
    })
}

fn instances(beat: u64, instances: &[(u64, InstanceState, bool)]) -> Record {
    let status = |&(epoch, state, healthy): &(u64, InstanceState, bool)| InstanceStatus {
        instance: Some(instance(epoch)),
        state: state.into(),
        healthy,
    };
    Record::Instances(InstancesRecord {
        node: HOST.0,
        beat,
        instances: instances.iter().map(status).collect(),
    })
}

#[test]
fn a_host_beats_from_its_start_and_its_instances_once_they_are_known() {
    let mut rig = Rig::started();
    assert_eq!(beats(&mut rig), [host(1_001)]);
    rig.until_without_store(20_000);
    let alone = beats(&mut rig);
    assert!((4..=5).contains(&alone.len()), "every 5 s: {alone:?}");
    for (record, beat) in alone.iter().zip(1_002..) {
        assert_eq!(*record, host(beat));
    }
    rig.snapshot(region());
    rig.inventory(&[]);
    let next = 1_002 + alone.len() as u64;
    assert_eq!(beats(&mut rig), [instances(next, &[])]);
}

#[test]
fn heartbeats_keep_their_pace_and_grow() {
    let mut rig = Rig::serving();
    rig.until(30_000);
    beats(&mut rig);
    rig.until(130_000);
    let sent = beats(&mut rig);
    let hosts = sent.iter().filter(|r| matches!(r, Record::Host(_)));
    assert_eq!((hosts.count(), sent.len()), (20, 30));
    let numbers = sent.iter().map(|record| match record {
        Record::Host(host) => host.beat,
        Record::Instances(instances) => instances.beat,
        other => panic!("{other:?} is no heartbeat"),
    });
    let numbers: Vec<u64> = numbers.collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

#[test]
fn a_restarted_host_does_not_repeat_its_last_beat() {
    let mut rig = Rig::started();
    rig.until_without_store(60_000);
    let last = beats(&mut rig).pop();
    let mut next = Rig::with(|_| {});
    next.now_ms = rig.now_ms;
    next.event(Event::Start);
    let first = beats(&mut next).pop();
    let beat = |record: Option<Record>| match record {
        Some(Record::Host(host)) => host.beat,
        other => panic!("{other:?} is no host's heartbeat"),
    };
    assert!(beat(first) > beat(last));
}

#[test]
fn a_draining_host_says_so() {
    let mut rig = Rig::with(|config| config.state = HostState::Draining);
    rig.event(Event::Start);
    let sent = beats(&mut rig);
    assert!(matches!(&sent[..], [Record::Host(host)] if host.state() == HostState::Draining));
}

#[test]
fn the_instances_beat_tells_state_and_health() {
    let mut rig = Rig::running(1);
    let shown = |rig: &mut Rig| {
        beats(rig);
        let at = rig.now_ms - 1_000;
        rig.until(at + 10_000);
        rig.report_checked(1, false);
        let sent = beats(rig);
        sent.into_iter().find_map(|record| match record {
            Record::Instances(instances) => Some(instances.instances),
            _ => None,
        })
    };
    let status = |state: InstanceState, healthy| {
        Some(vec![InstanceStatus {
            instance: Some(instance(1)),
            state: state.into(),
            healthy,
        }])
    };
    assert_eq!(shown(&mut rig), status(InstanceState::Running, true));
    assert_eq!(shown(&mut rig), status(InstanceState::Running, false));
    rig.put_slot(stopping_slot(1));
    assert_eq!(shown(&mut rig), status(InstanceState::Stopping, false));
}

#[test]
fn the_instances_beat_fits_a_record_however_many_there_are() {
    let many = u32::try_from(STATUSES_MAX).unwrap() + 10;
    let mut rig = Rig::started();
    rig.snapshot(region());
    let found: Vec<_> = (0..many)
        .map(|slot| tidegate_protocol::InstanceRef {
            version: u64::MAX - u64::from(slot),
            slot: u32::MAX,
            epoch: u64::MAX,
        })
        .collect();
    rig.inventory(&found);
    let sent = beats(&mut rig);
    let Some(Record::Instances(record)) = sent.last() else {
        panic!("no heartbeat of instances in {sent:?}");
    };
    assert_eq!(record.instances.len(), STATUSES_MAX);
    let bytes = Record::Instances(record.clone()).encode().len();
    assert!(bytes <= tidegate_protocol::limits::VALUE_BYTES_MAX);
}

/// Metald answers a commit that it was sent an answer to with nothing at once; tells whether
/// the host beats again one second later, neither sooner nor later.
fn beats_again_soon(rig: &mut Rig, from: Address, id: CommitId, outcome: Outcome) -> bool {
    let reply = StoreCommitReply {
        id: id.0,
        outcome: Some(outcome),
    };
    assert_eq!(rig.message(from, Message::StoreCommitReply(reply)), []);
    let hosts = |rig: &mut Rig| {
        let sent = beats(rig).into_iter();
        sent.filter(|r| matches!(r, Record::Host(_))).count()
    };
    hosts(rig);
    rig.after(999);
    assert_eq!(hosts(rig), 0);
    rig.after(1);
    hosts(rig) == 1
}

/// A rig whose host has just said that it lives, and the commits of that and of the last
/// that it said of its instances.
fn just_beaten() -> (Rig, CommitId, CommitId) {
    let sent = |rig: &Rig, key: Key| {
        rig.background.iter().rev().find_map(|effect| match effect {
            Effect::Commit { id, txn, .. } if txn.writes[0].key == key.to_string() => Some(*id),
            _ => None,
        })
    };
    let mut rig = Rig::serving();
    let first = sent(&rig, Key::Host(HOST));
    while sent(&rig, Key::Host(HOST)) == first {
        rig.after(1);
    }
    let ids = [Key::Host(HOST), Key::Instances(HOST)].map(|key| sent(&rig, key).unwrap());
    (rig, ids[0], ids[1])
}

fn refused() -> Outcome {
    Outcome::Refused("the disk is full".into())
}

#[test]
fn a_refused_heartbeat_is_followed_soon() {
    let (mut rig, host, _) = just_beaten();
    assert!(beats_again_soon(&mut rig, STORE, host, refused()));
    rig.after(4_999);
    let hosts = beats(&mut rig)
        .into_iter()
        .filter(|r| matches!(r, Record::Host(_)));
    assert_eq!(hosts.count(), 0, "and then at its pace again");
}

#[test]
fn no_other_answer_changes_the_pace_of_heartbeats() {
    let (mut rig, host, _) = just_beaten();
    assert!(!beats_again_soon(
        &mut rig,
        STORE,
        host,
        Outcome::Applied(7)
    ));
    let (mut rig, host, _) = just_beaten();
    assert!(!beats_again_soon(&mut rig, ORIGIN, host, refused()));
    let (mut rig, _, instances) = just_beaten();
    assert!(!beats_again_soon(&mut rig, STORE, instances, refused()));
}

#[test]
fn an_answer_to_a_heartbeat_changes_nothing_of_an_instance() {
    let mut rig = Rig::running(1);
    let reply = StoreCommitReply::default();
    assert_eq!(rig.message(STORE, Message::StoreCommitReply(reply)), []);
    assert_eq!(
        rig.put_slot(slot(1, SlotState::Running)),
        [rig.commit(2, running_slot(1)),]
    );
}
