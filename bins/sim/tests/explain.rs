//! What `explain` writes, and how it refuses.

#[path = "support/perfetto.rs"]
mod perfetto;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

const IMPATIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/impatient.toml");

fn tidegate_sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate-sim"))
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .args(arguments)
        .output()
        .unwrap()
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The data in a page, and the page without it.
fn parts(page: &str) -> (Value, String) {
    let opening = "<script type=\"application/json\" id=\"data\">";
    let (before, rest) = page.split_once(opening).unwrap();
    let (data, after) = rest.split_once("</script>").unwrap();
    let data = serde_json::from_str(data).unwrap();
    (data, format!("{before}{after}"))
}

#[test]
fn a_page_and_a_trace_are_written() {
    let (page, trace) = (file("page.html"), file("trace.json"));
    let output = tidegate_sim(&[
        "explain",
        IMPATIENT,
        "--seed",
        "3",
        "--out",
        page.to_str().unwrap(),
        "--trace",
        trace.to_str().unwrap(),
        "--json",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["page"], page.to_str().unwrap());
    assert_eq!(told["trace"], trace.to_str().unwrap());

    let (data, rest) = parts(&std::fs::read_to_string(&page).unwrap());
    let shown = data["events"]["at"].as_array().unwrap().len();
    assert_eq!(told["events"], shown);
    assert_eq!(told["violations"], data["violationCount"]);
    assert_eq!(data["violations"][0]["guarantee"], 12);
    // Nothing comes from elsewhere.
    for outside in ["http:", "https:", "src=", "<link", "@import"] {
        assert!(!rest.contains(outside), "{outside}");
    }

    let trace: Value = serde_json::from_slice(&std::fs::read(&trace).unwrap()).unwrap();
    let read = perfetto::read(&trace);
    assert_eq!(read.slices, shown);
    assert_eq!(read.spans, 2, "two faults");
    assert!(read.instants > 10);
    assert_eq!(read.flows, arrows(&data));
    assert!(read.flows.len() > 100);
}

/// The arrows of a page, from lane to lane: numbers of the events at both ends.
fn arrows(data: &Value) -> BTreeSet<(u64, u64)> {
    let events = &data["events"];
    let of = |column: &str, place: usize| events[column][place].as_i64().unwrap();
    let count = events["at"].as_array().unwrap().len();
    (0..count)
        .filter_map(|event| {
            let maker = usize::try_from(of("cause", event)).ok()?;
            let crosses = of("lane", maker) != of("lane", event);
            crosses.then(|| (of("number", maker) as u64, of("number", event) as u64))
        })
        .collect()
}

#[test]
fn the_page_is_named_after_its_run() {
    let output = tidegate_sim(&[
        "explain",
        "first-deploy",
        "--seed",
        "4711",
        "--events",
        "50",
    ]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("first-deploy-4711.html: "), "{said}");
    assert!(said.contains("every guarantee held"), "{said}");
    let (data, _) = parts(&std::fs::read_to_string(file("first-deploy-4711.html")).unwrap());
    assert_eq!(data["events"]["at"].as_array().unwrap().len(), 50);
    assert_eq!(data["repro"], "tidegate-sim run first-deploy --seed 4711");
    assert!(data["leftOut"]["events"].as_u64().unwrap() > 10_000);
}

#[test]
fn misuse_is_told_in_one_line() {
    for (arguments, part) in [
        (
            &["explain", "no-such-scenario"][..],
            "name a file that ends",
        ),
        (
            &["explain", IMPATIENT, "--out", "/no/such/folder/page.html"],
            "name a file that can be written",
        ),
        (
            &[
                "explain",
                IMPATIENT,
                "--out",
                "t.html",
                "--trace",
                "/no/such/folder/t.json",
            ],
            "name a file that can be written",
        ),
    ] {
        let output = tidegate_sim(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(part), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    for events in ["0", "100001"] {
        let output = tidegate_sim(&["explain", IMPATIENT, "--events", events]);
        assert_eq!(output.status.code(), Some(2), "{events}");
    }
}
