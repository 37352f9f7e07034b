//! One region's partition store as sync sees it.
//!
//! Heartbeats are most of what arrives here; they cost a lookup and touch nothing. Only what
//! may change the projection, a deploy's step or somebody's liveness is reported.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Change, Duration, Mirror, Now, Time};
use tidegate_protocol::{
    Address, Digest, GatewayRecord, Holder, Key, NodeId, Record, Role, RouteRecord, SlotRecord,
    SlotState, VersionSpec,
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct RegionView {
    pub(crate) versions: BTreeMap<u64, VersionSpec>,
    pub(crate) slots: BTreeMap<(u64, u32), SlotRecord>,
    pub(crate) routes: BTreeMap<String, RouteRecord>,
    pub(crate) peers: BTreeMap<(String, NodeId), GatewayRecord>,
    pub(crate) gateways: BTreeMap<NodeId, Gateway>,
    acks: BTreeMap<(u64, NodeId), Option<Digest>>,
    host_names: BTreeMap<NodeId, String>,
    holder: Option<Holder>,
    versions_of: BTreeMap<String, BTreeSet<u64>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gateway {
    pub(crate) record: GatewayRecord,
    /// When its beat was last seen to change.
    heard: Time,
    pub(crate) live: bool,
}

/// What a change of a partition store may make necessary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    Nothing,
    /// Something that sync projects changed in the partition.
    Project(String),
    Version(u64),
    /// A slot of the version became free, or runs.
    Slot {
        version: u64,
        state: SlotState,
    },
    Ack(u64),
    /// A gateway came, went, or moved.
    Gateways,
    Peers,
}

impl RegionView {
    pub(crate) fn apply(&mut self, now: Now, change: Change) -> Touched {
        match (change.key, change.record) {
            (Key::Version(id), record) => {
                self.drop_version(id);
                if let Some(Record::Version(spec)) = record {
                    let ids = self.versions_of.entry(spec.project.clone()).or_default();
                    ids.insert(id);
                    self.versions.insert(id, spec);
                }
                Touched::Version(id)
            }
            (Key::Slot { version, index }, Some(Record::Slot(slot))) => {
                let state = slot.state();
                self.slots.insert((version, index), slot);
                Touched::Slot { version, state }
            }
            (Key::Slot { version, index }, _) => {
                self.slots.remove(&(version, index));
                Touched::Version(version)
            }
            (Key::Route(project), record) => {
                match record {
                    Some(Record::Route(route)) => self.routes.insert(project.clone(), route),
                    _ => self.routes.remove(&project),
                };
                Touched::Project(project)
            }
            (Key::Peer { region, node }, record) => {
                match record {
                    Some(Record::Peer(peer)) => self.peers.insert((region, node), peer),
                    _ => self.peers.remove(&(region, node)),
                };
                Touched::Peers
            }
            (Key::Gateway(node), Some(Record::Gateway(record))) => self.beat(now, node, record),
            (Key::Gateway(node), _) => {
                self.gateways.remove(&node);
                Touched::Gateways
            }
            (Key::Ack { node, version }, record) => {
                match record {
                    Some(Record::Ack(ack)) => {
                        let artifact = Digest::try_from(&ack.artifact).ok();
                        self.acks.insert((version, node), artifact)
                    }
                    _ => self.acks.remove(&(version, node)),
                };
                Touched::Ack(version)
            }
            (Key::Host(node), Some(Record::Host(host))) => {
                if self.host_names.get(&node) != Some(&host.name) {
                    self.host_names.insert(node, host.name);
                }
                Touched::Nothing
            }
            (Key::Host(node), _) => {
                self.host_names.remove(&node);
                Touched::Nothing
            }
            (Key::Lease, record) => {
                self.holder = match record {
                    Some(Record::Lease(lease)) => lease.holder,
                    _ => None,
                };
                Touched::Nothing
            }
            _ => Touched::Nothing,
        }
    }

    /// Marks gateways that were silent for too long; says whether there were any.
    pub(crate) fn find_silent(&mut self, now: Now, mirror: &Mirror, after: Duration) -> bool {
        let mut found = false;
        for gateway in self.gateways.values_mut().filter(|g| g.live) {
            if mirror.silence(now, gateway.heard) >= after {
                gateway.live = false;
                found = true;
            }
        }
        found
    }

    pub(crate) fn live_gateways(&self) -> impl Iterator<Item = (NodeId, &GatewayRecord)> {
        let live = self.gateways.iter().filter(|(_, g)| g.live);
        live.map(|(node, g)| (*node, &g.record))
    }

    /// Whether the edge of a node holds this artifact for the version.
    pub(crate) fn has_acked(&self, node: NodeId, spec: &VersionSpec) -> bool {
        let wanted = Digest::try_from(&spec.artifact).ok();
        wanted.is_some() && self.acks.get(&(spec.id, node)) == Some(&wanted)
    }

    pub(crate) fn slots_of(&self, version: u64) -> impl Iterator<Item = &SlotRecord> {
        let range = self.slots.range((version, 0)..=(version, u32::MAX));
        range.map(|(_, slot)| slot)
    }

    pub(crate) fn versions_of(&self, project: &str) -> impl Iterator<Item = u64> {
        self.versions_of.get(project).into_iter().flatten().copied()
    }

    pub(crate) fn projects(&self) -> impl Iterator<Item = &String> {
        self.versions_of.keys().chain(self.routes.keys())
    }

    pub(crate) fn host_name(&self, host: u32) -> &str {
        self.host_names
            .get(&NodeId(host))
            .map_or("", String::as_str)
    }

    /// The scheduler that holds the region's lease.
    pub(crate) fn scheduler(&self) -> Option<Address> {
        let holder = self.holder.as_ref()?;
        let index = u16::try_from(holder.index).ok()?;
        Some(Address::new(NodeId(holder.node), Role::Scheduler, index))
    }

    fn beat(&mut self, now: Now, node: NodeId, record: GatewayRecord) -> Touched {
        let Some(known) = self.gateways.get_mut(&node) else {
            let gateway = Gateway {
                record,
                heard: now.mono,
                live: true,
            };
            self.gateways.insert(node, gateway);
            return Touched::Gateways;
        };
        let beat = known.record.beat != record.beat;
        let returned = beat && !known.live;
        let moved = (&known.record.name, &known.record.hop_endpoint)
            != (&record.name, &record.hop_endpoint);
        known.record = record;
        if beat {
            known.heard = now.mono;
            known.live = true;
        }
        if returned || moved {
            Touched::Gateways
        } else {
            Touched::Nothing
        }
    }

    fn drop_version(&mut self, id: u64) {
        let Some(old) = self.versions.remove(&id) else {
            return;
        };
        if let Some(ids) = self.versions_of.get_mut(&old.project) {
            ids.remove(&id);
            if ids.is_empty() {
                self.versions_of.remove(&old.project);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::{AckRecord, HostRecord, LeaseRecord};

    fn change(key: &Key, record: Option<Record>) -> Change {
        Change {
            key: key.clone(),
            record,
            revision: 1,
        }
    }

    #[test]
    fn a_view_that_has_forgotten_everything_is_as_new() {
        let node = NodeId(3);
        let spec = VersionSpec {
            project: "hello".into(),
            ..VersionSpec::default()
        };
        let peer = Key::Peer {
            region: "mel".into(),
            node,
        };
        let lease = LeaseRecord {
            holder: Some(Holder { node: 3, index: 0 }),
            ..LeaseRecord::default()
        };
        let slot = Key::Slot {
            version: 1,
            index: 0,
        };
        let records = [
            (Key::Version(1), Record::Version(spec)),
            (slot, Record::Slot(SlotRecord::default())),
            (
                Key::Route("hello".into()),
                Record::Route(RouteRecord::default()),
            ),
            (peer, Record::Peer(GatewayRecord::default())),
            (
                Key::Gateway(node),
                Record::Gateway(GatewayRecord::default()),
            ),
            (
                Key::Ack { node, version: 1 },
                Record::Ack(AckRecord::default()),
            ),
            (Key::Host(node), Record::Host(HostRecord::default())),
            (Key::Lease, Record::Lease(lease)),
        ];
        let now = Now::at_ms(0);
        let mut view = RegionView::default();
        for (key, record) in &records {
            view.apply(now, change(key, Some(record.clone())));
        }
        assert_eq!(view.live_gateways().count(), 1);
        assert!(view.scheduler().is_some());
        for (key, _) in &records {
            view.apply(now, change(key, None));
        }
        let new = format!("{:?}", RegionView::default());
        assert_eq!(format!("{view:?}"), new);
    }

    #[test]
    fn a_gateway_is_news_when_it_comes_moves_returns_or_goes() {
        let node = NodeId(3);
        let mut view = RegionView::default();
        let record = |beat, endpoint: &str| {
            Some(Record::Gateway(GatewayRecord {
                beat,
                hop_endpoint: endpoint.into(),
                ..GatewayRecord::default()
            }))
        };
        let apply = |view: &mut RegionView, record| {
            view.apply(Now::at_ms(0), change(&Key::Gateway(node), record))
        };
        assert_eq!(apply(&mut view, record(1, "a")), Touched::Gateways);
        assert_eq!(apply(&mut view, record(2, "a")), Touched::Nothing);
        assert_eq!(apply(&mut view, record(2, "b")), Touched::Gateways);
        for gateway in view.gateways.values_mut() {
            gateway.live = false;
        }
        assert_eq!(apply(&mut view, record(2, "b")), Touched::Nothing);
        assert_eq!(apply(&mut view, record(3, "b")), Touched::Gateways);
        assert_eq!(apply(&mut view, None), Touched::Gateways);
    }
}
