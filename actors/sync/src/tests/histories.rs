//! Whole histories: what holds after the faults stop, whatever happened before.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_protocol::*;

use super::world::{MAIN, REGIONS, World, store_of};

fn deploy(project: &str, kind: AppKind, regions: &[&str], key: u64) -> api_request::Call {
    let program = kind == AppKind::Program;
    api_request::Call::CreateVersion(CreateVersion {
        spec: Some(VersionSpec {
            project: project.into(),
            kind: kind.into(),
            artifact: vec![7; 32].into(),
            command: if program {
                vec!["./run".into()]
            } else {
                Vec::new()
            },
            regions: regions.iter().map(|r| (*r).to_owned()).collect(),
            instances_max: u32::from(program) * 3,
            concurrency: 10,
            start_timeout_ms: 30_000,
            ..VersionSpec::default()
        }),
        hosts: Vec::new(),
        idempotency_key: key.to_string(),
    })
}

fn activate(project: &str, number: u32, rollback: bool) -> api_request::Call {
    api_request::Call::Activate(Activate {
        project: project.into(),
        number,
        rollback,
    })
}

fn remove(project: &str) -> api_request::Call {
    api_request::Call::RemoveProject(RemoveProject {
        project: project.into(),
    })
}

fn project(world: &World, name: &str) -> Option<ProjectRecord> {
    let records = world.records(MAIN, &Key::Project(name.into()).to_string());
    match &records[..] {
        [Record::Project(project)] => Some(project.clone()),
        [] => None,
        other => panic!("{other:?}"),
    }
}

fn steps(world: &World) -> BTreeMap<u64, DeployStep> {
    let deploys = world
        .records(MAIN, Key::DEPLOYS)
        .into_iter()
        .map(|record| match record {
            Record::Deploy(deploy) => (deploy.version, deploy.step()),
            other => panic!("{other:?}"),
        });
    deploys.collect()
}

fn ready() -> World {
    let mut world = World::new(1);
    world.run(5_000);
    assert_eq!(world.records(MAIN, Key::REGIONS).len(), 2);
    world
}

/// Every deploy has ended, and every partition is what the main store says, and no more.
#[track_caller]
fn assert_converged(world: &World) {
    let mut routes = Vec::new();
    let mut wanted = BTreeMap::new();
    let steps = steps(world);
    let finals = [
        DeployStep::Live,
        DeployStep::Ready,
        DeployStep::Superseded,
        DeployStep::Failed,
    ];
    assert!(
        steps.values().all(|step| finals.contains(step)),
        "{steps:?}"
    );
    for record in world.records(MAIN, Key::PROJECTS) {
        let Record::Project(project) = record else {
            unreachable!()
        };
        assert!(!project.removed, "{project:?}");
        if project.active != 0 {
            routes.push(Record::Route(RouteRecord {
                project: project.name.clone(),
                version: project.active,
                epoch: project.epoch,
                hosts: project.hosts.clone(),
            }));
        }
        let mut versions: Vec<VersionSpec> = Vec::new();
        for record in world.records(MAIN, Key::VERSIONS) {
            let Record::Version(spec) = record else {
                unreachable!()
            };
            let step = steps[&spec.id];
            if spec.project == project.name && matches!(step, DeployStep::Live | DeployStep::Ready)
            {
                versions.push(spec);
            }
        }
        versions.sort_by_key(|spec| std::cmp::Reverse(spec.number));
        for (rank, spec) in versions.into_iter().enumerate() {
            if rank < limits::VERSIONS_KEPT || spec.id == project.active {
                wanted.insert(spec.id, spec);
            }
        }
    }
    for (region, name) in REGIONS.into_iter().enumerate() {
        let store = store_of(region);
        assert_eq!(world.records(store, Key::ROUTES), routes);
        let versions: Vec<Record> = wanted.values().cloned().map(Record::Version).collect();
        assert_eq!(world.records(store, Key::VERSIONS), versions);
        let may_run = |spec: &&VersionSpec| {
            spec.regions.is_empty() || spec.regions.contains(&name.to_owned())
        };
        let slots = wanted.values().filter(may_run);
        let slots: BTreeSet<(u64, u32)> = slots
            .flat_map(|s| (0..s.instances_max).map(|i| (s.id, i)))
            .collect();
        let stored = world
            .records(store, Key::SLOTS)
            .into_iter()
            .map(|record| match record {
                Record::Slot(slot) => (slot.version, slot.index),
                other => panic!("{other:?}"),
            });
        assert_eq!(stored.collect::<BTreeSet<_>>(), slots);
        assert_eq!(world.records(store, Key::PEERS).len(), 1);
    }
}

#[test]
fn a_program_is_distributed_proved_and_cut_over() {
    let mut world = ready();
    let id = world.request(deploy("hello", AppKind::Program, &[], 1));
    world.run(15_000);
    assert_eq!(world.replies[&id].error(), ApiError::Unspecified);
    assert_eq!(steps(&world), [(1, DeployStep::Live)].into());
    let hello = project(&world, "hello").unwrap();
    assert_eq!((hello.active, hello.epoch), (1, 1));
    assert_converged(&world);
}

#[test]
fn a_region_that_is_cut_off_is_not_waited_for_and_catches_up() {
    let mut world = ready();
    world.request(deploy("hello", AppKind::Static, &[], 1));
    world.run(10_000);
    world.cut.insert(1);
    world.request(deploy("hello", AppKind::Static, &[], 2));
    world.run(40_000);
    assert_eq!(steps(&world)[&2], DeployStep::Live);
    let Record::Route(old) = world.records(store_of(1), Key::ROUTES).remove(0) else {
        panic!()
    };
    assert_eq!((old.version, old.epoch), (1, 1));
    world.cut.clear();
    world.run(30_000);
    assert_converged(&world);
}

