//! Where two runs begin to differ.
//!
//! Runs are compared a window of events at a time. The digest of an event covers all events
//! before it, so equal digests at the end of a window mean that everything up to there is
//! the same; only in the first window that differs is each event looked at. At the end the
//! reports are compared as well: an oracle may differ where the events do not.

use std::fmt;

use serde_json::{Value, json};

/// What a run says of its next events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// Events so far, with these.
    pub(super) events: u64,
    /// The trace up to and with the last of them.
    pub(super) digest: u64,
    /// What the run has to say for itself, once it has ended.
    pub(super) report: Option<String>,
}

/// A run that waits after each window.
pub(super) trait Run {
    /// What the window holds in which it waits now.
    fn window(&mut self) -> Result<Window, String>;
    /// Lets it run the next window.
    fn go_on(&mut self) -> Result<(), String>;
    /// The digest of each event of the window.
    fn digests(&mut self) -> Result<Vec<u64>, String>;
    /// What the event with this number was; it is in the window.
    fn describe(&mut self, number: u64) -> Result<String, String>;
}

/// What came of a comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Same {
        events: u64,
        digest: u64,
    },
    /// The first event that differs; `None`: this run ended before it.
    Event {
        number: u64,
        runs: [Option<String>; 2],
    },
    /// Every event is the same, but a line of the report is not.
    Report {
        events: u64,
        runs: [String; 2],
    },
}

impl Finding {
    pub(super) fn is_same(&self) -> bool {
        matches!(self, Finding::Same { .. })
    }

    /// Events that are the same.
    pub(super) fn events(&self) -> u64 {
        match self {
            Finding::Same { events, .. } | Finding::Report { events, .. } => *events,
            Finding::Event { number, .. } => *number,
        }
    }

