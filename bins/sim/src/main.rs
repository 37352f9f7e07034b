//! The command line of the simulator: arguments, files and processes. What is simulated, and
//! how, is in `tidegate_sim`.

mod bug_files;
mod determinism;
mod explain;
mod jobs;
mod json;
mod panics;
mod replay;
mod shrink;
mod swarm;

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidegate_sim::scenario::{BUILTIN, Bug, Builtin, FILE_BYTES_MAX, Scenario};
use tidegate_sim::trial::{self, Until};
use tidegate_sim::{Happening, Observer, Report, Seed, SimTime, World, drawn};

/// Exit code for a broken guarantee, and for two runs that differ.
const VIOLATED: u8 = 1;
/// Exit code for arguments and files that cannot be used.
const MISUSE: u8 = 2;

/// Runs Tidegate's production actors in a simulated world.
#[derive(Debug, Parser)]
#[command(name = "tidegate-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a scenario, a bug file or what a seed draws, and say what happened.
    Run(Run),
    /// Run what many seeds draw, and keep a bug file of each that breaks a guarantee.
    Swarm(swarm::Swarm),
    /// Make a bug file small: the least plan that still breaks the same guarantee.
    Shrink(shrink::Shrink),
    /// Name the built-in scenarios and what each is for.
    List {
        /// Print a JSON array of `name` and `about`.
        #[arg(long)]
        json: bool,
    },
    /// Run seeds twice, in two processes each, and compare every event
    ///
    /// The first event that differs is named, with its scenario, its seed, and what either
    /// process had there. Exit code 0: everything is the same; 1: something is not; 2: misuse.
    #[command(
        after_help = "Examples:\n  tidegate-sim check-determinism\n  tidegate-sim check-determinism drawn --seeds 0..100\n  tidegate-sim check-determinism bugs/12-4711.toml --with target/debug/tidegate-sim"
    )]
    CheckDeterminism(determinism::CheckDeterminism),
    /// Run what a production actor was given again, and compare what it does
    ///
    /// Each recording is checked, and its inputs are given to the same actor, from the
    /// snapshot at its beginning to its end. Exit code 0: everything was as recorded;
    /// 1: something was not; 2: a file cannot be replayed.
    #[command(
        after_help = "Example:\n  tidegate dev --record ./flight\n  tidegate-sim replay ./flight\n  tidegate-sim replay ./flight/gateway-0-*/00000003.tgrec --show 1207"
    )]
    Replay(replay::Replay),
    /// Write a page that shows a run: who sent what, what broke, and what led to it.
    Explain(explain::Explain),
    /// Tell the digests of a run and answer questions about it; what check-determinism asks.
    #[command(hide = true)]
    Trace(determinism::trace::Trace),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Which {
    /// A built-in scenario, a scenario or bug file that ends in .toml, or `drawn`: what a
    /// swarm draws from the seed.
    pub(crate) scenario: String,
    /// Decides everything that the scenario leaves open [default: the bug file's, or 1].
    #[arg(long)]
    seed: Option<u64>,
    /// Encode and decode every message on its way.
    #[arg(long)]
    pub(crate) encode_messages: bool,
}

impl Which {
    pub(crate) fn seed(&self, scenario: &Scenario) -> u64 {
        let known = || scenario.bug.as_ref()?.seeds.get_ref().first().copied();
        self.seed.or_else(known).unwrap_or(1)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "Example: tidegate-sim run region-partition --seed 42 --timeline")]
struct Run {
    #[command(flatten)]
    which: Which,
    /// Run this many seeds, from --seed on; stop at the first violation.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    seeds: u64,
    /// Print one JSON object a run.
    #[arg(long)]
    json: bool,
    /// Also print elections, cutovers, reclaimed slots and faults as they came.
    #[arg(long)]
    timeline: bool,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let asked = !error.use_stderr();
            let _ = error.print();
            return ExitCode::from(if asked { 0 } else { MISUSE });
        }
    };
    let result = match cli.command {
        Command::Run(run) => run_seeds(&run),
        Command::Swarm(swarm) => swarm::run(&swarm),
        Command::Shrink(shrink) => shrink::run(&shrink),
        Command::List { json } => list(json),
        Command::CheckDeterminism(check) => determinism::run(&check),
        Command::Replay(replay) => replay::run(&replay),
        Command::Explain(options) => explain::run(&options),
        Command::Trace(trace) => determinism::trace::run(&trace),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(VIOLATED),
        Err(misuse) => {
            eprintln!("tidegate-sim: {misuse}");
            ExitCode::from(MISUSE)
        }
    }
}

fn list(json: bool) -> Result<bool, String> {
    let scenarios = BUILTIN
        .iter()
        .map(|builtin| Ok((builtin.name, parse(builtin.name, builtin.text)?.about)))
        .collect::<Result<Vec<_>, String>>()?;
    if json {
        let objects: Vec<_> = scenarios
            .iter()
            .map(|(name, about)| serde_json::json!({"name": name, "about": about}))
            .collect();
        print(&format!("{}\n", serde_json::json!(objects)));
        return Ok(true);
    }
    for (name, about) in scenarios {
        print(&format!("{name:<24}{about}\n"));
    }
    Ok(true)
}

/// A closed pipe is nobody's mistake.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

