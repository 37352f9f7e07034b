//! A swarm, its bug files and what can be done with them, from the command line.

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use support::{text, tidegate_sim};

const BROKEN: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/too-little-time.toml"
);

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)))
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    folder
}

#[test]
fn a_swarm_says_what_it_did_and_the_jobs_change_nothing() {
    let run = |jobs: &str| {
        let output = tidegate_sim(&["swarm", "--seeds", "3..9", "--jobs", jobs, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        json(&output)
    };
    let (one, two) = (run("1"), run("2"));
    assert_eq!(one["seeds"], 6);
    assert_eq!(one["violations"], 0);
    assert!(one["events"].as_u64().unwrap() > 10_000);
    assert!(one["sim_seconds"].as_f64().unwrap() >= 6.0 * 300.0);
    for name in ["seeds", "events", "marks", "faults", "oracles", "requests"] {
        assert_eq!(one[name], two[name], "{name}");
    }
}

#[test]
fn a_seed_of_a_swarm_runs_alone() {
    let output = tidegate_sim(&["run", "drawn", "--seed", "5", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(json(&output)["scenario"], "drawn");
}

#[test]
fn a_guided_swarm_runs() {
    let output = tidegate_sim(&["swarm", "--seeds", "0..12", "--guided", "--json"]);
    assert_eq!(json(&output)["seeds"], 12, "{}", text(&output.stderr));
}

#[test]
fn a_violation_leaves_a_bug_file_that_runs_and_shrinks() {
    let bugs = folder("bugs");
    let junit = Path::new(env!("CARGO_TARGET_TMPDIR")).join("swarm.xml");
    let output = tidegate_sim(&[
        "swarm",
        "--scenario",
        BROKEN,
        "--seeds",
        "1..3",
        "--jobs",
        "1",
        "--keep-going",
        "--bugs",
        bugs.to_str().unwrap(),
        "--junit",
        junit.to_str().unwrap(),
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let said = json(&output);
    assert_eq!(said["violations"], 2);
    let file = said["bugs"][0]["file"].as_str().unwrap().to_owned();
    let reproduce = format!("tidegate-sim run {file}");
    assert_eq!(said["bugs"][0]["reproduce"], reproduce.as_str());
    let told = std::fs::read_to_string(&junit).unwrap();
    assert!(told.contains(&reproduce), "{told}");

    let run = tidegate_sim(&["run", &file]);
    assert_eq!(run.status.code(), Some(1), "{}", text(&run.stderr));
    assert!(text(&run.stdout).contains("guarantee 13"), "{run:?}");

    let shrunk = tidegate_sim(&["shrink", &file, "--json"]);
    assert_eq!(shrunk.status.code(), Some(0), "{}", text(&shrunk.stderr));
    let said = json(&shrunk);
    assert!(said["after"]["events"].as_u64() < said["before"]["events"].as_u64());
    let small = said["file"].as_str().unwrap();
    assert_eq!(tidegate_sim(&["run", small]).status.code(), Some(1));
}

#[test]
fn misuse_is_told_with_its_place_and_its_remedy() {
    let directory = folder("bad-bugs");
    std::fs::create_dir_all(&directory).unwrap();
    let damaged = directory.join("damaged.toml");
    let broken = std::fs::read_to_string(BROKEN).unwrap();
    std::fs::write(&damaged, format!("{broken}\n[bug]\nshowed = 5\n")).unwrap();
    let damaged = damaged.to_str().unwrap();
    for (arguments, part) in [
        (&["swarm", "--seeds", "5"][..], "FIRST..END"),
        (&["swarm", "--seeds", "5..5"], "is empty"),
        (&["swarm", "--jobs", "0"], "1..=256"),
        (&["swarm", "--scenario", "moon"], "there is no scenario"),
        (&["shrink", BROKEN], "not a bug file"),
        (&["run", damaged], "damaged.toml:"),
        (&["shrink", damaged], "damaged.toml:"),
    ] {
        let output = tidegate_sim(arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
}
