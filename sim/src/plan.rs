//! The faults of a run, planned before it begins.
//!
//! Scenario and seed give an explicit list: what, whom, from when, until when. The list is
//! what a report shows and what a smaller reproduction would be cut from. Only the target
//! `active-scheduler` is left open, because only the running world knows it.
//!
//! Faults stay inside what the design must survive: everything ends by `faults_end`, and a
//! store never loses what it acknowledged.

use tidegate_kernel::{Rng, Seed};

use crate::clock::SimTime;
use crate::network::LinkChange;
use crate::scenario::{Fault, FaultKind, Pick, Scenario, Target};
use crate::topology::{NodeKind, NodeSet, Topology, members};

/// One fault of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFault {
    pub kind: FaultKind,
    pub begin: SimTime,
    pub end: SimTime,
    pub target: Struck,
    /// The other side of a fault of the network.
    pub against: NodeSet,
    pub change: Change,
    pub one_way: bool,
    /// For people.
    pub label: String,
}

/// Whom it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Struck {
    Nodes(NodeSet),
    /// The node of the region's active scheduler at the beginning.
    ActiveScheduler {
        region: usize,
    },
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Link(LinkChange),
    Crash,
    /// A crash without a return; the fault's end is when nothing is excused any more.
    Death,
    ProcessCrash,
    Pause,
    SlowDisk(u32),
    SlowHost(u32),
    ClockJump(i64),
    ClockDrift(u32),
}

/// All faults of a run, by their beginning.
pub fn plan(scenario: &Scenario, topology: &Topology, seed: Seed) -> Vec<PlannedFault> {
    let mut rng = seed.derive("fault plan").rng();
    let mut faults: Vec<PlannedFault> = scenario
        .faults
        .iter()
        .map(|fault| planned(fault, topology, &mut rng))
        .collect();
    faults.extend(random_faults(
        scenario,
        topology,
        seed.derive("random faults"),
    ));
    faults.sort_by_key(|f| (f.begin, f.end));
    faults
}

fn planned(fault: &Fault, topology: &Topology, rng: &mut Rng) -> PlannedFault {
    let begin = fault.at.get_ref().nanos() + rng.between(0, fault.jitter.nanos());
    let (target, name) = struck(fault.target.get_ref(), topology, rng);
    let all: NodeSet = (1 << topology.nodes.len()) - 1;
    let (against, against_name) = match &fault.against {
        Some(t) if *t.get_ref() != Target::Rest => match struck(t.get_ref(), topology, rng) {
            (Struck::Nodes(set), name) => (set, format!(" against {name}")),
            (Struck::ActiveScheduler { .. }, name) => (all, format!(" against {name}")),
        },
        _ => (all, String::new()),
    };
    let million = fault.per_million.unwrap_or(0);
    let by = fault.by.unwrap_or_default();
    let times = fault.times.unwrap_or(1);
    let (change, how) = match *fault.kind.get_ref() {
        FaultKind::Partition => (Change::Link(LinkChange::Cut), String::new()),
        FaultKind::Loss => (Change::Link(LinkChange::Lose(million)), percent(million)),
        FaultKind::Latency => (
            Change::Link(LinkChange::Delay(by.nanos())),
            format!(" +{by}"),
        ),
        FaultKind::Duplication => (
            Change::Link(LinkChange::Duplicate(million)),
            percent(million),
        ),
        FaultKind::Reordering => (Change::Link(LinkChange::Reorder), String::new()),
        FaultKind::Corruption => (Change::Link(LinkChange::Corrupt(million)), percent(million)),
        FaultKind::Crash => (Change::Crash, String::new()),
        FaultKind::Death => (Change::Death, " for good".into()),
        FaultKind::ProcessCrash => (Change::ProcessCrash, String::new()),
        FaultKind::Pause => (Change::Pause, String::new()),
        FaultKind::SlowDisk => (Change::SlowDisk(times), format!(" {times} times slower")),
        FaultKind::SlowHost => (Change::SlowHost(times), format!(" {times} times slower")),
        FaultKind::ClockJump => {
            let sign = if fault.backwards { -1 } else { 1 };
            let arrow = if fault.backwards { "back" } else { "ahead" };
            (
                Change::ClockJump(sign * by.nanos() as i64),
                format!(" {arrow} {by}"),
            )
        }
        FaultKind::ClockDrift => {
            let ppm = fault.ppm.unwrap_or(0);
            (Change::ClockDrift(ppm), format!(" {ppm} ppm fast"))
        }
    };
    let way = if fault.one_way { ", outgoing only" } else { "" };
    PlannedFault {
        kind: *fault.kind.get_ref(),
        begin,
        end: begin + fault.length.nanos(),
        target,
        against,
        change,
        one_way: fault.one_way,
        label: format!("{name}{against_name}{how}{way}"),
    }
}

