//! A run in a process of its own, as the comparison sees it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::compare::{Run, Window};
use super::trace::{PROTOCOL, WINDOW};

/// Longest line that a run may answer, in bytes: a report of a long run is the longest.
const LINE_MAX: u64 = 64 << 20;

pub(super) struct Process {
    program: PathBuf,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// The last digest that it told; a window without events has none of its own.
    digest: u64,
}

impl Process {
    pub(super) fn start(program: &Path, arguments: &[String]) -> Result<Self, String> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{} cannot be run: {e}; check the path", program.display()))?;
        let pipes = (child.stdin.take(), child.stdout.take());
        let (Some(questions), Some(answers)) = pipes else {
            return Err("a run has no input or output".to_owned());
        };
        let mut process = Self {
            program: program.to_owned(),
            child,
            questions,
            answers: BufReader::new(answers),
            digest: 0,
        };
        let greeting = process.answer()?;
        if greeting == json!({"tidegate_trace": PROTOCOL, "window": WINDOW}) {
            Ok(process)
        } else {
            Err(process.foreign())
        }
    }

    fn ask(&mut self, question: &str) -> Result<(), String> {
        writeln!(self.questions, "{question}").map_err(|_| self.lost())
    }

    fn answer(&mut self) -> Result<Value, String> {
        let mut line = Vec::new();
        let read = (&mut self.answers)
            .take(LINE_MAX)
            .read_until(b'\n', &mut line);
        match read {
            Ok(1..) => serde_json::from_slice(&line).map_err(|_| self.foreign()),
            Ok(0) | Err(_) => Err(self.lost()),
        }
    }

    fn foreign(&self) -> String {
        format!(
            "{} does not answer as this program does; name a tidegate-sim of this version",
            self.program.display()
        )
    }

    fn lost(&mut self) -> String {
        let _ = self.child.kill();
        let ended = self.child.wait();
        let how = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
        format!(
            "{} ended before its run did ({how}); is it a tidegate-sim of this version?",
            self.program.display()
        )
    }
}

impl Run for Process {
    fn window(&mut self) -> Result<Window, String> {
        let told = self.answer()?;
        let events = told["events"].as_u64().ok_or_else(|| self.foreign())?;
        if let Some(digest) = told["digest"].as_str() {
            self.digest = parsed(digest).ok_or_else(|| self.foreign())?;
        }
        Ok(Window {
            events,
            digest: self.digest,
            report: told["report"].as_str().map(str::to_owned),
        })
    }

    fn go_on(&mut self) -> Result<(), String> {
        self.ask("next")
    }

    fn digests(&mut self) -> Result<Vec<u64>, String> {
        self.ask("digests")?;
        let told = self.answer()?;
        let all = told.as_array().and_then(|list| {
            let digests = list.iter().map(|digest| parsed(digest.as_str()?));
            digests.collect::<Option<Vec<u64>>>()
        });
        all.ok_or_else(|| self.foreign())
    }

    fn describe(&mut self, number: u64) -> Result<String, String> {
        self.ask(&format!("describe {number}"))?;
        let told = self.answer()?;
        let text = told.as_str().map(str::to_owned);
        text.ok_or_else(|| self.foreign())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn parsed(digest: &str) -> Option<u64> {
    u64::from_str_radix(digest, 16).ok()
}
