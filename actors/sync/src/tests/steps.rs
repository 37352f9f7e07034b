//! How a deploy goes on, step by step, and what races with it.

use super::bench::*;
use super::world::{MAIN, store_of};
use store_commit_reply::Outcome;
use tidegate_kernel::{Effect, Note};
use tidegate_protocol::*;

/// Two regions with an edge each, `gw-20` in mel and `gw-21` in syd.
fn with_edges() -> Bench {
    let mut bench = Bench::new();
    for region in 0..2 {
        let effects = bench.beat(region, 20 + region as u32, 1);
        assert_eq!(bench.settle(effects), []);
    }
    bench
}

/// Deploys, projects and acknowledges; returns the commit that follows.
fn distributed(bench: &mut Bench, spec: VersionSpec) -> Vec<Effect> {
    let id = spec.id;
    let effects = bench.deploy(spec);
    bench.settle(effects);
    assert_eq!(bench.ack(0, 20, id), []);
    bench.ack(1, 21, id)
}

fn with_scheduler(bench: &mut Bench) {
    for region in 0..2 {
        let lease = LeaseRecord {
            holder: Some(Holder {
                node: 20 + region as u32,
                index: 0,
            }),
            ..LeaseRecord::default()
        };
        assert_eq!(
            bench.put(store_of(region), Key::Lease, Record::Lease(lease)),
            []
        );
    }
}

fn wake(region: u32, version: u64) -> Effect {
    Effect::Send {
        to: Address::new(NodeId(20 + region), Role::Scheduler, 0),
        body: Message::Wake(Wake { version, demand: 1 }),
        after: None,
    }
}

fn woken(bench: &mut Bench, outcome: WakeOutcome) -> Vec<Effect> {
    let reply = WakeReply {
        version: 1,
        outcome: outcome.into(),
        retry_after_ms: 0,
        reason: "exit code 1".into(),
        log_tail: "no such file".into(),
        before_start: false,
    };
    bench.message(SCHEDULER, Message::WakeReply(reply))
}

fn stepped(step: DeployStep, reason: &str) -> DeployRecord {
    DeployRecord {
        version: 1,
        project: "hello".into(),
        step: step.into(),
        reason: reason.into(),
        ..DeployRecord::default()
    }
}

/// Brings a program to PROVE and past its first wake.
fn proving() -> Bench {
    let mut bench = with_edges();
    with_scheduler(&mut bench);
    let effects = distributed(&mut bench, program(1, "hello", 1));
    let (_, txn_of_step) = commit_to(&effects, MAIN);
    let step = Record::Deploy(stepped(DeployStep::Prove, ""));
    assert_eq!(txn_of_step, txn(vec![(Key::Deploy(1), Some(step), 3)]));
    let effects = bench.settle(effects);
    let note = Effect::Note(Note::Deploy {
        version: 1,
        step: DeployStep::Prove,
        reason: String::new(),
    });
    assert_eq!(effects, [wake(0, 1), note]);
    bench
}

#[test]
fn the_cutover_is_one_commit_after_the_last_acknowledgement() {
    let mut bench = with_edges();
    let effects = distributed(&mut bench, site(1, "hello", 1));
    let (_, cutover) = commit_to(&effects, MAIN);
    let deploy = DeployRecord {
        epoch: 1,
        ..stepped(DeployStep::Live, "")
    };
    let project = ProjectRecord {
        active: 1,
        epoch: 1,
        ..bench.project("hello").unwrap()
    };
    let expected = txn(vec![
        (Key::Deploy(1), Some(Record::Deploy(deploy)), 3),
        (
            Key::Project("hello".into()),
            Some(Record::Project(project)),
            3,
        ),
    ]);
    assert_eq!(cutover, expected);
    let told = bench.settle(effects);
    let cutover = Effect::Note(Note::Cutover {
        project: "hello".into(),
        version: 1,
        epoch: 1,
    });
    assert!(told.contains(&cutover), "{told:?}");
}

#[test]
fn an_acknowledgement_of_another_artifact_does_not_count() {
    let mut bench = with_edges();
    let effects = bench.deploy(site(1, "hello", 1));
    bench.settle(effects);
    bench.ack(0, 20, 1);
    let other = AckRecord {
        node: 21,
        version: 1,
        artifact: vec![8; 32].into(),
    };
    let key = Key::Ack {
        node: NodeId(21),
        version: 1,
    };
    assert_eq!(bench.put(store_of(1), key, Record::Ack(other)), []);
    assert!(!bench.ack(1, 21, 1).is_empty());
}

