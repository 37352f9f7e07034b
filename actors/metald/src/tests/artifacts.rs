//! Artifacts on their way to an instance.

use tidegate_kernel::{BlobCommand, BlobReport, Effect, Event, origin_of};
use tidegate_protocol::{
    Address, BlobRead, Bytes, Digest, GatewayRecord, InstanceRef, InstanceState, Key, Manifest,
    ManifestEntry, Message, NodeId, Record, SlotRecord, SlotState, limits,
};

use super::{rig::Rig, words::*};

const ARTIFACT: Digest = Digest([9; 32]);
const GATEWAY: NodeId = NodeId(4);

fn manifest(rig: &mut Rig, manifest: Option<Manifest>) -> Vec<Effect> {
    rig.blob.clear();
    rig.event(Event::Blob(BlobReport::Manifest {
        digest: ARTIFACT,
        manifest,
    }))
}

fn other_slot(state: SlotState) -> SlotRecord {
    SlotRecord {
        index: 1,
        ..slot(1, state)
    }
}

fn other_instance() -> InstanceRef {
    InstanceRef {
        slot: 1,
        ..instance(1)
    }
}

/// The artifact's manifest is asked for.
fn read(source: Address) -> Effect {
    let read = BlobRead {
        digest: Bytes::from(ARTIFACT),
        offset: 0,
        length_max: limits::BLOB_CHUNK_BYTES as u32,
    };
    Effect::Send {
        to: source,
        body: Message::BlobRead(read),
        after: None,
    }
}

fn put_gateway(rig: &mut Rig, node: NodeId) {
    let record = Record::Gateway(GatewayRecord {
        node: node.0,
        ..GatewayRecord::default()
    });
    assert_eq!(rig.put(Key::Gateway(node), record), []);
}

#[test]
fn what_is_not_here_is_asked_of_the_origin() {
    let mut rig = Rig::serving();
    rig.put_slot(slot(1, SlotState::Starting));
    assert_eq!(manifest(&mut rig, None), [read(ORIGIN)]);
}

#[test]
fn a_gateway_of_the_region_is_asked_first() {
    let mut rig = Rig::serving();
    put_gateway(&mut rig, GATEWAY);
    // A gateway on this very host has the same blobs.
    put_gateway(&mut rig, HOST);
    rig.put_slot(slot(1, SlotState::Starting));
    assert_eq!(manifest(&mut rig, None), [read(origin_of(GATEWAY))]);
    let reads = rig.until(2_500);
    assert_eq!(reads, [(2_000, read(ORIGIN))], "when it is silent");
}

#[test]
fn a_gateway_that_is_gone_is_not_asked() {
    let mut rig = Rig::serving();
    put_gateway(&mut rig, GATEWAY);
    rig.delete(Key::Gateway(GATEWAY));
    rig.put_slot(slot(1, SlotState::Starting));
    assert_eq!(manifest(&mut rig, None), [read(ORIGIN)]);
}

#[test]
fn an_artifact_that_cannot_be_used_fails_the_start() {
    let mut rig = Rig::serving();
    rig.put_slot(slot(1, SlotState::Starting));
    let escaping = Manifest {
        files: vec![ManifestEntry {
            path: "../etc/passwd".into(),
            digest: Bytes::from(ARTIFACT),
            size: 1,
            executable: false,
        }],
    };
    let effects = manifest(&mut rig, Some(escaping));
    let reason = "its artifact cannot be used: the path `../etc/passwd` is not relative and \
                  plain; remove empty, `.` and `..` segments";
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
fn instances_of_a_version_share_a_fetch() {
    let mut rig = Rig::serving();
    rig.put_slot(slot(1, SlotState::Starting));
    rig.put_slot(other_slot(SlotState::Starting));
    assert_eq!(rig.blob, [BlobCommand::LoadManifest { digest: ARTIFACT }]);
    let start_other = driver(tidegate_kernel::DriverCommand::Start {
        instance: other_instance(),
        spec: Box::new(spec(VERSION)),
    });
    assert_eq!(rig.artifact_arrives(), [start(1), start_other]);
}

#[test]
fn a_fetch_goes_on_while_anybody_waits_for_it() {
    let mut rig = Rig::serving();
    rig.put_slot(slot(1, SlotState::Starting));
    rig.put_slot(other_slot(SlotState::Starting));
    rig.put_slot(SlotRecord {
        index: 1,
        ..free_slot(2)
    });
    assert_eq!(rig.artifact_arrives(), [start(1)]);
}

#[test]
fn a_fetch_that_nobody_waits_for_ends() {
    let mut rig = Rig::serving();
    rig.put_slot(slot(1, SlotState::Starting));
    rig.put_slot(free_slot(2));
    assert_eq!(
        manifest(&mut rig, None),
        [],
        "nothing is asked of the origin"
    );
    rig.put_slot(slot(3, SlotState::Starting));
    assert_eq!(
        rig.blob,
        [BlobCommand::LoadManifest { digest: ARTIFACT }],
        "the next one begins anew"
    );
}
