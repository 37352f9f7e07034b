//! `tidegate.yml`: how a folder is to run.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde::de::{SeqAccess, Visitor};
use tidegate_api::model::{Kind, Scaling};

pub(crate) const NAME: &str = "tidegate.yml";
/// Bytes of a project file.
const BYTES_MAX: u64 = 64 * 1024;

/// First words of a line that `exec` cannot stand before.
const SHELL_WORDS: [&str; 9] = [
    "!", ".", "cd", "eval", "exec", "exit", "export", "set", "ulimit",
];

/// A folder's project file, or what holds without one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ProjectFile {
    pub(crate) project: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) command: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) regions: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) health_path: String,
    pub(crate) scaling: Scaling,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    project: Option<String>,
    command: Option<Command>,
    env: BTreeMap<String, Scalar>,
    regions: Vec<String>,
    hosts: Vec<String>,
    health: Option<String>,
    instances: Option<u32>,
    concurrency: Option<u32>,
    idle_sleep: Option<Span>,
    min_lifetime: Option<Span>,
    start_timeout: Option<Span>,
    stop_grace: Option<Span>,
}

#[derive(Debug)]
enum Command {
    Line(String),
    Words(Vec<String>),
}

/// A variable's value.
#[derive(Debug)]
struct Scalar(String);

/// A length of time: "300s", "5m", "1h 30m", or "never".
#[derive(Debug)]
struct Span(u64);

// Visitors, because a mistake that a visitor finds is reported where the value stands.

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CommandVisitor)
    }
}

struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = Command;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a command: a line for the shell, or a list of words")
    }

    fn visit_str<E: serde::de::Error>(self, line: &str) -> Result<Command, E> {
        Ok(Command::Line(line.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Command, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = list.next_element()? {
            words.push(word);
        }
        Ok(Command::Words(words))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a variable's value: text, a number, or true or false")
    }

    fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar(text.to_owned()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
        Ok(Scalar(number.to_string()))
    }

    fn visit_bool<E>(self, boolean: bool) -> Result<Scalar, E> {
        Ok(Scalar(boolean.to_string()))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(SpanVisitor)
    }
}

struct SpanVisitor;

impl Visitor<'_> for SpanVisitor {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a length of time like `300s`, `5m` or `never`")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Span, E> {
        if text == "never" {
            return Ok(Span(0));
        }
        let span: Duration = humantime::parse_duration(text).map_err(|error| {
            E::custom(format!(
                "`{text}` is no length of time ({error}); write it like `300s`, `5m` or `never`"
            ))
        })?;
        u64::try_from(span.as_millis()).map(Span).map_err(E::custom)
    }
}

impl ProjectFile {
    /// Reads the project file of a folder. Without one, the folder is a static app.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<ProjectFile> {
        let path = dir.join(NAME);
        let text = match std::fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
            Ok(file) if file.len() > BYTES_MAX => bail!(
                "{}: {} bytes; a project file has at most {BYTES_MAX}",
                path.display(),
                file.len()
            ),
            Ok(_) => std::fs::read_to_string(&path)
                .with_context(|| format!("{} cannot be read", path.display()))?,
        };
        Self::parse(&text).map_err(|reason| anyhow::anyhow!("{}{reason}", path.display()))
    }

    /// An error begins with the place in the file: ":LINE:COLUMN: ".
    fn parse(text: &str) -> Result<ProjectFile, String> {
        let raw: Raw = if text.trim().is_empty() {
            Raw::default()
        } else {
            serde_norway::from_str(text).map_err(|error| placed(&error))?
        };
        let command = match raw.command {
            None => Vec::new(),
            Some(Command::Words(words)) => words,
            Some(Command::Line(line)) => vec!["sh".into(), "-c".into(), for_shell(line)],
        };
        let defaults = Scaling::default();
        let span = |span: Option<Span>, default| span.map_or(default, |Span(ms)| ms);
        Ok(ProjectFile {
            project: raw.project,
            kind: if command.is_empty() {
                Kind::Static
            } else {
                Kind::Program
            },
            command,
            env: raw.env.into_iter().map(|(k, v)| (k, v.0)).collect(),
            regions: raw.regions,
            hosts: raw.hosts,
            health_path: raw.health.unwrap_or_default(),
            scaling: Scaling {
                instances_max: raw.instances.unwrap_or(defaults.instances_max),
                concurrency: raw.concurrency.unwrap_or(defaults.concurrency),
                idle_ms: span(raw.idle_sleep, defaults.idle_ms),
                lifetime_min_ms: span(raw.min_lifetime, defaults.lifetime_min_ms),
                start_timeout_ms: span(raw.start_timeout, defaults.start_timeout_ms),
                stop_grace_ms: span(raw.stop_grace, defaults.stop_grace_ms),
            },
        })
    }
}

