//! What sync answers, whom it asks first, and what it gives up in time.

use super::bench::*;
use super::world::{MAIN, store_of};
use tidegate_kernel::Effect;
use tidegate_protocol::*;

const CONTROL: Address = Address::new(NodeId(1), Role::Control, 0);

fn ask(bench: &mut Bench, project: &str) -> ApiReply {
    let call = api_request::Call::ListInstances(ListInstances {
        project: project.into(),
    });
    let request = ApiRequest {
        id: 5,
        call: Some(call),
    };
    let effects = bench.message(CONTROL, Message::ApiRequest(request));
    match &effects[..] {
        [
            Effect::Send {
                to: CONTROL,
                body: Message::ApiReply(reply),
                after: None,
            },
        ] => reply.clone(),
        other => panic!("{other:?}"),
    }
}

/// A deploy of a program at both edges, whose step to PROVE is done.
fn proving(spec: VersionSpec) -> (Bench, Vec<Effect>) {
    let mut bench = Bench::new();
    for region in 0..2 {
        let node = 20 + region as u32;
        let effects = bench.beat(region, node, 1);
        bench.settle(effects);
        let lease = LeaseRecord {
            holder: Some(Holder { node, index: 0 }),
            ..LeaseRecord::default()
        };
        bench.put(store_of(region), Key::Lease, Record::Lease(lease));
    }
    let id = spec.id;
    let effects = bench.deploy(spec);
    bench.settle(effects);
    bench.ack(0, 20, id);
    let effects = bench.ack(1, 21, id);
    let effects = bench.settle(effects);
    (bench, effects)
}

fn woken(effects: &[Effect]) -> Vec<u32> {
    let wake = |effect: &Effect| match effect {
        Effect::Send {
            to,
            body: Message::Wake(_),
            ..
        } => Some(to.node.0),
        _ => None,
    };
    effects.iter().filter_map(wake).collect()
}

#[test]
fn an_answer_names_its_question_and_what_it_lacks() {
    let mut bench = Bench::new();
    let unknown = ask(&mut bench, "nothing");
    assert_eq!((unknown.id, unknown.error()), (5, ApiError::NotFound));
    assert!(unknown.reason.contains("`nothing`"), "{}", unknown.reason);

    let effects = bench.deploy(site(1, "hello", 1));
    bench.settle(effects);
    assert_eq!(ask(&mut bench, "hello").reason, "");
    bench.wait_with(30_000, &[MAIN, store_of(0)]);
    let partial = ask(&mut bench, "hello");
    assert!(partial.reason.ends_with(": syd"), "{}", partial.reason);

    bench.wait_with(30_000, &[]);
    let unavailable = ask(&mut bench, "hello");
    assert_eq!(
        (unavailable.id, unavailable.error()),
        (5, ApiError::Unavailable)
    );
    assert!(unavailable.reason.contains("try again"));
}

#[test]
fn the_regions_that_a_version_names_are_asked_in_its_order() {
    let spec = |regions: &[&str]| VersionSpec {
        regions: regions.iter().map(|r| (*r).to_owned()).collect(),
        ..program(1, "hello", 1)
    };
    for (regions, first) in [
        (&["syd", "mel"][..], 21),
        (&["mel", "syd"], 20),
        (&["syd"], 21),
        (&[], 20),
    ] {
        let (mut bench, mut effects) = proving(spec(regions));
        effects.extend(bench.wait_beating(1_000));
        assert_eq!(woken(&effects)[..1], [first], "{regions:?}");
    }
}

#[test]
fn a_version_that_starts_slowly_is_given_the_time_that_it_asked_for() {
    let spec = VersionSpec {
        start_timeout_ms: 150_000,
        ..program(1, "hello", 1)
    };
    let (mut bench, _) = proving(spec);
    let effects = bench.wait_beating(280_000);
    assert_eq!(commits(&effects), []);
    assert_eq!(bench.deploy_of(1).step(), DeployStep::Prove);
    let effects = bench.wait_beating(120_000);
    bench.settle(effects);
    assert_eq!(bench.deploy_of(1).step(), DeployStep::Failed);
}

#[test]
fn only_a_scheduler_says_that_a_version_does_not_start() {
    let (mut bench, _) = proving(program(1, "hello", 1));
    let reply = WakeReply {
        version: 1,
        outcome: WakeOutcome::Failed.into(),
        ..WakeReply::default()
    };
    let effects = bench.message(CONTROL, Message::WakeReply(reply));
    assert_eq!(commits(&effects), []);
}

