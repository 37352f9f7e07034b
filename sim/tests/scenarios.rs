//! Every built-in scenario holds every guarantee, and a seed always gives the same run.

use tidegate_sim::network::LinkChange;
use tidegate_sim::scenario::{Builtin, Scenario};
use tidegate_sim::{Report, Seed, Unobserved, World};

fn scenario(name: &str) -> Scenario {
    let builtin = Builtin::find(name).unwrap();
    Scenario::parse(builtin.name, builtin.text).unwrap()
}

fn run(scenario: Scenario, seed: u64) -> Report {
    let mut world = World::new(&scenario, Seed(seed));
    world.run(&mut Unobserved);
    world.report(seed)
}

/// Runs some seeds, expects no violation, and gives the reports for what else must be true.
fn check(name: &str, seeds: std::ops::RangeInclusive<u64>) -> Vec<Report> {
    seeds
        .map(|seed| {
            let report = run(scenario(name), seed);
            assert_eq!(report.violation_count, 0, "{}", report.text(true));
            assert!(report.requests.served > 1_000, "{}", report.text(true));
            let r = report.requests;
            let ended = r.served + r.refused + r.failed + r.unknown + r.left;
            // Those that were sent in the last moments are still under way.
            assert!(ended <= r.sent && r.sent - ended < 1_000, "{r:?}");
            for verdict in &report.verdicts {
                assert!(verdict.checks > 0, "{} never looked", verdict.name);
            }
            report
        })
        .collect()
}

fn count(report: &Report, name: &str) -> u64 {
    let found = report.counts.iter().find(|(n, _)| *n == name);
    found.map_or(0, |(_, count)| *count)
}

#[test]
fn first_deploy_serves_everything() {
    for report in check("first-deploy", 1..=4) {
        assert_eq!(report.requests.refused + report.requests.failed, 0);
        let results: Vec<&str> = report
            .operations
            .iter()
            .filter_map(|o| o.result.as_deref())
            .collect();
        assert_eq!(results.len(), 5);
        assert!(results[3].starts_with("read ") && results[3] != "read 0 lines");
        assert_eq!(results[4], "hello@1 is active");
    }
}

#[test]
fn flash_crowd_wakes_more_instances_and_recovers() {
    for report in check("flash-crowd", 1..=2) {
        assert!(report.instances_started > 10);
        assert!(
            report.requests.refused > 0,
            "what does not fit is refused early"
        );
    }
}

#[test]
fn host_failure_reclaims_slots() {
    for report in check("host-failure", 1..=3) {
        assert!(count(&report, "slots reclaimed") > 0);
    }
}

#[test]
fn region_partition_loses_messages_and_no_guarantee() {
    for report in check("region-partition", 42..=44) {
        assert!(report.messages_lost > 0);
        assert!(report.hops > 0);
    }
}

#[test]
fn control_plane_outage_delays_the_deploy() {
    for report in check("control-plane-outage", 1..=6) {
        let last = report.operations.last().and_then(|o| o.result.clone());
        assert_eq!(last.as_deref(), Some("shop@2 live"));
        // A host starts what it never ran before, without control.
        let reasons: Vec<&str> = report.reasons.iter().map(|(why, _)| *why).collect();
        assert!(!reasons.contains(&"start failed"), "{}", report.text(true));
    }
}

#[test]
fn deploy_under_partition_converges() {
    for report in check("deploy-under-partition", 1..=3) {
        let last = report.operations.last().and_then(|o| o.result.clone());
        assert!(
            last.is_some_and(|l| l.contains("failed")),
            "it never starts"
        );
    }
}

#[test]
fn scheduler_failover_elects_others() {
    for report in check("scheduler-failover", 1..=3) {
        assert!(count(&report, "elections") >= 3);
    }
}

#[test]
fn swarm_finds_nothing() {
    check("swarm", 1..=6);
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_seed_another() {
    let [a, b, c] = [7, 7, 8].map(|seed| run(scenario("scheduler-failover"), seed));
    assert_eq!(a, b);
    assert_ne!(a.trace_hash, c.trace_hash);
}

#[test]
fn nothing_is_lost_on_the_wire() {
    for name in ["region-partition", "deploy-under-partition"] {
        let mut encoded = scenario(name);
        encoded.encode_messages = true;
        assert_eq!(run(encoded, 3), run(scenario(name), 3));
    }
}

/// The oracles must be able to fail: a region whose store is cut off for ever is not well.
#[test]
fn a_world_that_never_heals_is_not_called_well() {
    let mut world = World::new(&scenario("region-partition"), Seed(1));
    let store = world
        .env
        .topology
        .nodes
        .iter()
        .position(|n| n.name == "store-per");
    let store = 1 << store.unwrap();
    let all = (1 << world.env.topology.nodes.len()) - 1;
    for (from, to) in [(store, all), (all & !store, store)] {
        world.env.network.change(from, to, LinkChange::Cut, true);
    }
    world.run(&mut Unobserved);
    let report = world.report(1);
    let violated = |guarantee| report.violations.iter().any(|v| v.guarantee == guarantee);
    for guarantee in [12, 13, 14] {
        assert!(
            violated(guarantee),
            "guarantee {guarantee}: {}",
            report.text(false)
        );
    }
}