#[test]
fn a_silent_edge_is_not_waited_for() {
    let mut bench = with_edges();
    let effects = bench.deploy(site(1, "hello", 1));
    bench.settle(effects);
    assert_eq!(bench.ack(0, 20, 1), []);
    for beat in 2..5 {
        assert_eq!(bench.wait_written(10_000), []);
        assert_eq!(bench.beat(0, 20, beat), []);
    }
    assert_eq!(bench.wait_written(14_000), []);
    let effects = bench.wait_written(6_000);
    commit_to(&effects, MAIN);
}

#[test]
fn an_edge_that_beats_but_does_not_fetch_fails_the_deploy_by_name() {
    let mut bench = with_edges();
    let effects = bench.deploy(site(1, "hello", 1));
    bench.settle(effects);
    bench.ack(0, 20, 1);
    for beat in 2..31 {
        assert_eq!(bench.wait(10_000), []);
        assert_eq!(bench.beat(0, 20, beat), []);
        assert_eq!(bench.beat(1, 21, beat), []);
    }
    let effects = bench.wait(11_000);
    let failed = stepped(DeployStep::Failed, "edge gw-21 did not fetch the artifact");
    let expected = txn(vec![(Key::Deploy(1), Some(Record::Deploy(failed)), 3)]);
    assert_eq!(commits(&effects)[0].2, expected);
}

#[test]
fn a_program_takes_the_traffic_when_an_instance_runs() {
    let mut bench = proving();
    assert_eq!(woken(&mut bench, WakeOutcome::Coming), []);
    assert_eq!(bench.wait(2_000), [wake(0, 1)]);
    bench.write(store_of(0), vec![slot(1, 0, SlotState::Starting, 1)]);
    assert_eq!(bench.feed(store_of(0)), []);
    bench.write(store_of(0), vec![slot(1, 0, SlotState::Running, 1)]);
    let effects = bench.feed(store_of(0));
    commit_to(&effects, MAIN);
    bench.settle(effects);
    assert_eq!(bench.deploy_of(1).step(), DeployStep::Live);
    assert_eq!(bench.wait(30_000), []);
}

#[test]
fn a_start_that_ran_nothing_is_tried_again_until_the_time_is_over() {
    let mut bench = proving();
    let reason = "its artifact did not arrive within 30000 ms";
    let reply = WakeReply {
        version: 1,
        outcome: WakeOutcome::Failed.into(),
        reason: reason.into(),
        before_start: true,
        ..WakeReply::default()
    };
    for _ in 0..2 {
        let told = Message::WakeReply(reply.clone());
        assert_eq!(bench.message(SCHEDULER, told), []);
        assert_eq!(bench.wait(2_000), [wake(0, 1)]);
    }
    assert_eq!(commits(&bench.wait_beating(110_000)), []);
    let effects = bench.wait_beating(10_000);
    let failed = stepped(DeployStep::Failed, reason);
    let revision = bench.revision(MAIN, &Key::Deploy(1));
    let record = Some(Record::Deploy(failed));
    let expected = txn(vec![(Key::Deploy(1), record, revision)]);
    assert_eq!(commits(&effects)[0].2, expected);
}

#[test]
fn a_failed_start_fails_the_deploy_with_its_log() {
    let mut bench = proving();
    let effects = woken(&mut bench, WakeOutcome::Failed);
    let failed = DeployRecord {
        log_tail: "no such file".into(),
        ..stepped(DeployStep::Failed, "exit code 1")
    };
    let revision = bench.revision(MAIN, &Key::Deploy(1));
    let expected = txn(vec![(
        Key::Deploy(1),
        Some(Record::Deploy(failed)),
        revision,
    )]);
    assert_eq!(commit_to(&effects, MAIN).1, expected);
    // What the version left behind goes with it.
    bench.settle(effects);
    assert_eq!(bench.record(store_of(0), &Key::Version(1)), None);
}