fn percent(million: u32) -> String {
    format!(" {}.{:02}%", million / 10_000, million % 10_000 / 100)
}

fn struck(target: &Target, topology: &Topology, rng: &mut Rng) -> (Struck, String) {
    let drawn_region = |pick: &Pick, rng: &mut Rng| match pick {
        Pick::Named(name) => topology.region_index(name).unwrap_or(0),
        Pick::Drawn => rng.below(topology.regions.len() as u64) as usize,
    };
    let one_of = |kind: NodeKind, pick: &Pick, rng: &mut Rng| {
        let region = drawn_region(pick, rng);
        let nodes: Vec<usize> = topology.of(region, kind).collect();
        nodes[rng.index(nodes.len()).unwrap_or(0)]
    };
    match target {
        Target::AnyHost(pick) => {
            let node = one_of(NodeKind::Host, pick, rng);
            (Struck::Nodes(1 << node), topology.nodes[node].name.clone())
        }
        Target::AnyGateway(pick) => {
            let node = one_of(NodeKind::Gateway, pick, rng);
            (Struck::Nodes(1 << node), topology.nodes[node].name.clone())
        }
        Target::ActiveScheduler(pick) => {
            let region = drawn_region(pick, rng);
            let name = format!("active scheduler of {}", topology.regions[region]);
            (Struck::ActiveScheduler { region }, name)
        }
        Target::Region(Pick::Drawn) => {
            let region = topology.regions[drawn_region(&Pick::Drawn, rng)].clone();
            named(&Target::Region(Pick::Named(region)), topology)
        }
        Target::Store(Pick::Drawn) => {
            let region = topology.regions[drawn_region(&Pick::Drawn, rng)].clone();
            named(&Target::Store(Pick::Named(region)), topology)
        }
        target => named(target, topology),
    }
}

fn named(target: &Target, topology: &Topology) -> (Struck, String) {
    let set = topology.select(target);
    let mut nodes = members(set);
    let name = match (nodes.next(), nodes.next()) {
        (Some(only), None) => topology.nodes[only].name.clone(),
        _ => target.to_string(),
    };
    (Struck::Nodes(set), name)
}

/// Faults of the allowed kinds, each kind left out in half the runs. At most one machine is
/// down at a time, and at most one dies for good, so that a region always keeps most of its
/// hosts.
fn random_faults(scenario: &Scenario, topology: &Topology, seed: Seed) -> Vec<PlannedFault> {
    let Some(random) = &scenario.random_faults else {
        return Vec::new();
    };
    let mut rng = seed.rng();
    let mut kinds: Vec<FaultKind> = random
        .kinds
        .iter()
        .copied()
        .filter(|_| rng.chance(500_000))
        .collect();
    if kinds.is_empty() {
        kinds.extend(random.kinds.first());
    }
    let from = random.from.get_ref().nanos();
    let longest = random.longest.get_ref().nanos();
    let until = scenario.faults_end.get_ref().nanos() - longest;
    let mut down_until = 0;
    let mut died = false;
    let mut faults = Vec::new();
    for _ in 0..*random.count.get_ref() {
        let begin = rng.between(from, until);
        let length = rng.between(longest / 20, longest);
        let kind = kinds[rng.index(kinds.len()).unwrap_or(0)];
        let stops_machine = matches!(
            kind,
            FaultKind::Crash | FaultKind::Death | FaultKind::ProcessCrash | FaultKind::Pause
        );
        if stops_machine && begin < down_until || kind == FaultKind::Death && died {
            continue;
        }
        died |= kind == FaultKind::Death;
        if stops_machine {
            down_until = begin + length;
        }
        faults.push(random_fault(kind, begin, length, topology, &mut rng));
    }
    faults
}

