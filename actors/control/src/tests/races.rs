//! What control does when answers are lost, late or doubled, and when others write meanwhile.

use super::*;
use store_commit_reply::Outcome;

#[test]
fn before_the_mirror_is_loaded_nothing_is_answered_from_it() {
    let mut bench = Bench::unconnected();
    let effects = bench.call(CLIENT, 1, create("hello", ""));
    failed(&effects, ApiError::Unavailable, "nothing was done");
    let list = api_request::Call::ListProjects(ListProjects {});
    failed(
        &bench.call(CLIENT, 2, list),
        ApiError::Unavailable,
        "cannot be reached",
    );
    let hello = RegionHello {
        region: "syd".into(),
        store_node: 4,
    };
    assert_eq!(bench.message(EDGE, Message::RegionHello(hello)), []);
}

#[test]
fn a_list_waits_for_the_commit_that_was_acknowledged() {
    let mut bench = Bench::new();
    let effects = bench.call(CLIENT, 1, create("hello", ""));
    let (commit, txn, _) = committed(&effects);
    let outcome = bench.apply(&txn);
    assert_eq!(bench.reply(commit, outcome), []);
    let list = api_request::Call::ListProjects(ListProjects {});
    assert_eq!(bench.call(CLIENT, 2, list), []);
    let reply = replied(&bench.catch_up());
    assert_eq!((reply.id, reply.projects.len()), (2, 1));
}

#[test]
fn writes_that_would_conflict_take_turns() {
    let mut bench = Bench::new();
    let (commit, txn, _) = committed(&bench.call(CLIENT, 1, create("hello", "")));
    assert_eq!(bench.call(OTHER, 1, create("world", "")), []);
    assert_eq!(bench.call(OTHER, 2, create("hello", "")), []);
    let outcome = bench.apply(&txn);
    assert_eq!(bench.catch_up(), []);
    let (commit, txn, reply) = committed(&bench.reply(commit, outcome));
    assert_eq!(reply.projects[0].name, "world");
    let outcome = bench.apply(&txn);
    // The answer may come before the feed: the next one waits for its own store.
    assert_eq!(bench.reply(commit, outcome), []);
    let (_, _, reply) = committed(&bench.catch_up());
    let version = reply.versions[0].spec.clone().unwrap();
    assert_eq!((version.id, version.number), (3, 2));
}

#[test]
fn a_conflict_is_planned_again_from_newer_state() {
    let mut bench = Bench::new();
    bench.carry_out(create("hello", ""));
    bench.carry_out(create("hello", ""));
    bench.cut_over(1);
    // A rollback races with the cutover of version 2.
    let (commit, txn, _) = committed(&bench.call(CLIENT, 1, activate("hello", 1, true)));
    bench.write(
        Key::Project("hello".into()),
        Record::Project(ProjectRecord {
            active: 2,
            epoch: 2,
            ..bench.project("hello")
        }),
    );
    let outcome = bench.apply(&txn);
    assert_eq!(outcome, Outcome::Conflict("project/hello".into()));
    let effects = bench.reply(commit, outcome);
    assert!(
        matches!(effects[..], [Effect::Note(_)]),
        "it waits for the feed: {effects:?}"
    );
    let (_, txn, reply) = committed(&bench.catch_up());
    assert!(matches!(bench.apply(&txn), Outcome::Applied(_)));
    assert_eq!((reply.projects[0].active, reply.projects[0].epoch), (1, 3));
}

#[test]
fn a_request_gives_up_after_five_more_tries() {
    let mut bench = Bench::new();
    bench.carry_out(create("hello", ""));
    bench.carry_out(create("hello", ""));
    bench.cut_over(1);
    bench.cut_over(2);
    let mut effects = bench.call(CLIENT, 1, activate("hello", 1, true));
    for epoch in 10..16 {
        let (commit, txn, _) = committed(&effects);
        let touched = ProjectRecord {
            epoch,
            ..bench.project("hello")
        };
        bench.write(Key::Project("hello".into()), Record::Project(touched));
        let outcome = bench.apply(&txn);
        assert!(matches!(outcome, Outcome::Conflict(_)));
        bench.reply(commit, outcome);
        effects = bench.catch_up();
    }
    failed(&effects, ApiError::Conflict, "kept changing");
    assert_eq!(bench.control.requests_in_flight(), 0);
}

#[test]
fn a_lost_answer_is_proved_by_the_mirror() {
    for call in [
        create("hello", ""),
        activate("hello", 1, true),
        remove("hello"),
    ] {
        let mut bench = Bench::new();
        for id in 1..=2 {
            bench.carry_out(create("hello", ""));
            bench.cut_over(id);
        }
        let (commit, txn, mut reply) = committed(&bench.call(CLIENT, 1, call.clone()));
        bench.apply(&txn);
        let stored = bench.stored.clone();
        bench.catch_up();
        let effects = bench.wait_live(5_000);
        assert_eq!(effects[0], Effect::Forget(commit));
        reply.id = 1;
        assert_eq!(replied(&effects), reply);
        assert_eq!(bench.stored, stored);
        // The answer comes late, and the request a second time: both change nothing more.
        assert_eq!(bench.reply(commit, Outcome::Applied(bench.revision)), []);
        assert_eq!(replied(&bench.call(CLIENT, 1, call)), reply);
    }
}

