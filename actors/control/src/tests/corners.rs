//! What holds only at a bound, in a rare order, or for who looks from outside.

use tidegate_kernel::{Change, Load, Note, Time};

use super::*;
use crate::plan::{Plan, Witness, Write as PlannedWrite};
use crate::requests::{Call, Request, Stage};
use crate::view::View;

fn instances(project: &str) -> api_request::Call {
    api_request::Call::ListInstances(ListInstances {
        project: project.into(),
    })
}

fn hello(n: usize) -> Message {
    Message::RegionHello(RegionHello {
        region: format!("r{n}"),
        store_node: 4,
    })
}

const FULL_OF_REGIONS: [Effect; 1] = [Effect::Note(Note::Full { queue: "regions" })];

#[test]
fn a_commit_is_answered_by_its_store_only() {
    let mut bench = Bench::new();
    let (commit, _, _) = committed(&bench.call(CLIENT, 1, create("hello", "")));
    let reply = StoreCommitReply {
        id: commit.0,
        outcome: Some(store_commit_reply::Outcome::Applied(1)),
    };
    assert_eq!(bench.message(OTHER, Message::StoreCommitReply(reply)), []);
    assert_eq!(bench.control.requests_in_flight(), 1);
}

#[test]
fn a_question_to_sync_that_is_repeated_is_asked_once_and_counts() {
    let mut bench = Bench::new();
    assert_eq!(bench.call(CLIENT, 1, instances("hello")).len(), 1);
    assert_eq!(bench.call(CLIENT, 1, instances("hello")), []);
    assert_eq!(bench.call(CLIENT, 1, instances("world")).len(), 1);
    assert_eq!(bench.control.requests_in_flight(), 2);
}

#[test]
fn one_request_more_than_allowed_is_refused_and_noted() {
    let mut bench = Bench::new();
    let full = Effect::Note(Note::Full { queue: "requests" });
    for id in 0..1_024 {
        bench.call(OTHER, id, instances("hello"));
    }
    for call in [create("hello", ""), instances("hello")] {
        let effects = bench.call(CLIENT, 1, call);
        assert_eq!(effects[0], full);
        failed(&effects, ApiError::Unavailable, "");
    }
    assert_eq!(
        bench.control.load(),
        [
            Load::new("requests", 1_024, 1_024),
            Load::new("replies kept", 0, 256),
            Load::new("regions being stored", 0, 64),
        ]
    );
}

#[test]
fn what_cannot_reach_the_store_is_no_full_queue() {
    let mut bench = Bench::unconnected();
    let effects = bench.call(CLIENT, 1, create("hello", ""));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Note(_))));
}

#[test]
fn writes_of_two_projects_that_count_nothing_go_side_by_side() {
    let mut bench = Bench::new();
    for (id, project) in [(1, "one"), (2, "one"), (3, "two"), (4, "two")] {
        bench.carry_out(create(project, ""));
        bench.cut_over(id);
    }
    committed(&bench.call(CLIENT, 1, create("three", "")));
    committed(&bench.call(CLIENT, 2, activate("one", 1, true)));
    committed(&bench.call(CLIENT, 3, activate("two", 1, true)));
    assert_eq!(bench.call(CLIENT, 4, activate("two", 1, false)), []);
}

#[test]
fn an_activation_and_a_repeated_deploy_tell_all_that_is_known() {
    let mut bench = Bench::new();
    for (id, key) in [(1, "k"), (2, "")] {
        bench.carry_out(create("hello", key));
        bench.cut_over(id);
    }
    let reply = bench.carry_out(activate("hello", 1, true));
    assert_eq!(reply.versions[0].deploy, Some(bench.deploy(1)));
    let again = replied(&bench.call(OTHER, 1, create("hello", "k")));
    assert_eq!(again.projects, [bench.project("hello")]);
    let list = api_request::Call::ListVersions(ListVersions {
        project: "hello".into(),
    });
    let listed = replied(&bench.call(OTHER, 2, list));
    assert_eq!(listed.projects, [bench.project("hello")]);
}

