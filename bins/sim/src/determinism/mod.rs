//! The same seeds, run twice in separate processes: is every event the same?
//!
//! Each pair of runs is two processes that share nothing but their arguments, so whatever a
//! process brings by itself (addresses, hash keys, clocks, the order of threads) differs
//! between them. The second may be another build. What is compared, and how the first
//! difference is found, is in `compare`; a run answers as `trace` says.

mod compare;
mod process;
pub(crate) mod trace;

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tidegate_sim::drawn;
use tidegate_sim::scenario::BUILTIN;

use self::compare::{Finding, compare};
use self::process::Process;
use crate::swarm::parse_range;
use crate::{jobs, progress_target};

/// Seeds of what is named without any.
const SEEDS: Range<u64> = 1..4;

#[derive(Debug, Args)]
pub(crate) struct CheckDeterminism {
    /// Built-in scenarios, scenario or bug files that end in .toml, or `drawn` for what a
    /// swarm draws; every built-in scenario and `drawn` when none is named.
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Seeds to run, FIRST..END, without END [default: 1..4, and a bug file's own].
    #[arg(long, value_parser = parse_range)]
    seeds: Option<Range<u64>>,
    /// Run this seed only.
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run the second process of each pair with this tidegate-sim, such as a release build.
    #[arg(long, value_name = "PROGRAM")]
    with: Option<PathBuf>,
    /// Pairs of processes at the same time; by default one for two cores.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: Option<u64>,
    /// Go on after a difference.
    #[arg(long)]
    keep_going: bool,
    /// Encode and decode every message on its way.
    #[arg(long)]
    encode_messages: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// One scenario and seed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    scenario: String,
    seed: u64,
}

pub(crate) fn run(options: &CheckDeterminism) -> Result<bool, String> {
    let pairs = pairs(options)?;
    let program = std::env::current_exe().map_err(|e| format!("this program is not found: {e}"))?;
    let programs = [program.clone(), options.with.clone().unwrap_or(program)];
    let begun = Instant::now();
    let bar = progress_bar(pairs.len());
    let mut found = compare_all(options, &pairs, &programs, &bar)?;
    bar.finish_and_clear();
    found.sort_by_key(|(index, _)| *index);
    let found: Vec<(&Pair, Finding)> = found.into_iter().map(|(i, f)| (&pairs[i], f)).collect();
    let wall_seconds = begun.elapsed().as_secs_f64();
    let differ = found.iter().filter(|(_, f)| !f.is_same()).count();
    if options.json {
        crate::print(&format!("{}\n", object(&found, wall_seconds)));
    } else if found.len() > 1 {
        let events: u64 = found.iter().map(|(_, f)| f.events()).sum();
        crate::print(&format!(
            "{} runs, {events} events, twice in {wall_seconds:.1} s: {differ} differ\n",
            found.len()
        ));
    }
    Ok(differ == 0)
}

fn pairs(options: &CheckDeterminism) -> Result<Vec<Pair>, String> {
    let mut names = options.scenarios.clone();
    if names.is_empty() {
        names = BUILTIN.iter().map(|b| b.name.to_owned()).collect();
        names.push(drawn::NAME.to_owned());
    }
    let mut pairs = Vec::new();
    for scenario in names {
        // What cannot be loaded is told once and here, not by every process.
        let own = if scenario == drawn::NAME {
            None
        } else {
            let bug = crate::load_named(&scenario)?.bug;
            bug.map(|bug| bug.seeds.into_inner())
        };
        let seeds = match (&options.seeds, options.seed, own) {
            (Some(range), _, _) => range.clone().collect(),
            (None, Some(seed), _) => vec![seed],
            (None, None, Some(own)) => own,
            (None, None, None) => SEEDS.collect(),
        };
        pairs.extend(seeds.into_iter().map(|seed| Pair {
            scenario: scenario.clone(),
            seed,
        }));
    }
    Ok(pairs)
}

/// The finding of each pair by its place; those after the first difference may be missing.
fn compare_all(
    options: &CheckDeterminism,
    pairs: &[Pair],
    programs: &[PathBuf; 2],
    bar: &ProgressBar,
) -> Result<Vec<(usize, Finding)>, String> {
    let jobs = options.jobs.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, |n| (n.get() as u64 / 2).max(1))
    });
    let work = |index: u64| {
        let pair = pairs.get(index as usize)?;
        let finding = compare_pair(pair, programs, options.encode_messages);
        Some((index as usize, finding))
    };
    let mut all = Vec::new();
    jobs::run(jobs, 0, work, |(index, finding)| {
        let pair = &pairs[index];
        let place = || format!("{}, seed {}", pair.scenario, pair.seed);
        let finding = finding.map_err(|error| format!("{}: {error}", place()))?;
        bar.inc(1);
        if !options.json {
            bar.suspend(|| crate::print(&format!("{}: {finding}\n", place())));
        }
        let enough = !finding.is_same() && !options.keep_going;
        all.push((index, finding));
        Ok(enough)
    })?;
    Ok(all)
}

fn compare_pair(
    pair: &Pair,
    [first, second]: &[PathBuf; 2],
    encode_messages: bool,
) -> Result<Finding, String> {
    let mut arguments = vec![
        "trace".to_owned(),
        pair.scenario.clone(),
        "--seed".to_owned(),
        pair.seed.to_string(),
    ];
    if encode_messages {
        arguments.push("--encode-messages".to_owned());
    }
    let mut one = Process::start(first, &arguments)?;
    let mut other = Process::start(second, &arguments)?;
    compare(&mut one, &mut other)
}

fn object(found: &[(&Pair, Finding)], wall_seconds: f64) -> Value {
    let (same, differ): (Vec<_>, Vec<_>) = found.iter().partition(|(_, f)| f.is_same());
    let named = |list: Vec<&(&Pair, Finding)>| -> Value {
        let objects = list.into_iter().map(|(pair, finding)| {
            let mut object = finding.object();
            object["scenario"] = json!(pair.scenario);
            object["seed"] = json!(pair.seed);
            object
        });
        objects.collect()
    };
    json!({
        "runs": found.len(),
        "events": found.iter().map(|(_, f)| f.events()).sum::<u64>(),
        "wall_seconds": wall_seconds,
        "differ": named(differ),
        "same": named(same),
    })
}

fn progress_bar(count: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(count as u64), progress_target());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos} of {len} runs, {eta} left") {
        bar.set_style(style);
    }
    bar
}
