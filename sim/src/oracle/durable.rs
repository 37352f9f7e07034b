//! Guarantee 4: an acknowledged write survives every crash that was promised to be
//! survivable.
//!
//! Three views: no store tells a committer of a revision that its engine does not durably
//! hold; control tells nobody of a version or an epoch that the main store does not; and
//! what the operator was told of stays there, until the operator asks for its end.

use tidegate_protocol::{ApiReply, Key, Record};

use super::Findings;
use crate::ledger::StoreView;

/// What the operator was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acknowledged {
    Created { project: String, version: u64 },
    Activated { project: String, epoch: u64 },
}

#[derive(Debug, Default)]
pub struct Durable {
    acknowledged: Vec<Acknowledged>,
    /// Projects whose removal was asked for.
    ended: Vec<String>,
    pub checks: u64,
}

impl Durable {
    /// A store answers a committer.
    pub fn answered(&mut self, store: &str, told: u64, durable: u64, findings: &mut Findings) {
        self.checks += 1;
        if told > durable {
            findings.violated(
                4,
                format!("{store} acknowledged revision {told}, but only {durable} is durable"),
            );
        }
    }

    /// Control answers somebody. Ids and epochs only grow, so whatever it names must not be
    /// above what is durable; what is gone by now was durable once.
    pub fn told(&mut self, reply: &ApiReply, main: &StoreView, findings: &mut Findings) {
        self.checks += 1;
        let last = match main.get(&Key::Counters) {
            Some(Record::Counters(counters)) => counters.last_version,
            _ => 0,
        };
        let mut specs = reply.versions.iter().filter_map(|v| v.spec.as_ref());
        if let Some(spec) = specs.find(|spec| spec.id > last) {
            findings.violated(
                4,
                format!(
                    "control told of version {}, but only {last} are durable",
                    spec.id
                ),
            );
        }
        for told in &reply.projects {
            let durable = main.project(&told.name).map(|p| p.epoch);
            if durable.is_some_and(|durable| told.epoch > durable) {
                findings.violated(
                    4,
                    format!(
                        "control told of epoch {} of {}, but only {durable:?} is durable",
                        told.epoch, told.name
                    ),
                );
            }
        }
    }

    pub fn acknowledge(&mut self, fact: Acknowledged) {
        self.acknowledged.push(fact);
    }

    pub fn end(&mut self, project: &str) {
        self.ended.push(project.to_owned());
    }

    /// Compares what was acknowledged with what the main store holds.
    pub fn check(&mut self, main: &StoreView, findings: &mut Findings) {
        let ended = &self.ended;
        let mut lost = Vec::new();
        self.checks += self.acknowledged.len() as u64;
        self.acknowledged.retain(|fact| {
            let (project, kept) = match fact {
                Acknowledged::Created { project, version } => {
                    let deploy = main.get(&Key::Deploy(*version)).is_some();
                    let spec = main.version(*version);
                    (
                        project,
                        deploy && spec.is_some_and(|s| s.project == *project),
                    )
                }
                Acknowledged::Activated { project, epoch } => {
                    let kept = main.project(project).is_some_and(|p| p.epoch >= *epoch);
                    (project, kept)
                }
            };
            if !kept && !ended.contains(project) {
                lost.push(format!("{fact:?} was acknowledged and is lost"));
            }
            kept
        });
        for text in lost {
            findings.violated(4, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::{CountersRecord, FeedEntry, ProjectRecord, VersionSpec, VersionStatus};

    use super::*;
    use crate::ledger::Ledger;

    #[test]
    fn an_answer_before_its_write_is_found() {
        let (mut oracle, mut findings) = (Durable::default(), Findings::default());
        oracle.answered("main", 4, 4, &mut findings);
        assert_eq!(findings.count(4), 0);
        oracle.answered("main", 5, 4, &mut findings);
        assert_eq!(findings.count(4), 1);
    }

    #[test]
    fn control_that_tells_too_early_is_found() {
        let mut ledger = Ledger::new(1, &[]);
        let counters = CountersRecord {
            last_version: 3,
            ..CountersRecord::default()
        };
        let shop = |epoch| ProjectRecord {
            name: "shop".into(),
            epoch,
            ..ProjectRecord::default()
        };
        for (key, record) in [
            (Key::Counters, Record::Counters(counters)),
            (Key::Project("shop".into()), Record::Project(shop(2))),
        ] {
            let entry = FeedEntry {
                key: key.to_string(),
                value: Some(record.encode()),
                revision: 1,
            };
            ledger.apply(0, &[entry]);
        }
        for (id, epoch, expected) in [(3, 2, 0), (4, 2, 1), (3, 3, 1)] {
            let spec = VersionSpec {
                id,
                ..VersionSpec::default()
            };
            let version = VersionStatus {
                spec: Some(spec),
                ..VersionStatus::default()
            };
            let reply = ApiReply {
                versions: vec![version],
                projects: vec![shop(epoch)],
                ..ApiReply::default()
            };
            let (mut oracle, mut findings) = (Durable::default(), Findings::default());
            oracle.told(&reply, ledger.main(), &mut findings);
            assert_eq!(findings.count(4), expected);
        }
    }

    #[test]
    fn a_lost_version_is_found_once_unless_its_project_was_removed() {
        for (removed, expected) in [(false, 1), (true, 0)] {
            let (mut oracle, mut findings) = (Durable::default(), Findings::default());
            oracle.acknowledge(Acknowledged::Created {
                project: "shop".into(),
                version: 9,
            });
            if removed {
                oracle.end("shop");
            }
            oracle.check(&StoreView::default(), &mut findings);
            oracle.check(&StoreView::default(), &mut findings);
            assert_eq!(findings.count(4), expected);
        }
    }
}
