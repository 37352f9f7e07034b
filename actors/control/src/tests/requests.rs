//! What each request does when nothing goes wrong, and the answer to each mistake.

use super::*;

#[test]
fn the_first_deploy_makes_a_project() {
    let mut bench = Bench::new();
    let effects = bench.call(CLIENT, 5, create("hello", "k"));
    let version = VersionSpec {
        id: 1,
        number: 1,
        created_wall_ms: 1_000,
        ..spec("hello")
    };
    let deploy = DeployRecord {
        version: 1,
        project: "hello".into(),
        step: DeployStep::Distribute.into(),
        idempotency_key: "k".into(),
        ..DeployRecord::default()
    };
    let project = ProjectRecord {
        name: "hello".into(),
        hosts: vec!["hello.apps.test".into()],
        last_number: 1,
        ..ProjectRecord::default()
    };
    let counters = CountersRecord {
        last_version: 1,
        epoch_floor: 0,
    };
    let (commit, txn, _) = committed(&effects);
    let expected = Txn {
        preconditions: vec![
            precondition(Key::Counters, 0),
            precondition(Key::Version(1), 0),
            precondition(Key::Deploy(1), 0),
            precondition(Key::Project("hello".into()), 0),
        ],
        writes: vec![
            write(Key::Counters, Record::Counters(counters)),
            write(Key::Version(1), Record::Version(version.clone())),
            write(Key::Deploy(1), Record::Deploy(deploy.clone())),
            write(
                Key::Project("hello".into()),
                Record::Project(project.clone()),
            ),
        ],
    };
    assert_eq!(txn, expected);
    let reply = ApiReply {
        id: 5,
        projects: vec![project],
        versions: vec![VersionStatus {
            spec: Some(version),
            deploy: Some(deploy),
            active: false,
        }],
        ..ApiReply::default()
    };
    assert_eq!(
        effects[1],
        Effect::Send {
            to: CLIENT,
            body: Message::ApiReply(reply),
            after: Some(commit),
        }
    );
}

#[test]
fn an_idempotency_key_makes_one_version() {
    let mut bench = Bench::new();
    let first = bench.carry_out(create("hello", "k"));
    let again = replied(&bench.call(OTHER, 1, create("hello", "k")));
    assert_eq!(again.versions, first.versions);
    let other_key = bench.carry_out(create("hello", "k2"));
    assert_eq!(other_key.versions[0].spec.as_ref().unwrap().number, 2);
    // A key counts within its project.
    let other_project = bench.carry_out(create("world", "k"));
    assert_eq!(other_project.versions[0].spec.as_ref().unwrap().id, 3);
}

#[test]
fn variables_are_sorted_and_their_values_are_not_shown() {
    let mut bench = Bench::new();
    let variable = |name: &str, value: &str| EnvVariable {
        name: name.into(),
        value: value.into(),
    };
    let reply = bench.carry_out(api_request::Call::CreateVersion(CreateVersion {
        spec: Some(VersionSpec {
            env: vec![variable("B", "secret"), variable("A", "1")],
            ..spec("hello")
        }),
        ..CreateVersion::default()
    }));
    let shown = &reply.versions[0].spec.as_ref().unwrap().env;
    assert_eq!(*shown, [variable("A", ""), variable("B", "")]);
    let Some(Record::Version(stored)) = bench.record(&Key::Version(1)) else {
        panic!();
    };
    assert_eq!(stored.env, [variable("A", "1"), variable("B", "secret")]);
}

#[test]
fn a_host_name_has_one_project() {
    let mut bench = Bench::new();
    bench.carry_out(create_with_hosts("one", &["x.test"]));
    let effects = bench.call(CLIENT, 1, create_with_hosts("two", &["y.test", "x.test"]));
    failed(
        &effects,
        ApiError::Conflict,
        "hosts: `x.test` belongs to project `one`",
    );
    bench.carry_out(create_with_hosts("one", &["z.test"]));
    bench.carry_out(create_with_hosts("two", &["x.test"]));
    // Without host names a project keeps those that it has.
    bench.carry_out(create("two", ""));
    assert_eq!(bench.project("two").hosts, ["x.test"]);
}

#[test]
fn other_hosts_of_an_active_project_begin_an_epoch() {
    let mut bench = Bench::new();
    bench.carry_out(create_with_hosts("one", &["x.test"]));
    bench.carry_out(create_with_hosts("one", &["y.test"]));
    assert_eq!(bench.project("one").epoch, 0);
    bench.cut_over(2);
    bench.carry_out(create_with_hosts("one", &["y.test"]));
    assert_eq!(bench.project("one").epoch, 1);
    bench.carry_out(create_with_hosts("one", &["x.test"]));
    assert_eq!(bench.project("one").epoch, 2);
}

