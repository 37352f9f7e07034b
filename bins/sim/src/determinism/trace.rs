//! The side of a run in a comparison: it tells a window of events, and waits to be asked.
//!
//! Lines on the standard output are JSON: a greeting, then an object for each window. Lines
//! on the standard input are questions about the window: `digests`, `describe NUMBER`, and
//! `next`. Only one window of events is kept.

use std::io::{BufRead as _, BufWriter, StdinLock, StdoutLock, Write as _};

use clap::Args;
use serde_json::{Value, json};
use tidegate_sim::trial::{self, Until};
use tidegate_sim::{Happening, Observer, Seed, SimTime, World};

use crate::{Which, panics};

/// Which version of these lines is spoken.
pub(super) const PROTOCOL: u64 = 1;
/// Events in a window. Both sides of a comparison have to agree on it.
pub(super) const WINDOW: usize = 4096;
/// Longest description of an event, in bytes.
const DESCRIPTION_MAX: usize = 8_000;

#[derive(Debug, Args)]
pub(crate) struct Trace {
    #[command(flatten)]
    which: Which,
}

pub(crate) fn run(trace: &Trace) -> Result<bool, String> {
    let scenario = crate::load(&trace.which)?;
    panics::keep_quiet();
    let seed = trace.which.seed(&scenario);
    let mut world = World::new(&scenario, Seed(seed));
    let mut asked = Asked::new();
    asked.tell(&json!({"tidegate_trace": PROTOCOL, "window": WINDOW}));
    trial::run_world(&mut world, Until::End, &mut asked);
    let mut report = world.report(seed);
    report.violations.iter_mut().for_each(panics::place);
    asked.wait(Some(report.text(true)));
    Ok(true)
}

/// Keeps the events of a window until it was asked about them.
struct Asked {
    questions: StdinLock<'static>,
    answers: BufWriter<StdoutLock<'static>>,
    /// Number of the window's first event.
    begin: u64,
    events: Vec<(SimTime, u64, Happening)>,
}

impl Asked {
    fn new() -> Self {
        Self {
            questions: std::io::stdin().lock(),
            answers: BufWriter::new(std::io::stdout().lock()),
            begin: 0,
            events: Vec::with_capacity(WINDOW),
        }
    }

    fn tell(&mut self, object: &Value) {
        let written = writeln!(self.answers, "{object}").and_then(|()| self.answers.flush());
        if written.is_err() {
            // Nobody compares any more.
            std::process::exit(0);
        }
    }

    /// Tells the window, and answers until the next one is wanted.
    fn wait(&mut self, report: Option<String>) {
        let events = self.begin + self.events.len() as u64;
        let digest = self.events.last().map(|(_, digest, _)| hex(*digest));
        self.tell(&json!({"events": events, "digest": digest, "report": report}));
        loop {
            let mut question = String::new();
            match self.questions.read_line(&mut question) {
                Ok(1..) => {}
                _ => std::process::exit(0),
            }
            match question.trim().split_once(' ') {
                None if question.trim() == "next" => break,
                None if question.trim() == "digests" => {
                    let all = self.events.iter().map(|(_, digest, _)| hex(*digest));
                    let all: Value = all.collect();
                    self.tell(&all);
                }
                Some(("describe", number)) => {
                    let text = number.parse().ok().and_then(|n| self.describe(n));
                    self.tell(&json!(text));
                }
                _ => self.tell(&Value::Null),
            }
        }
        self.begin = events;
        self.events.clear();
    }

    fn describe(&self, number: u64) -> Option<String> {
        let index = usize::try_from(number.checked_sub(self.begin)?).ok()?;
        let (at, digest, what) = self.events.get(index)?;
        let mut text = format!(
            "at {:.9} s, digest {digest:016x}: {what:?}",
            *at as f64 / 1e9
        );
        text.truncate(text.floor_char_boundary(DESCRIPTION_MAX));
        Some(text)
    }
}

impl Observer for Asked {
    fn event(&mut self, _: u64, at: SimTime, digest: u64, what: &Happening) {
        self.events.push((at, digest, what.clone()));
        if self.events.len() == WINDOW {
            self.wait(None);
        }
    }
}

fn hex(digest: u64) -> String {
    format!("{digest:016x}")
}