pub(crate) fn load(which: &Which) -> Result<Scenario, String> {
    let mut scenario = if which.scenario == drawn::NAME {
        drawn::of_seed(Seed(which.seed.unwrap_or(1)))
    } else {
        load_named(&which.scenario)?
    };
    scenario.encode_messages |= which.encode_messages;
    Ok(scenario)
}

/// A built-in scenario, or a file.
pub(crate) fn load_named(name: &str) -> Result<Scenario, String> {
    match Builtin::find(name) {
        Some(builtin) => parse(builtin.name, builtin.text),
        None if name.ends_with(".toml") => parse(name, &read(name)?),
        None => {
            let known: Vec<&str> = BUILTIN.iter().map(|b| b.name).collect();
            Err(format!(
                "there is no scenario `{name}`; name a file that ends in .toml, `{}`, or one of {}",
                drawn::NAME,
                known.join(", ")
            ))
        }
    }
}

fn parse(name: &str, text: &str) -> Result<Scenario, String> {
    Scenario::parse(name, text).map_err(|error| error.to_string())
}

fn read(path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{path}: {error}; check the path");
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = String::new();
    // One byte more than is taken, so that a longer file is refused and not cut.
    file.take(FILE_BYTES_MAX as u64 + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

fn run_seeds(run: &Run) -> Result<bool, String> {
    let scenario = load(&run.which)?;
    panics::keep_quiet();
    if run.seeds == 1
        && run.which.seed.is_none()
        && let Some(bug) = &scenario.bug
    {
        return run_bug(run, &scenario, bug);
    }
    let first = run.which.seed(&scenario);
    for seed in first..first.saturating_add(run.seeds) {
        let drawn = run.which.scenario == drawn::NAME;
        let held = if drawn {
            let which = Which {
                seed: Some(seed),
                ..run.which.clone()
            };
            show_one(run, &load(&which)?, seed)
        } else {
            show_one(run, &scenario, seed)
        };
        if !held {
            let name = &run.which.scenario;
            eprintln!("reproduce: tidegate-sim run {name} --seed {seed}");
            return Ok(false);
        }
    }
    Ok(true)
}

/// Repeats what a bug file holds: with its own seeds, or with another order of events.
fn run_bug(run: &Run, scenario: &Scenario, bug: &Bug) -> Result<bool, String> {
    let known = bug.seeds.get_ref();
    let Some(trial) = trial::run_bug(scenario, bug) else {
        let held = show_one(run, scenario, known.first().copied().unwrap_or(1));
        eprintln!(
            "the bug does not show: {} other orders of events were tried as well",
            trial::SCHEDULES
        );
        return Ok(held);
    };
    if !known.contains(&trial.seed) {
        eprintln!(
            "its own seed does not show it any more; seed {} does",
            trial.seed
        );
    }
    Ok(show_one(run, scenario, trial.seed))
}

/// The seed to look at: the one that was asked for, or one with which a bug file shows its bug.
pub(crate) fn seed_that_shows(which: &Which, scenario: &Scenario) -> u64 {
    match &scenario.bug {
        Some(bug) if which.seed.is_none() => {
            trial::run_bug(scenario, bug).map_or_else(|| which.seed(scenario), |trial| trial.seed)
        }
        _ => which.seed(scenario),
    }
}

/// True when every guarantee held.
fn show_one(run: &Run, scenario: &Scenario, seed: u64) -> bool {
    let (report, wall_seconds) = run_one(scenario, seed);
    let held = report.violation_count == 0;
    if run.json {
        print(&format!("{}\n", json::object(&report, wall_seconds)));
    } else if run.seeds == 1 || !held {
        print(&report.text(run.timeline));
        print(&speed(&report, wall_seconds));
    } else {
        let served = report.requests.served;
        print(&format!(
            "seed {seed:<8} served {served:<10} trace {:016x}\n",
            report.trace_hash
        ));
    }
    held
}

fn speed(report: &Report, wall_seconds: f64) -> String {
    format!(
        "{wall_seconds:.2} s of wall time: {:.0} events and {:.0} simulated seconds per second\n",
        report.events as f64 / wall_seconds,
        report.sim_seconds / wall_seconds
    )
}

fn run_one(scenario: &Scenario, seed: u64) -> (Report, f64) {
    let mut watch = Watch::new(scenario.duration.get_ref().nanos());
    let mut world = World::new(scenario, Seed(seed));
    let begun = Instant::now();
    trial::run_world(&mut world, Until::End, &mut watch);
    let wall_seconds = begun.elapsed().as_secs_f64();
    watch.bar.finish_and_clear();
    let mut report = world.report(seed);
    report.violations.iter_mut().for_each(panics::place);
    (report, wall_seconds)
}

/// Where progress is shown: to people only.
pub(crate) fn progress_target() -> ProgressDrawTarget {
    if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

/// Shows how far the run is, to people.
struct Watch {
    bar: ProgressBar,
}

impl Watch {
    fn new(duration: SimTime) -> Self {
        let bar = ProgressBar::with_draw_target(Some(duration / 1_000_000_000), progress_target());
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len} simulated seconds")
        {
            bar.set_style(style);
        }
        Self { bar }
    }
}

impl Observer for Watch {
    #[inline]
    fn event(&mut self, _: u64, _: SimTime, _: u64, _: &Happening) {}

    fn progress(&mut self, at: SimTime) {
        self.bar.set_position(at / 1_000_000_000);
    }
}
