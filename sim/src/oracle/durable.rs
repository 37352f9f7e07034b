//! Guarantee 4: an acknowledged write survives every crash that was promised to be
//! survivable.
//!
//! Two views: no store tells a committer of a revision that its engine does not durably
//! hold, and what the operator was told of is in the main store, until the operator asks
//! for its end.

use tidegate_protocol::Key;

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
                    (project, deploy && main.version(*version).is_some())
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
    use super::*;

    #[test]
    fn an_answer_before_its_write_is_found() {
        let (mut oracle, mut findings) = (Durable::default(), Findings::default());
        oracle.answered("main", 4, 4, &mut findings);
        assert_eq!(findings.count(4), 0);
        oracle.answered("main", 5, 4, &mut findings);
        assert_eq!(findings.count(4), 1);
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
