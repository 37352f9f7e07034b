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
fn several_seeds_of_several_scenarios_agree() {
    let output = tidegate_sim(&[
        "check-determinism",
        "first-deploy",
        "drawn",
        "--seeds",
        "7..9",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&said["runs"], &said["differ"]),
        (&4.into(), &serde_json::json!([]))
    );
    let of = |i: usize| (&said["same"][i]["scenario"], &said["same"][i]["seed"]);
    assert_eq!(of(1), (&"first-deploy".into(), &8.into()));
    assert_eq!(of(2), (&"drawn".into(), &7.into()));
}

/// A program that runs this one, but with another seed than it was told.
#[cfg(unix)]
fn unfaithful() -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("unfaithful");
    let program = env!("CARGO_BIN_EXE_tidegate-sim");
    std::fs::write(
        &file,
        format!("#!/bin/sh\nexec '{program}' \"$1\" \"$2\" --seed 43\n"),
    )
    .unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    file
}

#[cfg(unix)]
#[test]
fn the_first_event_that_differs_is_named() {
    let program = unfaithful();
    let check = |seed: &str, more: &[&str]| {
        let with = ["--with", program.to_str().unwrap()];
        let named = ["check-determinism", "first-deploy", "--seed", seed];
        tidegate_sim(&[&named[..], &with, more].concat())
    };
    assert_eq!(check("43", &[]).status.code(), Some(0));

    let output = check("42", &[]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("first-deploy, seed 42: event "),
        "{said}"
    );
    assert!(lines[1].starts_with("  one run: at "), "{said}");
    assert!(lines[2].starts_with("  the other: at "), "{said}");
    assert_ne!(
        lines[1].trim_start_matches("  one run"),
        lines[2].trim_start_matches("  the other")
    );

    let output = check("42", &["--json"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    let differ = &told["differ"][0];
    assert_eq!(
        (&differ["scenario"], &differ["seed"]),
        (&"first-deploy".into(), &42.into())
    );
    let number = differ["event"].as_u64().unwrap();
    assert!(
        lines[0].ends_with(&format!("event {number} differs")),
        "{said}"
    );
    assert_eq!(
        lines[1],
        format!("  one run: {}", differ["runs"][0].as_str().unwrap())
    );
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
        (["check-determinism", "no-such"], "there is no scenario"),
        (
            ["check-determinism", "--with=/no/such"],
            "/no/such cannot be run",
        ),
        (["check-determinism", "--with=/bin/true"], "of this version"),
    ] {
        let output = tidegate_sim(&arguments);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(part), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    for arguments in [
        &["run"][..],
        &["check-determinism", "--seeds", "5..5"],
        &["check-determinism", "--seeds", "1..2", "--seed", "1"],
        &["check-determinism", "--jobs", "0"],
    ] {
        assert_eq!(
            tidegate_sim(arguments).status.code(),
            Some(2),
            "{arguments:?}"
        );
    }
    assert_eq!(tidegate_sim(&["--help"]).status.code(), Some(0));
}
