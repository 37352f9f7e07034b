//! A run, explained: one page for people and one trace for Perfetto.
//!
//! The same scenario and seed give the same run, so an explanation records nothing while
//! anything else runs: it runs the scenario twice. The [first run](survey) learns who made
//! which event and where the violations are, in a few bytes an event; then the events are
//! [chosen](window) that a page can hold; the [second run](collect) puts those into words,
//! with the states of the actors before and after. A run that nobody explains pays for none
//! of it.
//!
//! What is shown is what happened: nothing is simulated for the page, no cause is guessed,
//! and what was left out is said on it.
//!
//! Cost: two runs, nine bytes for each event of the run, and about a kilobyte and a Debug
//! text of an actor for each event that is kept, up to what [fits](fit).

mod bounded;
pub mod causality;
mod chrome_trace;
mod collect;
mod describe;
mod fit;
mod lanes;
mod layout;
mod model;
mod page;
mod states;
mod subject;
mod survey;
pub mod told;
mod window;

pub use chrome_trace::chrome_trace;
pub use lanes::{Host, Lane};
pub use model::{
    Band, Explained, Fate, Kind, LeftOut, Shown, ShownLoss, ShownNote, ShownViolation,
};
pub use page::page;
pub use states::{Change, Splice};

use tidegate_kernel::Seed;

use self::causality::EventNumber;
use self::collect::Collect;
use self::lanes::Lanes;
use self::subject::{Known, Subjects};
use self::survey::Survey;
use self::told::Told;
use self::window::{Found, Window};
use crate::SimTime;
use crate::scenario::Scenario;
use crate::trial::{self, Until};
use crate::world::World;

/// Events that a page holds when nobody says otherwise, and at most.
pub const EVENTS_DEFAULT: usize = 20_000;
pub const EVENTS_MAX: usize = 100_000;

/// Runs the scenario twice and explains what happened. `repro`: the line that repeats the
/// run. `events`: how many to keep, beside the causal histories. `progress` hears of the
/// simulated time of both runs, 0 to 2 durations.
pub fn explain(
    scenario: &Scenario,
    seed: u64,
    repro: &str,
    events: usize,
    mut progress: impl FnMut(SimTime),
) -> Explained {
    let duration = scenario.duration.get_ref().nanos();
    let mut world = told(scenario, seed);
    let mut survey = Survey::new(&world, &mut progress);
    trial::run_world(&mut world, Until::End, &mut survey);
    let Survey {
        causes,
        idle,
        whom,
        notes,
        found,
        ..
    } = survey;
    let found = named(&world, &notes, &found);
    let window = window::choose(&causes, &idle, &found, events.clamp(1, EVENTS_MAX));
    let weights: Vec<usize> = world.actors.iter().map(states::weight).collect();
    drop(world);
    let worth = fit::by_worth(&window);
    let stated = fit::states_to_make(&worth, |place| {
        let whom = whom[window.kept[place] as usize];
        weights.get(whom as usize).copied().unwrap_or_default()
    });

    let mut again = told(scenario, seed);
    let lanes = Lanes::of(&again);
    let second = |at: SimTime| progress(duration + at);
    let mut collect = Collect::new(
        &again,
        &lanes,
        &causes,
        &idle,
        &window.kept,
        &stated,
        second,
    );
    trial::run_world(&mut again, Until::End, &mut collect);
    let Collect {
        shown,
        notes,
        losses,
        histories,
        ..
    } = collect;
    let states = (0..)
        .zip(histories)
        .map(|(actor, history)| (lanes.of_actor(actor), history.changes))
        .collect();
    let mut explained = Explained {
        repro: repro.to_owned(),
        shown,
        notes,
        losses,
        states,
        ..head(&again, seed, lanes)
    };
    explained.violations = violations(&again, &explained, &found, &window);
    fit::fit(&mut explained, &worth);
    explained.left_out = left_out(&again, &explained, &idle, &window);
    explained
}

