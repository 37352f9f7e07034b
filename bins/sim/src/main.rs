//! The command line of the simulator: arguments, files and processes. What is simulated, and
//! how, is in `tidegate_sim`.

mod determinism;
mod explain;
mod json;

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tidegate_sim::scenario::{BUILTIN, Builtin, FILE_BYTES_MAX, Scenario};
use tidegate_sim::{Happening, Observer, Report, Seed, SimTime, World};

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
    /// Run a scenario and say what happened.
    Run(Run),
    /// Name the built-in scenarios and what each is for.
    List,
    /// Run a scenario twice, in two processes, and compare every event.
    CheckDeterminism(Which),
    /// Write a page that shows a run: who sent what, what broke, and what led to it.
    Explain(explain::Explain),
    /// Write the digest of every event; what check-determinism reads.
    #[command(hide = true)]
    Trace(Trace),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct Which {
    /// A built-in scenario, or a file that ends in .toml.
    pub(crate) scenario: String,
    /// Decides everything that the scenario leaves open.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Encode and decode every message on its way.
    #[arg(long)]
    pub(crate) encode_messages: bool,
}

#[derive(Debug, Args)]
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

#[derive(Debug, Args)]
struct Trace {
    #[command(flatten)]
    which: Which,
    /// Describe this event instead.
    #[arg(long)]
    describe: Option<u64>,
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
        Command::List => list(),
        Command::CheckDeterminism(which) => load(&which).and_then(|_| determinism::check(&which)),
        Command::Explain(options) => explain::run(&options),
        Command::Trace(trace) => write_trace(&trace),
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

fn list() -> Result<bool, String> {
    let mut out = String::new();
    for builtin in BUILTIN {
        let scenario = parse(builtin.name, builtin.text)?;
        out += &format!("{:<24}{}\n", builtin.name, scenario.about);
    }
    print(&out);
    Ok(true)
}

/// A closed pipe is nobody's mistake.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn load(which: &Which) -> Result<Scenario, String> {
    let name = which.scenario.as_str();
    let mut scenario = match Builtin::find(name) {
        Some(builtin) => parse(builtin.name, builtin.text)?,
        None if name.ends_with(".toml") => parse(name, &read(name)?)?,
        None => {
            let known: Vec<&str> = BUILTIN.iter().map(|b| b.name).collect();
            return Err(format!(
                "there is no scenario `{name}`; name a file that ends in .toml, or one of {}",
                known.join(", ")
            ));
        }
    };
    scenario.encode_messages |= which.encode_messages;
    Ok(scenario)
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
    for seed in run.which.seed..run.which.seed.saturating_add(run.seeds) {
        let (report, wall_seconds) = run_one(scenario.clone(), seed);
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
        if !held {
            let name = &run.which.scenario;
            eprintln!("reproduce: tidegate-sim run {name} --seed {seed}");
            return Ok(false);
        }
    }
    Ok(true)
}

fn speed(report: &Report, wall_seconds: f64) -> String {
    format!(
        "{wall_seconds:.2} s of wall time: {:.0} events and {:.0} simulated seconds per second\n",
        report.events as f64 / wall_seconds,
        report.sim_seconds / wall_seconds
    )
}

fn run_one(scenario: Scenario, seed: u64) -> (Report, f64) {
    let mut watch = Watch::new(scenario.duration.get_ref().nanos());
    let mut world = World::new(scenario, Seed(seed));
    let begun = Instant::now();
    world.run(&mut watch);
    let wall_seconds = begun.elapsed().as_secs_f64();
    watch.bar.finish_and_clear();
    (world.report(seed), wall_seconds)
}

/// Shows how far the run is, to people.
struct Watch {
    bar: ProgressBar,
}

impl Watch {
    fn new(duration: SimTime) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(duration / 1_000_000_000), target);
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

fn write_trace(trace: &Trace) -> Result<bool, String> {
    let scenario = load(&trace.which)?;
    let mut world = World::new(scenario, Seed(trace.which.seed));
    match trace.describe {
        None => world.run(&mut determinism::Digests::new()),
        Some(number) => world.run(&mut determinism::Describe { number }),
    }
    Ok(true)
}
