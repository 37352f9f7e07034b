//! What a gateway serves of a project: its route, its epoch, its artifact.

use super::*;

#[test]
fn an_unknown_host_name_is_refused() {
    let mut bench = Bench::with_app();
    assert_eq!(
        bench.decide("other.test"),
        Decision::Refuse(Refusal::UnknownHost)
    );
    assert_eq!(bench.gateway.admitted(), 0);
}

#[test]
fn a_route_is_served_only_once_its_artifact_is_verified() {
    let mut bench = Bench::new();
    bench.store(&[lease(), static_version(7), route("app", 7, 1)]);
    let Decision::Refuse(Refusal::NotHereYet { .. }) = bench.decide("app.test") else {
        panic!("the artifact is not here");
    };
    let effects = bench.store(&[ack(7)]);
    let serving = Note::Serving {
        project: "app".into(),
        version: 7,
        epoch: 1,
    };
    assert_eq!(effects, [Effect::Note(serving)]);
    for host in ["app.test", "www.app.test"] {
        let Decision::Static {
            version: 7,
            artifact,
            ..
        } = bench.decide(host)
        else {
            panic!("{host} is served from the artifact");
        };
        assert_eq!(artifact, Digest([7; 32]));
    }
}

#[test]
fn a_newer_epoch_waits_for_its_artifact_while_the_last_whole_one_serves() {
    let mut bench = Bench::new();
    bench.store(&[static_version(7), ack(7), route("app", 7, 1)]);
    bench.store(&[static_version(8), route("app", 8, 2)]);
    assert_eq!(bench.gateway.serving("app"), Some((7, 1)));
    bench.store(&[ack(8)]);
    assert_eq!(bench.gateway.serving("app"), Some((8, 2)));
}

#[test]
fn an_epoch_never_goes_back() {
    let mut bench = Bench::new();
    bench.store(&[static_version(7), ack(7), static_version(8), ack(8)]);
    bench.store(&[route("app", 8, 2)]);
    bench.store(&[route("app", 7, 1)]);
    assert_eq!(bench.gateway.serving("app"), Some((8, 2)));
    bench.store(&[route("app", 7, 3)]);
    assert_eq!(bench.gateway.serving("app"), Some((7, 3)));
}

#[test]
fn a_gateway_that_knows_nothing_yet_says_so() {
    let mut bench = Bench::new();
    assert!(matches!(
        bench.decide("app.test"),
        Decision::Refuse(Refusal::NotHereYet { .. })
    ));
    bench.store(&[]);
    assert_eq!(
        bench.decide("app.test"),
        Decision::Refuse(Refusal::UnknownHost)
    );
}

#[test]
fn a_removed_project_is_unknown_at_once() {
    let mut bench = Bench::with_app();
    let held = bench.decide("app.test");
    let (route, _) = route("app", 7, 1);
    bench.feed(&[(route, None)]);
    assert_eq!(
        bench.decide("app.test"),
        Decision::Refuse(Refusal::UnknownHost)
    );
    let effects = bench.feed(&[(Key::Version(7), None), (ack(7).0, None)]);
    let unknown = Decision::Refuse(Refusal::UnknownHost);
    assert_eq!(resumed(&effects), [(ticket_of(&held), unknown)]);
    assert_eq!(bench.gateway.admitted(), 0);
}

#[test]
fn a_running_instance_gets_the_request() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0)]);
    let Decision::Forward {
        instance,
        endpoint,
        deadline,
        ..
    } = bench.decide("app.test")
    else {
        panic!("an instance runs");
    };
    let expected = InstanceRef {
        version: 7,
        slot: 0,
        epoch: 1,
    };
    assert_eq!(instance, expected);
    assert_eq!(endpoint.to_string(), "127.0.0.1:4000");
    assert_eq!(deadline, (bench.now().mono) + Duration::from_secs(60));
}
