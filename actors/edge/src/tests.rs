mod scrub;

use std::collections::BTreeSet;

use super::*;
use tidegate_kernel::{BlobCommand, Effect};
use tidegate_protocol::{
    AckRecord, BlobData, BlobRead, FeedEntry, Manifest, NodeId, Precondition, RegionWelcome, Role,
    StoreCommitReply, StoreWatch, VersionSpec, limits, store_commit_reply::Outcome,
};

const NODE: NodeId = NodeId(2);
const ME: Address = Address::new(NODE, Role::Edge, 0);
const STORE: Address = Address::new(NodeId(3), Role::Store, 1);
const CONTROL: Address = Address::new(NodeId(1), Role::Control, 0);
const ORIGIN: Address = Address::new(NodeId(1), Role::Origin, 0);
const A: Digest = Digest([0xa; 32]);
const B: Digest = Digest([0xb; 32]);

/// An edge that has started at the moment 0 and is welcome.
struct Bench {
    edge: Edge,
    fx: Effects,
    ms: u64,
    session: u64,
    revision: u64,
}

fn config() -> EdgeConfig {
    EdgeConfig::new(
        ME,
        "syd-gw-0",
        "syd",
        STORE,
        CONTROL,
        ORIGIN,
        "10.0.0.2:8444".into(),
    )
}

fn start() -> (Bench, Vec<Effect>) {
    let mut b = Bench {
        edge: Edge::new(config(), Seed(1).rng()),
        fx: Effects::new(),
        ms: 0,
        session: 0,
        revision: 0,
    };
    let effects = b.event(Event::Start);
    let Effect::Send {
        body: Message::StoreWatch(watch),
        ..
    } = &effects[0]
    else {
        panic!("{effects:?}");
    };
    b.session = watch.session;
    (b, effects)
}

/// Started, welcome, and with what the store holds.
fn loaded(entries: Vec<FeedEntry>) -> (Bench, Vec<Effect>) {
    let (mut b, _) = start();
    b.message(
        CONTROL,
        Message::RegionWelcome(RegionWelcome {
            region: "syd".into(),
        }),
    );
    let effects = b.feed(entries);
    (b, effects)
}

impl Bench {
    fn event(&mut self, event: Event) -> Vec<Effect> {
        self.edge.handle(Now::at_ms(self.ms), event, &mut self.fx);
        self.edge.check();
        self.fx.take()
    }

    fn message(&mut self, from: Address, body: Message) -> Vec<Effect> {
        self.event(Event::Message { from, body })
    }

    /// The store committed these, each at its revision.
    fn feed(&mut self, entries: Vec<FeedEntry>) -> Vec<Effect> {
        let after_revision = self.revision;
        self.revision = entries.last().map_or(after_revision, |e| e.revision);
        self.message(
            STORE,
            Message::StoreFeed(StoreFeed {
                session: self.session,
                after_revision,
                revision: self.revision,
                entries,
                ..StoreFeed::default()
            }),
        )
    }

    fn loaded_manifest(&mut self, digest: Digest, here: bool) -> Vec<Effect> {
        let manifest = here.then(Manifest::default);
        self.event(Event::Blob(BlobReport::Manifest { digest, manifest }))
    }

    /// The artifact comes from the origin: a manifest without files.
    fn arrive(&mut self, digest: Digest) -> Vec<Effect> {
        self.message(
            ORIGIN,
            Message::BlobData(BlobData {
                digest: digest.into(),
                ..BlobData::default()
            }),
        );
        let verified = true;
        self.event(Event::Blob(BlobReport::Finished { digest, verified }));
        self.loaded_manifest(digest, true)
    }

    fn reply(&mut self, effects: &[Effect], outcome: Outcome) -> Vec<Effect> {
        let id = commit_of(effects).0.0;
        let outcome = Some(outcome);
        self.message(
            STORE,
            Message::StoreCommitReply(StoreCommitReply { id, outcome }),
        )
    }

    fn at(&mut self, ms: u64) -> Vec<Effect> {
        self.ms = ms;
        self.event(Event::Timer)
    }
}

/// The only commit among the effects.
fn commit_of(effects: &[Effect]) -> (CommitId, Txn) {
    let mut commits = effects.iter().filter_map(|effect| match effect {
        Effect::Commit {
            id,
            store: STORE,
            txn,
        } => Some((*id, txn.clone())),
        _ => None,
    });
    match (commits.next(), commits.next()) {
        (Some(commit), None) => commit,
        other => panic!("{other:?} in {effects:?}"),
    }
}

/// What the only commit does.
fn txn_of(effects: &[Effect]) -> Txn {
    commit_of(effects).1
}

