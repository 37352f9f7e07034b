//! Whether a request was given up that an instance could have taken.

use tidegate_kernel::Refusal;
use tidegate_protocol::{InstanceRef, Key, NodeId, Record, SlotState};

use super::MS;
use crate::cells::AnyCell;
use crate::instance::Phase;
use crate::world::World;

/// An instance that had nothing to do for so long would have been found by every gateway.
const IDLE_NS: u64 = 5_000 * MS;

impl World {
    /// A gateway refused a request. When that was for want of an instance, there must not
    /// have been one.
    pub(super) fn judge_given_up(&mut self, request: u32, refusal: &Refusal) {
        if !matches!(
            refusal,
            Refusal::HoldTimeout { .. } | Refusal::NoCapacity { .. }
        ) {
            return;
        }
        let idle = self.idle_instance(request);
        let stream = self.requests.all[request as usize].stream();
        let host = &self.hosts[self.streams[stream as usize].app as usize];
        let oracles = &mut self.env.oracles;
        let findings = &mut oracles.findings;
        oracles.answered.given_up(host, idle, findings);
    }

    /// An instance of the version that the gateway serves, in the gateway's region, that has
    /// served before, runs by what the store holds, and has had nothing to do for a while;
    /// `None` also when its host may have seemed dead.
    fn idle_instance(&self, request: u32) -> Option<InstanceRef> {
        let r = &self.requests.all[request as usize];
        let env = &self.env;
        let slot = &self.actors[r.leg().gateway as usize];
        let region = env.topology.nodes[slot.node].region?;
        if self.is_excused(request) || self.excuses.hosts(1 << region, env.now) {
            return None;
        }
        let app = self.streams[r.stream as usize].app;
        let project = env.scenario.apps[app as usize].name.get_ref();
        let Some(AnyCell::Gateway(cell)) = &slot.cell else {
            return None;
        };
        let (version, _) = cell.actor().serving(project)?;
        let slots = env.ledger.main().version(version)?.instances_max;
        let view = env.ledger.region(region);
        (0..slots).find_map(|index| {
            let Some(Record::Slot(slot)) = view.get(&Key::Slot { version, index }) else {
                return None;
            };
            let host = env.topology.index(NodeId(slot.host))?;
            let runs = slot.state() == SlotState::Running && env.nodes[host].up;
            let instance = env.instances.find(host, slot.instance())?;
            let i = env.instances.get(instance);
            let works = i.phase == Phase::Ready && i.taken > 0;
            let idle = i.in_flight() == 0 && i.idle_since + IDLE_NS <= env.now;
            (runs && works && idle).then_some(i.reference)
        })
    }
}