/// A single program takes the place of the shell, so that signals and the exit are its own.
/// Anything more is the shell's to run: `exec a && b` would never come to `b`.
fn for_shell(line: String) -> String {
    let is_one_program = !line.contains([';', '&', '|', '\n', '(', ')', '{', '}', '`']);
    let first = line.split_whitespace().next().unwrap_or_default();
    let is_programs_name = !first.contains('=') && !SHELL_WORDS.contains(&first);
    if is_one_program && is_programs_name {
        format!("exec {line}")
    } else {
        line
    }
}

fn placed(error: &serde_norway::Error) -> String {
    let text = error.to_string();
    match error.location() {
        Some(place) => {
            let message = text.split(" at line ").next().unwrap_or(&text);
            format!(":{}:{}: {message}", place.line(), place.column())
        }
        None => format!(": {text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_file_is_a_static_app() {
        let file = ProjectFile::parse("").unwrap();
        assert_eq!(file.kind, Kind::Static);
        assert_eq!(file.scaling, Scaling::default());
    }

    #[test]
    fn a_program_is_read_whole() {
        let text = "project: api\ncommand: python3 -m http.server $PORT\nenv:\n  DEBUG: true\n  \
                    N: 3\nidle_sleep: 5m\nmin_lifetime: 0s\ninstances: 2\nhealth: /up\n";
        let file = ProjectFile::parse(text).unwrap();
        assert_eq!(file.project.as_deref(), Some("api"));
        assert_eq!(
            file.command,
            ["sh", "-c", "exec python3 -m http.server $PORT"]
        );
        assert_eq!(file.env["DEBUG"], "true");
        assert_eq!(file.env["N"], "3");
        assert_eq!(file.scaling.idle_ms, 300_000);
        assert_eq!(file.scaling.lifetime_min_ms, 0);
        assert_eq!(file.scaling.instances_max, 2);
        assert_eq!(file.health_path, "/up");
    }

    #[test]
    fn only_a_single_program_takes_the_place_of_the_shell() {
        for (line, run) in [
            ("node server.js > log", "exec node server.js > log"),
            ("./migrate && ./serve", "./migrate && ./serve"),
            ("echo one; exit 7", "echo one; exit 7"),
            ("MODE=fast ./serve", "MODE=fast ./serve"),
            ("exec ./serve", "exec ./serve"),
        ] {
            assert_eq!(for_shell(line.to_owned()), run);
        }
    }

    #[test]
    fn mistakes_name_their_line() {
        for (text, place, word) in [
            ("project: a\ncomand: x\n", ":2:1: ", "comand"),
            ("instances: many\n", ":1:12: ", "many"),
            ("project: a\nidle_sleep: soon\n", ":2:13: ", "soon"),
            ("idle_sleep: soon\n", ":1:13: ", "soon"),
            ("env:\n  LIST: [1]\n", ":2:9: ", "a variable's value"),
            ("project: [\n", ":", "project"),
            ("command:\n  a: b\n", ":2:3: ", "command"),
        ] {
            let error = ProjectFile::parse(text).unwrap_err();
            assert!(error.starts_with(place), "{text}: {error}");
            assert!(error.contains(word) || word == "project", "{text}: {error}");
        }
    }
}
