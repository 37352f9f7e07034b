//! Two runs of one seed, in two processes, compared event by event.
//!
//! Each process writes the digest of its trace after every event; the first that differs
//! names the event, and both are asked what they had there.

use std::io::{BufReader, BufWriter, Read, Write};
use std::process::{Child, Command, Stdio};

use tidegate_sim::{Happening, Observer, SimTime};

use crate::Which;

/// Writes the digest of every event to the standard output.
pub(crate) struct Digests {
    out: BufWriter<std::io::Stdout>,
}

impl Digests {
    pub(crate) fn new() -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 16, std::io::stdout()),
        }
    }
}

impl Observer for Digests {
    fn event(&mut self, _: u64, _: SimTime, digest: u64, _: &Happening) {
        if self.out.write_all(&digest.to_le_bytes()).is_err() {
            // The reader has seen enough.
            std::process::exit(0);
        }
    }
}

/// Prints one event.
pub(crate) struct Describe {
    pub(crate) number: u64,
}

impl Observer for Describe {
    fn event(&mut self, number: u64, at: SimTime, digest: u64, what: &Happening) {
        if number == self.number {
            println!(
                "at {:.9} s, digest {digest:016x}: {what:?}",
                at as f64 / 1e9
            );
            std::process::exit(0);
        }
    }
}

/// Runs the scenario twice; true when every event is the same.
pub(crate) fn check(which: &Which, seed: u64) -> Result<bool, String> {
    let mut first = spawn(which, seed, None)?;
    let mut second = spawn(which, seed, None)?;
    let mut streams = [output(&mut first)?, output(&mut second)?];
    let mut count = 0;
    let mut last = [0; 8];
    loop {
        let [one, two] = [next(&mut streams[0])?, next(&mut streams[1])?];
        if one != two {
            stop(first);
            stop(second);
            return differ(which, seed, count);
        }
        match one {
            Some(digest) => last = digest,
            None => break,
        }
        count += 1;
    }
    for mut process in [first, second] {
        let status = process.wait().map_err(|e| format!("a run was lost: {e}"))?;
        if !status.success() {
            return Err(format!("a run ended with {status}"));
        }
    }
    println!(
        "{}, seed {}: {count} events are the same in two processes; trace {:016x}",
        which.scenario,
        seed,
        u64::from_le_bytes(last)
    );
    Ok(true)
}

fn differ(which: &Which, seed: u64, number: u64) -> Result<bool, String> {
    println!("{}, seed {}: event {number} differs", which.scenario, seed);
    for name in ["one run", "the other"] {
        let mut process = spawn(which, seed, Some(number))?;
        let mut text = String::new();
        output(&mut process)?
            .read_to_string(&mut text)
            .map_err(|e| format!("a run was lost: {e}"))?;
        stop(process);
        let text = text.trim();
        let text = if text.is_empty() {
            "it ended before"
        } else {
            text
        };
        println!("  {name}: {text}");
    }
    Ok(false)
}

fn spawn(which: &Which, seed: u64, describe: Option<u64>) -> Result<Child, String> {
    let program = std::env::current_exe().map_err(|e| format!("this program is not found: {e}"))?;
    let mut command = Command::new(program);
    command
        .arg("trace")
        .arg(&which.scenario)
        .arg("--seed")
        .arg(seed.to_string());
    if which.encode_messages {
        command.arg("--encode-messages");
    }
    if let Some(number) = describe {
        command.arg("--describe").arg(number.to_string());
    }
    command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("a run cannot be started: {e}"))
}

fn output(process: &mut Child) -> Result<BufReader<std::process::ChildStdout>, String> {
    let out = process.stdout.take().ok_or("a run has no output")?;
    Ok(BufReader::with_capacity(1 << 16, out))
}

/// The next digest; `None` at the end.
fn next(stream: &mut impl Read) -> Result<Option<[u8; 8]>, String> {
    let mut digest = [0; 8];
    match stream.read_exact(&mut digest) {
        Ok(()) => Ok(Some(digest)),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(e) => Err(format!("a run was lost: {e}")),
    }
}

fn stop(mut process: Child) {
    // It may have ended by itself.
    let _ = process.kill();
    let _ = process.wait();
}
