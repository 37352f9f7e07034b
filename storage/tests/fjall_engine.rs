//! What an operator meets: a second process, another format, a full disk, damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_kernel::{CommitOutcome, EngineOp, EngineReply};
use tidegate_protocol::{Bytes, Txn, Write};
use tidegate_storage::{Engine, FjallEngine, FjallOptions, StorageError, run_op};

const DIR_VARIABLE: &str = "TIDEGATE_TEST_LIMIT_DIR";

fn options() -> FjallOptions {
    FjallOptions {
        free_bytes_min: 0,
        memtable_bytes: 64 * 1024,
        ..FjallOptions::default()
    }
}

fn put(key: &str, bytes: usize) -> Txn {
    Txn {
        preconditions: Vec::new(),
        writes: vec![Write {
            key: key.into(),
            value: Some(Bytes::from(vec![7; bytes])),
        }],
    }
}

#[test]
fn one_process_has_it_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = FjallEngine::open(dir.path(), &options()).unwrap();
    let error = FjallEngine::open(dir.path(), &options()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} is in use by another process; stop it, or choose another directory",
            dir.path().display()
        )
    );
    drop(first);
    FjallEngine::open(dir.path(), &options()).unwrap();
}

#[test]
fn another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(FjallEngine::open(dir.path(), &options()).unwrap());
    fs::write(dir.path().join("format"), "tidegate store 2\n").unwrap();
    let error = FjallEngine::open(dir.path(), &options()).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} has format `tidegate store 2`, this program reads `tidegate store 1`; use the \
             program that wrote it",
            dir.path().display()
        )
    );
}

#[test]
fn a_creation_that_was_cut_off_is_done_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(FjallEngine::open(dir.path(), &options()).unwrap());
    fs::rename(dir.path().join("db"), dir.path().join("db.new")).unwrap();
    fs::remove_file(dir.path().join("db.new/version")).unwrap();
    let engine = FjallEngine::open(dir.path(), &options()).unwrap();
    assert_eq!(engine.revision(), 0);
}

#[test]
fn a_full_disk_refuses_commits_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = FjallEngine::open(dir.path(), &options()).unwrap();
    engine.commit(&[put("a", 1)]).unwrap();
    drop(engine);
    let full = FjallOptions {
        free_bytes_min: u64::MAX,
        ..options()
    };
    let mut engine = FjallEngine::open(dir.path(), &full).unwrap();
    let op = EngineOp::Commit {
        batch: 1,
        txns: vec![put("b", 1), put("c", 1)],
    };
    let Ok(EngineReply::Committed { outcome, .. }) = run_op(&mut engine, op) else {
        panic!("a commit is answered");
    };
    assert_eq!((outcome.outcomes.len(), outcome.revision), (2, 1));
    for outcome in outcome.outcomes {
        let CommitOutcome::Refused(reason) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(reason.starts_with("no space left for "), "{reason}");
    }
    assert!(engine.read("a").unwrap().is_some());
    assert_eq!(engine.read("b").unwrap(), None);
    drop(engine);
    let mut engine = FjallEngine::open(dir.path(), &options()).unwrap();
    let outcome = engine.commit(&[put("b", 1)]).unwrap();
    assert_eq!(outcome.outcomes, [CommitOutcome::Applied(2)]);
}

/// Commits until a write fails half way, because its process may not write larger files.
#[test]
#[ignore = "is run by the test below, as a process of its own"]
fn limited_writer() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else {
        return;
    };
    let mut engine = FjallEngine::open(Path::new(&dir), &options()).unwrap();
    let txns: Vec<Txn> = (0..10).map(|i| put(&format!("k{i}"), 3000)).collect();
    let error = loop {
        if let Err(error) = engine.commit(&txns) {
            break error;
        }
    };
    assert!(matches!(error, StorageError::Stopped { .. }), "{error}");
    assert_eq!(engine.commit(&txns), Err(error));
    let revision = engine.revision();
    assert_eq!(engine.read("k9").unwrap().unwrap().1, revision);
    fs::write(Path::new(&dir).with_extension("ack"), revision.to_string()).unwrap();
}

#[test]
fn a_write_that_fails_half_way_stops_commits_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    // Made and opened again without the limit: fjall makes room for its journal in advance.
    drop(FjallEngine::open(&place, &options()).unwrap());
    drop(FjallEngine::open(&place, &options()).unwrap());
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "limited_writer", "--ignored"])
        .env(DIR_VARIABLE, &place)
        .status()
        .unwrap();
    assert!(status.success());
    let acknowledged: u64 = fs::read_to_string(place.with_extension("ack"))
        .unwrap()
        .parse()
        .unwrap();
    let mut engine = FjallEngine::open(&place, &options()).unwrap();
    let revision = engine.revision();
    assert!(
        revision == acknowledged || revision == acknowledged + 10,
        "{revision} after {acknowledged}"
    );
    assert_eq!(engine.read("k9").unwrap().unwrap().1, revision);
    let outcome = engine.commit(&[put("a", 1)]).unwrap();
    assert_eq!(outcome.outcomes, [CommitOutcome::Applied(revision + 1)]);
}

#[test]
fn a_shorter_log_is_forgotten_at_once_and_removed_little_by_little() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = FjallEngine::open(dir.path(), &options()).unwrap();
    let txns: Vec<Txn> = (0..1000).map(|i| put(&format!("k{i:04}"), 10)).collect();
    engine.commit(&txns).unwrap();
    assert_eq!(engine.feed(0, usize::MAX).unwrap().entries.len(), 1000);
    drop(engine);
    let short = FjallOptions {
        log_changes_max: 10,
        ..options()
    };
    for round in 0..30 {
        let mut engine = FjallEngine::open(dir.path(), &short).unwrap();
        let head = engine.revision();
        assert_eq!(head, 1000 + round);
        assert!(engine.feed(head - 11, usize::MAX).unwrap().gone);
        let feed = engine.feed(head - 10, usize::MAX).unwrap();
        assert_eq!((feed.entries.len(), feed.revision), (10, head));
        engine.commit(&[put("again", 10)]).unwrap();
    }
    assert_eq!(
        FjallEngine::open(dir.path(), &short)
            .unwrap()
            .snapshot(&[String::new()])
            .unwrap()
            .1
            .len(),
        1001
    );
}

/// Damage in a table is found when it is read, and named; never a wrong value.
#[test]
fn damage_in_a_table_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = FjallEngine::open(dir.path(), &options()).unwrap();
    for i in 0..40 {
        let txns: Vec<Txn> = (0..20)
            .map(|j| put(&format!("k{i:02}{j:02}"), 1000))
            .collect();
        engine.commit(&txns).unwrap();
    }
    drop(engine);
    // Opening once more moves what is left in memory to tables.
    drop(FjallEngine::open(dir.path(), &options()).unwrap());
    let tables = tables_below(dir.path());
    assert!(!tables.is_empty(), "nothing has been moved to tables");
    for table in &tables {
        let mut bytes = fs::read(table).unwrap();
        for byte in bytes.iter_mut().skip(100).step_by(512) {
            *byte ^= 0x55;
        }
        fs::write(table, bytes).unwrap();
    }
    let read = FjallEngine::open(dir.path(), &options())
        .and_then(|engine| engine.snapshot(&[String::new()]));
    assert!(
        matches!(read, Err(StorageError::Corrupted { .. })),
        "{read:?}"
    );
}

fn tables_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if dir.ends_with("tables") {
                found.push(path);
            }
        }
    }
    found
}
