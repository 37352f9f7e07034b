//! The main store as sync sees it, with the indexes that the projection and the deploy steps
//! need. Fed by the mirror of the main store and by nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_kernel::Change;
use tidegate_protocol::{
    DeployRecord, DeployStep, Key, ProjectRecord, Record, RegionRecord, VersionSpec,
};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct MainView {
    pub(crate) projects: BTreeMap<String, ProjectRecord>,
    pub(crate) versions: BTreeMap<u64, VersionSpec>,
    pub(crate) deploys: BTreeMap<u64, DeployRecord>,
    pub(crate) regions: BTreeMap<String, RegionRecord>,
    /// Deploys that have not reached a final step.
    pub(crate) in_progress: BTreeSet<u64>,
    /// Projects that are being removed.
    pub(crate) removed: BTreeSet<String>,
    /// Version ids of a project by number.
    numbers: BTreeMap<String, BTreeMap<u32, u64>>,
}

/// What a change of the main store may make necessary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    Nothing,
    /// The project, and the deploys of its versions.
    Project(String),
    Region(String),
}

pub(crate) fn is_final(step: DeployStep) -> bool {
    !matches!(step, DeployStep::Distribute | DeployStep::Prove)
}

impl MainView {
    pub(crate) fn apply(&mut self, change: Change) -> Touched {
        match (change.key, change.record) {
            (Key::Project(name), Some(Record::Project(record))) => {
                if record.removed {
                    self.removed.insert(name.clone());
                } else {
                    self.removed.remove(&name);
                }
                self.projects.insert(name.clone(), record);
                Touched::Project(name)
            }
            (Key::Project(name), _) => {
                self.removed.remove(&name);
                self.projects.remove(&name);
                Touched::Project(name)
            }
            (Key::Version(id), Some(Record::Version(spec))) => {
                self.drop_version(id);
                let project = spec.project.clone();
                let numbers = self.numbers.entry(project.clone()).or_default();
                numbers.insert(spec.number, id);
                self.versions.insert(id, spec);
                Touched::Project(project)
            }
            (Key::Version(id), _) => self.drop_version(id),
            (Key::Deploy(id), Some(Record::Deploy(deploy))) => {
                if is_final(deploy.step()) {
                    self.in_progress.remove(&id);
                } else {
                    self.in_progress.insert(id);
                }
                let project = deploy.project.clone();
                self.deploys.insert(id, deploy);
                Touched::Project(project)
            }
            (Key::Deploy(id), _) => {
                self.in_progress.remove(&id);
                match self.deploys.remove(&id) {
                    Some(old) => Touched::Project(old.project),
                    None => Touched::Nothing,
                }
            }
            (Key::Region(name), Some(Record::Region(record))) => {
                self.regions.insert(name.clone(), record);
                Touched::Region(name)
            }
            (Key::Region(name), _) => {
                self.regions.remove(&name);
                Touched::Region(name)
            }
            _ => Touched::Nothing,
        }
    }

    /// Versions of a project by number.
    pub(crate) fn numbers_of(&self, project: &str) -> impl DoubleEndedIterator<Item = (u32, u64)> {
        let numbers = self.numbers.get(project);
        numbers.into_iter().flatten().map(|(n, id)| (*n, *id))
    }

    pub(crate) fn step_of(&self, id: u64) -> DeployStep {
        self.deploys
            .get(&id)
            .map_or(DeployStep::Unspecified, DeployRecord::step)
    }

    fn drop_version(&mut self, id: u64) -> Touched {
        let Some(old) = self.versions.remove(&id) else {
            return Touched::Nothing;
        };
        if let Some(numbers) = self.numbers.get_mut(&old.project) {
            numbers.remove(&old.number);
            if numbers.is_empty() {
                self.numbers.remove(&old.project);
            }
        }
        Touched::Project(old.project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_has_forgotten_everything_is_as_new() {
        let change = |key, record| Change {
            key,
            record,
            revision: 1,
        };
        let spec = VersionSpec {
            id: 1,
            project: "hello".into(),
            number: 1,
            ..VersionSpec::default()
        };
        let deploy = DeployRecord {
            version: 1,
            project: "hello".into(),
            step: DeployStep::Prove.into(),
            ..DeployRecord::default()
        };
        let project = ProjectRecord {
            name: "hello".into(),
            removed: true,
            ..ProjectRecord::default()
        };
        let records = [
            (Key::Version(1), Record::Version(spec)),
            (Key::Deploy(1), Record::Deploy(deploy)),
            (Key::Project("hello".into()), Record::Project(project)),
            (
                Key::Region("syd".into()),
                Record::Region(RegionRecord::default()),
            ),
        ];
        let mut view = MainView::default();
        for (key, record) in records.clone() {
            view.apply(change(key, Some(record)));
        }
        assert_eq!(view.in_progress.len() + view.removed.len(), 2);
        assert_eq!(view.numbers_of("hello").collect::<Vec<_>>(), [(1, 1)]);
        for (key, _) in records {
            view.apply(change(key, None));
        }
        let new = format!("{:?}", MainView::default());
        assert_eq!(format!("{view:?}"), new);
    }
}
