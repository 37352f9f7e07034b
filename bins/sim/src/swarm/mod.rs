//! Many seeds at once: workers, progress, and what is written when one breaks a guarantee.
//!
//! A worker takes the next seed, runs it to its end or its first violation, and hands over
//! what came of it; everything is summed up in one place. What a seed does depends on nothing
//! but the seed (with `--guided`, also on what was found before it), so the number of jobs
//! changes the speed only.

mod guided;
mod junit;
mod summary;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tidegate_sim::scenario::Scenario;
use tidegate_sim::tally::Tally;
use tidegate_sim::trial::{self, Trial, Until};
use tidegate_sim::{Seed, drawn};

use crate::{bug_files, jobs, panics, progress_target};

/// Bug files that one swarm writes; more violations are only counted.
const BUGS_MAX: usize = 25;

#[derive(Debug, Args)]
#[command(after_help = "Example: tidegate-sim swarm --seeds 0..10000 --jobs 2 --keep-going")]
pub(crate) struct Swarm {
    /// Seeds to run: FIRST..END, without END.
    #[arg(long, default_value = "0..1000", value_parser = parse_range)]
    seeds: std::ops::Range<u64>,
    /// Runs at the same time; by default one for each core.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=256))]
    jobs: Option<u64>,
    /// Stop after this time; with it, seeds do not end at END.
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Run the seeds of this scenario instead of what each seed draws.
    #[arg(long, value_name = "NAME")]
    scenario: Option<String>,
    /// Go on after a violation.
    #[arg(long)]
    keep_going: bool,
    /// Half the runs change something in an earlier run that reached new marks.
    #[arg(long, conflicts_with = "scenario")]
    guided: bool,
    /// Where bug files are written.
    #[arg(long, default_value = "bugs", value_name = "DIR")]
    bugs: PathBuf,
    /// Write the result for CI as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn parse_range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let remedy = || format!("`{text}` is no range of seeds; write FIRST..END, such as 0..10000");
    let (first, end) = text.split_once("..").ok_or_else(remedy)?;
    let first: u64 = first.parse().map_err(|_| remedy())?;
    let end: u64 = end.parse().map_err(|_| remedy())?;
    if first >= end {
        return Err(format!(
            "the range {text} is empty; END must be more than FIRST"
        ));
    }
    Ok(first..end)
}

/// A violation that was found, and the file that repeats it.
#[derive(Debug)]
pub(crate) struct Found {
    trial: Trial,
    file: Option<PathBuf>,
    /// The command that repeats it.
    reproduce: String,
}

/// What a swarm came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    tally: Tally,
    found: Vec<Found>,
    first_seed: u64,
    jobs: u64,
    wall_seconds: f64,
}

pub(crate) fn run(swarm: &Swarm) -> Result<bool, String> {
    let base = match &swarm.scenario {
        Some(name) if name != drawn::NAME => Some(crate::load_named(name)?),
        _ => None,
    };
    panics::keep_quiet();
    let begun = Instant::now();
    let jobs = swarm
        .jobs
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get() as u64));
    let bar = progress_bar(swarm);
    let mut result = Outcome {
        tally: Tally::default(),
        found: Vec::new(),
        first_seed: swarm.seeds.start,
        jobs,
        wall_seconds: 0.0,
    };
    let pool = guided::Pool::default();
    let work = |seed| try_seed(swarm, base.as_ref(), &pool, seed);
    jobs::run(jobs, swarm.seeds.start, work, |(scenario, trial)| {
        take(swarm, &mut result, &bar, &scenario, trial)?;
        let late = swarm
            .minutes
            .is_some_and(|m| begun.elapsed() >= Duration::from_secs_f64(m * 60.0));
        Ok(late || !result.found.is_empty() && !swarm.keep_going)
    })?;
    bar.finish_and_clear();
    result.wall_seconds = begun.elapsed().as_secs_f64();
    if let Some(path) = &swarm.junit {
        junit::write(path, &result)?;
    }
    let text = if swarm.json {
        format!("{}\n", summary::json(&result))
    } else {
        summary::text(&result)
    };
    crate::print(&text);
    Ok(result.tally.violations == 0)
}

/// The world of a seed and what became of it; none when the seeds are used up.
fn try_seed(
    swarm: &Swarm,
    base: Option<&Scenario>,
    pool: &guided::Pool,
    seed: u64,
) -> Option<(Scenario, Trial)> {
    if swarm.minutes.is_none() && seed >= swarm.seeds.end {
        return None;
    }
    let scenario = match base {
        Some(base) => base.clone(),
        None if swarm.guided => pool.next(Seed(seed)),
        None => drawn::of_seed(Seed(seed)),
    };
    let mut trial = trial::run(&scenario, seed, Until::Any);
    if let Some(violation) = &mut trial.violation {
        panics::place(violation);
    }
    if swarm.guided {
        pool.learn(&scenario, &trial);
    }
    Some((scenario, trial))
}

fn take(
    swarm: &Swarm,
    result: &mut Outcome,
    bar: &ProgressBar,
    scenario: &Scenario,
    trial: Trial,
) -> Result<(), String> {
    result.tally.add(&trial);
    bar.inc(1);
    let tally = &result.tally;
    bar.set_message(format!(
        "{} violations, {} of {} marks",
        tally.violations,
        tally.marks.len(),
        tidegate_sim::marks::ALL.len(),
    ));
    let Some(violation) = &trial.violation else {
        return Ok(());
    };
    let file = match trial::bug_file(scenario, &trial, bug_files::COMMIT) {
        Some(file) if result.found.len() < BUGS_MAX => {
            Some(bug_files::write_into(&swarm.bugs, &file)?)
        }
        _ => None,
    };
    let reproduce = match &file {
        Some(path) => format!("tidegate-sim run {}", path.display()),
        None => format!(
            "tidegate-sim run {} --seed {}",
            swarm.scenario.as_deref().unwrap_or(drawn::NAME),
            trial.seed
        ),
    };
    bar.suspend(|| {
        eprintln!(
            "seed {}: guarantee {} broken at {:.3} s: {}\n  reproduce: {reproduce}",
            trial.seed,
            violation.guarantee,
            violation.at as f64 / 1e9,
            violation.text
        );
    });
    if result.found.len() < BUGS_MAX {
        result.found.push(Found {
            trial,
            file,
            reproduce,
        });
    }
    Ok(())
}

fn progress_bar(swarm: &Swarm) -> ProgressBar {
    let count = swarm.seeds.end - swarm.seeds.start;
    let length = swarm.minutes.is_none().then_some(count);
    let bar = ProgressBar::with_draw_target(length, progress_target());
    let template = match length {
        Some(_) => "{bar:30} {pos} of {len} seeds, {per_sec}, {eta} left; {msg}",
        None => "{spinner} {pos} seeds, {per_sec}, {elapsed}; {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