#[test]
fn a_lost_commit_is_sent_again_and_happens_once() {
    let mut bench = Bench::new();
    let (lost, txn, _) = committed(&bench.call(CLIENT, 1, create("hello", "")));
    let effects = bench.wait_live(5_000);
    assert_eq!(effects[0], Effect::Forget(lost));
    let (again, same, _) = committed(&effects[2..]);
    assert_eq!(same, txn);
    // The first one was only late. It wins, and the second conflicts with it.
    assert!(matches!(bench.apply(&txn), Outcome::Applied(1)));
    let outcome = bench.apply(&same);
    assert!(matches!(outcome, Outcome::Conflict(_)));
    bench.reply(again, outcome);
    let reply = replied(&bench.catch_up());
    assert_eq!((reply.id, reply.error()), (1, ApiError::Unspecified));
    assert_eq!(bench.project("hello").last_number, 1);
}

#[test]
fn a_proof_survives_what_others_did_afterwards() {
    let mut bench = Bench::new();
    for id in 1..=2 {
        bench.carry_out(create("hello", ""));
        bench.cut_over(id);
    }
    let (_, txn, _) = committed(&bench.call(CLIENT, 1, activate("hello", 1, false)));
    bench.apply(&txn);
    let newer = ProjectRecord {
        active: 2,
        epoch: 4,
        ..bench.project("hello")
    };
    bench.put(Key::Project("hello".into()), Record::Project(newer.clone()));
    let effects = bench.wait_live(5_000);
    assert_eq!(replied(&effects).error(), ApiError::Unspecified);
    assert_eq!(
        bench.project("hello"),
        newer,
        "it is not done a second time"
    );
}

#[test]
fn an_unknown_outcome_ends_after_fifteen_seconds() {
    let mut bench = Bench::new();
    committed(&bench.call(CLIENT, 1, create("hello", "k")));
    let effects = bench.wait(15_000);
    failed(
        &effects,
        ApiError::Unavailable,
        "outcome is unknown; repeat the request with the same key",
    );
    assert_eq!(bench.control.requests_in_flight(), 0);
}

#[test]
fn a_store_that_refuses_is_not_waited_for() {
    let mut bench = Bench::new();
    let (commit, _, _) = committed(&bench.call(CLIENT, 1, create("hello", "k")));
    let effects = bench.reply(commit, Outcome::Refused("disk full".into()));
    failed(&effects, ApiError::Unavailable, "disk full");
}

#[test]
fn a_request_delivered_twice_is_one_request() {
    let mut bench = Bench::new();
    let (commit, txn, reply) = committed(&bench.call(CLIENT, 1, create("hello", "")));
    assert_eq!(bench.call(CLIENT, 1, create("hello", "")), []);
    let outcome = bench.apply(&txn);
    bench.catch_up();
    bench.reply(commit, outcome);
    let again = replied(&bench.call(CLIENT, 1, create("hello", "")));
    assert_eq!(again, ApiReply { id: 1, ..reply });
    // Another request under the same id is another request.
    committed(&bench.call(CLIENT, 1, create("world", "")));
}

#[test]
fn requests_beyond_the_bound_are_refused() {
    let mut bench = Bench::new();
    for id in 0..1_024 {
        bench.call(CLIENT, id, create("hello", ""));
    }
    let effects = bench.call(CLIENT, 1_024, create("hello", ""));
    failed(&effects, ApiError::Unavailable, "too many requests");
    let list = api_request::Call::ListInstances(ListInstances {
        project: "hello".into(),
    });
    failed(
        &bench.call(CLIENT, 1_025, list),
        ApiError::Unavailable,
        "too many requests",
    );
    assert_eq!(bench.control.requests_in_flight(), 1_024);
}

#[test]
fn the_commit_of_a_region_is_forgotten_when_it_is_not_answered() {
    let mut bench = Bench::new();
    let hello = Message::RegionHello(RegionHello {
        region: "syd".into(),
        store_node: 4,
    });
    let effects = bench.message(EDGE, hello.clone());
    let Effect::Commit { id, txn, .. } = effects[0].clone() else {
        panic!("{effects:?}");
    };
    assert_eq!(bench.wait_live(5_000), [Effect::Forget(id)]);
    let effects = bench.message(EDGE, hello);
    assert!(matches!(&effects[0], Effect::Commit { txn: again, .. } if *again == txn));
}
