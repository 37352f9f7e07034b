//! Guarantee 1: a slot has one owner per epoch; the instances of a version that may take
//! traffic in a region never exceed its maximum.
//!
//! Judged from the slot records that become durable, from the instances that drivers really
//! start, and from where gateways send requests.

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use tidegate_protocol::{InstanceRef, SlotRecord, SlotState};

use super::Findings;

type FxMap<K, V> = IndexMap<K, V, FxBuildHasher>;

#[derive(Debug, Default)]
pub struct OneOwner {
    /// Host of each life of a slot, by region: first as the store says, then as drivers do.
    claimed: FxMap<(usize, InstanceRef), u32>,
    started: FxMap<(usize, InstanceRef), u32>,
    /// Highest epoch that a gateway actor sent a request to.
    sent: FxMap<(u32, u64, u32), u64>,
    pub checks: u64,
}

impl OneOwner {
    /// A slot's record became durable. `max`: slots of the version, when it is known.
    pub fn slot_written(
        &mut self,
        region: usize,
        before: Option<&SlotRecord>,
        after: &SlotRecord,
        max: Option<u32>,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        let slot = after.instance();
        if let Some(before) = before
            && after.epoch < before.epoch
        {
            findings.violated(
                1,
                format!("slot {slot} went back from epoch {}", before.epoch),
            );
        }
        if max.is_some_and(|max| after.index >= max) {
            findings.violated(
                1,
                format!("slot {slot} is beyond the maximum of its version"),
            );
        }
        if after.state() == SlotState::Free {
            return;
        }
        let owner = *self.claimed.entry((region, slot)).or_insert(after.host);
        if owner != after.host {
            findings.violated(
                1,
                format!(
                    "slot {slot} belongs to node {owner} and, in the same epoch, to {}",
                    after.host
                ),
            );
        }
    }

    /// A driver starts an instance. `beside`: another life of the slot that runs there.
    pub fn started(
        &mut self,
        region: usize,
        host: u32,
        instance: InstanceRef,
        beside: Option<InstanceRef>,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        let first = *self.started.entry((region, instance)).or_insert(host);
        if first != host {
            findings.violated(
                1,
                format!("{instance} was started on node {first} and on {host}"),
            );
        }
        match self.claimed.get(&(region, instance)) {
            Some(owner) if *owner == host => {}
            Some(owner) => findings.violated(
                1,
                format!("{instance} starts on node {host}, but its slot belongs to {owner}"),
            ),
            None => findings.violated(1, format!("{instance} starts without a claimed slot")),
        }
        if let Some(other) = beside {
            findings.violated(
                1,
                format!("{instance} starts beside {other} of the same slot"),
            );
        }
    }

    /// A gateway actor sends a request.
    #[inline]
    pub fn sent(&mut self, gateway: u32, instance: InstanceRef, findings: &mut Findings) {
        self.checks += 1;
        let highest = self
            .sent
            .entry((gateway, instance.version, instance.slot))
            .or_insert(instance.epoch);
        if instance.epoch < *highest {
            let newer = *highest;
            findings.violated(
                1,
                format!("a gateway sent to {instance} after it had sent to epoch {newer}"),
            );
        }
        *highest = instance.epoch.max(*highest);
    }

    /// A gateway actor was started anew.
    pub fn forget_gateway(&mut self, gateway: u32) {
        self.sent.retain(|(g, ..), _| *g != gateway);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(epoch: u64, host: u32) -> SlotRecord {
        SlotRecord {
            version: 3,
            index: 1,
            epoch,
            state: SlotState::Running.into(),
            host,
            ..SlotRecord::default()
        }
    }

    fn check(expected: u64, history: impl FnOnce(&mut OneOwner, &mut Findings)) {
        let (mut oracle, mut findings) = (OneOwner::default(), Findings::default());
        history(&mut oracle, &mut findings);
        assert_eq!(findings.count(1), expected, "{:?}", findings.kept());
    }

    #[test]
    fn a_claim_a_start_and_traffic_are_fine() {
        check(0, |o, f| {
            o.slot_written(0, None, &slot(1, 7), Some(2), f);
            o.started(0, 7, slot(1, 7).instance(), None, f);
            o.sent(0, slot(1, 7).instance(), f);
            o.slot_written(0, Some(&slot(1, 7)), &slot(2, 8), Some(2), f);
            o.sent(0, slot(2, 8).instance(), f);
        });
    }

    #[test]
    fn two_owners_of_one_epoch_are_found() {
        check(1, |o, f| {
            o.slot_written(0, None, &slot(1, 7), Some(2), f);
            o.slot_written(0, Some(&slot(1, 7)), &slot(1, 8), Some(2), f);
        });
        check(1, |o, f| {
            o.slot_written(0, None, &slot(1, 7), Some(2), f);
            o.started(0, 8, slot(1, 7).instance(), None, f);
        });
    }

    #[test]
    fn epochs_going_back_are_found() {
        check(1, |o, f| {
            o.slot_written(0, Some(&slot(2, 7)), &slot(1, 7), Some(2), f);
        });
        check(1, |o, f| {
            o.sent(0, slot(2, 7).instance(), f);
            o.sent(0, slot(1, 7).instance(), f);
        });
    }

    #[test]
    fn too_many_unclaimed_and_neighbouring_instances_are_found() {
        check(1, |o, f| o.slot_written(0, None, &slot(1, 7), Some(1), f));
        check(1, |o, f| o.started(0, 7, slot(1, 7).instance(), None, f));
        check(1, |o, f| {
            o.slot_written(0, None, &slot(2, 7), Some(2), f);
            o.started(0, 7, slot(2, 7).instance(), Some(slot(1, 7).instance()), f);
        });
    }
}
