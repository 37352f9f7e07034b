//! `tidegate-sim replay` on files: equal, different, cut off, damaged, foreign.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate_protocol::Role;
use tidegate_recording::format::{FRAME_HEAD, Kind, frame};
use tidegate_recording::{Limits, Recording};
use tidegate_sim::scenario::{Builtin, Scenario};
use tidegate_sim::{Seed, Unobserved, World};

/// What a command left behind.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn replay(arguments: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate-sim"))
        .arg("replay")
        .args(arguments)
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Records a scenario; a folder for each actor.
fn recorded(dir: &Path) {
    let builtin = Builtin::find("scheduler-failover").unwrap();
    let scenario = Scenario::parse(builtin.name, builtin.text).unwrap();
    let mut world = World::new(&scenario, Seed(1));
    world.record_actors(Limits {
        segment_bytes: 1_000_000,
        segment_bytes_max: 100_000_000,
    });
    world.run(&mut Unobserved);
    for (actor, segments) in world.take_recordings() {
        let folder = dir.join(actor.to_string().replace('/', "-"));
        fs::create_dir_all(&folder).unwrap();
        for (number, bytes) in (1..).zip(segments) {
            fs::write(folder.join(format!("{number:08}.tgrec")), bytes).unwrap();
        }
    }
}

/// First segments of two actors of a role.
fn two_of(dir: &Path, role: Role) -> [PathBuf; 2] {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|folder| folder.unwrap().path())
        .filter(|path| path.display().to_string().contains(role.name()))
        .map(|path| path.join("00000001.tgrec"))
        .collect();
    found.sort();
    [found[0].clone(), found[1].clone()]
}

fn utf8(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn everything_that_was_recorded_is_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path());
    let ran = replay(&["--json", utf8(dir.path())]);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{}", ran.out);
    let objects: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(objects.len() > 10);
    for object in &objects {
        assert!(object["steps"].as_u64().unwrap() > 0, "{object}");
        assert_eq!(object["differences"], 0, "{object}");
        assert_eq!(object["panicked"], false, "{object}");
        assert_eq!(object["cut_off"], Value::Null, "{object}");
    }
    let [gateway, _] = two_of(dir.path(), Role::Gateway);
    let until = replay(&["--json", utf8(&gateway), "--until", "40"]);
    let object: Value = serde_json::from_str(&until.out).unwrap();
    let before = object["inputs_before"].as_u64().unwrap();
    assert_eq!(object["steps"].as_u64().unwrap() + before, 40);
    let shown = replay(&[utf8(&gateway), "--show", "40"]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    for part in ["state before", "input 40 at byte", "state after", "digest"] {
        assert!(shown.out.contains(part), "{part}: {}", shown.out);
    }
}

#[test]
fn a_difference_is_named_with_its_input_and_both_effects() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path());
    // What one gateway was given, in the state of another one.
    let [first, second] = two_of(dir.path(), Role::Gateway);
    let (bytes, other) = (fs::read(&first).unwrap(), fs::read(second).unwrap());
    let (recording, other) = (
        Recording::read(&bytes).unwrap(),
        Recording::read(&other).unwrap(),
    );
    let at = recording.snapshot_at();
    let mut swapped = bytes[..at - FRAME_HEAD].to_vec();
    swapped.extend(frame(Kind::Snapshot, other.snapshot()).unwrap());
    swapped.extend_from_slice(&bytes[at + recording.snapshot().len()..]);
    fs::write(&first, swapped).unwrap();
    let ran = replay(&[utf8(&first)]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    for part in [
        "and then it differs",
        "\ninput ",
        " at byte ",
        "  input ",
        "  then ",
        "  now ",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let ran = replay(&["--json", utf8(&first)]);
    let object: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &object["differences"]), (1, &Value::from(1)));
    assert!(
        object["first_difference"]["input"].as_u64().is_some(),
        "{object}"
    );
}

#[test]
fn what_was_cut_off_is_replayed_and_what_is_damaged_refused() {
    let dir = tempfile::tempdir().unwrap();
    recorded(dir.path());
    let [path, _] = two_of(dir.path(), Role::Metald);
    let bytes = fs::read(&path).unwrap();
    let steps = Recording::read(&bytes).unwrap().steps()[20].offset;
    fs::write(&path, &bytes[..steps + 5]).unwrap();
    let ran = replay(&["--json", utf8(&path)]);
    let object: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &object["steps"]), (0, &Value::from(20)));
    assert_eq!(object["cut_off"], steps);

    let mut damaged = bytes.clone();
    damaged[steps + 20] ^= 1;
    fs::write(&path, damaged).unwrap();
    let ran = replay(&[utf8(&path)]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.err
            .contains(&format!("{}: byte {steps}: ", path.display())),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("damaged"), "{}", ran.err);

    fs::write(&path, "[package]\n").unwrap();
    let ran = replay(&[utf8(dir.path())]);
    assert_eq!(ran.code, 2, "one foreign file among good ones");
    assert!(
        ran.err.contains("byte 0: this is no flight recording"),
        "{}",
        ran.err
    );
    assert!(
        ran.out.lines().count() > 10,
        "the others are replayed: {}",
        ran.out
    );

    // Alone it is refused; in a folder it is what a crash may leave.
    fs::write(&path, &bytes[..30]).unwrap();
    assert_eq!(replay(&[utf8(&path)]).code, 2);
    let ran = replay(&[utf8(path.parent().unwrap())]);
    assert!(
        ran.out.contains("cut off at byte 30, before"),
        "{}",
        ran.out
    );
}

#[test]
fn misuse_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let ran = replay(&[utf8(dir.path())]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("there is no recording"), "{}", ran.err);
    let ran = replay(&[utf8(&dir.path().join("absent"))]);
    assert!(
        ran.code == 2 && ran.err.contains("check the path"),
        "{}",
        ran.err
    );
    recorded(dir.path());
    let ran = replay(&[utf8(dir.path()), "--show", "3"]);
    assert!(
        ran.code == 2 && ran.err.contains("name one of them"),
        "{}",
        ran.err
    );
    assert_eq!(replay(&[]).code, 2);
}
