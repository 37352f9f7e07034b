//! What is let go of, what nobody overtakes, and what the gateway tells of itself.

use tidegate_kernel::{Called as _, FrontCall, Load, Time};

use super::*;

impl Bench {
    fn knows(&self, version: u64) -> bool {
        self.gateway.table.index_of(version).is_some()
    }

    fn gone(&mut self, (key, _): (Key, Record)) -> Vec<Effect> {
        self.feed(&[(key, None)])
    }
}

#[test]
fn a_version_is_forgotten_with_the_last_thing_that_refers_to_it() {
    let everything = || [version(7), ack(7), route("app", 7, 1), running(7, 0)];
    for last in 0..4 {
        let mut bench = Bench::new();
        bench.store(&everything());
        let mut leaving = everything().to_vec();
        let kept = leaving.remove(last);
        for record in leaving {
            assert!(bench.knows(7));
            bench.gone(record);
        }
        // A route without its version serves nobody, but is served still.
        assert!(bench.knows(7), "record {last} refers to it");
        bench.gone(kept);
        assert!(!bench.knows(7), "after record {last} nothing does");
    }
}

#[test]
fn a_version_is_forgotten_with_its_last_request() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0)]);
    let decision = bench.decide("app.test");
    for record in [running(7, 0), version(7), ack(7), route("app", 7, 1)] {
        bench.gone(record);
    }
    assert!(bench.knows(7));
    bench.finish(&decision, Outcome::Answered);
    assert!(!bench.knows(7));
}

#[test]
fn a_cutover_that_moves_those_who_wait_leaves_nothing_of_them_behind() {
    let mut bench = Bench::with_app();
    for _ in 0..2 {
        bench.decide("app.test");
    }
    bench.store(&[version(8), ack(8), route("app", 8, 2)]);
    assert!(bench.knows(7));
    bench.gone(ack(7));
    bench.gone(version(7));
    assert!(!bench.knows(7));
    assert_eq!(bench.gateway.admitted(), 2);
}

#[test]
fn a_route_that_changes_before_it_is_whole_takes_its_names_along() {
    let mut bench = Bench::new();
    bench.store(&[lease(), version(7), route("app", 7, 1)]);
    let (key, Record::Route(mut other)) = route("app", 7, 2) else {
        panic!();
    };
    other.hosts = vec!["new.test".into()];
    bench.store(&[(key, Record::Route(other))]);
    let on_its_way = Decision::Refuse(Refusal::NotHereYet {
        retry_after: Duration::from_secs(2),
    });
    let unknown = Decision::Refuse(Refusal::UnknownHost);
    assert_eq!(bench.decide("new.test"), on_its_way);
    assert_eq!(bench.decide("app.test"), unknown);
}

#[test]
fn a_route_that_is_served_keeps_its_names_until_the_next_is_whole() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0)]);
    let (key, Record::Route(mut other)) = route("app", 8, 2) else {
        panic!();
    };
    other.hosts = vec!["new.test".into()];
    bench.store(&[(key, Record::Route(other))]);
    instance_of(&bench.decide("app.test"));
}

#[test]
fn without_room_for_more_those_who_wait_for_an_instance_that_runs_wait_on() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0), peer("mel", 9)]);
    for _ in 0..2 {
        instance_of(&bench.decide("app.test"));
    }
    let waiting = bench.decide("app.test");
    assert!(matches!(waiting, Decision::Hold { .. }), "{waiting:?}");
    let effects = bench.scheduler_says(reply(7, WakeOutcome::NoCapacity));
    assert_eq!(resumed(&effects), []);
}

#[test]
fn nobody_overtakes_those_who_wait() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0)]);
    let first = bench.decide("app.test");
    let (again, _) = bench.finish(&first, Outcome::ConnectFailed);
    assert!(matches!(again, Some(Decision::Hold { .. })), "{again:?}");
    bench.now += 2_000;
    let second = bench.decide("app.test");
    assert!(matches!(second, Decision::Hold { .. }), "{second:?}");
}

#[test]
fn what_is_no_longer_verified_here_is_not_served_from_here() {
    let mut bench = Bench::new();
    bench.store(&[static_version(7), ack(7), route("app", 7, 1)]);
    let served = bench.decide("app.test");
    assert!(matches!(served, Decision::Static { .. }), "{served:?}");
    bench.gone(ack(7));
    let refused = bench.decide("app.test");
    assert!(
        matches!(refused, Decision::Refuse(Refusal::NotHereYet { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_front_calls_it_with_data() {
    let mut bench = Bench::new();
    bench.store(&[static_version(7), ack(7), route("app", 7, 1)]);
    let head = RequestHead {
        host: "app.test",
        hopped: false,
    };
    let now = bench.now();
    let call = FrontCall::Decide(head);
    let decision = bench.gateway.call(now, call, &mut bench.fx).unwrap();
    let call = FrontCall::Finished {
        ticket: ticket_of(&decision),
        outcome: Outcome::Answered,
    };
    assert_eq!(bench.gateway.call(now, call, &mut bench.fx), None);
    assert_eq!(bench.gateway.admitted(), 0);
}

#[test]
fn a_host_that_is_gone_is_forgotten() {
    let mut bench = Bench::with_app();
    bench.store(&[host_beat(1)]);
    assert!(bench.gateway.hosts.contains_key(&HOST));
    bench.gone(host_beat(1));
    assert!(bench.gateway.hosts.is_empty());
}

#[test]
fn the_load_is_that_of_its_queues() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0)]);
    for _ in 0..5 {
        bench.decide("app.test");
    }
    assert_eq!(
        bench.gateway.load(),
        [
            Load::new("waiting requests", 3, 16_384),
            Load::new("requests waiting for one version", 3, 1_024),
            Load::new("requests in flight at one instance", 2, 2),
        ]
    );
}

#[test]
#[should_panic(expected = "every wait has a deadline")]
fn a_deadline_without_a_wait_breaks_an_invariant() {
    let mut bench = Bench::with_app();
    bench.gateway.holds.insert((Time::ZERO, Ticket(1)));
    bench.gateway.check();
}