fn version(id: u64, artifact: Digest, revision: u64) -> FeedEntry {
    let record = Record::Version(VersionSpec {
        id,
        artifact: artifact.into(),
        ..VersionSpec::default()
    });
    FeedEntry {
        key: Key::Version(id).to_string(),
        value: Some(record.encode()),
        revision,
    }
}

fn ack(version: u64, artifact: Digest, revision: u64) -> FeedEntry {
    FeedEntry {
        key: ack_key(version),
        value: Some(ack_record(version, artifact)),
        revision,
    }
}

fn deleted(key: String, revision: u64) -> FeedEntry {
    FeedEntry {
        key,
        value: None,
        revision,
    }
}

fn ack_key(version: u64) -> String {
    Key::Ack {
        node: NODE,
        version,
    }
    .to_string()
}

fn ack_record(version: u64, artifact: Digest) -> tidegate_protocol::Bytes {
    Record::Ack(AckRecord {
        node: NODE.0,
        version,
        artifact: artifact.into(),
    })
    .encode()
}

/// The commit that writes an ack, from these revisions of the ack and the version.
fn acks(version: u64, artifact: Digest, ack: u64, seen: u64) -> Txn {
    let precondition = |key, revision| Precondition { key, revision };
    Txn {
        preconditions: vec![
            precondition(ack_key(version), ack),
            precondition(Key::Version(version).to_string(), seen),
        ],
        writes: vec![Write {
            key: ack_key(version),
            value: Some(ack_record(version, artifact)),
        }],
    }
}

fn unacks(version: u64, revision: u64) -> Txn {
    let key = ack_key(version);
    Txn {
        preconditions: vec![Precondition {
            key: key.clone(),
            revision,
        }],
        writes: vec![Write { key, value: None }],
    }
}

fn send(to: Address, body: Message) -> Effect {
    Effect::Send {
        to,
        body,
        after: None,
    }
}

fn hello() -> Effect {
    send(
        CONTROL,
        Message::RegionHello(RegionHello {
            region: "syd".into(),
            store_node: STORE.node.0,
        }),
    )
}

fn load(digest: Digest) -> Effect {
    Effect::Blob(BlobCommand::LoadManifest { digest })
}

fn read(digest: Digest) -> Effect {
    read_of(ORIGIN, digest)
}

fn read_of(source: Address, digest: Digest) -> Effect {
    send(
        source,
        Message::BlobRead(BlobRead {
            digest: digest.into(),
            offset: 0,
            length_max: limits::BLOB_CHUNK_BYTES as u32,
        }),
    )
}

fn gateway(node: NodeId, revision: u64) -> FeedEntry {
    FeedEntry {
        key: Key::Gateway(node).to_string(),
        value: Some(Record::Gateway(GatewayRecord::default()).encode()),
        revision,
    }
}

fn verified(version: u64, artifact: Digest) -> Effect {
    Effect::Note(Note::Verified { version, artifact })
}

fn beat_of(effects: &[Effect]) -> u64 {
    let txn = txn_of(effects);
    assert_eq!(txn.preconditions, []);
    let [write] = &txn.writes[..] else {
        panic!("{txn:?}");
    };
    let key = Key::Gateway(NODE);
    assert_eq!(write.key, key.to_string());
    let Ok(Record::Gateway(record)) = Record::parse(&key, write.value.as_ref().unwrap()) else {
        panic!("{write:?}");
    };
    let expected = GatewayRecord {
        node: NODE.0,
        name: "syd-gw-0".into(),
        region: "syd".into(),
        hop_endpoint: "10.0.0.2:8444".into(),
        beat: record.beat,
        actors: 1,
    };
    assert_eq!(record, expected);
    record.beat
}

#[test]
fn it_subscribes_beats_and_says_hello_at_once() {
    let (b, effects) = start();
    let watch = StoreWatch {
        session: b.session,
        prefixes: vec!["version/".into(), "ack/00000002/".into(), "gateway/".into()],
        after_revision: 0,
    };
    assert_eq!(effects[0], send(STORE, Message::StoreWatch(watch)));
    beat_of(&effects);
    assert_eq!(effects[2..], [hello()]);
}

#[test]
fn beats_follow_each_other_and_hellos_until_it_is_welcome() {
    let (mut b, effects) = start();
    let first = beat_of(&effects);
    let second = b.at(15_000);
    assert_eq!(beat_of(&second), first.wrapping_add(1));
    assert!(second.contains(&hello()));

    let welcome = |region: &str| {
        Message::RegionWelcome(RegionWelcome {
            region: region.into(),
        })
    };
    b.message(CONTROL, welcome("mel"));
    b.message(STORE, welcome("syd"));
    assert!(b.at(30_000).contains(&hello()));
    b.message(CONTROL, welcome("syd"));
    let later = b.at(45_000);
    assert_eq!(beat_of(&later), first.wrapping_add(3));
    assert!(!later.contains(&hello()));
    assert!(b.at(330_000).contains(&hello()));
}

