//! What changes in the partition store mean for routing.

use tidegate_kernel::{Change, Effects, Note, Now};
use tidegate_protocol::{
    Address, Key, LeaseRecord, NodeId, Record, Role, SlotRecord, SlotState, VersionSpec,
};

use crate::Gateway;
use crate::table::Adopted;
use crate::version::{Instance, Spec};

impl Gateway {
    pub(crate) fn on_change(&mut self, now: Now, change: Change, fx: &mut Effects) {
        match (change.key, change.record) {
            (Key::Version(id), Some(Record::Version(spec))) => self.on_version(now, id, &spec, fx),
            (Key::Version(id), _) => self.on_version_gone(now, id, fx),
            (Key::Slot { version, index }, record) => {
                let slot = match record {
                    Some(Record::Slot(slot)) => Some(slot),
                    _ => None,
                };
                self.on_slot(now, version, index, slot, fx);
            }
            (Key::Ack { version, .. }, record) => self.on_ack(now, version, record.is_some(), fx),
            (Key::Route(project), record) => {
                let route = match record {
                    Some(Record::Route(route)) => Some(route),
                    _ => None,
                };
                if let Some(adopted) = self.table.set_target(&project, route) {
                    self.on_adopted(now, adopted, fx);
                }
            }
            (Key::Host(node), Some(_)) => {
                self.hosts.insert(node, now.mono);
            }
            (Key::Host(node), None) => {
                self.hosts.remove(&node);
            }
            (Key::Peer { region, node }, record) => {
                let record = match &record {
                    Some(Record::Peer(record)) => Some(record),
                    _ => None,
                };
                self.peers.set(&region, node, record);
            }
            (Key::Lease, Some(Record::Lease(lease))) => self.on_lease(now, lease, fx),
            _ => {}
        }
    }

    fn on_version(&mut self, now: Now, id: u64, spec: &VersionSpec, fx: &mut Effects) {
        let Some(spec) = Spec::of(spec) else {
            fx.note(Note::Malformed {
                what: format!("artifact digest of version {id}"),
            });
            return;
        };
        let index = self.table.entry(id);
        self.table.version_mut(index).spec = Some(spec);
        self.adopt_all_of(now, id, fx);
    }

    fn on_version_gone(&mut self, now: Now, id: u64, fx: &mut Effects) {
        let Some(index) = self.table.index_of(id) else {
            return;
        };
        self.table.version_mut(index).spec = None;
        self.place_waiting_anew(now, index, index, fx);
        self.table.release(index);
    }

    fn on_slot(
        &mut self,
        now: Now,
        version: u64,
        slot_index: u32,
        slot: Option<SlotRecord>,
        fx: &mut Effects,
    ) {
        let running = slot.and_then(|slot| {
            let endpoint = slot.endpoint.parse().ok()?;
            (slot.state() == SlotState::Running).then_some((slot, endpoint))
        });
        let Some((slot, endpoint)) = running else {
            if let Some(index) = self.table.index_of(version) {
                let version = self.table.version_mut(index);
                version.instances.retain(|i| i.instance.slot != slot_index);
                self.table.release(index);
            }
            return;
        };
        let host = NodeId(slot.host);
        self.hosts.entry(host).or_insert(now.mono);
        let index = self.table.entry(version);
        let version = self.table.version_mut(index);
        match version.instance_mut(slot.instance()) {
            Some(known) => known.endpoint = endpoint,
            None => {
                version.instances.retain(|i| i.instance.slot != slot_index);
                version.instances.push(Instance {
                    instance: slot.instance(),
                    endpoint,
                    host,
                    in_flight: 0,
                    refused_until: tidegate_kernel::Time::ZERO,
                    silent: false,
                });
            }
        }
        self.dispatch(now, index, fx);
    }

    fn on_ack(&mut self, now: Now, id: u64, acked: bool, fx: &mut Effects) {
        let index = self.table.entry(id);
        self.table.version_mut(index).acked = acked;
        if acked {
            self.adopt_all_of(now, id, fx);
        } else {
            self.table.release(index);
        }
    }

    fn adopt_all_of(&mut self, now: Now, id: u64, fx: &mut Effects) {
        for adopted in self.table.adopt_all_of(id) {
            self.on_adopted(now, adopted, fx);
        }
    }

    fn on_adopted(&mut self, now: Now, adopted: Adopted, fx: &mut Effects) {
        let former = adopted.former.and_then(|id| self.table.index_of(id));
        let current = self.table.index_of(adopted.version);
        fx.note(Note::Serving {
            project: adopted.project,
            version: adopted.version,
            epoch: adopted.epoch,
        });
        if let (Some(former), Some(current)) = (former, current)
            && former != current
        {
            if !self.table.version(former).waiting.is_empty() {
                fx.mark("a held request moved over a cutover");
                self.place_waiting_anew(now, former, current, fx);
            }
            self.table.release(former);
        }
    }

    fn on_lease(&mut self, now: Now, lease: LeaseRecord, fx: &mut Effects) {
        let Some(holder) = lease.holder else {
            return;
        };
        let Ok(index) = u16::try_from(holder.index) else {
            return;
        };
        let scheduler = Address::new(NodeId(holder.node), Role::Scheduler, index);
        if self.scheduler == Some(scheduler) {
            return;
        }
        self.scheduler = Some(scheduler);
        let indices: Vec<_> = self.table.indices().collect();
        for index in indices {
            self.table.version_mut(index).wake_sent = None;
            self.wake_if_due(now, index, fx);
        }
        self.report_at = now.mono;
    }
}
