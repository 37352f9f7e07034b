//! Guarantee 14: no instance without a slot, no slot without an owner, no ack without a
//! version, no lease that nobody renews, and nothing left of a project that was removed.
//!
//! In a living system each of these exists for a moment, so each is noted when it is first
//! seen after the faults and counts when it is still there after the bound. Judged at all
//! times: no slot is taken back from an instance that serves, unless its host may have
//! seemed dead.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;
use tidegate_protocol::{InstanceRef, Key, LeaseRecord, NodeId, Record, SlotState};

use super::Findings;
use crate::clock::SimTime;
use crate::ledger::StoreView;

/// An instance that a driver really runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Running {
    /// Node id.
    pub host: u32,
    pub instance: InstanceRef,
}

#[derive(Debug, Default)]
pub struct Orphans {
    since: BTreeMap<String, SimTime>,
    leases: BTreeMap<String, (LeaseRecord, SimTime)>,
    pub checks: u64,
}

/// A lease that did not change for so long is not renewed by anybody.
const LEASE_STILL_NS: u64 = 25_000_000_000;

impl Orphans {
    /// Looks at a region after the faults: at what really runs there and at the edges that
    /// live. `bound_ns`: how long an orphan may last.
    pub fn check(
        &mut self,
        region: &str,
        (running, edges): (&[Running], &[NodeId]),
        partition: &StoreView,
        bound_ns: u64,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        let mut seen = orphans(running, edges, partition);
        seen.extend(self.still_lease(region, partition, findings.at));
        self.note(region, seen, bound_ns, findings);
    }

    /// A slot was taken back from an instance; `serves`: it does, and no fault has kept its
    /// host from being heard.
    pub fn taken_back(&mut self, instance: InstanceRef, serves: bool, findings: &mut Findings) {
        self.checks += 1;
        if serves {
            findings.violated(
                14,
                format!("the slot of {instance} was taken back from a host that was well"),
            );
        }
    }

    /// Looks at the main store after the faults.
    pub fn check_main(&mut self, main: &StoreView, bound_ns: u64, findings: &mut Findings) {
        self.checks += 1;
        let removed = main.projects().filter(|p| p.removed);
        let seen = removed.map(|p| format!("the removed project {} is still recorded", p.name));
        self.note("main store", seen.collect(), bound_ns, findings);
    }

    /// Orphans that are seen at a place now; each counts once it has lasted for the bound.
    fn note(&mut self, place: &str, seen: Vec<String>, bound_ns: u64, findings: &mut Findings) {
        let prefix = format!("{place}: ");
        let seen: BTreeSet<String> = seen.into_iter().map(|s| prefix.clone() + &s).collect();
        self.since
            .retain(|orphan, _| !orphan.starts_with(&prefix) || seen.contains(orphan));
        for orphan in seen {
            let since = *self.since.entry(orphan.clone()).or_insert(findings.at);
            if findings.at.saturating_sub(since) > bound_ns {
                self.since.insert(orphan.clone(), findings.at);
                findings.violated(14, format!("{orphan}, for {} s", bound_ns / 1_000_000_000));
            }
        }
    }

    fn still_lease(&mut self, region: &str, partition: &StoreView, at: SimTime) -> Option<String> {
        let Some(Record::Lease(lease)) = partition.get(&Key::Lease) else {
            return Some("there is no active scheduler".into());
        };
        let known = self
            .leases
            .entry(region.to_owned())
            .or_insert_with(|| (*lease, at));
        if known.0 != *lease {
            *known = (*lease, at);
        }
        (at - known.1 > LEASE_STILL_NS).then(|| "nobody renews the scheduler's lease".into())
    }
}

