//! One run, and whether it broke a guarantee: what a swarm, a shrinker and a corpus are made of.
//!
//! A trial ends at the first violation, because what comes after it is no news. An actor that
//! finds its own state impossible panics; that counts as a violation of guarantee 0, so that
//! one mistake does not end a night of seeds.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tidegate_kernel::Seed;
use toml::Spanned;

use crate::expand::expand;
use crate::oracle::{Verdict, Violation};
use crate::scenario::{Bug, FaultKind, Scenario, Span};
use crate::stats::Requests;
use crate::world::{Observer, Unobserved, World};

/// The number that stands for an actor's own invariants.
pub const INVARIANTS: u8 = 0;
/// Seeds tried beside those of a bug file, when its own break nothing any more.
pub const SCHEDULES: u64 = 100;

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Trial {
    pub seed: u64,
    pub violation: Option<Violation>,
    pub events: u64,
    pub sim_ns: u64,
    pub trace_hash: u64,
    pub requests: Requests,
    /// Marks that were reached, and how often.
    pub marks: Vec<(&'static str, u64)>,
    pub verdicts: Vec<Verdict>,
    /// Faults that were planned, by kind.
    pub faults: Vec<FaultKind>,
}

/// Which violation ends a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// None does.
    End,
    Any,
    Guarantee(u8),
}

/// Runs a scenario from a seed.
pub fn run(scenario: &Scenario, seed: u64, until: Until) -> Trial {
    let mut world = World::new(scenario, Seed(seed));
    let violation = run_world(&mut world, until, &mut Unobserved);
    let env = &world.env;
    Trial {
        seed,
        violation,
        events: env.stats.events,
        sim_ns: env.now,
        trace_hash: env.trace.value(),
        requests: env.stats.requests,
        marks: env.stats.counts.iter().map(|(k, v)| (*k, *v)).collect(),
        verdicts: env.oracles.verdicts(),
        faults: world.faults.iter().map(|f| f.kind).collect(),
    }
}

/// Runs a world that somebody else wants to look at afterwards. A panic of an actor is noted
/// among its violations.
pub fn run_world(
    world: &mut World,
    until: Until,
    observer: &mut impl Observer,
) -> Option<Violation> {
    let ended = catch_unwind(AssertUnwindSafe(|| {
        world.run_until(observer, |findings| match until {
            Until::End => false,
            Until::Any => findings.total() > 0,
            Until::Guarantee(guarantee) => findings.count(guarantee) > 0,
        });
    }));
    let findings = &mut world.env.oracles.findings;
    if let Err(payload) = ended {
        findings.at = world.env.now;
        findings.violated(INVARIANTS, panic_text(&*payload));
        observer.end(world);
    }
    let findings = &world.env.oracles.findings;
    let wanted = |v: &&Violation| match until {
        Until::End | Until::Any => true,
        Until::Guarantee(guarantee) => v.guarantee == guarantee,
    };
    findings.kept().iter().find(wanted).cloned()
}

fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied());
    let text = text.unwrap_or("it did not say why");
    format!("an actor found its state impossible: {text}")
}

/// Runs a bug file: its own seeds first, then others, because a change of the code may have
/// moved the order of events that it needs. `None`: it breaks nothing any more.
pub fn run_bug(scenario: &Scenario, bug: &Bug) -> Option<Trial> {
    let until = bug.guarantee.map_or(Until::Any, Until::Guarantee);
    schedules(bug)
        .map(|seed| run(scenario, seed, until))
        .find(|trial| trial.violation.is_some())
}

/// The seeds with which a bug is looked for.
pub fn schedules(bug: &Bug) -> impl Iterator<Item = u64> + '_ {
    let own = bug.seeds.get_ref();
    let first = own.first().copied().unwrap_or_default();
    let others = (0..SCHEDULES).map(move |i| Seed(first).derive("schedule").derive_index(i).0 >> 1);
    own.iter().copied().chain(others)
}

/// The bug file of a trial that found something: its whole plan, and what it broke.
pub fn bug_file(scenario: &Scenario, trial: &Trial, commit: Option<&str>) -> Option<Scenario> {
    let violation = trial.violation.as_ref()?;
    let mut file = expand(scenario, Seed(trial.seed));
    let drawn_from = file.bug.take().map_or_else(
        || format!("{} at seed {}", scenario.name.get_ref(), trial.seed),
        |bug| bug.drawn_from.unwrap_or_default(),
    );
    file.bug = Some(Bug {
        showed: violation.text.clone(),
        seeds: Spanned::new(0..0, vec![trial.seed]),
        guarantee: Some(violation.guarantee),
        at: Some(Span(violation.at)),
        events: Some(trial.events),
        commit: commit.map(str::to_owned),
        drawn_from: Some(drawn_from),
        lost_max: None,
    });
    Some(file)
}
