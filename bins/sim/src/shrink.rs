//! `shrink`: a bug file made small, with progress, and by how much.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tidegate_sim::scenario::Scenario;
use tidegate_sim::shrink::{Shrunk, Size, shrink};
use tidegate_sim::trial;

use crate::{bug_files, panics, progress_target};

#[derive(Debug, Args)]
#[command(after_help = "Example: tidegate-sim shrink bugs/drawn-g4-seed17.toml")]
pub(crate) struct Shrink {
    /// The bug file.
    file: String,
    /// Where the small one is written [default: NAME.small.toml].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Stop after this time, with what is small by then.
    #[arg(long, default_value_t = 10.0, value_name = "N")]
    minutes: f64,
    /// Print what became smaller as one JSON object.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Shrink) -> Result<bool, String> {
    let file = crate::load_named(&command.file)?;
    if file.bug.is_none() {
        return Err(format!(
            "{} has no [bug] table: it is a scenario, not a bug file; run `tidegate-sim swarm`, \
             which writes bug files",
            command.file
        ));
    }
    panics::keep_quiet();
    let begun = Instant::now();
    let bar = ProgressBar::with_draw_target(None, progress_target());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    let limit = Duration::from_secs_f64(command.minutes * 60.0);
    let shrunk = shrink(&file, |progress| {
        bar.set_message(format!(
            "round {}: {} cuts tried, {} kept, {} events; now: {}",
            progress.round, progress.tried, progress.kept, progress.events, progress.cut
        ));
        bar.tick();
        begun.elapsed() < limit
    });
    bar.finish_and_clear();
    let shrunk = shrunk.ok_or_else(|| {
        format!(
            "{} breaks nothing any more, with its own seed or {} others",
            command.file,
            trial::SCHEDULES
        )
    })?;
    let out = match &command.out {
        Some(out) => out.clone(),
        None => Path::new(&command.file).with_extension("small.toml"),
    };
    bug_files::write(&out, &shrunk.file)?;
    tell(command, &file, &shrunk, &out, begun.elapsed());
    Ok(true)
}

fn tell(command: &Shrink, file: &Scenario, shrunk: &Shrunk, out: &Path, took: Duration) {
    let sizes = [
        Size::of(file, shrunk.events_before),
        Size::of(&shrunk.file, shrunk.trial.events),
    ];
    if command.json {
        let [before, after] = sizes.map(|s| {
            json!({
                "regions": s.regions, "machines": s.machines, "apps": s.apps,
                "operations": s.operations, "faults": s.faults, "sim_seconds": s.seconds,
                "events": s.events,
            })
        });
        let object = json!({
            "file": out, "before": before, "after": after, "cuts_tried": shrunk.tried,
            "minimal": shrunk.is_minimal, "wall_seconds": took.as_secs_f64(),
        });
        return crate::print(&format!("{object}\n"));
    }
    let [before, after] = sizes;
    let mut text = format!("{:<16}{:>12}{:>12}\n", "", "before", "after");
    for (name, b, a) in [
        ("regions", before.regions as u64, after.regions as u64),
        ("machines", before.machines as u64, after.machines as u64),
        ("apps", before.apps as u64, after.apps as u64),
        (
            "operations",
            before.operations as u64,
            after.operations as u64,
        ),
        ("faults", before.faults as u64, after.faults as u64),
        ("seconds", before.seconds, after.seconds),
        ("events", before.events, after.events),
    ] {
        text += &format!("{name:<16}{b:>12}{a:>12}\n");
    }
    let end = if shrunk.is_minimal {
        "no single cut is left that keeps the bug"
    } else {
        "stopped by --minutes; it may become smaller"
    };
    text += &format!(
        "{} cuts tried in {:.1} s; {end}\n{}\n",
        shrunk.tried,
        took.as_secs_f64(),
        out.display()
    );
    crate::print(&text);
}