fn random_fault(
    kind: FaultKind,
    begin: SimTime,
    length: u64,
    topology: &Topology,
    rng: &mut Rng,
) -> PlannedFault {
    let machines = topology.nodes.len() as u64;
    let hosts: Vec<usize> = topology.all_of(NodeKind::Host).collect();
    let gateways = topology.all_of(NodeKind::Gateway);
    let mortal: Vec<usize> = hosts.iter().copied().chain(gateways).collect();
    let mut disks = vec![Topology::CONTROL];
    disks.extend(topology.all_of(NodeKind::Store));
    let mut one_of = |of: &[usize]| of[rng.index(of.len()).unwrap_or(0)];
    let node = match kind {
        FaultKind::SlowHost => one_of(&hosts),
        FaultKind::SlowDisk => one_of(&disks),
        FaultKind::Death => one_of(&mortal),
        // The operator's own machine stays out of it.
        _ => match rng.below(machines - 1) as usize {
            0 => Topology::CONTROL,
            other => other + 1,
        },
    };
    let million = rng.between(10_000, 200_000) as u32;
    let times = rng.between(3, 50) as u32;
    let all: NodeSet = (1 << topology.nodes.len()) - 1;
    let change = match kind {
        FaultKind::Partition => Change::Link(LinkChange::Cut),
        FaultKind::Loss => Change::Link(LinkChange::Lose(million)),
        FaultKind::Latency => Change::Link(LinkChange::Delay(rng.between(1, 400) * 1_000_000)),
        FaultKind::Duplication => Change::Link(LinkChange::Duplicate(million)),
        FaultKind::Reordering => Change::Link(LinkChange::Reorder),
        FaultKind::Corruption => Change::Link(LinkChange::Corrupt(million)),
        FaultKind::Crash => Change::Crash,
        FaultKind::Death => Change::Death,
        FaultKind::ProcessCrash => Change::ProcessCrash,
        FaultKind::Pause => Change::Pause,
        FaultKind::SlowDisk => Change::SlowDisk(times),
        FaultKind::SlowHost => Change::SlowHost(times),
        FaultKind::ClockJump => {
            Change::ClockJump(rng.between(0, 240_000_000_000) as i64 - 120_000_000_000)
        }
        FaultKind::ClockDrift => Change::ClockDrift(rng.between(100, 20_000) as u32),
    };
    let one_way = kind == FaultKind::Partition && rng.chance(300_000);
    let way = if one_way { ", outgoing only" } else { "" };
    PlannedFault {
        kind,
        begin,
        end: begin + length,
        target: Struck::Nodes(1 << node),
        against: all,
        change,
        one_way,
        label: format!("{}{way} (drawn)", topology.nodes[node].name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{BUILTIN, Builtin};

    fn scenario(name: &str) -> Scenario {
        let text = Builtin::find(name).unwrap().text;
        Scenario::parse(name, text).unwrap()
    }

    #[test]
    fn a_seed_gives_one_plan_and_another_seed_another() {
        let scenario = scenario("region-partition");
        let topology = Topology::new(&scenario);
        let plan = |seed| plan(&scenario, &topology, Seed(seed));
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn every_fault_has_ended_when_faults_end() {
        for builtin in BUILTIN {
            let scenario = scenario(builtin.name);
            let topology = Topology::new(&scenario);
            for seed in 0..50 {
                for fault in plan(&scenario, &topology, Seed(seed)) {
                    assert!(fault.begin < fault.end);
                    assert!(fault.end <= scenario.faults_end.get_ref().nanos());
                }
            }
        }
    }

    #[test]
    fn a_region_is_everything_in_it() {
        let scenario = scenario("region-partition");
        let topology = Topology::new(&scenario);
        let target = Target::Region(Pick::Named("per".into()));
        let names: Vec<&str> = members(topology.select(&target))
            .map(|i| topology.nodes[i].name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "store-per",
                "gw-per-0",
                "gw-per-1",
                "host-per-0",
                "host-per-1",
                "host-per-2",
                "host-per-3"
            ]
        );
    }
}
