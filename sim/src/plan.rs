//! The faults of an expanded scenario, as the world carries them out: sets of machines and
//! changes to them. Nothing is drawn here. Only the target `active-scheduler` stays open
//! until its fault begins, because only the running world knows it.

use crate::buggify::Point;
use crate::clock::SimTime;
use crate::network::LinkChange;
use crate::scenario::{Fault, FaultKind, Pick, Scenario, Target};
use crate::topology::{NodeSet, Topology, members};

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
    /// Of an instant; what repeats is planned as many faults.
    Reset,
    FullDisk,
    BitRot,
    Deaf,
    Mute,
    /// Nanoseconds that clients need on average.
    SlowClients(u64),
    /// Of a million commits, so many are followed by a crash of who asked for them.
    CrashAtCommit(u32),
    Absent,
    /// The point's mark, and how often of a million passes it fires.
    Buggify(&'static str, u32),
}

/// All faults of a run, by their beginning. The scenario was expanded before: what is still
/// left to a draw strikes nobody.
pub fn plan(scenario: &Scenario, topology: &Topology) -> Vec<PlannedFault> {
    let faults = scenario.faults.iter();
    let mut faults: Vec<PlannedFault> = faults.flat_map(|f| repeated(f, topology)).collect();
    faults.sort_by_key(|f| (f.begin, f.end));
    faults
}

/// A fault, or as many as it repeats itself. A reset is over when it has happened.
fn repeated(fault: &Fault, topology: &Topology) -> Vec<PlannedFault> {
    let first = planned(fault, topology);
    if first.change != Change::Reset {
        return vec![first];
    }
    let every = fault.every.unwrap_or(fault.length).nanos().max(1);
    let begins = (first.begin..first.end).step_by(usize::try_from(every).unwrap_or(usize::MAX));
    begins
        .map(|begin| PlannedFault {
            begin,
            end: begin + 1,
            ..first.clone()
        })
        .collect()
}

fn planned(fault: &Fault, topology: &Topology) -> PlannedFault {
    let begin = fault.at.get_ref().nanos();
    let (target, name) = struck(fault.target.get_ref(), topology);
    let all: NodeSet = (1 << topology.nodes.len()) - 1;
    let (against, against_name) = match &fault.against {
        Some(t) if *t.get_ref() != Target::Rest => match struck(t.get_ref(), topology) {
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
        FaultKind::Reset => (Change::Reset, String::new()),
        FaultKind::FullDisk => (Change::FullDisk, String::new()),
        FaultKind::BitRot => (Change::BitRot, String::new()),
        FaultKind::Deaf => (Change::Deaf, String::new()),
        FaultKind::Mute => (Change::Mute, String::new()),
        FaultKind::SlowClients => (Change::SlowClients(by.nanos()), format!(" +{by}")),
        FaultKind::CrashAtCommit => (Change::CrashAtCommit(million), percent(million)),
        FaultKind::Absent => (Change::Absent, String::new()),
        FaultKind::Buggify => {
            let point = fault.point.as_deref().and_then(Point::find);
            let mark = point.map_or("", |point| point.mark);
            let name = point.map_or("", Point::name);
            (
                Change::Buggify(mark, million),
                format!(" {name},{}", percent(million)),
            )
        }
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

fn struck(target: &Target, topology: &Topology) -> (Struck, String) {
    if let Target::ActiveScheduler(Pick::Named(name)) = target
        && let Some(region) = topology.region_index(name)
    {
        return (
            Struck::ActiveScheduler { region },
            format!("active scheduler of {name}"),
        );
    }
    named(target, topology)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Builtin;

    fn scenario(name: &str) -> Scenario {
        let text = Builtin::find(name).unwrap().text;
        Scenario::parse(name, text).unwrap()
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