fn orphans(running: &[Running], edges: &[NodeId], partition: &StoreView) -> Vec<String> {
    let mut found = Vec::new();
    for r in running {
        let key = Key::Slot {
            version: r.instance.version,
            index: r.instance.slot,
        };
        let owned = match partition.get(&key) {
            Some(Record::Slot(slot)) => {
                slot.instance() == r.instance
                    && slot.host == r.host
                    && slot.state() != SlotState::Free
            }
            _ => false,
        };
        if !owned {
            found.push(format!(
                "instance {} on node {} has no slot",
                r.instance, r.host
            ));
        }
    }
    let here: IndexSet<Running, FxBuildHasher> = running.iter().copied().collect();
    for (key, record) in partition.iter() {
        if let Key::Ack { node, version } = key
            && edges.contains(node)
            && partition.version(*version).is_none()
        {
            found.push(format!("{key} is of a version that is gone"));
        }
        let Record::Slot(slot) = record else {
            continue;
        };
        let owner = Running {
            host: slot.host,
            instance: slot.instance(),
        };
        if slot.state() != SlotState::Free && !here.contains(&owner) {
            found.push(format!(
                "slot {} is taken for node {}, which runs nothing of it",
                slot.instance(),
                slot.host
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use tidegate_protocol::{AckRecord, FeedEntry, ProjectRecord, SlotRecord};

    const SECOND: u64 = 1_000_000_000;

    fn slot(epoch: u64, state: SlotState) -> Record {
        Record::Slot(SlotRecord {
            version: 1,
            epoch,
            state: state.into(),
            host: 7,
            ..SlotRecord::default()
        })
    }

    fn running(epoch: u64) -> Running {
        Running {
            host: 7,
            instance: InstanceRef {
                version: 1,
                slot: 0,
                epoch,
            },
        }
    }

    /// Looks every 5 s for a minute; the lease is renewed if asked.
    fn check(expected: u64, slot: Record, running: &[Running], renewed: bool) {
        let mut ledger = Ledger::new(1, &[]);
        let mut put = |key: Key, record: Record| {
            let entry = FeedEntry {
                key: key.to_string(),
                value: Some(record.encode()),
                revision: 1,
            };
            ledger.apply(1, &[entry]);
            ledger.region(0).clone()
        };
        put(
            Key::Slot {
                version: 1,
                index: 0,
            },
            slot,
        );
        let (mut oracle, mut findings) = (Orphans::default(), Findings::default());
        for beat in 0..12 {
            let lease = LeaseRecord {
                beat: if renewed { beat } else { 0 },
                ..LeaseRecord::default()
            };
            let view = put(Key::Lease, Record::Lease(lease));
            findings.at = beat * 5 * SECOND;
            oracle.check("syd", (running, &[]), &view, 30 * SECOND, &mut findings);
        }
        assert_eq!(findings.count(14), expected, "{:?}", findings.kept());
    }

    #[test]
    fn owners_and_renewed_leases_are_fine() {
        check(0, slot(4, SlotState::Running), &[running(4)], true);
        check(0, slot(4, SlotState::Free), &[], true);
    }

    #[test]
    fn every_kind_of_orphan_is_found() {
        check(1, slot(4, SlotState::Free), &[running(4)], true);
        check(1, slot(4, SlotState::Running), &[], true);
        check(2, slot(5, SlotState::Running), &[running(4)], true);
    }

    #[test]
    fn acks_of_vanished_versions_and_remains_of_projects_are_found() {
        let mut ledger = Ledger::new(1, &[]);
        let removed = ProjectRecord {
            name: "shop".into(),
            removed: true,
            ..ProjectRecord::default()
        };
        let ack = Key::Ack {
            node: NodeId(3),
            version: 9,
        };
        for (store, key, record) in [
            (0, Key::Project("shop".into()), Record::Project(removed)),
            (1, ack.clone(), Record::Ack(AckRecord::default())),
        ] {
            let entry = FeedEntry {
                key: key.to_string(),
                value: Some(record.encode()),
                revision: 1,
            };
            ledger.apply(store, &[entry]);
        }
        let view = ledger.region(0);
        assert_eq!(
            orphans(&[], &[NodeId(3)], view),
            [format!("{ack} is of a version that is gone")]
        );
        assert_eq!(orphans(&[], &[NodeId(4)], view), [""; 0]);
        let (mut oracle, mut findings) = (Orphans::default(), Findings::default());
        for second in [0, 31] {
            findings.at = second * SECOND;
            oracle.check_main(ledger.main(), 30 * SECOND, &mut findings);
        }
        assert_eq!(findings.count(14), 1);
    }

    #[test]
    fn a_lease_that_stands_still_is_found() {
        let mut findings = Findings::default();
        let mut oracle = Orphans::default();
        let view = StoreView::default();
        for second in [0, 20, 31] {
            findings.at = second * SECOND;
            oracle.check("syd", (&[], &[]), &view, 30 * SECOND, &mut findings);
        }
        assert_eq!(findings.count(14), 1);
    }
    #[test]
    fn a_slot_that_is_taken_from_an_instance_that_serves_is_found() {
        let (mut oracle, mut findings) = (Orphans::default(), Findings::default());
        let instance = running(3).instance;
        oracle.taken_back(instance, false, &mut findings);
        assert_eq!(findings.count(14), 0);
        oracle.taken_back(instance, true, &mut findings);
        assert_eq!(findings.count(14), 1);
    }
}
