//! What a partition is made to hold, and when nothing is done.

use super::bench::*;
use super::world::{MAIN, store_of};
use store_commit_reply::Outcome;
use tidegate_kernel::{Effect, Note};
use tidegate_protocol::*;

const MEL: Address = store_of_region(0);
const SYD: Address = store_of_region(1);

const fn store_of_region(region: u32) -> Address {
    Address::new(NodeId(10 + region), Role::Store, Address::PARTITION_STORE)
}

fn route(project: &str, version: u64, epoch: u64) -> (Key, Record) {
    let record = RouteRecord {
        project: project.into(),
        version,
        epoch,
        hosts: vec![format!("{project}.test")],
    };
    (Key::Route(project.into()), Record::Route(record))
}

/// A project whose only version is live, everywhere.
fn with_live_site() -> Bench {
    let mut bench = Bench::new();
    let effects = bench.deploy(site(1, "hello", 1));
    bench.settle(effects);
    for region in 0..2 {
        let effects = bench.beat(region, 20 + region as u32, 1);
        bench.settle(effects);
        let effects = bench.ack(region, 20 + region as u32, 1);
        bench.settle(effects);
    }
    assert_eq!(bench.project("hello").unwrap().active, 1);
    bench
}

#[test]
fn a_version_comes_with_its_slots_to_every_region_that_may_run_it() {
    let mut bench = Bench::new();
    let spec = VersionSpec {
        regions: vec!["syd".into()],
        ..program(1, "hello", 1)
    };
    let effects = bench.deploy(spec.clone());
    let version = || (Key::Version(1), Some(Record::Version(spec.clone())), 0);
    let free = |index| {
        let (key, record) = slot(1, index, SlotState::Free, 0);
        (key, record, 0)
    };
    assert_eq!(commit_to(&effects, MEL).1, txn(vec![version()]));
    assert_eq!(
        commit_to(&effects, SYD).1,
        txn(vec![version(), free(0), free(1)])
    );
    let told = Note::Deploy {
        version: 1,
        step: DeployStep::Distribute,
        reason: String::new(),
    };
    assert_eq!(effects[0], Effect::Note(told));
    assert_eq!(effects.len(), 3);
}

#[test]
fn heartbeats_cost_nothing() {
    let mut bench = with_live_site();
    for beat in 2..5 {
        assert_eq!(bench.beat(0, 20, beat), []);
        let host = HostRecord {
            node: 7,
            beat,
            ..HostRecord::default()
        };
        assert_eq!(bench.put(MEL, Key::Host(NodeId(7)), Record::Host(host)), []);
        let instances = InstancesRecord {
            node: 7,
            beat,
            ..InstancesRecord::default()
        };
        assert_eq!(
            bench.put(MEL, Key::Instances(NodeId(7)), Record::Instances(instances)),
            []
        );
        assert!(bench.nothing_to_compare());
    }
}

#[test]
fn routes_follow_the_project_and_never_go_back() {
    let mut bench = with_live_site();
    let (key, record) = route("hello", 1, 1);
    assert_eq!(bench.record(MEL, &key), Some(record));
    // A higher epoch in a partition is left alone, whoever wrote it.
    let (key, ahead) = route("hello", 1, 9);
    assert_eq!(bench.put(MEL, key.clone(), ahead.clone()), []);
    assert_eq!(bench.wait_beating(70_000), []);
    assert_eq!(bench.record(MEL, &key), Some(ahead));
    // Removal is above every epoch.
    let removed = ProjectRecord {
        removed: true,
        active: 0,
        epoch: 2,
        ..bench.project("hello").unwrap()
    };
    let effects = bench.put(MAIN, Key::Project("hello".into()), Record::Project(removed));
    let version = bench.revision(MEL, &Key::Version(1));
    let route = bench.revision(MEL, &key);
    let expected = txn(vec![(key, None, route), (Key::Version(1), None, version)]);
    assert_eq!(commit_to(&effects, MEL).1, expected);
}

#[test]
fn slots_of_an_unwanted_version_leave_only_while_free() {
    let mut bench = Bench::new();
    let effects = bench.deploy(program(1, "hello", 1));
    bench.settle(effects);
    bench.write(MEL, vec![slot(1, 0, SlotState::Running, 1)]);
    bench.feed(MEL);
    let failed = DeployRecord {
        step: DeployStep::Failed.into(),
        ..bench.deploy_of(1)
    };
    let effects = bench.put(MAIN, Key::Deploy(1), Record::Deploy(failed));
    let free = Key::Slot {
        version: 1,
        index: 1,
    };
    let expected = txn(vec![(Key::Version(1), None, 1), (free.clone(), None, 1)]);
    assert_eq!(commit_to(&effects, MEL).1, expected);
    bench.settle(effects);
    // STOPPING asks for nothing; FREE does.
    bench.write(MEL, vec![slot(1, 0, SlotState::Stopping, 1)]);
    assert_eq!(bench.feed(MEL), []);
    bench.write(MEL, vec![slot(1, 0, SlotState::Free, 1)]);
    let effects = bench.feed(MEL);
    let last = Key::Slot {
        version: 1,
        index: 0,
    };
    let revision = bench.revision(MEL, &last);
    assert_eq!(
        commit_to(&effects, MEL).1,
        txn(vec![(last, None, revision)])
    );
    bench.settle(effects);
    assert_eq!(bench.record(MEL, &free), None);
    assert_eq!(bench.wait(61_000), []);
}