#[test]
fn without_capacity_the_next_region_is_asked() {
    let mut bench = proving();
    assert_eq!(woken(&mut bench, WakeOutcome::NoCapacity), []);
    assert_eq!(bench.wait(2_000), [wake(1, 1)]);
    // Unanswered, it is asked three times in a row.
    assert_eq!(bench.wait(6_000), [wake(1, 1), wake(1, 1), wake(0, 1)]);
}

#[test]
fn an_instance_that_never_runs_fails_the_deploy_in_time() {
    let mut bench = proving();
    let effects = bench.wait_beating(119_000);
    assert_eq!(commits(&effects), []);
    let effects = bench.wait_beating(10_000);
    let failed = stepped(DeployStep::Failed, "did not become healthy in time");
    let revision = bench.revision(MAIN, &Key::Deploy(1));
    let expected = txn(vec![(
        Key::Deploy(1),
        Some(Record::Deploy(failed)),
        revision,
    )]);
    assert_eq!(commits(&effects)[0].2, expected);
}

#[test]
fn a_rollback_that_was_first_turns_the_cutover_into_ready() {
    let mut bench = with_edges();
    let effects = distributed(&mut bench, site(1, "hello", 1));
    bench.settle(effects);
    let effects = distributed(&mut bench, site(2, "hello", 2));
    let (commit, cutover) = commit_to(&effects, MAIN);
    let latched = ProjectRecord {
        latched: true,
        ..bench.project("hello").unwrap()
    };
    let key = Key::Project("hello".into());
    bench.write(
        MAIN,
        vec![(key.clone(), Some(Record::Project(latched.clone())))],
    );
    let outcome = bench.apply(MAIN, &cutover);
    assert_eq!(outcome, Outcome::Conflict("project/hello".into()));
    // The feed came first: it is decided from it at once.
    assert_eq!(bench.feed(MAIN), []);
    let effects = bench.reply(MAIN, commit, outcome);
    let ready = DeployRecord {
        version: 2,
        ..stepped(DeployStep::Ready, "")
    };
    let revisions = [&Key::Deploy(2), &key].map(|key| bench.revision(MAIN, key));
    let expected = txn(vec![
        (Key::Deploy(2), Some(Record::Deploy(ready)), revisions[0]),
        (key, Some(Record::Project(latched)), revisions[1]),
    ]);
    assert_eq!(commit_to(&effects, MAIN).1, expected);
}

#[test]
fn a_push_overtakes_the_cutover_of_the_one_before() {
    let mut bench = with_edges();
    let effects = distributed(&mut bench, site(1, "hello", 1));
    let (commit, cutover) = commit_to(&effects, MAIN);
    let effects = bench.deploy(site(2, "hello", 2));
    bench.settle(effects);
    let outcome = bench.apply(MAIN, &cutover);
    assert_eq!(outcome, Outcome::Conflict("project/hello".into()));
    let effects = bench.reply(MAIN, commit, outcome);
    let superseded = stepped(DeployStep::Superseded, "hello@2 was deployed after it");
    let expected = txn(vec![(Key::Deploy(1), Some(Record::Deploy(superseded)), 3)]);
    assert_eq!(commit_to(&effects, MAIN).1, expected);
}

#[test]
fn an_older_deploy_goes_on_when_the_newer_one_failed() {
    let mut bench = with_edges();
    let older = DeployRecord {
        version: 1,
        ..stepped(DeployStep::Distribute, "")
    };
    let failed = DeployRecord {
        version: 2,
        ..stepped(DeployStep::Failed, "")
    };
    let project = ProjectRecord {
        name: "hello".into(),
        ..ProjectRecord::default()
    };
    bench.write(
        MAIN,
        vec![
            (Key::Version(1), Some(Record::Version(site(1, "hello", 1)))),
            (Key::Version(2), Some(Record::Version(site(2, "hello", 2)))),
            (Key::Deploy(1), Some(Record::Deploy(older))),
            (Key::Deploy(2), Some(Record::Deploy(failed))),
            (Key::Project("hello".into()), Some(Record::Project(project))),
        ],
    );
    let effects = bench.feed(MAIN);
    bench.settle(effects);
    bench.ack(0, 20, 1);
    let effects = bench.ack(1, 21, 1);
    bench.settle(effects);
    assert_eq!(bench.project("hello").unwrap().active, 1);
}

