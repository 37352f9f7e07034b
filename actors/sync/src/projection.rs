//! What a partition store should hold: a pure function of the main view.
//!
//! `projection of region R = f(main view)`, and what sync commits is the difference between
//! that and what R's mirror shows. The function is computed for a scope (some projects, some
//! versions, or everything), so that a change costs what it touches.
//!
//! The order inside a difference is the order of its commits: a version is there before a
//! route names it, and a route has left before its version is deleted. A version leaves
//! before its slots, which makes the scheduler stop what runs of it; slots are deleted only
//! while FREE. A version that has left is never wanted again (its number can be reached by
//! no activation), so its slots never begin again at epoch 0.
//!
//! It must never lower a route's epoch and never write a slot that exists.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_protocol::{
    AppKind, DeployStep, GatewayRecord, Key, NodeId, Record, RouteRecord, SlotRecord, SlotState,
    VersionSpec, limits,
};

use crate::batch::Batch;
use crate::main_view::MainView;
use crate::region_view::RegionView;

/// Which part of a partition is compared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    pub(crate) everything: bool,
    pub(crate) projects: BTreeSet<String>,
    pub(crate) versions: BTreeSet<u64>,
    pub(crate) peers: bool,
}

impl Scope {
    pub(crate) fn everything() -> Self {
        Self {
            everything: true,
            peers: true,
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The gateways of a region whose mirror is loaded, as other regions should know them.
pub(crate) type LiveGateways = BTreeMap<String, BTreeMap<NodeId, GatewayRecord>>;

/// Versions of a project that every partition holds: the active one, those on their way, and
/// the newest that arrived.
pub(crate) fn wanted_versions(main: &MainView, project: &str) -> BTreeSet<u64> {
    let Some(record) = main.projects.get(project).filter(|p| !p.removed) else {
        return BTreeSet::new();
    };
    let mut arrived = 0;
    let newest_first = main.numbers_of(project).rev();
    let wanted = newest_first.filter(|(_, id)| {
        let kept = match main.step_of(*id) {
            DeployStep::Distribute | DeployStep::Prove => true,
            DeployStep::Live | DeployStep::Ready => {
                arrived += 1;
                arrived <= limits::VERSIONS_KEPT
            }
            _ => false,
        };
        kept || *id == record.active
    });
    wanted.map(|(_, id)| id).collect()
}

pub(crate) fn wanted_route(main: &MainView, project: &str) -> Option<RouteRecord> {
    let record = main.projects.get(project)?;
    (!record.removed && record.active != 0).then(|| RouteRecord {
        project: record.name.clone(),
        version: record.active,
        epoch: record.epoch,
        hosts: record.hosts.clone(),
    })
}

/// Whether instances of a version may run in a region.
pub(crate) fn may_run_in(spec: &VersionSpec, region: &str) -> bool {
    spec.kind() == AppKind::Program
        && (spec.regions.is_empty() || spec.regions.iter().any(|r| r == region))
}

/// Slots that a version has in a region.
pub(crate) fn slots_in(spec: &VersionSpec, region: &str) -> u32 {
    if may_run_in(spec, region) {
        spec.instances_max.min(limits::INSTANCES_MAX)
    } else {
        0
    }
}

/// Whether the region holds the version and all of its slots.
pub(crate) fn is_projected(view: &RegionView, region: &str, spec: &VersionSpec) -> bool {
    let slots = slots_in(spec, region);
    view.versions.contains_key(&spec.id)
        && (0..slots).all(|index| view.slots.contains_key(&(spec.id, index)))
}

/// A partition to compare with the main view.
pub(crate) struct Partition<'a> {
    pub(crate) main: &'a MainView,
    pub(crate) region: &'a str,
    pub(crate) view: &'a RegionView,
}

impl Partition<'_> {
    /// Adds to the batch what is different within the scope.
    pub(crate) fn difference(&self, scope: &Scope, gateways: &LiveGateways, batch: &mut Batch<'_>) {
        let projects = self.projects_of(scope);
        let wanted: BTreeMap<&str, BTreeSet<u64>> = projects
            .iter()
            .map(|p| (*p, wanted_versions(self.main, p)))
            .collect();
        for ids in wanted.values() {
            self.create_versions(ids, batch);
        }
        self.routes(&projects, batch);
        let unwanted = self.unwanted(scope, &wanted);
        for id in &unwanted {
            if self.view.versions.contains_key(id) && !batch.delete(Key::Version(*id)) {
                return;
            }
        }
        for id in &unwanted {
            self.delete_slots(*id, batch);
        }
        if scope.peers {
            self.peers(gateways, batch);
        }
    }

    fn projects_of<'b>(&'b self, scope: &'b Scope) -> BTreeSet<&'b str> {
        let mut projects: BTreeSet<&str> = scope.projects.iter().map(String::as_str).collect();
        if scope.everything {
            projects.extend(self.main.projects.keys().map(String::as_str));
            projects.extend(self.view.projects().map(String::as_str));
        }
        let owners = scope.versions.iter().filter_map(|id| self.project_of(*id));
        projects.extend(owners);
        projects
    }

    fn project_of(&self, id: u64) -> Option<&str> {
        let spec = self
            .main
            .versions
            .get(&id)
            .or_else(|| self.view.versions.get(&id))?;
        Some(&spec.project)
    }

    fn create_versions(&self, wanted: &BTreeSet<u64>, batch: &mut Batch<'_>) {
        for spec in wanted.iter().filter_map(|id| self.main.versions.get(id)) {
            let mut writes = Vec::new();
            if self.view.versions.get(&spec.id) != Some(spec) {
                let record = Record::Version(spec.clone());
                writes.push((Key::Version(spec.id), Some(record)));
            }
            for index in 0..slots_in(spec, self.region) {
                if !self.view.slots.contains_key(&(spec.id, index)) {
                    writes.push(free_slot(spec.id, index));
                }
            }
            if !writes.is_empty() && !batch.add(writes) {
                return;
            }
        }
    }

    /// Those that end, and those that change, before those that begin: a host name goes from
    /// one project to another without being two projects' at once.
    fn routes(&self, projects: &BTreeSet<&str>, batch: &mut Batch<'_>) {
        let mut beginning = Vec::new();
        for project in projects {
            match (
                self.view.routes.get(*project),
                wanted_route(self.main, project),
            ) {
                (Some(_), None) => {
                    batch.delete(Key::Route((*project).to_owned()));
                }
                (Some(there), Some(wanted)) => {
                    if there.epoch <= wanted.epoch && *there != wanted {
                        batch.put(Key::Route(wanted.project.clone()), Record::Route(wanted));
                    }
                }
                (None, Some(wanted)) => beginning.push(wanted),
                (None, None) => {}
            }
        }
        for wanted in beginning {
            batch.put(Key::Route(wanted.project.clone()), Record::Route(wanted));
        }
    }

    /// Versions in scope of which the partition should hold nothing.
    fn unwanted(&self, scope: &Scope, wanted: &BTreeMap<&str, BTreeSet<u64>>) -> BTreeSet<u64> {
        let mut ids = scope.versions.clone();
        for project in wanted.keys() {
            ids.extend(self.main.numbers_of(project).map(|(_, id)| id));
            ids.extend(self.view.versions_of(project));
        }
        if scope.everything {
            ids.extend(self.view.slots.keys().map(|(id, _)| *id));
        }
        let is_wanted = |id: &u64| {
            let project = self.project_of(*id);
            project.is_some_and(|p| wanted.get(p).is_some_and(|ids| ids.contains(id)))
        };
        ids.retain(|id| !is_wanted(id));
        ids
    }

    fn delete_slots(&self, version: u64, batch: &mut Batch<'_>) {
        for slot in self.view.slots_of(version) {
            if slot.state() == SlotState::Free {
                let key = Key::Slot {
                    version,
                    index: slot.index,
                };
                if !batch.delete(key) {
                    return;
                }
            }
        }
    }

    fn peers(&self, gateways: &LiveGateways, batch: &mut Batch<'_>) {
        for (region, node) in self.view.peers.keys() {
            let known = region != self.region && self.main.regions.contains_key(region);
            // A region that was not seen in this life may have any gateways.
            let alive = gateways
                .get(region)
                .is_none_or(|live| live.contains_key(node));
            if !(known && alive) {
                batch.delete(Key::Peer {
                    region: region.clone(),
                    node: *node,
                });
            }
        }
        let others = gateways.iter().filter(|(region, _)| *region != self.region);
        for (region, live) in others {
            for (node, gateway) in live {
                let there = self.view.peers.get(&(region.clone(), *node));
                if there != Some(gateway) {
                    let key = Key::Peer {
                        region: region.clone(),
                        node: *node,
                    };
                    batch.put(key, Record::Peer(gateway.clone()));
                }
            }
        }
    }
}

fn free_slot(version: u64, index: u32) -> (Key, Option<Record>) {
    let record = SlotRecord {
        version,
        index,
        state: SlotState::Free.into(),
        ..SlotRecord::default()
    };
    (Key::Slot { version, index }, Some(Record::Slot(record)))
}
