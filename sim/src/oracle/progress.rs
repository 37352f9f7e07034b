//! Guarantee 12: after the faults every deploy reaches a final state, every operation of the
//! operator is answered, and every region serves.

use tidegate_protocol::{DeployStep, Record};

use super::{End, Findings};
use crate::ledger::StoreView;

#[derive(Debug, Default)]
pub struct Progress {
    pub checks: u64,
    /// Requests by region since the world had to be well.
    regions: Vec<Region>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Region {
    /// Sent early enough to have ended by the end of the run.
    asked: u64,
    served: u64,
    others: u64,
}

impl Progress {
    /// A request of an app without faults of its own ended after the bound.
    #[inline]
    pub fn ended(&mut self, region: usize, end: End) {
        match end {
            End::Served => self.region(region).served += 1,
            End::Refused(_) | End::Failed(_) => self.region(region).others += 1,
        }
    }

    /// A request of such an app was sent after the bound.
    #[inline]
    pub fn asked(&mut self, region: usize) {
        self.region(region).asked += 1;
    }

    /// The client of such a request went away before there was an answer.
    pub fn left(&mut self, region: usize) {
        let asked = &mut self.region(region).asked;
        *asked = asked.saturating_sub(1);
    }

    #[inline]
    fn region(&mut self, region: usize) -> &mut Region {
        if self.regions.len() <= region {
            self.regions.resize(region + 1, Region::default());
        }
        &mut self.regions[region]
    }

    /// Judged once the bound has passed: is every deploy final?
    pub fn check_deploys(&mut self, main: &StoreView, findings: &mut Findings) {
        for (key, record) in main.iter() {
            let Record::Deploy(deploy) = record else {
                continue;
            };
            self.checks += 1;
            let step = deploy.step();
            if matches!(
                step,
                DeployStep::Distribute | DeployStep::Prove | DeployStep::Unspecified
            ) {
                findings.violated(
                    12,
                    format!(
                        "{key} of {} is still in step {}",
                        deploy.project,
                        step.as_str_name()
                    ),
                );
            }
        }
    }

    /// The deploy of an app without faults of its own ended as failed. Every fault of a
    /// scenario is shorter than the patience of a deploy, or not waited for by it.
    pub fn failed(&mut self, project: &str, reason: &str, findings: &mut Findings) {
        self.checks += 1;
        findings.violated(
            12,
            format!("the deploy of {project} failed ({reason}), but nothing is wrong with it"),
        );
    }

    /// An operation that the operator still waits for.
    pub fn unanswered(&mut self, what: &str, findings: &mut Findings) {
        self.checks += 1;
        findings.violated(12, format!("the operator still waits for: {what}"));
    }

    /// Judged at the end: did every region serve everything since the bound?
    pub fn check_regions(&mut self, names: &[String], findings: &mut Findings) {
        for (name, region) in names.iter().zip(&self.regions) {
            self.checks += 1;
            let Region {
                asked,
                served,
                others,
            } = region;
            if *others > 0 || *served == 0 && *asked > 0 {
                findings.violated(
                    12,
                    format!(
                        "region {name} was asked {asked} times after the faults: served {served}, \
                         not served {others}"
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use tidegate_protocol::{DeployRecord, FeedEntry, Key};

    #[test]
    fn an_unfinished_deploy_is_found() {
        for (step, expected) in [
            (DeployStep::Live, 0),
            (DeployStep::Failed, 0),
            (DeployStep::Prove, 1),
        ] {
            let mut ledger = Ledger::new(1, &[]);
            let record = Record::Deploy(DeployRecord {
                version: 1,
                step: step.into(),
                ..DeployRecord::default()
            });
            ledger.apply(
                0,
                &[FeedEntry {
                    key: Key::Deploy(1).to_string(),
                    value: Some(record.encode()),
                    revision: 1,
                }],
            );
            let (mut oracle, mut findings) = (Progress::default(), Findings::default());
            oracle.check_deploys(ledger.main(), &mut findings);
            assert_eq!(findings.count(12), expected, "{step:?}");
        }
    }

    #[test]
    fn a_region_that_does_not_serve_is_found() {
        let (mut oracle, mut findings) = (Progress::default(), Findings::default());
        for _ in 0..100 {
            oracle.ended(0, End::Served);
            oracle.ended(1, End::Served);
        }
        oracle.ended(1, End::Refused("no capacity"));
        oracle.asked(2);
        let names = ["syd", "mel", "per"].map(String::from);
        oracle.check_regions(&names, &mut findings);
        assert_eq!(findings.count(12), 2);
        assert!(findings.kept()[0].text.contains("mel"));
        assert!(findings.kept()[1].text.contains("per"));
        oracle.unanswered("deploy of shop", &mut findings);
        oracle.failed("shop", "no edge could be reached", &mut findings);
        assert_eq!(findings.count(12), 4);
    }
}