#[test]
fn a_step_that_the_store_does_not_answer_is_forgotten_and_tried_again() {
    let (mut bench, _) = proving(program(1, "hello", 1));
    let reply = WakeReply {
        version: 1,
        outcome: WakeOutcome::Failed.into(),
        reason: "exit code 1".into(),
        ..WakeReply::default()
    };
    let scheduler = Address::new(NodeId(20), Role::Scheduler, 0);
    let effects = bench.message(scheduler, Message::WakeReply(reply));
    let (lost, _) = commit_to(&effects, MAIN);
    assert_eq!(commits(&bench.wait(4_000)), []);
    let effects = bench.wait(2_000);
    assert!(effects.contains(&Effect::Forget(lost)), "{effects:?}");
    let effects = [effects, bench.wait(2_000)].concat();
    assert_eq!(commits(&effects).len(), 1, "{effects:?}");
}

#[test]
fn it_looks_at_deploys_only_while_there_are_any() {
    let mut bench = Bench::new();
    bench.wait(1_000);
    assert_ne!(bench.waits_for(), "look at deploys and removals");
    let effects = bench.deploy(site(1, "hello", 1));
    bench.settle(effects);
    assert_eq!(bench.waits_for(), "look at deploys and removals");
}

#[test]
fn a_peer_is_known_with_its_region() {
    let mut bench = Bench::new();
    let effects = bench.beat(0, 20, 1);
    bench.settle(effects);
    let key = Key::Peer {
        region: "mel".into(),
        node: NodeId(20),
    };
    let Some(Record::Peer(peer)) = bench.record(store_of(1), &key) else {
        panic!("syd knows no peer in mel");
    };
    assert_eq!((peer.region.as_str(), peer.name.as_str()), ("mel", "gw-20"));
}

/// Carries out what is committed to the main store; the regions do not answer.
fn settle_main(bench: &mut Bench, mut effects: Vec<Effect>) {
    while let Some((id, _, txn)) = commits(&effects).into_iter().find(|(_, s, _)| *s == MAIN) {
        let outcome = bench.apply(MAIN, &txn);
        effects = bench.feed(MAIN);
        effects.extend(bench.reply(MAIN, id, outcome));
    }
}

fn remove(bench: &mut Bench, name: &str) -> Vec<Effect> {
    let project = ProjectRecord {
        removed: true,
        active: 0,
        ..bench.project(name).unwrap()
    };
    bench.put(MAIN, Key::Project(name.into()), Record::Project(project))
}

#[test]
fn a_removed_project_is_recorded_while_a_region_holds_a_version_of_it() {
    let mut bench = Bench::new();
    let effects = bench.deploy(site(1, "hello", 1));
    bench.settle(effects);
    let effects = remove(&mut bench, "hello");
    settle_main(&mut bench, effects);
    for _ in 0..3 {
        let effects = bench.wait(1_000);
        settle_main(&mut bench, effects);
    }
    assert_eq!(bench.deploy_of(1).step(), DeployStep::Failed);
    assert!(bench.project("hello").is_some());
}

#[test]
fn a_removed_project_is_recorded_while_an_instance_of_it_runs() {
    let mut bench = Bench::new();
    let effects = bench.deploy(program(1, "hello", 1));
    bench.settle(effects);
    let key = Key::Slot {
        version: 1,
        index: 0,
    };
    let slot = |state: SlotState| {
        Record::Slot(SlotRecord {
            version: 1,
            index: 0,
            epoch: 1,
            state: state.into(),
            ..SlotRecord::default()
        })
    };
    let effects = bench.put(store_of(0), key.clone(), slot(SlotState::Stopping));
    bench.settle(effects);
    let effects = remove(&mut bench, "hello");
    bench.settle(effects);
    let settled = |bench: &mut Bench| {
        for _ in 0..5 {
            let effects = bench.wait(1_000);
            bench.settle(effects);
        }
        bench.project("hello").is_some()
    };
    assert!(settled(&mut bench), "an instance is stopping");
    let effects = bench.put(store_of(0), key, slot(SlotState::Free));
    bench.settle(effects);
    assert!(!settled(&mut bench), "nothing holds it any more");
}

#[test]
fn the_time_to_prove_a_deploy_begins_when_it_is_everywhere() {
    let mut bench = Bench::new();
    for region in 0..2 {
        let effects = bench.beat(region, 20 + region as u32, 1);
        bench.settle(effects);
    }
    let effects = bench.deploy(program(1, "hello", 1));
    bench.settle(effects);
    let effects = bench.wait_beating(200_000);
    assert_eq!(commits(&effects), []);
    for region in 0..2 {
        let effects = bench.ack(region, 20 + region as u32, 1);
        bench.settle(effects);
    }
    assert_eq!(bench.deploy_of(1).step(), DeployStep::Prove);
    let effects = bench.wait_beating(100_000);
    bench.settle(effects);
    assert_eq!(bench.deploy_of(1).step(), DeployStep::Prove);
}
