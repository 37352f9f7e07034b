//! The words in which the tests are written: who takes part, what the store holds, and what
//! metald may answer.

use tidegate_kernel::{CommitId, DriverCommand, Effect, Note};
use tidegate_protocol::{
    Address, Bytes, Holder, InstanceFailed, InstanceRef, InstanceState, Key, LeaseRecord, Message,
    NodeId, Precondition, Record, Role, SlotRecord, SlotState, Txn, VersionSpec, Write,
};

pub(super) const HOST: NodeId = NodeId(7);
pub(super) const OTHER_HOST: NodeId = NodeId(8);
pub(super) const ME: Address = Address::new(HOST, Role::Metald, 0);
pub(super) const STORE: Address = Address::new(NodeId(1), Role::Store, Address::PARTITION_STORE);
pub(super) const ORIGIN: Address = Address::new(NodeId(2), Role::Origin, 0);
pub(super) const SCHEDULER: Address = Address::new(NodeId(3), Role::Scheduler, 0);
pub(super) const VERSION: u64 = 5;
pub(super) const ENDPOINT: &str = "10.0.0.7:4000";

pub(super) fn key(slot: &SlotRecord) -> Key {
    Key::Slot {
        version: slot.version,
        index: slot.index,
    }
}

/// The region before anything runs.
pub(super) fn region() -> Vec<(Key, Record)> {
    let free = |index| SlotRecord {
        index,
        ..free_slot(0)
    };
    let mut records = vec![
        lease(),
        (Key::Version(VERSION), Record::Version(spec(VERSION))),
    ];
    records.extend((0..3).map(|index| (key(&free(index)), Record::Slot(free(index)))));
    records
}

pub(super) fn lease() -> (Key, Record) {
    let lease = LeaseRecord {
        holder: Some(Holder {
            node: SCHEDULER.node.0,
            index: u32::from(SCHEDULER.index),
        }),
        epoch: 1,
        beat: 1,
    };
    (Key::Lease, Record::Lease(lease))
}

pub(super) fn spec(version: u64) -> VersionSpec {
    VersionSpec {
        id: version,
        project: "hello".into(),
        artifact: Bytes::from_static(&[9; 32]),
        start_timeout_ms: 10_000,
        stop_grace_ms: 30_000,
        health_path: "/health".into(),
        ..VersionSpec::default()
    }
}

pub(super) fn instance(epoch: u64) -> InstanceRef {
    InstanceRef {
        version: VERSION,
        slot: 0,
        epoch,
    }
}

/// Slot 0 as it names this host.
pub(super) fn slot(epoch: u64, state: SlotState) -> SlotRecord {
    SlotRecord {
        version: VERSION,
        index: 0,
        epoch,
        state: state.into(),
        host: HOST.0,
        endpoint: String::new(),
        fence: 3,
    }
}

pub(super) fn running_slot(epoch: u64) -> SlotRecord {
    SlotRecord {
        endpoint: ENDPOINT.into(),
        ..slot(epoch, SlotState::Running)
    }
}

pub(super) fn stopping_slot(epoch: u64) -> SlotRecord {
    SlotRecord {
        endpoint: ENDPOINT.into(),
        ..slot(epoch, SlotState::Stopping)
    }
}

pub(super) fn free_slot(epoch: u64) -> SlotRecord {
    SlotRecord {
        host: 0,
        ..slot(epoch, SlotState::Free)
    }
}

pub(super) fn commit_over(number: u64, revision: u64, record: SlotRecord) -> Effect {
    let key = key(&record).to_string();
    Effect::Commit {
        id: CommitId(number),
        store: STORE,
        txn: Txn {
            preconditions: vec![Precondition {
                key: key.clone(),
                revision,
            }],
            writes: vec![Write {
                key,
                value: Some(Record::Slot(record).encode()),
            }],
        },
    }
}

pub(super) fn forget(number: u64) -> Effect {
    Effect::Forget(CommitId(number))
}

pub(super) fn note(epoch: u64, state: InstanceState, reason: &str) -> Effect {
    note_of(instance(epoch), state, reason)
}

pub(super) fn note_of(instance: InstanceRef, state: InstanceState, reason: &str) -> Effect {
    Effect::Note(Note::Instance {
        instance,
        state,
        reason: reason.into(),
    })
}

pub(super) fn driver(command: DriverCommand) -> Effect {
    Effect::Driver(command)
}

pub(super) fn start(epoch: u64) -> Effect {
    driver(DriverCommand::Start {
        instance: instance(epoch),
        spec: Box::new(spec(VERSION)),
    })
}

pub(super) fn check(epoch: u64) -> Effect {
    driver(DriverCommand::Check {
        instance: instance(epoch),
        health_path: "/health".into(),
    })
}

pub(super) fn terminate(epoch: u64) -> Effect {
    driver(DriverCommand::Terminate {
        instance: instance(epoch),
    })
}

pub(super) fn kill(epoch: u64) -> Effect {
    driver(DriverCommand::Kill {
        instance: instance(epoch),
    })
}

pub(super) fn failed(instance: InstanceRef, reason: &str, log_tail: &str) -> Effect {
    Effect::Send {
        to: SCHEDULER,
        body: Message::InstanceFailed(InstanceFailed {
            instance: Some(instance),
            reason: reason.into(),
            log_tail: log_tail.into(),
            before_start: false,
        }),
        after: None,
    }
}

/// As [`failed`], and nothing of it was ever run.
pub(super) fn failed_before_start(instance: InstanceRef, reason: &str) -> Effect {
    Effect::Send {
        to: SCHEDULER,
        body: Message::InstanceFailed(InstanceFailed {
            instance: Some(instance),
            reason: reason.into(),
            log_tail: String::new(),
            before_start: true,
        }),
        after: None,
    }
}
