//! A writer that is killed at any moment loses nothing that it acknowledged.
//!
//! The test starts its own binary as the writer, reads its acknowledgements through a pipe,
//! kills it with SIGKILL, opens the store and compares it with what every revision must
//! have written, which is a function of the revision alone.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use tidegate_kernel::CommitOutcome;
use tidegate_protocol::{Bytes, FeedEntry, Precondition, Txn, Write};
use tidegate_storage::{Engine, FjallEngine, FjallOptions};

const DIR_VARIABLE: &str = "TIDEGATE_TEST_KILL_DIR";
const ROUNDS: u64 = 40;
const LOG_CHANGES_MAX: usize = 400;
const COUNTER: &str = "counter";

fn options() -> FjallOptions {
    FjallOptions {
        log_changes_max: LOG_CHANGES_MAX,
        free_bytes_min: 0,
        // Small, so that tables are written and merged while the writer is killed.
        memtable_bytes: 128 * 1024,
        ..FjallOptions::default()
    }
}

/// SplitMix64: the same number for the same place, everywhere.
fn mix(a: u64, b: u64) -> u64 {
    let mut z = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b.wrapping_add(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What revision `r` writes: some keys of its own, and the counter.
fn written(revision: u64) -> Vec<FeedEntry> {
    let own = 1 + mix(revision, 0) % 6;
    let mut entries: Vec<FeedEntry> = (0..own)
        .map(|i| FeedEntry {
            key: format!("own/{revision:016x}/{i}"),
            value: Some(Bytes::from(vec![
                mix(revision, i) as u8;
                (mix(i, revision) % 600) as usize
            ])),
            revision,
        })
        .collect();
    entries.push(FeedEntry {
        key: COUNTER.to_owned(),
        value: Some(Bytes::copy_from_slice(&revision.to_be_bytes())),
        revision,
    });
    entries
}

fn txn(revision: u64) -> Txn {
    let writes = written(revision).into_iter().map(|entry| Write {
        key: entry.key,
        value: entry.value,
    });
    Txn {
        preconditions: vec![Precondition {
            key: COUNTER.to_owned(),
            revision: revision - 1,
        }],
        writes: writes.collect(),
    }
}

/// The writer: commits batches for ever, and says after each how far it is.
#[test]
#[ignore = "is run by the test below, as a process of its own"]
fn writer() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else {
        return;
    };
    let mut engine = FjallEngine::open(Path::new(&dir), &options()).unwrap();
    let mut acks = std::io::stdout();
    loop {
        let next = engine.revision() + 1;
        let size = 1 + mix(next, 1) % 8;
        let txns: Vec<Txn> = (next..next + size).map(txn).collect();
        let outcome = engine.commit(&txns).unwrap();
        let applied: Vec<_> = (next..next + size).map(CommitOutcome::Applied).collect();
        assert_eq!(outcome.outcomes, applied);
        writeln!(acks, "ack {}", engine.revision()).unwrap();
        acks.flush().unwrap();
    }
}

#[test]
fn what_a_killed_writer_acknowledged_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let (mut writer, acks) = start_writer(dir.path());
        let mut acks = BufReader::new(acks);
        // Some rounds end while the store opens, the others after some commits; both at
        // whatever the writer happens to do then.
        if !round.is_multiple_of(5) {
            for _ in 0..mix(round, 2) % 25 {
                acknowledged = next_ack(&mut acks)
                    .expect("a writer that runs")
                    .max(acknowledged);
            }
        }
        std::thread::sleep(Duration::from_micros(mix(round, 3) % 30_000));
        writer.kill().unwrap();
        writer.wait().unwrap();
        // What it had said before it died counts as well.
        while let Some(revision) = next_ack(&mut acks) {
            acknowledged = acknowledged.max(revision);
        }
        check(dir.path(), acknowledged);
    }
    assert!(acknowledged > ROUNDS, "the writers got nowhere");
}

fn start_writer(dir: &Path) -> (Child, ChildStdout) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "writer", "--ignored", "--nocapture"])
        .env(DIR_VARIABLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    (child, stdout)
}

/// The next acknowledged revision; `None` when the writer is gone. A line that was cut off
/// acknowledges nothing.
fn next_ack(lines: &mut impl BufRead) -> Option<u64> {
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        if !line.ends_with('\n') {
            return None;
        }
        if let Some((_, revision)) = line.trim_end().rsplit_once("ack ") {
            return Some(revision.parse().unwrap());
        }
    }
}

fn check(dir: &Path, acknowledged: u64) {
    let engine = FjallEngine::open(dir, &options()).unwrap();
    let head = engine.revision();
    assert!(
        head >= acknowledged,
        "{acknowledged} was acknowledged, {head} is there"
    );
    let mut expected: Vec<FeedEntry> = (1..=head).flat_map(written).collect();
    expected.retain(|entry| entry.key != COUNTER || entry.revision == head);
    expected.sort_by(|a, b| a.key.cmp(&b.key));
    assert_eq!(engine.snapshot(&[String::new()]).unwrap(), (head, expected));
    // At most 7 changes a revision.
    let after = head.saturating_sub(LOG_CHANGES_MAX as u64 / 7);
    let feed = engine.feed(after, usize::MAX).unwrap();
    let changes: Vec<FeedEntry> = (after + 1..=head).flat_map(written).collect();
    assert_eq!(
        (feed.entries, feed.revision, feed.gone),
        (changes, head, false)
    );
}
