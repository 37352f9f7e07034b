//! Scenario files: what they say, and why one is refused.
//!
//! A scenario is data. Everything in it is bounded and checked before a world is built, so
//! that the world never meets a value that it cannot simulate.

mod builtin;
mod check;
mod fault_kind;
mod format;
mod span;
mod target;

pub use builtin::{BUILTIN, Builtin};
pub use fault_kind::FaultKind;
pub use format::{
    Action, App, Arrivals, Behaviour, Bug, Clocks, Disks, Fault, Kind, Network, Operation,
    RandomFaults, Scenario, Spike, Topology, Traffic,
};
pub use span::Span;
pub use target::{Pick, Target};

/// Largest file that is read.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;

/// A scenario that cannot be run, with the place and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    pub text: String,
}

impl std::fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

impl std::error::Error for ScenarioError {}

impl Scenario {
    /// Reads and checks a file's text; `file` is its name in errors.
    pub fn parse(file: &str, text: &str) -> Result<Scenario, ScenarioError> {
        let error = |start: Option<usize>, message: String| ScenarioError {
            file: file.to_owned(),
            line: line_of(text, start.unwrap_or(0)),
            text: message,
        };
        if text.len() > FILE_BYTES_MAX {
            return Err(error(
                None,
                format!(
                    "{} bytes; a scenario has at most {FILE_BYTES_MAX}",
                    text.len()
                ),
            ));
        }
        let scenario: Scenario = toml::from_str(text).map_err(|e| {
            let message = e.message().trim().replace('\n', "; ");
            error(e.span().map(|s| s.start), message)
        })?;
        check::check(&scenario).map_err(|c| error(Some(c.span.start), c.text))?;
        Ok(scenario)
    }
}

impl Scenario {
    /// Whether a scenario that was made, not read, is one that a world can simulate.
    pub fn validate(&self) -> Result<(), String> {
        check::check(self).map_err(|complaint| complaint.text)
    }

    /// The file that reads back as this scenario.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).unwrap_or_else(|error| unreachable!("plain data: {error}"))
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let end = offset.min(text.len());
    1 + text.as_bytes()[..end]
        .iter()
        .filter(|b| **b == b'\n')
        .count()
}

#[cfg(test)]
mod tests;
