//! Snapshots and recordings of simulated actors: an actor restored from its snapshot goes on
//! as it would have, and a recording replays to the same effects.

use tidegate_sim::scenario::{Builtin, Scenario};
use tidegate_sim::{Seed, Unobserved, World};

fn world(name: &str, seed: u64) -> World {
    let builtin = Builtin::find(name).unwrap();
    let scenario = Scenario::parse(builtin.name, builtin.text).unwrap();
    World::new(scenario, Seed(seed))
}

/// The trace of a run whose actors are restored every so many steps, or never.
fn trace(name: &str, seed: u64, restored_every: Option<u32>) -> u64 {
    let mut world = world(name, seed);
    if let Some(steps) = restored_every {
        world.restore_actors_every(steps);
    }
    world.run(&mut Unobserved);
    let report = world.report(seed);
    assert_eq!(report.violation_count, 0, "{}", report.text(true));
    report.trace_hash
}

#[test]
fn restored_actors_go_on_as_they_would_have() {
    for (name, seed, every) in [
        ("first-deploy", 1, 7),
        ("flash-crowd", 2, 211),
        ("host-failure", 3, 53),
        ("scheduler-failover", 4, 37),
        ("swarm", 5, 101),
    ] {
        let restored = trace(name, seed, Some(every));
        assert_eq!(restored, trace(name, seed, None), "{name}, seed {seed}");
    }
}
