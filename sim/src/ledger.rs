//! What the stores durably hold, decoded: the truth that oracles compare with.
//!
//! Fed by each commit when it becomes durable, so it costs one decode a write and never a
//! scan.

use std::collections::BTreeMap;

use indexmap::{IndexMap, IndexSet};
use rustc_hash::FxBuildHasher;
use tidegate_protocol::{Digest, FeedEntry, Key, ProjectRecord, Record, VersionSpec};

/// One store's content.
#[derive(Clone, Debug, Default)]
pub struct StoreView {
    records: BTreeMap<Key, Record>,
    pub revision: u64,
}

/// One durable write.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    pub key: Key,
    pub before: Option<Record>,
    pub after: Option<Record>,
    /// The same for all writes of one commit.
    pub revision: u64,
}

/// What host names resolved to, ever: (app, version) pairs of whole epochs.
#[derive(Debug, Default)]
pub struct Ledger {
    /// 0 is the main store, then each region's partition.
    pub stores: Vec<StoreView>,
    epochs: IndexSet<(u32, u64), FxBuildHasher>,
    /// Version that each epoch of an app names.
    named: IndexMap<(u32, u64), u64, FxBuildHasher>,
    /// Artifact of every version that ever was.
    artifacts: IndexMap<u64, Digest, FxBuildHasher>,
    hosts: BTreeMap<String, u32>,
}

impl StoreView {
    pub fn get(&self, key: &Key) -> Option<&Record> {
        self.records.get(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Record)> {
        self.records.iter()
    }

    pub fn version(&self, id: u64) -> Option<&VersionSpec> {
        match self.get(&Key::Version(id)) {
            Some(Record::Version(spec)) => Some(spec),
            _ => None,
        }
    }

    pub fn project(&self, name: &str) -> Option<&ProjectRecord> {
        match self.get(&Key::Project(name.to_owned())) {
            Some(Record::Project(project)) => Some(project),
            _ => None,
        }
    }

    pub fn projects(&self) -> impl Iterator<Item = &ProjectRecord> {
        self.records
            .range(Key::Project(String::new())..Key::Version(0))
            .filter_map(|(_, record)| match record {
                Record::Project(project) => Some(project),
                _ => None,
            })
    }

    /// Takes one entry of a commit; an entry that does not decode counts as absent.
    fn apply(&mut self, entry: &FeedEntry) -> Option<Written> {
        self.revision = self.revision.max(entry.revision);
        let key = Key::parse(&entry.key).ok()?;
        let after = entry
            .value
            .as_ref()
            .and_then(|value| Record::parse(&key, value).ok());
        let before = match &after {
            Some(record) => self.records.insert(key.clone(), record.clone()),
            None => self.records.remove(&key),
        };
        Some(Written {
            key,
            before,
            after,
            revision: entry.revision,
        })
    }
}

impl Ledger {
    /// A ledger of one main store and so many partitions; `hosts[i]` is the name of app `i`.
    pub fn new(regions: usize, hosts: &[String]) -> Self {
        Self {
            stores: vec![StoreView::default(); regions + 1],
            epochs: IndexSet::default(),
            named: IndexMap::default(),
            artifacts: IndexMap::default(),
            hosts: hosts.iter().cloned().zip(0..).collect(),
        }
    }

    pub fn main(&self) -> &StoreView {
        &self.stores[0]
    }

    pub fn region(&self, region: usize) -> &StoreView {
        &self.stores[region + 1]
    }

    /// Takes what one batch wrote durably.
    pub fn apply(&mut self, store: usize, changes: &[FeedEntry]) -> Vec<Written> {
        let written: Vec<Written> = changes
            .iter()
            .filter_map(|entry| self.stores[store].apply(entry))
            .collect();
        for write in &written {
            if let Some(Record::Version(spec)) = &write.after
                && let Ok(artifact) = Digest::try_from(&spec.artifact)
            {
                self.artifacts.insert(spec.id, artifact);
            }
            if let Some(Record::Project(project)) = &write.after
                && store == 0
            {
                self.learn_epoch(project);
            }
        }
        written
    }

    fn learn_epoch(&mut self, project: &ProjectRecord) {
        for host in &project.hosts {
            if let Some(app) = self.hosts.get(host)
                && project.active != 0
            {
                self.epochs.insert((*app, project.active));
                self.named.insert((*app, project.epoch), project.active);
            }
        }
    }

    /// The artifact of a version, also of one that is gone: a gateway that has not heard of
    /// it may still route to it.
    pub fn artifact(&self, version: u64) -> Option<Digest> {
        self.artifacts.get(&version).copied()
    }

    /// The version that an epoch of an app names, once the main store holds it.
    pub fn named(&self, app: u32, epoch: u64) -> Option<u64> {
        self.named.get(&(app, epoch)).copied()
    }

    /// Whether the app's host name resolved to the version in some whole epoch.
    #[inline]
    pub fn resolved(&self, app: u32, version: u64) -> bool {
        self.epochs.contains(&(app, version))
    }
}
