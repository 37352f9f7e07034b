//! A bug file repeats its bug, and becomes small without becoming another bug.

use tidegate_sim::scenario::Scenario;
use tidegate_sim::shrink::{Size, shrink};
use tidegate_sim::trial::{self, Until};

/// Everything of it but the cut-off region is beside the point.
fn bug() -> Scenario {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../bins/sim/tests/fixtures/too-little-time.toml"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let scenario = Scenario::parse("too-little-time.toml", &text).unwrap();
    let trial = trial::run(&scenario, 1, Until::Any);
    assert_eq!(trial.violation.as_ref().unwrap().guarantee, 13);
    trial::bug_file(&scenario, &trial, Some("0123456789ab")).unwrap()
}

#[test]
fn a_bug_file_is_read_back_and_repeats_its_bug() {
    let file = bug();
    let read = Scenario::parse("bug.toml", &file.to_toml()).unwrap();
    assert_eq!(read.to_toml(), file.to_toml());
    let known = read.bug.as_ref().unwrap();
    let trial = trial::run_bug(&read, known).unwrap();
    assert_eq!(trial.seed, 1);
    assert_eq!(trial.violation.unwrap().text, known.showed);
    assert_eq!(Some(trial.events), known.events);
}

#[test]
fn a_bug_is_found_again_when_its_seed_shows_it_no_more() {
    let mut file = bug();
    let known = file.bug.as_mut().unwrap();
    // As if the draws of the code had changed: no seed of the file is the one that showed it.
    *known.seeds.get_mut() = vec![77];
    assert!(trial::run_bug(&file, file.bug.as_ref().unwrap()).is_some());
}

#[test]
fn what_the_bug_does_not_need_is_taken_away() {
    let file = bug();
    let events = file.bug.as_ref().unwrap().events.unwrap();
    let mut rounds = 0;
    let shrunk = shrink(&file, |progress| {
        rounds = progress.round;
        true
    })
    .unwrap();
    assert!(shrunk.is_minimal && rounds >= 2);
    let size = Size::of(&shrunk.file, shrunk.trial.events);
    assert_eq!((size.apps, size.operations <= 1), (1, true), "{size:?}");
    assert!(size.faults <= 1, "{size:?}");
    assert!(size.machines <= 8, "{size:?}");
    assert!(size.events * 4 < events, "{size:?} of {events}");
    let text = shrunk.file.to_toml();
    let read = Scenario::parse("small.toml", &text).unwrap();
    let known = read.bug.as_ref().unwrap();
    let again = trial::run_bug(&read, known).unwrap();
    assert_eq!(again.violation.unwrap().guarantee, 13, "{text}");
    // The bound is what the bug is about.
    assert_eq!(
        read.liveness_within.get_ref(),
        file.liveness_within.get_ref()
    );
}

#[test]
fn a_shrinker_that_is_stopped_gives_what_is_small_so_far() {
    let file = bug();
    let shrunk = shrink(&file, |progress| progress.tried < 5).unwrap();
    assert_eq!((shrunk.tried, shrunk.is_minimal), (5, false));
    assert!(trial::run_bug(&shrunk.file, shrunk.file.bug.as_ref().unwrap()).is_some());
}

#[test]
fn what_breaks_nothing_is_not_shrunk() {
    let mut file = bug();
    file.bug.as_mut().unwrap().guarantee = Some(4);
    assert!(shrink(&file, |_| true).is_none());
}
