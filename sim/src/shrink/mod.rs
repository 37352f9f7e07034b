//! Makes a bug small: topology, workload, faults, duration and knobs together.
//!
//! A plan is data, so a smaller plan is a shorter text. Each [cut](cuts) takes something away
//! from the whole plan; it stays when the same guarantee is still broken, with the bug's own
//! seed or one of a few others, because a cut moves the order of everything after it. Cuts
//! are tried from the largest to the smallest, again and again, until none is left that can
//! be made: the plan is then minimal in the sense that no single cut keeps the bug.
//!
//! "The same" means the same guarantee and the same words about it, without names and
//! numbers: a plan whose only gateway dies breaks guarantee 12 too, and is not the bug that
//! was looked for.
//!
//! The bound within which everything has to be well is never made shorter when that is what
//! was broken: a bound that is too short would be another bug.

mod cuts;
mod simpler;

use crate::scenario::{Bug, Scenario};
use crate::trial::{self, Trial, Until};

/// Other seeds that are tried with each cut.
const OTHER_SEEDS: usize = 3;
/// A cut may not make the run this many times as long; it would be no shorter to look at.
const EVENTS_GROW_MAX: f64 = 1.2;

/// How far the work is.
#[derive(Clone, Debug)]
pub struct Progress {
    pub tried: u64,
    pub kept: u64,
    pub round: u32,
    /// Events of the smallest run so far.
    pub events: u64,
    /// What is tried now.
    pub cut: String,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Shrunk {
    pub file: Scenario,
    pub trial: Trial,
    pub tried: u64,
    /// Events of the bug as it was given.
    pub events_before: u64,
    /// False: the watcher stopped it before no cut was left.
    pub is_minimal: bool,
}

/// Shrinks a bug file, for as long as `go_on` says yes. `None`: it breaks nothing.
pub fn shrink(file: &Scenario, mut go_on: impl FnMut(&Progress) -> bool) -> Option<Shrunk> {
    let bug = file.bug.as_ref()?;
    let trial = trial::run_bug(file, bug)?;
    let guarantee = trial.violation.as_ref()?.guarantee;
    let shape = shape(&trial.violation.as_ref()?.text, file);
    let events_before = trial.events;
    let mut work = Work {
        events_before,
        best: trial::bug_file(file, &trial, bug.commit.as_deref())?,
        trial,
        until: Until::Guarantee(guarantee),
        shape,
    };
    let mut progress = Progress {
        tried: 0,
        kept: 0,
        round: 0,
        events: events_before,
        cut: "the bug itself".into(),
    };
    loop {
        progress.round += 1;
        let kept = progress.kept;
        let mut place = 0;
        // Cuts are made of what is left, so the list is made anew after each that stays.
        let mut cuts = cuts::all(&work.best, guarantee);
        while place < cuts.len() {
            let (name, candidate) = &cuts[place];
            progress.cut.clone_from(name);
            if !go_on(&progress) {
                return Some(work.done(progress.tried, false));
            }
            progress.tried += 1;
            if work.try_out(candidate) {
                progress.kept += 1;
                progress.events = work.trial.events;
                cuts = cuts::all(&work.best, guarantee);
            } else {
                place += 1;
            }
        }
        if progress.kept == kept {
            return Some(work.done(progress.tried, true));
        }
    }
}

struct Work {
    best: Scenario,
    trial: Trial,
    events_before: u64,
    until: Until,
    shape: Vec<String>,
}

impl Work {
    /// Keeps the candidate if it breaks the same guarantee.
    fn try_out(&mut self, candidate: &Scenario) -> bool {
        if candidate.validate().is_err() {
            return false;
        }
        let Some(bug) = candidate.bug.as_ref() else {
            return false;
        };
        let found = trial::schedules(bug)
            .take(1 + OTHER_SEEDS)
            .map(|seed| trial::run(candidate, seed, self.until))
            .find(|trial| {
                let violation = trial.violation.as_ref();
                violation.is_some_and(|v| shape(&v.text, candidate) == self.shape)
            });
        let Some(trial) = found else {
            return false;
        };
        if trial.events as f64 > self.trial.events as f64 * EVENTS_GROW_MAX {
            return false;
        }
        let commit = bug.commit.clone();
        let Some(file) = trial::bug_file(candidate, &trial, commit.as_deref()) else {
            return false;
        };
        (self.best, self.trial) = (file, trial);
        true
    }

    fn done(self, tried: u64, is_minimal: bool) -> Shrunk {
        Shrunk {
            file: self.best,
            trial: self.trial,
            tried,
            events_before: self.events_before,
            is_minimal,
        }
    }
}

/// The words of a violation that do not depend on the plan: no numbers, no names.
fn shape(text: &str, plan: &Scenario) -> Vec<String> {
    let apps = plan.apps.iter().map(|a| a.name.get_ref());
    let names: Vec<&String> = apps.chain(plan.topology.regions.get_ref()).collect();
    text.split(|c: char| !(c.is_alphanumeric() || "-_./".contains(c)))
        .filter(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase()))
        .filter(|word| !names.iter().any(|name| name.as_str() == *word))
        .map(str::to_owned)
        .collect()
}

/// How large a plan is, for telling by how much it became smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub regions: usize,
    pub machines: usize,
    pub apps: usize,
    pub operations: usize,
    pub faults: usize,
    pub seconds: u64,
    pub events: u64,
}

impl Size {
    pub fn of(file: &Scenario, events: u64) -> Size {
        Size {
            regions: file.topology.regions.get_ref().len(),
            machines: crate::topology::Topology::new(file).nodes.len() - 1,
            apps: file.apps.len(),
            operations: file.operations.len(),
            faults: file.faults.len(),
            seconds: file.duration.get_ref().nanos() / 1_000_000_000,
            events,
        }
    }
}

/// When the bug was seen, in nanoseconds.
fn seen_at(bug: Option<&Bug>) -> Option<u64> {
    bug.and_then(|b| b.at).map(|at| at.nanos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_a_violation_has_no_names_and_no_numbers() {
        let plan = crate::drawn::of_seed(tidegate_kernel::Seed(1));
        let app = plan.apps[0].name.get_ref();
        let text = format!("gw-mel-0 serves Some((2, 1)) of {app}, the newest is 17 (epoch)");
        assert_eq!(
            shape(&text, &plan),
            ["serves", "of", "the", "newest", "is", "epoch"]
        );
    }
}