#[test]
fn a_host_name_leaves_one_route_before_it_enters_another() {
    let mut bench = with_live_site();
    let taken = |name: &str, active, epoch, hosts: &[&str]| {
        let record = ProjectRecord {
            name: name.into(),
            active,
            epoch,
            hosts: hosts.iter().map(|h| (*h).to_owned()).collect(),
            ..ProjectRecord::default()
        };
        (Key::Project(name.into()), Some(Record::Project(record)))
    };
    bench.write(
        MAIN,
        vec![
            taken("hello", 1, 2, &[]),
            taken("again", 2, 1, &["hello.test"]),
        ],
    );
    bench.write(
        MAIN,
        vec![(Key::Version(2), Some(Record::Version(site(2, "again", 1))))],
    );
    let effects = bench.feed(MAIN);
    let (_, txn) = commit_to(&effects, MEL);
    let keys: Vec<&str> = txn.writes.iter().map(|w| w.key.as_str()).collect();
    assert_eq!(
        keys,
        ["version/0000000000000002", "route/hello", "route/again"]
    );
}

#[test]
fn gateways_are_peers_elsewhere_until_they_fall_silent() {
    let mut bench = Bench::new();
    let peer = |endpoint: &str| {
        let record = GatewayRecord {
            hop_endpoint: endpoint.into(),
            beat: 0,
            ..gateway(0, 20, 0)
        };
        Record::Peer(record)
    };
    let key = Key::Peer {
        region: "mel".into(),
        node: NodeId(20),
    };
    let effects = bench.beat(0, 20, 1);
    let (_, created) = commit_to(&effects, SYD);
    assert_eq!(
        created,
        txn(vec![(key.clone(), Some(peer("10.0.0.20:7")), 0)])
    );
    assert_eq!(bench.settle(effects), []);
    // Another endpoint is told, a beat is not.
    assert_eq!(bench.beat(0, 20, 2), []);
    let moved = GatewayRecord {
        hop_endpoint: "10.0.0.99:7".into(),
        ..gateway(0, 20, 3)
    };
    let effects = bench.put(MEL, Key::Gateway(NodeId(20)), Record::Gateway(moved));
    let (_, changed) = commit_to(&effects, SYD);
    assert_eq!(
        changed,
        txn(vec![(key.clone(), Some(peer("10.0.0.99:7")), 1)])
    );
    bench.settle(effects);
    assert_eq!(bench.wait_written(44_000), []);
    let effects = bench.wait_written(6_000);
    assert_eq!(commit_to(&effects, SYD).1, txn(vec![(key, None, 2)]));
}

#[test]
fn the_silence_of_a_store_that_takes_no_commits_is_not_its_gateways() {
    let mut bench = Bench::new();
    let effects = bench.beat(0, 20, 1);
    bench.settle(effects);
    assert_eq!(bench.wait(120_000), []);
    assert_eq!(bench.wait_written(44_000), []);
    let key = Key::Peer {
        region: "mel".into(),
        node: NodeId(20),
    };
    let effects = bench.wait_written(6_000);
    assert_eq!(commit_to(&effects, SYD).1, txn(vec![(key, None, 1)]));
}

#[test]
fn the_silence_of_a_region_that_is_cut_off_is_not_its_gateways() {
    let mut bench = Bench::new();
    let effects = bench.beat(0, 20, 1);
    bench.settle(effects);
    let effects = bench.wait_with(120_000, &[MAIN, SYD]);
    let lost = Effect::Note(Note::Feed {
        store: MEL,
        live: false,
    });
    assert_eq!(effects, [lost]);
}

#[test]
fn a_conflict_waits_for_the_feed() {
    let mut bench = Bench::new();
    let effects = bench.deploy(program(1, "hello", 1));
    let (commit, txn) = commit_to(&effects, MEL);
    bench.write(MEL, vec![slot(1, 0, SlotState::Starting, 1)]);
    let outcome = bench.apply(MEL, &txn);
    assert!(matches!(outcome, Outcome::Conflict(_)));
    assert_eq!(bench.reply(MEL, commit, outcome), []);
    assert_eq!(bench.feed(MEL), [], "it rests");
    let effects = bench.wait(1_000);
    let (_, again) = commit_to(&effects, MEL);
    let keys: Vec<&str> = again.writes.iter().map(|w| w.key.as_str()).collect();
    assert_eq!(
        keys,
        ["version/0000000000000001", "slot/0000000000000001/00000001"]
    );
}

