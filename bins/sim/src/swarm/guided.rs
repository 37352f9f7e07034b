//! Runs that reached something new, kept to be changed and tried again.
//!
//! New is a mark that no run had reached, or that a run reached a new order of magnitude
//! more often. Half the runs start from a kept plan, so that what is hard to reach by one
//! draw is reached by several small steps; the other half stay fresh draws.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tidegate_sim::choices::Choices;
use tidegate_sim::scenario::Scenario;
use tidegate_sim::trial::Trial;
use tidegate_sim::{Seed, drawn};

/// Plans that are kept; the oldest makes room.
const KEPT_MAX: usize = 500;

#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    reached: BTreeSet<(&'static str, u32)>,
    kept: Vec<Scenario>,
}

impl Pool {
    /// The scenario that a seed tries next.
    pub(super) fn next(&self, seed: Seed) -> Scenario {
        let mut choices = Choices::seeded(seed.derive("guided"));
        let parent = {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match known.kept.len() {
                0 => None,
                count if choices.percent(50) => Some(known.kept[choices.index(count)].clone()),
                _ => None,
            }
        };
        match parent {
            Some(parent) => drawn::mutate(&parent, &mut choices),
            None => drawn::of_seed(seed),
        }
    }

    /// Keeps the scenario if its run reached something new.
    pub(super) fn learn(&self, scenario: &Scenario, trial: &Trial) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_new = false;
        for (mark, count) in &trial.marks {
            is_new |= known.reached.insert((mark, count.ilog2()));
        }
        if is_new {
            if known.kept.len() == KEPT_MAX {
                known.kept.remove(0);
            }
            known.kept.push(scenario.clone());
        }
    }
}
