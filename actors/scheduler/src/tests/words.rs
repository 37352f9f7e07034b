//! Builders of records, messages and expected effects.

use tidegate_kernel::{CommitId, Effect, Note};
use tidegate_protocol::{
    Address, AppKind, FenceRecord, GatewayRecord, Holder, HostRecord, HostState, InstanceFailed,
    InstanceRef, Key, LeaseRecord, Message, NodeId, Precondition, Provision, Record, Role,
    RouteRecord, SlotRecord, SlotState, Stop, Txn, VersionSpec, WakeOutcome, WakeReply, Write,
};

use super::bench::commits_in;

pub(super) const STORE: Address = Address::new(NodeId(1), Role::Store, 1);
pub(super) const ME: Address = Address::new(NodeId(2), Role::Scheduler, 0);
pub(super) const OTHER: Address = Address::new(NodeId(3), Role::Scheduler, 0);
/// Two actors of one gateway node, and one of another.
pub(super) const GATEWAY: Address = Address::new(NodeId(2), Role::Gateway, 0);
pub(super) const SISTER: Address = Address::new(NodeId(2), Role::Gateway, 1);
pub(super) const FAR_GATEWAY: Address = Address::new(NodeId(3), Role::Gateway, 0);

pub(super) const fn metald(host: u32) -> Address {
    Address::new(NodeId(host), Role::Metald, 0)
}

/// Three slots, two requests at once; idle after a minute; 20 s to start.
pub(super) fn spec(id: u64) -> VersionSpec {
    VersionSpec {
        id,
        project: format!("app{id}"),
        number: 1,
        kind: AppKind::Program.into(),
        instances_max: 3,
        concurrency: 2,
        idle_ms: 60_000,
        lifetime_min_ms: 10_000,
        start_timeout_ms: 20_000,
        ..VersionSpec::default()
    }
}

pub(super) fn version_of(spec: VersionSpec) -> (Key, Record) {
    (Key::Version(spec.id), Record::Version(spec))
}

pub(super) fn version(id: u64) -> (Key, Record) {
    version_of(spec(id))
}

pub(super) fn slot_key(version: u64, index: u32) -> Key {
    Key::Slot { version, index }
}

pub(super) fn slot_record(
    version: u64,
    index: u32,
    epoch: u64,
    state: SlotState,
    host: u32,
) -> SlotRecord {
    SlotRecord {
        version,
        index,
        epoch,
        state: state.into(),
        host,
        endpoint: String::new(),
        fence: 1,
    }
}

pub(super) fn slot(
    version: u64,
    index: u32,
    epoch: u64,
    state: SlotState,
    host: u32,
) -> (Key, Record) {
    let record = slot_record(version, index, epoch, state, host);
    (slot_key(version, index), Record::Slot(record))
}

pub(super) fn free(version: u64, index: u32, epoch: u64) -> (Key, Record) {
    slot(version, index, epoch, SlotState::Free, 0)
}

pub(super) fn starting(version: u64, index: u32, epoch: u64, host: u32) -> (Key, Record) {
    slot(version, index, epoch, SlotState::Starting, host)
}

pub(super) fn running(version: u64, index: u32, epoch: u64, host: u32) -> (Key, Record) {
    slot(version, index, epoch, SlotState::Running, host)
}

pub(super) fn host_in(node: u32, zone: &str, capacity: u32) -> (Key, Record) {
    let record = HostRecord {
        node,
        name: format!("host-{node}"),
        zone: zone.into(),
        state: HostState::Active.into(),
        capacity,
        beat: 1,
    };
    (Key::Host(NodeId(node)), Record::Host(record))
}

pub(super) fn host(node: u32, capacity: u32) -> (Key, Record) {
    host_in(node, "a", capacity)
}

pub(super) fn gateway(node: u32, actors: u32) -> (Key, Record) {
    let record = GatewayRecord {
        node,
        actors,
        ..GatewayRecord::default()
    };
    (Key::Gateway(NodeId(node)), Record::Gateway(record))
}

pub(super) fn route(project: &str, version: u64) -> (Key, Record) {
    let record = RouteRecord {
        project: project.into(),
        version,
        epoch: version,
        hosts: Vec::new(),
    };
    (Key::Route(project.into()), Record::Route(record))
}