/// Whether the edge beats one second after this answer to its last heartbeat.
fn beats_soon_after(outcome: Outcome) -> bool {
    let writes = |effects: &[Effect]| effects.iter().any(|e| matches!(e, Effect::Commit { .. }));
    let (mut b, effects) = start();
    let first = beat_of(&effects);
    assert_eq!(b.reply(&effects, outcome), []);
    assert!(!writes(&b.at(999)));
    let soon = b.at(1_000);
    if writes(&soon) {
        assert_eq!(beat_of(&soon), first.wrapping_add(1));
    }
    writes(&soon)
}

#[test]
fn a_refused_heartbeat_is_followed_soon() {
    assert!(beats_soon_after(Outcome::Refused(
        "the disk is full".into()
    )));
    assert!(!beats_soon_after(Outcome::Applied(7)));
}

#[test]
fn a_version_is_acked_when_its_artifact_is_whole() {
    let (mut b, effects) = loaded(vec![version(5, A, 1)]);
    assert_eq!(effects, [load(A)]);
    assert_eq!(b.loaded_manifest(A, false), [read(A)]);
    let effects = b.arrive(A);
    assert_eq!(effects[0], verified(5, A));
    assert_eq!(txn_of(&effects), acks(5, A, 0, 1));
    assert!(b.edge.holds(&A));
    assert_eq!(b.feed(vec![ack(5, A, 2)]), []);
    assert_eq!(b.reply(&effects, Outcome::Applied(2)), []);
    // Another version of the same artifact needs no look.
    let effects = b.feed(vec![version(6, A, 3)]);
    assert_eq!(effects[0], verified(6, A));
    assert_eq!(txn_of(&effects), acks(6, A, 0, 3));
}

#[test]
fn the_ack_of_a_version_that_is_gone_is_deleted() {
    let (mut b, _) = loaded(vec![version(5, A, 1), ack(5, A, 2)]);
    b.loaded_manifest(A, true);
    let effects = b.feed(vec![deleted(Key::Version(5).to_string(), 3)]);
    assert_eq!(txn_of(&effects), unacks(5, 2));
    assert!(!b.edge.holds(&A));
    b.feed(vec![deleted(ack_key(5), 4)]);
    assert_eq!(b.reply(&effects, Outcome::Applied(4)), []);
}

#[test]
fn a_version_that_goes_while_it_is_fetched_is_forgotten() {
    let (mut b, _) = loaded(vec![version(5, A, 1)]);
    assert_eq!(b.feed(vec![deleted(Key::Version(5).to_string(), 2)]), []);
    assert_eq!(b.loaded_manifest(A, true), []);
}

#[test]
fn an_ack_of_a_former_life_stands_when_all_is_there() {
    let (mut b, effects) = loaded(vec![version(5, A, 1), ack(5, A, 2)]);
    assert_eq!(effects, [load(A)]);
    assert_eq!(b.loaded_manifest(A, true), [verified(5, A)]);
}

#[test]
fn an_ack_of_a_former_life_falls_when_something_is_missing() {
    let (mut b, _) = loaded(vec![version(5, A, 1), ack(5, A, 2)]);
    let effects = b.loaded_manifest(A, false);
    assert_eq!(txn_of(&effects), unacks(5, 2));
    b.feed(vec![deleted(ack_key(5), 3)]);
    b.reply(&effects, Outcome::Applied(3));
    let effects = b.arrive(A);
    assert_eq!(txn_of(&effects), acks(5, A, 0, 1));
}

#[test]
fn an_ack_of_another_artifact_or_of_no_version_falls_at_once() {
    let (_, effects) = loaded(vec![version(5, A, 1), ack(5, B, 2), ack(6, B, 3)]);
    let mut expected = unacks(5, 2);
    expected.preconditions.extend(unacks(6, 3).preconditions);
    expected.writes.extend(unacks(6, 3).writes);
    assert_eq!(txn_of(&effects), expected);
}

#[test]
fn one_commit_is_under_way_and_the_rest_follows() {
    let (mut b, _) = loaded(vec![version(5, A, 1), version(6, B, 2)]);
    let first = b.loaded_manifest(A, true);
    assert_eq!(b.loaded_manifest(B, true), [verified(6, B)]);
    // The answer overtook the feed: the mirror does not show the commit yet.
    assert_eq!(b.reply(&first, Outcome::Applied(3)), []);
    assert_eq!(txn_of(&b.feed(vec![ack(5, A, 3)])), acks(6, B, 0, 2));
}