#[test]
fn a_commit_without_an_answer_is_decided_anew() {
    let mut bench = Bench::new();
    let effects = bench.deploy(site(1, "hello", 1));
    bench.settle(
        effects
            .iter()
            .filter(|e| matches!(e, Effect::Commit { store: SYD, .. }))
            .cloned()
            .collect(),
    );
    let (lost, txn) = commit_to(&effects, MEL);
    let effects = bench.wait(6_000);
    assert_eq!(effects[0], Effect::Forget(lost));
    let (again, same) = commit_to(&effects, MEL);
    assert_eq!(same, txn);
    // It was applied after all: the second one fails, and nothing is left to do.
    bench.apply(MEL, &txn);
    let outcome = bench.apply(MEL, &same);
    assert!(matches!(outcome, Outcome::Conflict(_)));
    assert_eq!(bench.feed(MEL), []);
    assert_eq!(bench.reply(MEL, again, outcome), []);
    assert_eq!(bench.wait(10_000), []);
}

#[test]
fn a_large_difference_goes_in_parts_of_whole_versions() {
    let mut bench = Bench::new();
    let mut records = Vec::new();
    for id in 1..=5 {
        let name = format!("p{id}");
        let spec = VersionSpec {
            instances_max: 60,
            ..program(id, &name, 1)
        };
        let deploy = DeployRecord {
            version: id,
            project: name.clone(),
            step: DeployStep::Live.into(),
            ..DeployRecord::default()
        };
        let project = ProjectRecord {
            name: name.clone(),
            active: id,
            epoch: 1,
            ..ProjectRecord::default()
        };
        records.push((Key::Version(id), Some(Record::Version(spec))));
        records.push((Key::Deploy(id), Some(Record::Deploy(deploy))));
        records.push((Key::Project(name), Some(Record::Project(project))));
    }
    bench.write(MAIN, records);
    let mut effects = bench.feed(MAIN);
    let mut sizes = Vec::new();
    while let Some((commit, store, txn)) = commits(&effects).into_iter().find(|c| c.1 == MEL) {
        assert!(txn.writes.len() + txn.preconditions.len() <= limits::TXN_OPS_MAX);
        sizes.push(txn.writes.len());
        let outcome = bench.apply(store, &txn);
        bench.feed(MEL);
        effects = bench.reply(MEL, commit, outcome);
    }
    assert_eq!(sizes, [122, 122, 61 + 5]);
}

#[test]
fn a_region_whose_store_moved_is_projected_anew() {
    let mut bench = with_live_site();
    let moved = Address::new(NodeId(42), Role::Store, Address::PARTITION_STORE);
    bench.add_store(moved);
    let record = RegionRecord {
        name: "mel".into(),
        store_node: 42,
    };
    let effects = bench.put(MAIN, Key::Region("mel".into()), Record::Region(record));
    assert_eq!(effects, []);
    let effects = bench.feed(moved);
    assert_eq!(effects[0], live(moved));
    let (_, txn) = commit_to(&effects, moved);
    let keys: Vec<&str> = txn.writes.iter().map(|w| w.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "version/0000000000000001",
            "route/hello",
            "peer/syd/00000015"
        ]
    );
    assert_eq!(
        bench.feed(store_of(0)),
        [],
        "the former store is not listened to"
    );
}

#[test]
fn instances_are_listed_from_every_region() {
    let mut bench = Bench::new();
    let effects = bench.deploy(program(1, "hello", 1));
    bench.settle(effects);
    let (key, Some(Record::Slot(running))) = slot(1, 1, SlotState::Running, 3) else {
        panic!()
    };
    let running = SlotRecord { host: 7, ..running };
    let host = HostRecord {
        node: 7,
        name: "h7".into(),
        ..HostRecord::default()
    };
    bench.put(SYD, Key::Host(NodeId(7)), Record::Host(host));
    bench.put(SYD, key, Record::Slot(running.clone()));
    let control = Address::new(NodeId(1), Role::Control, 0);
    let ask = |project: &str| {
        let call = api_request::Call::ListInstances(ListInstances {
            project: project.into(),
        });
        Message::ApiRequest(ApiRequest {
            id: 5,
            call: Some(call),
        })
    };
    let expected = ApiReply {
        id: 5,
        instances: vec![InstanceInfo {
            region: "syd".into(),
            slot: Some(running),
            project: "hello".into(),
            number: 1,
            host_name: "h7".into(),
        }],
        ..ApiReply::default()
    };
    let reply = Effect::Send {
        to: control,
        body: Message::ApiReply(expected),
        after: None,
    };
    assert_eq!(bench.message(control, ask("hello")), [reply]);
    let effects = bench.message(control, ask("world"));
    let [
        Effect::Send {
            body: Message::ApiReply(reply),
            ..
        },
    ] = &effects[..]
    else {
        panic!()
    };
    assert_eq!(reply.error(), ApiError::NotFound);
}