#[test]
fn a_newer_version_that_arrived_first_keeps_the_traffic() {
    let mut bench = with_edges();
    let effects = bench.deploy(site(1, "hello", 1));
    bench.settle(effects);
    let live = DeployRecord {
        version: 2,
        epoch: 1,
        ..stepped(DeployStep::Live, "")
    };
    let project = ProjectRecord {
        active: 2,
        epoch: 1,
        last_number: 2,
        ..bench.project("hello").unwrap()
    };
    bench.write(
        MAIN,
        vec![
            (Key::Version(2), Some(Record::Version(site(2, "hello", 2)))),
            (Key::Deploy(2), Some(Record::Deploy(live))),
            (Key::Project("hello".into()), Some(Record::Project(project))),
        ],
    );
    let effects = bench.feed(MAIN);
    bench.settle(effects);
    assert_eq!(bench.deploy_of(1).step(), DeployStep::Superseded);
    assert_eq!(bench.project("hello").unwrap().active, 2);
}

#[test]
fn removal_ends_the_deploy_and_then_deletes_the_project_last() {
    let mut bench = with_edges();
    let effects = bench.deploy(site(1, "hello", 1));
    bench.settle(effects);
    let key = Key::Project("hello".into());
    let removed = ProjectRecord {
        removed: true,
        ..bench.project("hello").unwrap()
    };
    let effects = bench.put(MAIN, key.clone(), Record::Project(removed));
    let (_, step) = commit_to(&effects, MAIN);
    let failed = stepped(DeployStep::Failed, "the project was removed");
    assert_eq!(
        step,
        txn(vec![(Key::Deploy(1), Some(Record::Deploy(failed)), 3)])
    );
    bench.settle(effects);
    let effects = bench.wait(1_000);
    let revision = bench.revision(MAIN, &key);
    let deploy = bench.revision(MAIN, &Key::Deploy(1));
    let mut expected = txn(vec![
        (Key::Version(1), None, 3),
        (Key::Deploy(1), None, deploy),
        (key.clone(), None, revision),
    ]);
    let whole = Precondition {
        key: key.to_string(),
        revision,
    };
    expected.preconditions.insert(0, whole);
    assert_eq!(commit_to(&effects, MAIN).1, expected);
}

#[test]
fn old_versions_leave_the_record_but_never_those_that_are_kept() {
    let mut bench = with_edges();
    let project = ProjectRecord {
        name: "hello".into(),
        active: 1,
        epoch: 1,
        ..ProjectRecord::default()
    };
    bench.write(
        MAIN,
        vec![(Key::Project("hello".into()), Some(Record::Project(project)))],
    );
    for id in 1..=103_u32 {
        let step = if id <= 2 {
            DeployStep::Live
        } else {
            DeployStep::Failed
        };
        let deploy = DeployRecord {
            version: id.into(),
            ..stepped(step, "")
        };
        let spec = site(id.into(), "hello", id);
        bench.write(
            MAIN,
            vec![
                (Key::Version(spec.id), Some(Record::Version(spec.clone()))),
                (Key::Deploy(spec.id), Some(Record::Deploy(deploy))),
            ],
        );
    }
    let effects = bench.feed(MAIN);
    bench.settle(effects);
    let effects = bench.wait(61_000);
    let (_, txn) = commit_to(&effects, MAIN);
    let keys: Vec<&str> = txn.writes.iter().map(|w| w.key.as_str()).collect();
    assert_eq!(
        keys,
        ["version/0000000000000003", "deploy/0000000000000003"]
    );
}

#[test]
fn nothing_is_decided_before_the_mirrors_are_loaded() {
    let mut bench = Bench::restarted(with_edges());
    // The main store first; one of the regions takes longer.
    let effects = bench.feed(MAIN);
    assert_eq!(effects, [live(MAIN)]);
    let effects = bench.feed(store_of(0));
    assert_eq!(
        effects,
        [live(store_of(0))],
        "peers of a region that was not seen stay"
    );
    let effects = bench.deploy(site(1, "hello", 1));
    bench.settle(effects);
    let waiting = [MAIN, store_of(0)];
    assert_eq!(
        bench.ack(0, 20, 1),
        [],
        "the other region may be there in a moment"
    );
    let effects = bench.wait_with(15_000, &waiting);
    commit_to(&effects, MAIN);
}
