//! `explain`: one page, and a trace if asked, of what happened in a run.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::{BufWriter, Write as _};
use tidegate_sim::explain::{EVENTS_DEFAULT, EVENTS_MAX, Explained, chrome_trace, explain, page};

use crate::{Which, load, panics, print, progress_target};

const EXAMPLE: &str = "\
Examples:
  tidegate-sim explain scheduler-failover --seed 7
      writes scheduler-failover-7.html
  tidegate-sim explain bugs/drawn-g4-seed17.toml --out bug.html --trace bug.json
      also writes a trace that https://ui.perfetto.dev opens

The page needs nothing but a browser. The exit code is 0 when everything asked for was \
written, whether or not the run held its guarantees.";

/// Options of the command.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Explain {
    #[command(flatten)]
    which: Which,
    /// Where the page goes [default: SCENARIO-SEED.html, here].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write a Chrome trace, which Perfetto opens.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    /// Keep so many events before the first violation, or before the end; the causal
    /// history of a violation is kept in any case.
    #[arg(long, value_name = "N", default_value_t = EVENTS_DEFAULT as u64,
        value_parser = clap::value_parser!(u64).range(1..=EVENTS_MAX as u64))]
    events: u64,
    /// Print one JSON object about what was written.
    #[arg(long)]
    json: bool,
}

/// Writes the files, and says where they are.
pub(crate) fn run(options: &Explain) -> Result<bool, String> {
    let which = &options.which;
    let scenario = load(which)?;
    panics::keep_quiet();
    let seed = crate::seed_that_shows(which, &scenario);
    let seconds = scenario.duration.get_ref().nanos() / 1_000_000_000;
    let bar = bar(2 * seconds);
    let explained = explain(
        &scenario,
        seed,
        &repro(which, seed),
        options.events as usize,
        |at| bar.set_position(at / 1_000_000_000),
    );
    bar.finish_and_clear();
    let to = match &options.out {
        Some(path) => path.clone(),
        None => PathBuf::from(format!("{}-{}.html", explained.scenario, explained.seed)),
    };
    let bytes = page(&explained);
    write(&to, |out| out.write_all(bytes.as_bytes()))?;
    if let Some(path) = &options.trace {
        let trace = chrome_trace(&explained);
        write(path, |out| Ok(serde_json::to_writer(out, &trace)?))?;
    }
    tell(options, &explained, &to, bytes.len());
    Ok(true)
}

fn repro(which: &Which, seed: u64) -> String {
    let encode = if which.encode_messages {
        " --encode-messages"
    } else {
        ""
    };
    let scenario = quoted(&which.scenario);
    format!("tidegate-sim run {scenario} --seed {seed}{encode}")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    if word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn bar(seconds: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(seconds), progress_target());
    if let Ok(style) =
        ProgressStyle::with_template("{bar:40} {pos} of {len} simulated seconds, in two runs")
    {
        bar.set_style(style);
    }
    bar
}

fn write(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<std::fs::File>) -> std::io::Result<()>,
) -> Result<(), String> {
    let write = || {
        let mut out = BufWriter::new(std::fs::File::create(path)?);
        content(&mut out)?;
        out.flush()
    };
    write().map_err(|error| {
        let path = path.display();
        format!("{path}: {error}; name a file that can be written")
    })
}

fn tell(options: &Explain, explained: &Explained, page: &Path, bytes: usize) {
    let events = explained.shown.len();
    if options.json {
        let object = json!({
            "page": page.display().to_string(),
            "trace": options.trace.as_ref().map(|path| path.display().to_string()),
            "events": events,
            "violations": explained.violation_count,
        });
        return print(&format!("{object}\n"));
    }
    let total = explained.events;
    let size = bytes as f64 / 1e6;
    print(&format!(
        "{}: {size:.1} MB, {events} of {total} events\n",
        page.display()
    ));
    if let Some(path) = &options.trace {
        print(&format!(
            "{}: open it with https://ui.perfetto.dev\n",
            path.display()
        ));
    }
    match explained.violations.first() {
        Some(first) => print(&format!(
            "at {:.3} s guarantee {} is violated: {}\n",
            first.at as f64 / 1e9,
            first.guarantee,
            first.text
        )),
        None => print("every guarantee held\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_one_word() {
        assert_eq!(quoted("scenarios/a-b_1.toml"), "scenarios/a-b_1.toml");
        assert_eq!(quoted("my bug's.toml"), r"'my bug'\''s.toml'");
    }
}
