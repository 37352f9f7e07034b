//! The main store as control sees it: records by name, and the indexes that its answers
//! need. Fed by the mirror and by nothing else; it decides nothing. Each change costs a
//! logarithm of the number of records.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_kernel::Change;
use tidegate_protocol::{
    CountersRecord, DeployRecord, Key, ProjectRecord, Record, RegionRecord, VersionSpec,
    VersionStatus,
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct View {
    pub(crate) projects: BTreeMap<String, ProjectRecord>,
    pub(crate) versions: BTreeMap<u64, VersionSpec>,
    pub(crate) deploys: BTreeMap<u64, DeployRecord>,
    pub(crate) regions: BTreeMap<String, RegionRecord>,
    pub(crate) counters: CountersRecord,
    /// Version ids of a project by number.
    numbers: BTreeMap<String, BTreeMap<u32, u64>>,
    /// Which project has a host name.
    hosts: BTreeMap<String, String>,
    /// Version that a project's idempotency key made.
    keys: BTreeMap<(String, String), u64>,
}

impl View {
    pub(crate) fn apply(&mut self, change: Change) {
        match (change.key, change.record) {
            (Key::Project(name), Some(Record::Project(record))) => self.put_project(name, record),
            (Key::Project(name), _) => self.drop_project(&name),
            (Key::Version(id), Some(Record::Version(spec))) => {
                self.drop_version(id);
                self.numbers
                    .entry(spec.project.clone())
                    .or_default()
                    .insert(spec.number, id);
                self.versions.insert(id, spec);
            }
            (Key::Version(id), _) => self.drop_version(id),
            (Key::Deploy(id), Some(Record::Deploy(deploy))) => {
                self.drop_deploy(id);
                if !deploy.idempotency_key.is_empty() {
                    let key = (deploy.project.clone(), deploy.idempotency_key.clone());
                    self.keys.insert(key, id);
                }
                self.deploys.insert(id, deploy);
            }
            (Key::Deploy(id), _) => self.drop_deploy(id),
            (Key::Region(name), Some(Record::Region(record))) => {
                self.regions.insert(name, record);
            }
            (Key::Region(name), _) => {
                self.regions.remove(&name);
            }
            (Key::Counters, Some(Record::Counters(record))) => self.counters = record,
            (Key::Counters, _) => self.counters = CountersRecord::default(),
            _ => {}
        }
    }

    /// The project that has a host name.
    pub(crate) fn owner_of_host(&self, host: &str) -> Option<&str> {
        self.hosts.get(host).map(String::as_str)
    }

    /// The version that an earlier request with this key made.
    pub(crate) fn made_by_key(&self, project: &str, key: &str) -> Option<u64> {
        if key.is_empty() {
            return None;
        }
        let id = *self.keys.get(&(project.to_owned(), key.to_owned()))?;
        self.versions.contains_key(&id).then_some(id)
    }

    /// Version ids of a project, by number.
    pub(crate) fn numbers_of(&self, project: &str) -> impl DoubleEndedIterator<Item = (u32, u64)> {
        let numbers = self.numbers.get(project);
        numbers.into_iter().flatten().map(|(n, id)| (*n, *id))
    }

    pub(crate) fn id_of(&self, project: &str, number: u32) -> Option<u64> {
        self.numbers.get(project)?.get(&number).copied()
    }

    /// Highest version id that is known to have been given.
    pub(crate) fn last_version(&self) -> u64 {
        let stored = self.versions.last_key_value().map_or(0, |(id, _)| *id);
        self.counters.last_version.max(stored)
    }

    /// What people are told of a version. Values of variables stay inside the platform.
    pub(crate) fn status(&self, id: u64) -> Option<VersionStatus> {
        let spec = self.versions.get(&id)?;
        let project = self.projects.get(&spec.project);
        Some(VersionStatus {
            spec: Some(redacted(spec)),
            deploy: self.deploys.get(&id).cloned(),
            active: project.is_some_and(|p| p.active == id),
        })
    }

    fn put_project(&mut self, name: String, record: ProjectRecord) {
        self.drop_project(&name);
        for host in &record.hosts {
            self.hosts.insert(host.clone(), name.clone());
        }
        self.projects.insert(name, record);
    }

    fn drop_project(&mut self, name: &str) {
        let Some(old) = self.projects.remove(name) else {
            return;
        };
        for host in old.hosts {
            if self.hosts.get(&host).is_some_and(|owner| owner == name) {
                self.hosts.remove(&host);
            }
        }
    }

    fn drop_version(&mut self, id: u64) {
        let Some(old) = self.versions.remove(&id) else {
            return;
        };
        if let Some(numbers) = self.numbers.get_mut(&old.project) {
            numbers.remove(&old.number);
            if numbers.is_empty() {
                self.numbers.remove(&old.project);
            }
        }
    }

    fn drop_deploy(&mut self, id: u64) {
        let Some(old) = self.deploys.remove(&id) else {
            return;
        };
        let key = (old.project, old.idempotency_key);
        if self.keys.get(&key) == Some(&id) {
            self.keys.remove(&key);
        }
    }
}

/// The spec without the values of its variables.
pub(crate) fn redacted(spec: &VersionSpec) -> VersionSpec {
    let mut spec = spec.clone();
    for variable in &mut spec.env {
        variable.value.clear();
    }
    spec
}