    /// For programs.
    pub(super) fn object(&self) -> Value {
        match self {
            Finding::Same { events, digest } => {
                json!({"events": events, "trace_hash": format!("{digest:016x}")})
            }
            Finding::Event { number, runs } => json!({"event": number, "runs": runs}),
            Finding::Report { events, runs } => json!({"report_after": events, "runs": runs}),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs: [&str; 2] = match self {
            Finding::Same { events, digest } => {
                return write!(
                    f,
                    "{events} events are the same in two processes; trace {digest:016x}"
                );
            }
            Finding::Event { number, runs } => {
                write!(f, "event {number} differs")?;
                runs.each_ref()
                    .map(|run| run.as_deref().unwrap_or("it ended before"))
            }
            Finding::Report { events, runs } => {
                write!(f, "all {events} events are the same, the report is not")?;
                runs.each_ref().map(String::as_str)
            }
        };
        for (name, run) in ["one run", "the other"].into_iter().zip(runs) {
            write!(f, "\n  {name}: {run}")?;
        }
        Ok(())
    }
}

/// Finds the first difference of two runs that have just begun.
pub(super) fn compare(one: &mut dyn Run, other: &mut dyn Run) -> Result<Finding, String> {
    let mut begin = 0;
    loop {
        let [a, b] = [one.window()?, other.window()?];
        if (a.events, a.digest) != (b.events, b.digest) || a.report.is_some() != b.report.is_some()
        {
            return first_event(begin, one, other);
        }
        begin = a.events;
        match (a.report, b.report) {
            (Some(x), Some(y)) if x == y => {
                return Ok(Finding::Same {
                    events: a.events,
                    digest: a.digest,
                });
            }
            (Some(x), Some(y)) => {
                return Ok(Finding::Report {
                    events: a.events,
                    runs: first_line(&x, &y),
                });
            }
            _ => {
                one.go_on()?;
                other.go_on()?;
            }
        }
    }
}

/// `begin`: the number of the window's first event.
fn first_event(begin: u64, one: &mut dyn Run, other: &mut dyn Run) -> Result<Finding, String> {
    let [a, b] = [one.digests()?, other.digests()?];
    let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    if same == a.len() && same == b.len() {
        return Err("its two runs contradict themselves; use two builds of one version".to_owned());
    }
    let number = begin + same as u64;
    let describe = |run: &mut dyn Run, digests: &[u64]| {
        (same < digests.len())
            .then(|| run.describe(number))
            .transpose()
    };
    Ok(Finding::Event {
        number,
        runs: [describe(one, &a)?, describe(other, &b)?],
    })
}

fn first_line(a: &str, b: &str) -> [String; 2] {
    let (mut a, mut b) = (a.lines(), b.lines());
    loop {
        match (a.next(), b.next()) {
            (x, y) if x == y && x.is_some() => {}
            (x, y) => return [x, y].map(|line| line.unwrap_or("it ends before").to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: usize = 4;

    /// A run that was written down: its digests, a window at a time.
    struct Written {
        digests: Vec<u64>,
        report: &'static str,
        at: usize,
        described: Vec<u64>,
    }

    fn written(digests: &[u64]) -> Written {
        Written {
            digests: digests.to_vec(),
            report: "all is well",
            at: 0,
            described: Vec::new(),
        }
    }

    impl Run for Written {
        fn window(&mut self) -> Result<Window, String> {
            let end = (self.at + WINDOW).min(self.digests.len());
            Ok(Window {
                events: end as u64,
                digest: self.digests[..end].last().copied().unwrap_or_default(),
                report: (end < self.at + WINDOW).then(|| self.report.to_owned()),
            })
        }

        fn go_on(&mut self) -> Result<(), String> {
            self.at += WINDOW;
            Ok(())
        }

        fn digests(&mut self) -> Result<Vec<u64>, String> {
            let end = (self.at + WINDOW).min(self.digests.len());
            Ok(self.digests[self.at.min(end)..end].to_vec())
        }

        fn describe(&mut self, number: u64) -> Result<String, String> {
            self.described.push(number);
            Ok(format!("event {number}: {}", self.digests[number as usize]))
        }
    }

    fn found(a: &[u64], b: &[u64]) -> Finding {
        compare(&mut written(a), &mut written(b)).unwrap()
    }

    fn differs(number: u64, runs: [Option<&str>; 2]) -> Finding {
        Finding::Event {
            number,
            runs: runs.map(|run| run.map(str::to_owned)),
        }
    }

    #[test]
    fn what_is_the_same_is_the_same() {
        for length in 0..=9 {
            let run: Vec<u64> = (100..100 + length).collect();
            let digest = run.last().copied().unwrap_or_default();
            let same = Finding::Same {
                events: length,
                digest,
            };
            assert_eq!(found(&run, &run), same);
        }
    }

    #[test]
    fn the_first_event_that_differs_is_named_whatever_window_it_is_in() {
        let run: Vec<u64> = (100..110).collect();
        for first in 0..10 {
            let mut other = run.clone();
            other[first..].iter_mut().for_each(|digest| *digest += 50);
            let number = first as u64;
            let [a, b] = [100 + number, 150 + number].map(|d| format!("event {number}: {d}"));
            let expected = differs(number, [Some(&a), Some(&b)]);
            assert_eq!(found(&run, &other), expected);
        }
    }

    #[test]
    fn a_run_that_ends_early_differs_where_it_ends() {
        let run: Vec<u64> = (100..110).collect();
        for length in 0..10_u64 {
            let there = format!("event {length}: {}", 100 + length);
            let short = &run[..length as usize];
            let expected = differs(length, [Some(&there), None]);
            assert_eq!(found(&run, short), expected);
            let expected = differs(length, [None, Some(&there)]);
            assert_eq!(found(short, &run), expected);
        }
    }

    #[test]
    fn only_what_differs_is_described() {
        let (mut a, mut b) = (written(&[1, 2, 3]), written(&[1, 2, 4]));
        compare(&mut a, &mut b).unwrap();
        assert_eq!((a.described, b.described), (vec![2], vec![2]));
    }

    #[test]
    fn the_reports_are_compared_when_all_events_are_the_same() {
        let mut other = written(&[1, 2]);
        other.report = "all is well\nbut late";
        let found = compare(&mut written(&[1, 2]), &mut other).unwrap();
        let text = "all 2 events are the same, the report is not\n  \
                    one run: it ends before\n  the other: but late";
        assert_eq!(found.to_string(), text);
    }
}
