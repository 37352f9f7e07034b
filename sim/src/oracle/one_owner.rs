//! Guarantee 1: a slot has one owner per epoch; the instances of a version that may take
//! traffic in a region never exceed its maximum.
//!
//! Judged from the slot records that become durable, from the instances that drivers really
//! start, and from where gateways send requests. Which writes a slot allows is written down
//! here a second time: an epoch goes STARTING, RUNNING, STOPPING, FREE and never back; only a
//! free slot is claimed, under a new epoch; and a scheduler that was deposed writes nothing.

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
    /// Fencing epoch of each region's newest election.
    fences: FxMap<usize, u64>,
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
        let fence = self.fences.get(&region).copied().unwrap_or(0);
        if let Some(before) = before
            && let Some(wrong) = wrong_step(before, after, fence)
        {
            findings.violated(1, format!("slot {slot} {wrong}"));
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

    /// A scheduler was elected in a region.
    pub fn elected(&mut self, region: usize, fence: u64, findings: &mut Findings) {
        self.checks += 1;
        let newest = self.fences.entry(region).or_default();
        if fence <= *newest {
            findings.violated(
                1,
                format!("a scheduler was elected under fence {fence} after one under {newest}"),
            );
        }
        *newest = fence.max(*newest);
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

    /// Somebody is shown that an instance lives on a host.
    pub fn listed(
        &mut self,
        region: Option<usize>,
        host: u32,
        instance: InstanceRef,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        let owner = region.and_then(|region| self.claimed.get(&(region, instance)));
        if owner != Some(&host) {
            findings.violated(
                1,
                format!("{instance} is listed on node {host}, and belongs to {owner:?}"),
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

/// What a slot's new record must not do after the former one, if it does.
fn wrong_step(before: &SlotRecord, after: &SlotRecord, fence: u64) -> Option<String> {
    let (was, is) = (before.state(), after.state());
    if after.epoch < before.epoch {
        return Some(format!("went back from epoch {}", before.epoch));
    }
    let begins = after.epoch > before.epoch;
    let stops = is == SlotState::Stopping && was != SlotState::Stopping;
    if (begins || stops) && after.fence < fence {
        return Some(format!(
            "was written under fence {} after an election under {fence}",
            after.fence
        ));
    }
    if begins {
        let taken = was != SlotState::Free && is != SlotState::Free;
        return taken.then(|| format!("was claimed while epoch {} held it", before.epoch));
    }
    (age(is) < age(was)).then(|| format!("went from {was:?} back to {is:?}"))
}

/// Place of a state in the life of one epoch.
fn age(state: SlotState) -> u8 {
    match state {
        SlotState::Unspecified => 0,
        SlotState::Starting => 1,
        SlotState::Running => 2,
        SlotState::Stopping => 3,
        SlotState::Free => 4,
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

    fn free(epoch: u64) -> SlotRecord {
        SlotRecord {
            state: SlotState::Free.into(),
            host: 0,
            ..slot(epoch, 0)
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
            o.slot_written(0, Some(&slot(1, 7)), &free(2), Some(2), f);
            o.slot_written(0, Some(&free(2)), &slot(3, 8), Some(2), f);
            o.sent(0, slot(3, 8).instance(), f);
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
    fn writes_that_the_slot_does_not_allow_are_found() {
        let starting = SlotRecord {
            state: SlotState::Starting.into(),
            ..slot(2, 7)
        };
        let cases = [
            (&slot(2, 7), &starting),
            (&free(2), &starting),
            (&slot(1, 7), &starting),
        ];
        for (before, after) in cases {
            check(1, |o, f| o.slot_written(0, Some(before), after, Some(2), f));
        }
        check(0, |o, f| {
            o.slot_written(0, Some(&free(1)), &starting, Some(2), f);
        });
    }

    #[test]
    fn a_list_that_names_another_owner_is_found() {
        let listed = |expected, region, host, epoch| {
            check(expected, |o, f| {
                o.slot_written(0, None, &slot(1, 7), Some(2), f);
                o.listed(region, host, slot(epoch, 7).instance(), f);
            });
        };
        listed(0, Some(0), 7, 1);
        listed(1, Some(0), 8, 1);
        listed(1, Some(0), 7, 2);
        listed(1, Some(1), 7, 1);
        listed(1, None, 7, 1);
    }

    #[test]
    fn a_deposed_scheduler_is_found() {
        let claimed = |fence| SlotRecord {
            fence,
            ..slot(2, 7)
        };
        for (fence, expected) in [(5, 0), (4, 1)] {
            check(expected, |o, f| {
                o.elected(0, 5, f);
                o.elected(1, 9, f);
                o.slot_written(0, Some(&free(1)), &claimed(fence), Some(2), f);
                // What the host writes keeps the fence of the claim.
                o.elected(0, 6, f);
                o.slot_written(0, Some(&claimed(fence)), &claimed(fence), Some(2), f);
            });
        }
    }

    #[test]
    fn two_elections_under_one_fence_are_found() {
        check(1, |o, f| {
            o.elected(0, 5, f);
            o.elected(0, 5, f);
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
