//! Which faults excuse a request that fails, and for how long.
//!
//! Only what a request cannot survive excuses it: its machine stops or stands still, a link
//! of its way is cut or loses so much that connections get stuck. Slow links and disks,
//! repeated, overtaking and changed messages, wrong clocks, and every fault of the control
//! plane or of metald's process excuse nothing: warm traffic does not depend on them. An
//! excuse holds for the regions that the fault strikes, and for as long afterwards as a
//! request may last.
//!
//! Faults that meet single requests excuse exactly those, which carry it themselves: a
//! connection that is reset, one that a deaf host does not take, a client that is too slow.
//! Full disks, blobs that rot and hosts that are not heard excuse nothing.
//!
//! A gateway may give a request up while an instance idles only when the platform had reason
//! to take its host for dead: beside all that breaks requests, when a host was not heard or
//! served nobody. A store that takes no commits is no such reason.

use crate::clock::SimTime;
use crate::network::LinkChange;
use crate::plan::{Change, PlannedFault};
use crate::topology::{NodeKind, NodeSet, Topology, members};

/// A request's deadline, and what a client and a gateway may take beside it.
const AFTER_NS: u64 = 65_000_000_000;

/// A set of regions: bit `i` stands for `regions[i]`.
pub type RegionSet = u64;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Region {
    on: u32,
    ended: Option<SimTime>,
}

#[derive(Debug)]
pub struct Excuses {
    regions: Vec<Region>,
    /// The same for hosts that seem dead.
    hosts: Vec<Region>,
}

impl Excuses {
    pub fn new(regions: usize) -> Self {
        Self {
            regions: vec![Region::default(); regions],
            hosts: vec![Region::default(); regions],
        }
    }

    /// A fault begins or ends that struck a set of machines.
    pub fn change(
        &mut self,
        fault: &PlannedFault,
        struck: NodeSet,
        begin: bool,
        at: SimTime,
        topology: &Topology,
    ) {
        let breaks = regions_of(struck, topology, |kind| breaks_requests(fault.change, kind));
        count(&mut self.regions, breaks, begin, at);
        let seems_dead = regions_of(struck, topology, |kind| {
            breaks_requests(fault.change, kind) || silences_hosts(fault.change, kind)
        });
        count(&mut self.hosts, seems_dead, begin, at);
    }

    /// Whether anything that excuses a failure happened lately in one of the regions.
    pub fn any(&self, regions: RegionSet, now: SimTime) -> bool {
        lately(&self.regions, regions, now)
    }

    /// Whether hosts of one of the regions may have seemed dead lately.
    pub fn hosts(&self, regions: RegionSet, now: SimTime) -> bool {
        lately(&self.hosts, regions, now)
    }
}

fn count(all: &mut [Region], struck: RegionSet, begin: bool, at: SimTime) {
    let struck = |i: usize| struck >> i & 1 == 1;
    for (_, region) in all.iter_mut().enumerate().filter(|(i, _)| struck(*i)) {
        if begin {
            region.on += 1;
        } else {
            region.on -= 1;
            region.ended = Some(at);
        }
    }
}

fn lately(all: &[Region], regions: RegionSet, now: SimTime) -> bool {
    all.iter()
        .enumerate()
        .filter(|(i, _)| regions >> i & 1 == 1)
        .any(|(_, r)| r.on > 0 || r.ended.is_some_and(|at| now < at + AFTER_NS))
}

/// Whether a fault may keep the heartbeats or the answers of a host away, or the news of it.
fn silences_hosts(change: Change, kind: NodeKind) -> bool {
    let host = kind == NodeKind::Host;
    let faults = matches!(
        change,
        Change::ProcessCrash
            | Change::CrashAtCommit(_)
            | Change::SlowHost(_)
            | Change::Deaf
            | Change::Mute
    );
    let restarts = matches!(change, Change::ProcessCrash | Change::CrashAtCommit(_));
    host && faults || kind == NodeKind::Store && restarts
}

/// Whether a fault of a machine may break the requests of its region.
fn breaks_requests(change: Change, kind: NodeKind) -> bool {
    match change {
        Change::Link(LinkChange::Cut | LinkChange::Lose(_))
        | Change::Crash
        | Change::Death
        | Change::Pause => true,
        Change::ProcessCrash | Change::CrashAtCommit(_) => kind == NodeKind::Gateway,
        Change::Link(_)
        | Change::SlowDisk(_)
        | Change::SlowHost(_)
        | Change::ClockJump(_)
        | Change::ClockDrift(_)
        | Change::Reset
        | Change::FullDisk
        | Change::BitRot
        | Change::Deaf
        | Change::Mute
        | Change::SlowClients(_)
        | Change::Absent
        | Change::Buggify(..) => false,
    }
}

/// The regions of those machines whose kind counts.
fn regions_of(
    struck: NodeSet,
    topology: &Topology,
    counts: impl Fn(NodeKind) -> bool,
) -> RegionSet {
    members(struck)
        .map(|n| &topology.nodes[n])
        .filter(|node| {
            matches!(
                node.kind,
                NodeKind::Gateway | NodeKind::Host | NodeKind::Store
            )
        })
        .filter(|node| counts(node.kind))
        .filter_map(|node| node.region)
        .fold(0, |set, region| set | 1 << region)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Builtin, Scenario};

    fn check(expected: &[&str], node: &str, change: Change) {
        let text = Builtin::find("region-partition").unwrap().text;
        let scenario = Scenario::parse("t", text).unwrap();
        let topology = Topology::new(&scenario);
        let place = topology.nodes.iter().position(|n| n.name == node).unwrap();
        let kind = |kind| breaks_requests(change, kind);
        let excused = regions_of(1 << place, &topology, kind);
        let names: Vec<&str> = topology
            .regions
            .iter()
            .enumerate()
            .filter(|(i, _)| excused >> i & 1 == 1)
            .map(|(_, name)| name.as_str())
            .collect();
        assert_eq!(names, expected, "{node} {change:?}");
    }

    #[test]
    fn only_what_breaks_requests_excuses_and_only_in_its_region() {
        check(&["mel"], "host-mel-1", Change::Crash);
        check(&["mel"], "gw-mel-1", Change::ProcessCrash);
        check(&["per"], "store-per", Change::Link(LinkChange::Cut));
        check(&[], "host-mel-1", Change::ProcessCrash);
        check(&[], "control", Change::Crash);
        check(&[], "gw-mel-1", Change::Link(LinkChange::Reorder));
        check(&[], "store-mel", Change::SlowDisk(50));
    }

    #[test]
    fn a_host_seems_dead_when_it_is_mute_and_not_when_a_store_takes_nothing() {
        assert!(silences_hosts(Change::Mute, NodeKind::Host));
        assert!(silences_hosts(Change::ProcessCrash, NodeKind::Host));
        assert!(!silences_hosts(Change::ProcessCrash, NodeKind::Control));
        assert!(!silences_hosts(Change::FullDisk, NodeKind::Store));
        assert!(!silences_hosts(Change::FullDisk, NodeKind::Host));
    }

    #[test]
    fn an_excuse_lasts_as_long_as_a_request_may() {
        let mut excuses = Excuses::new(2);
        excuses.regions[1].on = 1;
        assert!(excuses.any(0b10, 0) && !excuses.any(0b01, 0));
        excuses.regions[1] = Region {
            on: 0,
            ended: Some(5),
        };
        assert!(excuses.any(0b11, 5 + AFTER_NS - 1));
        assert!(!excuses.any(0b11, 5 + AFTER_NS));
    }
}
