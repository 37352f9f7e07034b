//! An explanation shows the run that anybody else sees, and its causes fit together.

use tidegate_sim::explain::{Explained, Fate, Kind, explain};
use tidegate_sim::scenario::{Builtin, Scenario};
use tidegate_sim::{Seed, Unobserved, World};

fn scenario(name: &str) -> Scenario {
    let builtin = Builtin::find(name).unwrap();
    Scenario::parse(name, builtin.text).unwrap()
}

fn explained(name: &str, events: usize) -> Explained {
    explain(&scenario(name), 5, "repeat it", events, |_| {})
}

#[test]
fn explaining_changes_nothing() {
    let shown = explained("first-deploy", 100);
    let mut world = World::new(&scenario("first-deploy"), Seed(5));
    world.run(&mut Unobserved);
    let report = world.report(5);
    assert_eq!(shown.trace_hash, report.trace_hash);
    assert_eq!(shown.events, report.events);
    assert_eq!(shown.shown.len(), 100);
    let again = explained("first-deploy", 100);
    assert_eq!(again.shown, shown.shown);
    assert_eq!(again.notes, shown.notes);
}

#[test]
fn every_message_was_made_where_it_came_from() {
    // The end of a run with pauses, crashes and cuts.
    let run = explained("scheduler-failover", 4_000);
    let mut judged = 0;
    for event in run.shown.iter().filter(|e| e.kind == Kind::Message) {
        let Some(maker) = run.index_of(event.cause) else {
            continue;
        };
        let maker = &run.shown[maker as usize];
        assert!(maker.at <= event.at && maker.number < event.number);
        let from = event.from.unwrap();
        // Its sender stepped then; or it waited for a pause, or its sender was born then.
        let fits = maker.lane == from
            || maker.fate == Fate::Waits
            || maker.kind == Kind::Fault
            || maker.kind == Kind::Operator;
        assert!(fits, "{event:?} made by {maker:?}");
        judged += 1;
    }
    assert!(judged > 50, "{judged}");
}

#[test]
fn states_follow_one_another() {
    let run = explained("first-deploy", 3_000);
    let mut changes_seen = 0;
    for (lane, changes) in &run.states {
        let mut lines: Vec<String> = Vec::new();
        for change in changes {
            for splice in &change.splices {
                let gone = splice.at..splice.at + splice.delete;
                lines.splice(gone, splice.insert.iter().cloned());
            }
            assert!(lines.len() > 1 || lines[0].starts_with('('), "{lines:?}");
            changes_seen += 1;
            if change.within {
                let event = &run.shown[change.event as usize];
                assert_eq!(event.lane, *lane, "{event:?}");
            }
        }
    }
    assert!(changes_seen > 100, "{changes_seen}");
}