/// A world that keeps what would be lost.
fn told(scenario: &Scenario, seed: u64) -> World {
    let mut world = World::new(scenario, Seed(seed));
    world.env.told = Some(Box::<Told>::default());
    world
}

/// For each violation, where it was found and the events whose notes name the same.
fn named(world: &World, notes: &[survey::Noted], found: &[Option<EventNumber>]) -> Vec<Found> {
    let env = &world.env;
    let apps = env.scenario.apps.iter();
    let projects: Vec<String> = apps.map(|a| a.name.get_ref().clone()).collect();
    let nodes = env.topology.nodes.iter();
    let nodes: Vec<(String, u32)> = nodes.map(|n| (n.name.clone(), n.id.0)).collect();
    let known = Known {
        projects: &projects,
        nodes: &nodes,
    };
    let violations = env.oracles.findings.kept().iter();
    violations
        .zip(found)
        .map(|(violation, event)| {
            let subjects = Subjects::of(&violation.text, known);
            let node = |actor: u32| world.actors[actor as usize].me.node.0;
            let named = notes
                .iter()
                .filter(|n| subjects.are_in(&n.note, node(n.actor)));
            Found {
                event: *event,
                named: named.map(|n| n.event).collect(),
            }
        })
        .collect()
}

fn head(world: &World, seed: u64, lanes: Lanes) -> Explained {
    let env = &world.env;
    let bands = world
        .faults
        .iter()
        .zip(&world.struck)
        .map(|(fault, struck)| {
            let mut lanes = lanes.of_nodes(*struck);
            lanes.sort_unstable();
            Band {
                begin: fault.begin,
                end: fault.end.min(world.duration),
                kind: fault.kind.name(),
                text: format!("{}: {}", fault.kind.name(), fault.label),
                lanes,
            }
        });
    Explained {
        scenario: env.scenario.name.get_ref().clone(),
        about: env.scenario.about.clone(),
        seed,
        repro: String::new(),
        duration: world.duration,
        faults_end: world.faults_end,
        well_from: world.well_from,
        events: env.stats.events,
        trace_hash: env.trace.value(),
        bands: bands.collect(),
        hosts: lanes.hosts,
        lanes: lanes.all,
        shown: Vec::new(),
        notes: Vec::new(),
        losses: Vec::new(),
        states: Vec::new(),
        violations: Vec::new(),
        violation_count: env.oracles.findings.total(),
        left_out: LeftOut::default(),
    }
}

fn violations(
    world: &World,
    explained: &Explained,
    found: &[Found],
    window: &Window,
) -> Vec<ShownViolation> {
    let verdicts = world.env.oracles.verdicts();
    let name = |guarantee: u8| {
        let verdict = verdicts.iter().find(|v| v.guarantee == guarantee);
        verdict.map_or("a guarantee", |v| v.name)
    };
    let kept = world.env.oracles.findings.kept().iter().zip(found);
    kept.enumerate()
        .map(|(i, (violation, found))| {
            let history = window.histories.get(i).into_iter().flatten();
            ShownViolation {
                at: violation.at,
                guarantee: violation.guarantee,
                name: name(violation.guarantee),
                text: violation.text.clone(),
                event: found.event.and_then(|n| explained.index_of(n)),
                history: history.filter_map(|n| explained.index_of(*n)).collect(),
            }
        })
        .collect()
}

fn left_out(world: &World, explained: &Explained, idle: &[bool], window: &Window) -> LeftOut {
    let at = |number| {
        let index = explained.index_of(number);
        index.map_or(0, |i| explained.shown[i as usize].at)
    };
    let is_kept = |number: &usize| explained.index_of(*number as EventNumber).is_some();
    let idle = (0..idle.len()).filter(|n| idle[*n] && !is_kept(n));
    LeftOut {
        events: explained.events - explained.shown.len() as u64,
        idle: idle.count() as u64,
        told: world.env.told.as_ref().map_or(0, |told| told.dropped),
        whole_from: at(window.first),
        whole_until: at(window.last),
        cut_short: window.cut_short,
    }
}