#[test]
fn a_conflict_waits_for_newer_state() {
    let (mut b, _) = loaded(vec![version(5, A, 1)]);
    let effects = b.loaded_manifest(A, true);
    let conflict = Outcome::Conflict(Key::Version(5).to_string());
    assert_eq!(b.reply(&effects, conflict), []);
    assert_eq!(b.feed(vec![deleted(Key::Version(5).to_string(), 2)]), []);
}

#[test]
fn a_commit_without_an_answer_is_forgotten_and_decided_anew() {
    let (mut b, _) = loaded(vec![version(5, A, 1)]);
    let (lost, txn) = commit_of(&b.loaded_manifest(A, true));
    let effects = b.at(5_000);
    assert!(effects.contains(&Effect::Forget(lost)));
    let (again, same) = commit_of(&effects);
    assert_eq!(same, txn);
    assert_ne!(again, lost);
    // It had been applied, and only the answer was lost.
    b.feed(vec![ack(5, A, 2)]);
    assert_eq!(b.reply(&effects, Outcome::Conflict(ack_key(5))), []);
}

#[test]
fn a_refusal_is_tried_again_later() {
    let (mut b, _) = loaded(vec![version(5, A, 1)]);
    let effects = b.loaded_manifest(A, true);
    assert_eq!(b.reply(&effects, Outcome::Refused("disk full".into())), []);
    assert_eq!(txn_of(&b.at(5_000)), acks(5, A, 0, 1));
}

#[test]
fn what_is_unusable_is_noted_and_tried_again_with_the_next_hello() {
    let (mut b, _) = loaded(vec![version(5, A, 1)]);
    b.loaded_manifest(A, false);
    b.message(
        ORIGIN,
        Message::BlobData(BlobData {
            digest: A.into(),
            total: limits::MANIFEST_BYTES_MAX as u64 + 1,
            ..BlobData::default()
        }),
    );
    assert!(!b.edge.holds(&A));
    assert!(b.at(300_000).contains(&load(A)));
    assert_eq!(b.loaded_manifest(A, true)[0], verified(5, A));
}

#[test]
fn a_version_that_names_no_artifact_is_noted() {
    let record = Record::Version(VersionSpec::default());
    let (_, effects) = loaded(vec![FeedEntry {
        key: Key::Version(5).to_string(),
        value: Some(record.encode()),
        revision: 1,
    }]);
    assert!(matches!(
        effects[..],
        [Effect::Note(Note::Malformed { .. })]
    ));
}

#[test]
fn other_edges_are_asked_when_the_origin_lacks_an_artifact() {
    let other = NodeId(9);
    let lacks = |b: &mut Bench, source| {
        b.message(
            source,
            Message::BlobData(BlobData {
                digest: A.into(),
                missing: true,
                ..BlobData::default()
            }),
        )
    };
    let (mut b, _) = loaded(vec![gateway(NODE, 1), gateway(other, 2), version(5, A, 3)]);
    assert_eq!(b.loaded_manifest(A, false), [read(A)]);
    assert_eq!(lacks(&mut b, ORIGIN), [read_of(origin_of(other), A)]);
    // It asks nobody else: not itself, whose blobs it knows.
    assert_eq!(lacks(&mut b, origin_of(other)), []);

    b.feed(vec![deleted(Key::Gateway(other).to_string(), 4)]);
    assert_eq!(b.at(4_000)[0], load(A));
    assert_eq!(b.loaded_manifest(A, false), [read(A)]);
    assert_eq!(lacks(&mut b, ORIGIN), [], "it is gone");
}

#[test]
fn it_wakes_for_the_first_thing_that_is_due() {
    let (mut b, _) = loaded(vec![]);
    let (first, _) = b.edge.next_deadline().unwrap();
    assert!(first > Now::at_ms(0).mono && first <= Now::at_ms(5_000).mono);
    let mut reasons = BTreeSet::new();
    for _ in 0..20 {
        let (at, why) = b.edge.next_deadline().unwrap();
        reasons.insert(why);
        b.at(at.0.div_ceil(1_000_000));
    }
    assert!(reasons.contains("heartbeat"), "{reasons:?}");
}

#[test]
fn the_load_is_that_of_its_fetcher() {
    let (b, _) = loaded(vec![]);
    let queues: Vec<_> = b.edge.load().iter().map(|load| load.queue).collect();
    let expected = [
        "artifacts",
        "artifacts in work",
        "checks of blobs",
        "transfers",
    ];
    assert_eq!(queues, expected);
}
