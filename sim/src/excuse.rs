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
//! served nobody. A store that takes no commits is no such reason. But what has died is
//! noticed through the store, and counted from when that takes commits again: what was excused
//! when its disk became full stays so for as long after that has room as a request may last.

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

/// The times at which a region's store took no commits; those that follow each other closely
/// are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stall {
    begun: SimTime,
    span: Region,
}

impl Region {
    fn change(&mut self, begin: bool, at: SimTime) {
        if begin {
            self.on += 1;
        } else {
            self.on -= 1;
            self.ended = Some(at);
        }
    }

    /// Until when it lasts; `None`: it never was.
    fn until(&self) -> Option<SimTime> {
        if self.on > 0 {
            return Some(SimTime::MAX);
        }
        self.ended.map(|at| at + AFTER_NS)
    }
}

impl Stall {
    fn change(&mut self, begin: bool, at: SimTime) {
        if begin && self.span.until().is_none_or(|until| until <= at) {
            self.begun = at;
        }
        self.span.change(begin, at);
    }
}

#[derive(Debug)]
pub struct Excuses {
    regions: Vec<Region>,
    /// The same for hosts that seem dead.
    hosts: Vec<Region>,
    stalls: Vec<Stall>,
}

impl Excuses {
    pub fn new(regions: usize) -> Self {
        Self {
            regions: vec![Region::default(); regions],
            hosts: vec![Region::default(); regions],
            stalls: vec![Stall::default(); regions],
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
        let full = fault.change == Change::FullDisk;
        let stalls = regions_of(struck, topology, |kind| full && kind == NodeKind::Store);
        for stall in in_set(&mut self.stalls, stalls) {
            stall.change(begin, at);
        }
    }

    /// Whether anything that excuses a failure happened lately in one of the regions.
    pub fn any(&self, regions: RegionSet, now: SimTime) -> bool {
        self.lately(&self.regions, regions, now)
    }

    /// Whether hosts of one of the regions may have seemed dead lately.
    pub fn hosts(&self, regions: RegionSet, now: SimTime) -> bool {
        self.lately(&self.hosts, regions, now)
    }

    fn lately(&self, all: &[Region], regions: RegionSet, now: SimTime) -> bool {
        let each = all.iter().zip(&self.stalls).enumerate();
        each.filter(|(i, _)| regions >> i & 1 == 1)
            .any(|(_, (region, stall))| {
                let Some(until) = region.until() else {
                    return false;
                };
                let stalled = until > stall.begun && stall.span.until() > Some(now);
                now < until || stalled
            })
    }
}

fn in_set<T>(all: &mut [T], set: RegionSet) -> impl Iterator<Item = &mut T> {
    let each = all.iter_mut().enumerate();
    each.filter(move |(i, _)| set >> i & 1 == 1)
        .map(|(_, one)| one)
}

fn count(all: &mut [Region], struck: RegionSet, begin: bool, at: SimTime) {
    for region in in_set(all, struck) {
        region.change(begin, at);
    }
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

    #[test]
    fn what_is_excused_when_the_store_is_full_stays_so_until_it_has_been_well_for_a_while() {
        let excused = |full: SimTime, room: Option<SimTime>, now: SimTime| {
            let mut excuses = Excuses::new(1);
            excuses.regions[0].ended = Some(10);
            excuses.stalls[0].change(true, full);
            if let Some(room) = room {
                excuses.stalls[0].change(false, room);
            }
            excuses.any(1, now)
        };
        let end = 10 + AFTER_NS;
        assert!(excused(end - 1, None, end + 5));
        assert!(
            !excused(end, None, end + 5),
            "it was over when the disk became full"
        );
        let room = end + 9;
        assert!(excused(20, Some(room), room + AFTER_NS - 1));
        assert!(!excused(20, Some(room), room + AFTER_NS));
    }

    #[test]
    fn full_disks_that_follow_each_other_closely_are_one() {
        let mut stall = Stall::default();
        let begun = |stall: &mut Stall, from, to| {
            stall.change(true, from);
            stall.change(false, to);
            stall.begun
        };
        assert_eq!(begun(&mut stall, 5, 9), 5);
        assert_eq!(begun(&mut stall, 8 + AFTER_NS, 9 + AFTER_NS), 5);
        let later = 9 + 2 * AFTER_NS;
        assert_eq!(begun(&mut stall, later, later + 1), later);
    }

    #[test]
    fn a_full_store_is_an_excuse_of_nothing_by_itself() {
        let mut excuses = Excuses::new(1);
        excuses.stalls[0].change(true, 7);
        assert!(!excuses.any(1, 8) && !excuses.hosts(1, 8));
    }
}