#[test]
fn a_list_of_too_many_projects_says_so() {
    let mut bench = Bench::new();
    for n in 0..40 {
        let name = format!("p{n}");
        let project = ProjectRecord {
            name: name.clone(),
            hosts: vec!["h".repeat(60_000)],
            ..ProjectRecord::default()
        };
        bench.write(Key::Project(name), Record::Project(project));
    }
    bench.catch_up();
    let list = api_request::Call::ListProjects(ListProjects {});
    let reply = replied(&bench.call(CLIENT, 1, list));
    assert!(
        reply.reason.starts_with("shows 8 of 40"),
        "{}",
        reply.reason
    );
}

#[test]
fn so_many_regions_are_stored_at_one_time() {
    let mut bench = Bench::new();
    for n in 0..64 {
        assert_eq!(bench.message(EDGE, hello(n)).len(), 2);
    }
    assert_eq!(bench.message(EDGE, hello(64)), FULL_OF_REGIONS);
}

#[test]
fn regions_that_are_being_stored_count_as_known() {
    let mut bench = Bench::new();
    for n in 0..250 {
        let name = format!("r{n}");
        let record = RegionRecord {
            name: name.clone(),
            store_node: 4,
        };
        bench.write(Key::Region(name), Record::Region(record));
    }
    bench.catch_up();
    for n in 250..256 {
        assert_eq!(bench.message(EDGE, hello(n)).len(), 2);
    }
    assert_eq!(bench.message(EDGE, hello(256)), FULL_OF_REGIONS);
}

#[test]
fn it_wakes_when_a_commit_has_been_out_for_long_enough() {
    let mut bench = Bench::new();
    let timeout = bench.control.config.commit_timeout;
    let due = Now::at_ms(6_000).mono;
    bench.message(EDGE, hello(1));
    assert_eq!(bench.control.regions.next_deadline(timeout), Some(due));
    bench.call(CLIENT, 1, create("hello", ""));
    let requests = &bench.control.requests;
    assert_eq!(
        requests.next_deadline(timeout),
        Some((due, "forget a commit"))
    );
}

fn under_way(project: &str) -> Request {
    Request {
        name: (CLIENT, 1),
        call: Call::Write(PlannedWrite::Remove {
            project: project.into(),
        }),
        arrived_wall_ms: 0,
        deadline: Time::ZERO,
        conflicts: 0,
        stage: Stage::Committing {
            commit: CommitId(1),
            sent: Time::ZERO,
            plan: Box::new(Plan {
                txn: Txn::default(),
                reply: ApiReply::default(),
                witness: Witness::Removed(project.into()),
            }),
        },
    }
}

#[test]
#[should_panic(expected = "two counting commits")]
fn two_counting_commits_break_an_invariant() {
    let mut bench = Bench::new();
    bench.control.requests.push(under_way("one"));
    bench.control.requests.push(under_way("two"));
    bench.control.check();
}

#[test]
fn a_view_that_has_forgotten_everything_is_as_new() {
    let named = |key, record| Change {
        key,
        record,
        revision: 1,
    };
    let version = VersionSpec {
        id: 1,
        number: 1,
        ..spec("hello")
    };
    let deploy = |id, key: &str| DeployRecord {
        version: id,
        project: "hello".into(),
        idempotency_key: key.into(),
        ..DeployRecord::default()
    };
    let counters = CountersRecord {
        last_version: 1,
        epoch_floor: 1,
    };
    let region = RegionRecord::default();
    let records = [
        (Key::Version(1), Record::Version(version)),
        (Key::Deploy(1), Record::Deploy(deploy(1, "k"))),
        (Key::Region("syd".into()), Record::Region(region)),
        (Key::Counters, Record::Counters(counters)),
    ];
    let mut view = View::default();
    for (key, record) in records.clone() {
        view.apply(named(key, Some(record)));
    }
    // The key has gone to a later version; that the earlier one leaves takes nothing from it.
    view.apply(named(
        Key::Version(2),
        Some(Record::Version(VersionSpec {
            id: 2,
            number: 2,
            ..spec("hello")
        })),
    ));
    view.apply(named(Key::Deploy(2), Some(Record::Deploy(deploy(2, "k")))));
    view.apply(named(Key::Deploy(1), None));
    assert_eq!(view.made_by_key("hello", "k"), Some(2));
    for (key, _) in records {
        view.apply(named(key, None));
    }
    view.apply(named(Key::Version(2), None));
    view.apply(named(Key::Deploy(2), None));
    assert_eq!(format!("{view:?}"), format!("{:?}", View::default()));
}