#[test]
fn mistakes_are_refused_without_a_commit() {
    let mut bench = Bench::new();
    let effects = bench.call(CLIENT, 1, create("Hello", ""));
    failed(&effects, ApiError::Invalid, "project: `Hello`");
    let nowhere = api_request::Call::CreateVersion(CreateVersion {
        spec: Some(VersionSpec {
            regions: vec!["syd".into()],
            ..spec("hello")
        }),
        ..CreateVersion::default()
    });
    failed(
        &bench.call(CLIENT, 2, nowhere),
        ApiError::Invalid,
        "regions: `syd` is not known",
    );
    failed(
        &bench.call(CLIENT, 3, activate("hello", 1, true)),
        ApiError::NotFound,
        "`hello`",
    );
    failed(
        &bench.call(CLIENT, 4, remove("hello")),
        ApiError::NotFound,
        "`hello`",
    );
    let get = api_request::Call::GetDeploy(GetDeploy { version: 7 });
    failed(&bench.call(CLIENT, 5, get), ApiError::NotFound, "id 7");
    let nothing = Message::ApiRequest(ApiRequest { id: 6, call: None });
    failed(
        &bench.message(CLIENT, nothing),
        ApiError::Invalid,
        "call: not known",
    );
}

#[test]
fn a_rollback_goes_back_latches_and_a_promote_unlatches() {
    let mut bench = Bench::new();
    for id in 1..=3 {
        bench.carry_out(create("hello", ""));
        bench.cut_over(id);
    }
    bench.carry_out(create("hello", ""));
    failed(
        &bench.call(CLIENT, 1, activate("hello", 4, false)),
        ApiError::Conflict,
        "`hello@4` is DISTRIBUTE",
    );
    let reply = bench.carry_out(activate("hello", 0, true));
    let project = bench.project("hello");
    assert_eq!(
        (project.active, project.epoch, project.latched),
        (2, 4, true)
    );
    assert_eq!(reply.projects, [project]);
    assert!(reply.versions[0].active);
    assert_eq!(bench.deploy(2).epoch, 4);

    bench.cut_over(4);
    assert_eq!(bench.deploy(4).step(), DeployStep::Ready);
    // Promoting the active version only unlatches.
    bench.carry_out(activate("hello", 2, false));
    let project = bench.project("hello");
    assert_eq!(
        (project.active, project.epoch, project.latched),
        (2, 4, false)
    );
    // Without a number, a promote takes the newest that is ready.
    bench.carry_out(activate("hello", 0, false));
    assert_eq!(
        (bench.project("hello").active, bench.project("hello").epoch),
        (4, 5)
    );
    assert_eq!(bench.deploy(4).step(), DeployStep::Live);
    // What is so already needs no commit.
    let reply = replied(&bench.call(CLIENT, 2, activate("hello", 4, false)));
    assert_eq!(reply.projects, [bench.project("hello")]);
}

#[test]
fn what_edges_no_longer_keep_cannot_be_activated() {
    let mut bench = Bench::new();
    for id in 1..=11 {
        bench.carry_out(create("hello", ""));
        bench.cut_over(id);
    }
    let effects = bench.call(CLIENT, 1, activate("hello", 1, true));
    failed(&effects, ApiError::Conflict, "10 newest versions");
    bench.carry_out(activate("hello", 2, true));
    assert_eq!(bench.project("hello").active, 2);
}

#[test]
fn removal_ends_a_name_but_not_its_epochs() {
    let mut bench = Bench::new();
    bench.carry_out(create("hello", ""));
    bench.cut_over(1);
    bench.carry_out(remove("hello"));
    let project = bench.project("hello");
    assert_eq!(
        (project.removed, project.active, project.epoch),
        (true, 0, 2)
    );
    // Removing twice is the same as once.
    assert_eq!(
        replied(&bench.call(CLIENT, 1, remove("hello"))).error(),
        ApiError::Unspecified
    );
    failed(
        &bench.call(CLIENT, 2, create("hello", "")),
        ApiError::Conflict,
        "being removed",
    );
    failed(
        &bench.call(CLIENT, 3, activate("hello", 1, true)),
        ApiError::NotFound,
        "`hello`",
    );

    let gone = [
        Key::Project("hello".into()),
        Key::Version(1),
        Key::Deploy(1),
    ];
    let entries = gone.map(|key| {
        bench.stored.remove(&key.to_string());
        FeedEntry {
            key: key.to_string(),
            value: None,
            revision: bench.revision + 1,
        }
    });
    bench.revision += 1;
    bench.feed(entries.to_vec());
    let reply = bench.carry_out(create("hello", ""));
    assert_eq!(reply.versions[0].spec.as_ref().unwrap().id, 2);
    assert_eq!(bench.project("hello").epoch, 2);
    assert_eq!(bench.project("hello").last_number, 1);
}