pub(super) fn holder(address: Address) -> Option<Holder> {
    Some(Holder {
        node: address.node.0,
        index: u32::from(address.index),
    })
}

pub(super) fn lease(address: Address, epoch: u64, beat: u64) -> (Key, Record) {
    let record = LeaseRecord {
        holder: holder(address),
        epoch,
        beat,
    };
    (Key::Lease, Record::Lease(record))
}

pub(super) fn fence(address: Address, epoch: u64) -> (Key, Record) {
    let record = FenceRecord {
        holder: holder(address),
        epoch,
    };
    (Key::Fence, Record::Fence(record))
}

pub(super) fn write(key: &Key, record: &Record) -> Write {
    Write {
        key: key.to_string(),
        value: Some(record.encode()),
    }
}

pub(super) fn txn(preconditions: &[(&str, u64)], records: &[(Key, Record)]) -> Txn {
    Txn {
        preconditions: preconditions
            .iter()
            .map(|(key, revision)| Precondition {
                key: (*key).to_owned(),
                revision: *revision,
            })
            .collect(),
        writes: records.iter().map(|(k, r)| write(k, r)).collect(),
    }
}

pub(super) fn commit(id: CommitId, txn: Txn) -> Effect {
    let store = STORE;
    Effect::Commit { id, store, txn }
}

pub(super) fn instance(version: u64, slot: u32, epoch: u64) -> InstanceRef {
    InstanceRef {
        version,
        slot,
        epoch,
    }
}

pub(super) fn provision(host: u32, slot: SlotRecord, after: Option<CommitId>) -> Effect {
    let spec = Some(spec(slot.version));
    let slot = Some(slot);
    Effect::Send {
        to: metald(host),
        body: Message::Provision(Provision { slot, spec }),
        after,
    }
}

pub(super) fn stop(host: u32, instance: InstanceRef, after: Option<CommitId>) -> Effect {
    let instance = Some(instance);
    Effect::Send {
        to: metald(host),
        body: Message::Stop(Stop { instance }),
        after,
    }
}

pub(super) fn wake_reply(to: Address, reply: WakeReply) -> Effect {
    Effect::Send {
        to,
        body: Message::WakeReply(reply),
        after: None,
    }
}

/// The answer to a wake, without a reason.
pub(super) fn told(to: Address, version: u64, outcome: WakeOutcome) -> Effect {
    let reply = WakeReply {
        version,
        outcome: outcome.into(),
        retry_after_ms: 1_000,
        ..WakeReply::default()
    };
    wake_reply(to, reply)
}

pub(super) const WAITS: Effect = Effect::Note(Note::Mark("a wake waits for a host"));

/// What wakes were answered.
pub(super) fn outcomes(effects: &[Effect]) -> Vec<WakeOutcome> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send {
                body: Message::WakeReply(reply),
                ..
            } => Some(reply.outcome()),
            _ => None,
        })
        .collect()
}

/// Claims among effects: version, slot, epoch, host.
pub(super) fn claims(effects: &[Effect]) -> Vec<(u64, u32, u64, u32)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Note(Note::Claimed { instance, host }) => {
                Some((instance.version, instance.slot, instance.epoch, host.0))
            }
            _ => None,
        })
        .collect()
}

/// Slots written by commits among effects: version, slot, epoch, state.
pub(super) fn slots_written(effects: &[Effect]) -> Vec<(u64, u32, u64, SlotState)> {
    commits_in(effects)
        .into_iter()
        .flat_map(|(_, txn)| txn.writes)
        .map(|write| {
            let key = Key::parse(&write.key).unwrap();
            match Record::parse(&key, &write.value.unwrap()).unwrap() {
                Record::Slot(slot) => (slot.version, slot.index, slot.epoch, slot.state()),
                other => panic!("not a slot: {other:?}"),
            }
        })
        .collect()
}

/// A reason with which no program was run.
pub(super) const NO_ARTIFACT: &str = "its artifact did not arrive";

pub(super) fn failed(instance: InstanceRef, reason: &str) -> Message {
    Message::InstanceFailed(InstanceFailed {
        instance: Some(instance),
        reason: reason.into(),
        log_tail: format!("{reason}: last words"),
        before_start: reason == NO_ARTIFACT,
    })
}
