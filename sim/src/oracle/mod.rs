//! The guarantees of the design, each judged by one file.
//!
//! An oracle looks at the world: what the stores durably hold, which instances really run,
//! which requests really arrive where. Safety is judged all the time; liveness from the
//! moment at which the faults have ended and the stated bound has passed. What a client
//! could not learn (its request timed out) is unknown, and proves nothing.
//!
//! | file | guarantee | judged |
//! |---|---|---|
//! | `one_owner` | 1: one owner per slot and epoch, never more instances than allowed | always |
//! | `right_version` | 2: requests reach only what their host name resolved to | always |
//! | `verified` | 3: only verified artifacts are routed to | always |
//! | `durable` | 4: acknowledged writes survive | always |
//! | `tasks` | 5: deploys, removals and acks take effect once, and none is lost | always |
//! | `answered` | 10: every admitted request ends, once, in time | always |
//! | `overload` | 11: queues and retries are bounded, overload is refused early, goodput comes back | always; goodput after healing |
//! | `progress` | 12: deploys end, wakes end, every region serves | after healing |
//! | `converged` | 13: partitions equal the projection, gateways the newest epoch | after healing |
//! | `orphans` | 14: nothing is left without its owner | after healing |

pub mod answered;
pub mod converged;
pub mod durable;
pub mod one_owner;
pub mod orphans;
pub mod overload;
pub mod progress;
pub mod right_version;
pub mod tasks;
pub mod verified;

pub use answered::End;

use crate::clock::SimTime;

/// Violations that are kept with their text; more are only counted.
const KEPT_MAX: usize = 50;

/// One broken guarantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub at: SimTime,
    pub guarantee: u8,
    pub text: String,
}

/// What one oracle found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub guarantee: u8,
    pub name: &'static str,
    /// How often it looked.
    pub checks: u64,
    pub violations: u64,
}

/// Where oracles put what they find.
#[derive(Debug, Default)]
pub struct Findings {
    pub at: SimTime,
    kept: Vec<Violation>,
    counts: [u64; 16],
    total: u64,
}

impl Findings {
    pub fn violated(&mut self, guarantee: u8, text: String) {
        self.counts[usize::from(guarantee) & 15] += 1;
        self.total += 1;
        if self.kept.len() < KEPT_MAX {
            self.kept.push(Violation {
                at: self.at,
                guarantee,
                text,
            });
        }
    }

    pub fn kept(&self) -> &[Violation] {
        &self.kept
    }

    pub fn count(&self, guarantee: u8) -> u64 {
        self.counts[usize::from(guarantee) & 15]
    }

    #[inline]
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Oracles {
    pub findings: Findings,
    pub one_owner: one_owner::OneOwner,
    pub right_version: right_version::RightVersion,
    pub verified: verified::Verified,
    pub durable: durable::Durable,
    pub tasks: tasks::Tasks,
    pub answered: answered::Answered,
    pub overload: overload::Overload,
    pub progress: progress::Progress,
    pub converged: converged::Converged,
    pub orphans: orphans::Orphans,
}

impl Oracles {
    pub fn verdicts(&self) -> Vec<Verdict> {
        [
            (1, "one owner per slot and epoch", self.one_owner.checks),
            (
                2,
                "requests reach the right version",
                self.right_version.checks,
            ),
            (
                3,
                "only verified artifacts are routed to",
                self.verified.checks,
            ),
            (4, "acknowledged writes survive", self.durable.checks),
            (5, "tasks take effect once, none is lost", self.tasks.checks),
            (10, "every admitted request ends", self.answered.checks),
            (11, "overload is bounded and passes", self.overload.checks),
            (12, "deploys end, regions serve", self.progress.checks),
            (
                13,
                "partitions and gateways converge",
                self.converged.checks,
            ),
            (14, "nothing is orphaned", self.orphans.checks),
        ]
        .map(|(guarantee, name, checks)| Verdict {
            guarantee,
            name,
            checks,
            violations: self.findings.count(guarantee),
        })
        .into_iter()
        .chain(self.impossible())
        .collect()
    }

    /// Guarantee 0 looks with every step, and is worth a line only when it was broken.
    fn impossible(&self) -> Option<Verdict> {
        let violations = self.findings.count(0);
        (violations > 0).then_some(Verdict {
            guarantee: 0,
            name: "actors find their state possible",
            checks: violations,
            violations,
        })
    }
}

/// What a guarantee is called.
pub fn name_of(guarantee: u8) -> &'static str {
    let verdicts = Oracles::default().verdicts();
    let found = verdicts.iter().find(|v| v.guarantee == guarantee);
    found.map_or("actors find their state possible", |v| v.name)
}