#[test]
fn with_every_region_cut_off_a_deploy_fails_in_time() {
    let mut world = ready();
    world.cut.extend([0, 1]);
    world.request(deploy("hello", AppKind::Static, &[], 1));
    world.run(330_000);
    assert_eq!(steps(&world), [(1, DeployStep::Failed)].into());
    let Record::Deploy(failed) = world.records(MAIN, Key::DEPLOYS).remove(0) else {
        panic!()
    };
    assert_eq!(failed.reason, "no edge could be reached");
}

#[test]
fn a_region_without_room_hands_the_proof_to_the_next() {
    let mut world = ready();
    world.without_room.insert(0);
    world.request(deploy("hello", AppKind::Program, &[], 1));
    world.run(20_000);
    assert_eq!(steps(&world), [(1, DeployStep::Live)].into());
    world.without_room.insert(1);
    world.request(deploy("hello", AppKind::Program, &[], 2));
    world.run(150_000);
    assert_eq!(steps(&world)[&2], DeployStep::Failed);
    world.run(30_000);
    assert_converged(&world);
}

#[test]
fn the_newer_of_two_deploys_wins() {
    let mut world = ready();
    world.request(deploy("hello", AppKind::Program, &[], 1));
    world.request(deploy("hello", AppKind::Program, &[], 2));
    world.run(20_000);
    let expected = [(1, DeployStep::Superseded), (2, DeployStep::Live)];
    assert_eq!(steps(&world), expected.into());
    assert_converged(&world);
}

#[test]
fn removal_takes_everything_along_and_the_name_can_be_used_again() {
    let mut world = ready();
    world.request(deploy("hello", AppKind::Program, &[], 1));
    world.run(15_000);
    world.request(deploy("hello", AppKind::Program, &[], 2));
    world.run(1_000);
    world.cut.insert(1);
    world.request(remove("hello"));
    world.run(60_000);
    assert!(
        project(&world, "hello").is_some_and(|p| p.removed),
        "a region still holds it"
    );
    assert_eq!(world.records(store_of(0), Key::SLOTS), []);
    world.cut.clear();
    world.run(30_000);
    assert_eq!(project(&world, "hello"), None);
    assert_eq!(
        (
            world.records(MAIN, Key::VERSIONS),
            world.records(MAIN, Key::DEPLOYS)
        ),
        (vec![], vec![])
    );
    assert_converged(&world);
    world.request(deploy("hello", AppKind::Program, &[], 3));
    world.run(15_000);
    assert_eq!(steps(&world), [(3, DeployStep::Live)].into());
    assert!(project(&world, "hello").unwrap().epoch > 2);
    assert_converged(&world);
}

#[test]
fn behind_the_latch_a_deploy_becomes_ready() {
    let mut world = ready();
    for key in 1..=2 {
        world.request(deploy("hello", AppKind::Static, &[], key));
        world.run(10_000);
    }
    world.request(activate("hello", 0, true));
    world.run(1_000);
    world.request(deploy("hello", AppKind::Static, &[], 3));
    world.run(10_000);
    assert_eq!(steps(&world)[&3], DeployStep::Ready);
    assert_eq!(project(&world, "hello").unwrap().active, 1);
    world.request(activate("hello", 0, false));
    world.run(5_000);
    assert_eq!(project(&world, "hello").unwrap().active, 3);
    assert_converged(&world);
}

#[test]
fn what_no_edge_keeps_leaves_the_partitions_in_order() {
    let mut world = ready();
    for key in 1..=13 {
        world.request(deploy("hello", AppKind::Program, &["syd"], key));
        world.run(12_000);
    }
    assert_eq!(
        world.records(store_of(0), Key::VERSIONS).len(),
        limits::VERSIONS_KEPT
    );
    assert_eq!(world.records(store_of(0), Key::SLOTS), []);
    assert_converged(&world);
}

/// Two minutes of requests and faults, then peace.
fn history(seed: u64) {
    let mut world = World::new(seed);
    world.loss = [0, 20_000, 100_000][(seed % 3) as usize];
    for moment in 0..60 {
        world.run(2_000);
        let name = ["one", "two", "three"][world.rng.below(3) as usize];
        match world.rng.below(12) {
            0..4 => {
                let kind = [AppKind::Static, AppKind::Program][world.rng.below(2) as usize];
                let regions: &[&str] = [&[][..], &["syd"]][world.rng.below(2) as usize];
                world.request(deploy(name, kind, regions, moment));
            }
            4 => drop(world.request(activate(name, 0, true))),
            5 => drop(world.request(activate(name, 0, false))),
            6 => drop(world.request(remove(name))),
            7 => world.crash_sync(),
            8 => world.crash_control(),
            9 => drop(world.cut.insert(world.rng.below(2) as usize)),
            10 => world.cut.clear(),
            _ => drop(world.without_room.insert(world.rng.below(2) as usize)),
        }
        if world.rng.chance(300_000) {
            world.without_room.clear();
        }
    }
    world.loss = 0;
    world.cut.clear();
    world.without_room.clear();
    world.run(180_000);
    assert_converged(&world);
}

#[test]
fn every_history_converges_once_the_faults_stop() {
    for seed in 0..40 {
        println!("seed {seed}");
        history(seed);
    }
}
