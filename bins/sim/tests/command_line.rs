//! What the command line answers, and with which exit code.

mod support;

use support::{text, tidegate_sim};

#[test]
fn a_run_prints_one_object() {
    let output = tidegate_sim(&["run", "first-deploy", "--seed", "3", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["violations"], serde_json::json!([]));
    assert_eq!(report["sim_seconds"], 300.0);
    assert_eq!(report["trace_hash"].as_str().unwrap().len(), 16);
    assert!(report["events"].as_u64().unwrap() > 10_000);
    assert!(report["wall_seconds"].as_f64().unwrap() > 0.0);
    for name in ["served", "refused", "failed"] {
        assert!(report["requests"][name].is_u64(), "{name}");
    }
}

#[test]
fn two_processes_agree() {
    let output = tidegate_sim(&["check-determinism", "first-deploy", "--seed", "42"]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("are the same in two processes"), "{said}");
    let run = tidegate_sim(&["run", "first-deploy", "--seed", "42"]);
    let hash = said.trim().rsplit(' ').next().unwrap();
    assert!(text(&run.stdout).contains(hash), "{said}");
}

#[test]
fn list_names_every_scenario() {
    let said = text(&tidegate_sim(&["list"]).stdout);
    for name in [
        "first-deploy",
        "flash-crowd",
        "host-failure",
        "region-partition",
    ] {
        assert!(said.contains(name), "{said}");
    }
}

#[test]
fn misuse_is_told_in_one_line() {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = directory.join("bad.toml");
    std::fs::write(&file, "name = \"bad\"\nabout = 5\n").unwrap();
    let file = file.to_str().unwrap();
    for (arguments, part) in [
        (
            ["run", "no-such-scenario"],
            "name a file that ends in .toml",
        ),
        (["run", "/no/such/file.toml"], "check the path"),
        (["run", file], "bad.toml:2: "),
        (["check-determinism", file], "bad.toml:2: "),
    ] {
        let output = tidegate_sim(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(part), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(tidegate_sim(&["run"]).status.code(), Some(2));
    assert_eq!(tidegate_sim(&["--help"]).status.code(), Some(0));
}