#[test]
fn lists_answer_from_the_mirror() {
    let mut bench = Bench::new();
    bench.carry_out(create("hello", ""));
    bench.carry_out(create("hello", ""));
    bench.cut_over(1);
    let list = api_request::Call::ListProjects(ListProjects {});
    let reply = replied(&bench.call(CLIENT, 1, list));
    assert_eq!(reply.projects, [bench.project("hello")]);
    let versions = api_request::Call::ListVersions(ListVersions {
        project: "hello".into(),
    });
    let reply = replied(&bench.call(CLIENT, 2, versions));
    let seen: Vec<_> = reply
        .versions
        .iter()
        .map(|v| (v.deploy.as_ref().unwrap().version, v.active))
        .collect();
    assert_eq!(seen, [(1, true), (2, false)]);
    let get = api_request::Call::GetDeploy(GetDeploy { version: 2 });
    let reply = replied(&bench.call(CLIENT, 3, get));
    assert_eq!(reply.versions[0].deploy, Some(bench.deploy(2)));
}

#[test]
fn a_list_that_does_not_fit_says_so() {
    let mut bench = Bench::new();
    for number in 1..=20 {
        let version = VersionSpec {
            id: u64::from(number),
            number,
            command: vec!["x".repeat(60_000)],
            ..spec("hello")
        };
        bench.write(Key::Version(version.id), Record::Version(version));
    }
    let project = ProjectRecord {
        name: "hello".into(),
        ..ProjectRecord::default()
    };
    bench.put(Key::Project("hello".into()), Record::Project(project));
    let versions = api_request::Call::ListVersions(ListVersions {
        project: "hello".into(),
    });
    let reply = replied(&bench.call(CLIENT, 2, versions));
    assert!(reply.encoded_len() < limits::ENVELOPE_BYTES_MAX);
    assert_eq!(
        reply.versions.last().unwrap().spec.as_ref().unwrap().number,
        20
    );
    assert!(
        reply.reason.starts_with("shows 8 of 20"),
        "{}",
        reply.reason
    );
}

#[test]
fn instances_are_asked_of_sync_under_an_id_of_its_own() {
    let mut bench = Bench::new();
    let list = || {
        api_request::Call::ListInstances(ListInstances {
            project: "hello".into(),
        })
    };
    let asked = |effects: &[Effect]| match effects {
        [
            Effect::Send {
                to: SYNC,
                body: Message::ApiRequest(request),
                after: None,
            },
        ] => request.clone(),
        other => panic!("{other:?}"),
    };
    let one = asked(&bench.call(CLIENT, 1, list()));
    let two = asked(&bench.call(OTHER, 1, list()));
    assert_eq!(one.call, Some(list()));
    assert_ne!(one.id, two.id);
    let answer = |id, region: &str| ApiReply {
        id,
        instances: vec![InstanceInfo {
            region: region.into(),
            ..InstanceInfo::default()
        }],
        ..ApiReply::default()
    };
    let reply = Message::ApiReply(answer(two.id, "mel"));
    assert_eq!(
        bench.message(CLIENT, reply.clone()),
        [],
        "only sync may answer"
    );
    let passed_on = Effect::Send {
        to: OTHER,
        body: Message::ApiReply(answer(1, "mel")),
        after: None,
    };
    assert_eq!(bench.message(SYNC, reply.clone()), [passed_on]);
    assert_eq!(bench.message(SYNC, reply), [], "answered already");
    // The other one is asked again, and then given up.
    assert_eq!(asked(&bench.wait(2_000)), one);
    let effects = bench.wait(13_000);
    failed(&effects, ApiError::Unavailable, "sync does not answer");
    assert_eq!(bench.control.requests_in_flight(), 0);
}

#[test]
fn a_region_is_welcomed_once_it_is_stored() {
    let mut bench = Bench::new();
    let hello = |store_node| {
        Message::RegionHello(RegionHello {
            region: "syd".into(),
            store_node,
        })
    };
    let welcome = Message::RegionWelcome(RegionWelcome {
        region: "syd".into(),
    });
    let stored = |store_node| {
        Record::Region(RegionRecord {
            name: "syd".into(),
            store_node,
        })
    };
    let key = Key::Region("syd".into());
    for (store_node, revision) in [(4, 0), (5, 1)] {
        let effects = bench.message(EDGE, hello(store_node));
        let [Effect::Commit { id, txn, .. }, _] = &effects[..] else {
            panic!("{effects:?}");
        };
        let expected = Txn {
            preconditions: vec![precondition(key.clone(), revision)],
            writes: vec![write(key.clone(), stored(store_node))],
        };
        assert_eq!(*txn, expected);
        let after = Effect::Send {
            to: EDGE,
            body: welcome.clone(),
            after: Some(*id),
        };
        assert_eq!(effects[1], after);
        assert_eq!(
            bench.message(EDGE, hello(store_node)),
            [],
            "one commit at a time"
        );
        let outcome = bench.apply(txn);
        bench.catch_up();
        bench.reply(*id, outcome);
        let now = Effect::Send {
            to: EDGE,
            body: welcome.clone(),
            after: None,
        };
        assert_eq!(bench.message(EDGE, hello(store_node)), [now]);
    }
}
