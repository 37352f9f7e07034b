//! What many trials come to: the summary of a swarm.
//!
//! Sums only, so that the order in which jobs finish changes nothing.

use std::collections::BTreeMap;

use crate::marks;
use crate::scenario::FaultKind;
use crate::stats::Requests;
use crate::trial::Trial;

#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub seeds: u64,
    pub violations: u64,
    pub events: u64,
    pub sim_ns: u64,
    pub requests: Requests,
    /// Runs with the kind, and its injections in all of them.
    pub faults: BTreeMap<FaultKind, (u64, u64)>,
    /// Checks of each oracle, by guarantee.
    pub oracles: BTreeMap<u8, (&'static str, u64)>,
    /// Runs that reached the mark, and how often all of them did.
    pub marks: BTreeMap<&'static str, (u64, u64)>,
}

impl Tally {
    pub fn add(&mut self, trial: &Trial) {
        self.seeds += 1;
        self.violations += u64::from(trial.violation.is_some());
        self.events += trial.events;
        self.sim_ns += trial.sim_ns;
        self.requests.add(&trial.requests);
        for kind in FaultKind::DRAWN {
            let count = trial.faults.iter().filter(|k| *k == kind).count() as u64;
            let (runs, injections) = self.faults.entry(*kind).or_default();
            *runs += u64::from(count > 0);
            *injections += count;
        }
        for verdict in &trial.verdicts {
            let entry = self.oracles.entry(verdict.guarantee);
            entry.or_insert((verdict.name, 0)).1 += verdict.checks;
        }
        for (mark, count) in &trial.marks {
            let (runs, times) = self.marks.entry(mark).or_default();
            *runs += 1;
            *times += count;
        }
    }

    /// Marks that no run reached.
    pub fn never(&self) -> Vec<&'static str> {
        let reached = |mark: &&&str| self.marks.contains_key(**mark);
        marks::ALL.iter().filter(|m| !reached(m)).copied().collect()
    }

    pub fn sim_seconds(&self) -> f64 {
        self.sim_ns as f64 / 1e9
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{Until, run};

    #[test]
    fn the_order_of_trials_does_not_matter() {
        let trials: Vec<Trial> = (0..3)
            .map(|seed| {
                run(
                    &crate::drawn::of_seed(tidegate_kernel::Seed(seed)),
                    seed,
                    Until::Any,
                )
            })
            .collect();
        let text = |order: &[usize]| {
            let mut tally = Tally::default();
            order.iter().for_each(|i| tally.add(&trials[*i]));
            format!("{tally:?}")
        };
        assert_eq!(text(&[0, 1, 2]), text(&[2, 0, 1]));
    }

    #[test]
    fn what_was_never_reached_is_named() {
        assert_eq!(Tally::default().never(), marks::ALL);
    }
}
