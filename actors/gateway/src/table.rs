//! Host names, routes and versions as one gateway actor serves them.
//!
//! Decides which epoch of each project this gateway serves. A route is adopted when its
//! version is complete here (record and verified artifact) and its epoch is newer than the
//! one served; until then the last whole epoch goes on. It never goes back, and all host
//! names of a project change together.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};
use tidegate_protocol::RouteRecord;

use crate::version::{Version, VersionIndex};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Constant-time lookup; never iterated.
    hosts: IndexMap<Box<str>, Resolved, FxBuildHasher>,
    /// Newest route of each project in the store.
    targets: BTreeMap<String, RouteRecord>,
    served: BTreeMap<String, RouteRecord>,
    versions: Vec<Version>,
    by_id: BTreeMap<u64, VersionIndex>,
    free: Vec<VersionIndex>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Resolved {
    Version(VersionIndex),
    /// Routed, but no epoch of it is whole here yet.
    OnItsWay,
}

/// A project that this gateway now routes differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Adopted {
    pub(crate) project: String,
    pub(crate) version: u64,
    pub(crate) epoch: u64,
    /// Version served before, if any.
    pub(crate) former: Option<u64>,
}

impl Table {
    #[inline]
    pub(crate) fn resolve(&self, host: &str) -> Option<Resolved> {
        self.hosts.get(host).copied()
    }

    /// Version and epoch served for a project.
    pub(crate) fn serving(&self, project: &str) -> Option<(u64, u64)> {
        self.served.get(project).map(|r| (r.version, r.epoch))
    }

    pub(crate) fn version(&self, index: VersionIndex) -> &Version {
        &self.versions[index as usize]
    }

    pub(crate) fn version_mut(&mut self, index: VersionIndex) -> &mut Version {
        &mut self.versions[index as usize]
    }

    pub(crate) fn index_of(&self, id: u64) -> Option<VersionIndex> {
        self.by_id.get(&id).copied()
    }

    /// The version's entry, made when it is new.
    pub(crate) fn entry(&mut self, id: u64) -> VersionIndex {
        if let Some(index) = self.index_of(id) {
            return index;
        }
        let index = match self.free.pop() {
            Some(index) => {
                self.versions[index as usize] = Version::new(id);
                index
            }
            None => {
                self.versions.push(Version::new(id));
                (self.versions.len() - 1) as VersionIndex
            }
        };
        self.by_id.insert(id, index);
        index
    }

    /// Entries in the order of version ids.
    pub(crate) fn indices(&self) -> impl Iterator<Item = VersionIndex> + '_ {
        self.by_id.values().copied()
    }

    /// Drops an entry that nothing refers to.
    pub(crate) fn release(&mut self, index: VersionIndex) {
        let version = &self.versions[index as usize];
        let routed = |r: &RouteRecord| r.version == version.id;
        let current = self.by_id.get(&version.id) == Some(&index);
        if current && version.is_forgotten() && !self.served.values().any(routed) {
            self.by_id.remove(&version.id);
            self.free.push(index);
        }
    }

    /// Takes a route from the store. `None`: it was deleted.
    pub(crate) fn set_target(
        &mut self,
        project: &str,
        route: Option<RouteRecord>,
    ) -> Option<Adopted> {
        match route {
            Some(route) => {
                let former = self.targets.insert(project.to_owned(), route);
                if let Some(former) = former.filter(|_| !self.served.contains_key(project)) {
                    self.unroute(&former);
                }
                self.adopt(project)
            }
            None => {
                let target = self.targets.remove(project)?;
                let Some(served) = self.served.remove(project) else {
                    self.unroute(&target);
                    return None;
                };
                self.unroute(&served);
                if let Some(index) = self.index_of(served.version) {
                    self.release(index);
                }
                None
            }
        }
    }

    /// Adopts every target of this version that has become whole.
    pub(crate) fn adopt_all_of(&mut self, version: u64) -> Vec<Adopted> {
        let projects: Vec<String> = self
            .targets
            .values()
            .filter(|t| t.version == version)
            .map(|t| t.project.clone())
            .collect();
        projects.iter().filter_map(|p| self.adopt(p)).collect()
    }

    fn adopt(&mut self, project: &str) -> Option<Adopted> {
        let target = self.targets.get(project)?.clone();
        let served = self.served.get(project);
        if served.is_some_and(|s| s.epoch >= target.epoch) {
            return None;
        }
        let whole = self
            .index_of(target.version)
            .filter(|i| self.version(*i).acked && self.version(*i).spec.is_some());
        let Some(index) = whole else {
            if served.is_none() {
                self.announce(&target);
            }
            return None;
        };
        let former = self.served.insert(project.to_owned(), target.clone());
        if let Some(former) = &former {
            self.unroute(former);
        }
        for host in &target.hosts {
            self.hosts
                .insert(host.as_str().into(), Resolved::Version(index));
        }
        Some(Adopted {
            project: target.project,
            version: target.version,
            epoch: target.epoch,
            former: former.map(|f| f.version),
        })
    }

    /// Names of a project that is not here yet answer "on its way" instead of "unknown".
    fn announce(&mut self, target: &RouteRecord) {
        for host in &target.hosts {
            self.hosts
                .entry(host.as_str().into())
                .or_insert(Resolved::OnItsWay);
        }
    }

    fn unroute(&mut self, route: &RouteRecord) {
        for host in &route.hosts {
            self.hosts.swap_remove(host.as_str());
        }
    }
}
