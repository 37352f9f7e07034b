//! A scenario and a seed, made into a scenario that leaves nothing of its plan open.
//!
//! Drawn faults, drawn targets and drawn beginnings become plain entries, so that a bug file
//! can keep them: its plan stays the same when the code draws differently. What happens
//! inside a running world (latencies, service times, arrivals) is still drawn, from the seed.
//! Expanding a second time changes nothing. Drawn moments are whole milliseconds.

mod faults;
mod tenants;

pub use faults::{FaultSettings, draw_faults};

use tidegate_kernel::{Rng, Seed};

use crate::choices::Choices;
use crate::scenario::{Fault, Pick, Scenario, Span, Target};
use crate::topology::{NodeKind, Topology};

/// The whole plan of a run.
pub fn expand(scenario: &Scenario, seed: Seed) -> Scenario {
    let mut expanded = scenario.clone();
    tenants::expand(&mut expanded, seed.derive("tenants"));
    let topology = Topology::new(scenario);
    let mut rng = seed.derive("operations").rng();
    for op in &mut expanded.operations {
        let at = op.at.get_ref().nanos() + drawn_part(&mut op.jitter, &mut rng);
        *op.at.get_mut() = Span(at);
    }
    let mut rng = seed.derive("fault plan").rng();
    for fault in &mut expanded.faults {
        settle(fault, &topology, &mut rng);
    }
    if let Some(random) = expanded.random_faults.take() {
        let settings = FaultSettings {
            count: u64::from(*random.count.get_ref()),
            from: *random.from.get_ref(),
            until: Span(scenario.faults_end.get_ref().nanos() - random.longest.get_ref().nanos()),
            longest: *random.longest.get_ref(),
        };
        let mut choices = Choices::seeded(seed.derive("random faults"));
        let kinds = choices.half_of(&random.kinds);
        let drawn = draw_faults(&settings, &kinds, &topology, &mut choices);
        expanded.faults.extend(drawn);
    }
    expanded.faults.sort_by_key(|f| *f.at.get_ref());
    expanded
}

/// Takes the jitter away; returns what was drawn from it.
fn drawn_part(jitter: &mut Span, rng: &mut Rng) -> u64 {
    let most = std::mem::take(jitter).as_millis();
    rng.between(0, most) * 1_000_000
}

fn settle(fault: &mut Fault, topology: &Topology, rng: &mut Rng) {
    let at = fault.at.get_ref().nanos() + drawn_part(&mut fault.jitter, rng);
    *fault.at.get_mut() = Span(at);
    settle_target(fault.target.get_mut(), topology, rng);
    if let Some(against) = &mut fault.against {
        settle_target(against.get_mut(), topology, rng);
    }
}

fn settle_target(target: &mut Target, topology: &Topology, rng: &mut Rng) {
    let region = |pick: &Pick, rng: &mut Rng| match pick {
        Pick::Named(name) => topology.region_index(name).unwrap_or_default(),
        Pick::Drawn => rng.index(topology.regions.len()).unwrap_or_default(),
    };
    let named = |region: usize| Pick::Named(topology.regions[region].clone());
    let one = |kind: NodeKind, region: usize, rng: &mut Rng| {
        let count = topology.of(region, kind).count();
        Some(rng.index(count).unwrap_or_default() as u32)
    };
    *target = match &*target {
        Target::AnyHost(pick) => {
            let region = region(pick, rng);
            Target::Hosts(named(region), one(NodeKind::Host, region, rng))
        }
        Target::AnyGateway(pick) => {
            let region = region(pick, rng);
            Target::Gateways(named(region), one(NodeKind::Gateway, region, rng))
        }
        Target::Region(pick) => Target::Region(named(region(pick, rng))),
        Target::Store(pick) => Target::Store(named(region(pick, rng))),
        Target::ActiveScheduler(pick) => Target::ActiveScheduler(named(region(pick, rng))),
        settled => settled.clone(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::plan;
    use crate::scenario::BUILTIN;

    fn all() -> impl Iterator<Item = Scenario> {
        let parsed = |b: &crate::scenario::Builtin| Scenario::parse(b.name, b.text).unwrap();
        BUILTIN.iter().map(parsed)
    }

    #[test]
    fn an_expanded_scenario_is_a_file_that_expands_to_itself() {
        for scenario in all() {
            for seed in 0..20 {
                let expanded = expand(&scenario, Seed(seed)).to_toml();
                let read = Scenario::parse("t", &expanded).unwrap();
                assert_eq!(expand(&read, Seed(seed + 1)).to_toml(), expanded);
            }
        }
    }

    #[test]
    fn a_seed_gives_one_plan_and_another_seed_another() {
        for scenario in all().filter(|s| s.random_faults.is_some()) {
            let expanded = |seed| expand(&scenario, Seed(seed)).to_toml();
            assert_eq!(expanded(1), expanded(1));
            assert_ne!(expanded(1), expanded(2));
        }
    }

    #[test]
    fn every_fault_strikes_somebody_and_has_ended_when_faults_end() {
        for scenario in all() {
            let topology = Topology::new(&scenario);
            for seed in 0..50 {
                for fault in plan(&expand(&scenario, Seed(seed)), &topology) {
                    assert!(fault.begin < fault.end);
                    assert!(fault.end <= scenario.faults_end.get_ref().nanos());
                    assert_ne!(fault.target, crate::plan::Struck::Nodes(0), "{fault:?}");
                }
            }
        }
    }
}
