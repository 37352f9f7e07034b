//! Requests that wait for an instance: wakes, order, deadlines, bounds, hops.

use super::*;

#[test]
fn a_hundred_first_requests_make_one_wake_and_double_demand_a_second() {
    let mut bench = Bench::with_app();
    let mut all = Vec::new();
    for _ in 0..100 {
        let (decision, effects) = bench.request("app.test", false);
        assert!(matches!(decision, Decision::Hold { .. }));
        all.extend(effects);
    }
    let demands: Vec<u32> = wakes(&all).iter().map(|w| w.demand).collect();
    assert_eq!(demands, [1, 3, 7, 15, 31, 63], "each time demand doubles");
}

#[test]
fn waiting_requests_go_out_in_order_as_instances_and_capacity_appear() {
    let mut bench = Bench::with_app();
    let held: Vec<Decision> = (0..4).map(|_| bench.decide("app.test")).collect();
    let effects = bench.store(&[running(7, 0)]);
    let tickets: Vec<Ticket> = resumed(&effects).iter().map(|(t, _)| *t).collect();
    assert_eq!(
        tickets,
        [ticket_of(&held[0]), ticket_of(&held[1])],
        "as many as the concurrency allows, the first ones"
    );
    let (_, effects) = bench.finish(&held[0], Outcome::Answered);
    assert_eq!(resumed(&effects)[0].0, ticket_of(&held[2]));
    let newcomer = bench.decide("app.test");
    assert!(
        matches!(newcomer, Decision::Hold { .. }),
        "nobody overtakes the one who waits"
    );
}

#[test]
fn a_wake_is_repeated_while_anybody_waits() {
    let mut bench = Bench::with_app();
    bench.pass(3_000);
    let (held, effects) = bench.request("app.test", false);
    assert_eq!(effects, [wake(7, 1)]);
    let repeated = wakes(&bench.pass(3_500)).len();
    assert!(
        (2..=4).contains(&repeated),
        "about once a second: {repeated}"
    );
    bench.finish(&held, Outcome::ClientGone);
    assert_eq!(wakes(&bench.pass(3_000)), []);
}

#[test]
fn a_new_scheduler_hears_at_once_of_those_who_wait() {
    let mut bench = Bench::new();
    bench.store(&[version(7), ack(7), route("app", 7, 1)]);
    let (_, effects) = bench.request("app.test", false);
    assert_eq!(effects, [], "nobody to ask");
    assert_eq!(bench.store(&[lease()]), [wake(7, 1)]);
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let mut bench = Bench::with_app();
    let held = bench.decide("app.test");
    assert_eq!(resumed(&bench.pass(29_000)), []);
    let gone = resumed(&bench.pass(1_000));
    let refusal = Refusal::HoldTimeout {
        retry_after: Duration::from_secs(5),
    };
    assert_eq!(gone, [(ticket_of(&held), Decision::Refuse(refusal))]);
    assert_eq!(bench.gateway.admitted(), 0);
}

#[test]
fn a_wait_that_goes_on_without_room_keeps_its_deadline() {
    let mut bench = Bench::with_app();
    let held = bench.decide("app.test");
    for _ in 0..29 {
        let told = bench.scheduler_says(reply(7, WakeOutcome::NoCapacity));
        assert_eq!(resumed(&told), [], "no other region has it either");
        assert_eq!(resumed(&bench.pass(1_000)), []);
    }
    let gone = resumed(&bench.pass(1_000));
    let [(ticket, Decision::Refuse(Refusal::NoCapacity { .. }))] = gone.as_slice() else {
        panic!("refused at the deadline that its front was told: {gone:?}");
    };
    assert_eq!(*ticket, ticket_of(&held));
}

#[test]
fn a_full_queue_refuses_at_once() {
    let mut config = GatewayConfig::new(ME, "syd", STORE);
    config.waiting_version_max = 2;
    let mut bench = Bench::with(config);
    bench.store(&[lease(), version(7), ack(7), route("app", 7, 1)]);
    bench.decide("app.test");
    bench.decide("app.test");
    let Decision::Refuse(refusal @ Refusal::QueueFull { .. }) = bench.decide("app.test") else {
        panic!("two may wait");
    };
    assert_eq!(refusal.retry_after_s(), Some(1));
    assert_eq!(bench.gateway.admitted(), 2);
}

#[test]
fn an_app_that_does_not_start_refuses_with_its_reason() {
    let mut bench = Bench::with_app();
    let held = bench.decide("app.test");
    let failed = WakeReply {
        reason: "exit code 3".into(),
        ..reply(7, WakeOutcome::Failed)
    };
    let told = resumed(&bench.scheduler_says(failed));
    let [(ticket, Decision::Refuse(Refusal::StartFailed { reason, .. }))] = told.as_slice() else {
        panic!("refused with the reason: {told:?}");
    };
    assert_eq!(
        (*ticket, reason.as_str()),
        (ticket_of(&held), "exit code 3")
    );
    assert!(matches!(
        bench.decide("app.test"),
        Decision::Refuse(Refusal::StartFailed { .. })
    ));
    bench.pass(2_000);
    let (decision, effects) = bench.request("app.test", false);
    assert!(
        matches!(decision, Decision::Hold { .. }),
        "it is tried again"
    );
    assert_eq!(wakes(&effects).len(), 1);
}

#[test]
fn a_failed_start_of_one_more_instance_does_not_touch_the_others() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0)]);
    bench.scheduler_says(reply(7, WakeOutcome::Failed));
    assert!(matches!(bench.decide("app.test"), Decision::Forward { .. }));
}

#[test]
fn without_room_here_requests_hop_to_another_region() {
    let mut bench = Bench::with_app();
    bench.store(&[peer("mel", 9)]);
    let held = bench.decide("app.test");
    let hops = resumed(&bench.scheduler_says(reply(7, WakeOutcome::NoCapacity)));
    let [(ticket, Decision::Hop { node, endpoint, .. })] = hops.as_slice() else {
        panic!("hops: {hops:?}");
    };
    assert_eq!(*ticket, ticket_of(&held));
    assert_eq!(
        (*node, endpoint.to_string()),
        (NodeId(9), "127.0.0.1:9".into())
    );
}

#[test]
fn a_request_that_hopped_here_never_hops_on() {
    let mut bench = Bench::new();
    bench.store(&[
        lease(),
        version_in(7, &["mel"]),
        ack(7),
        route("app", 7, 1),
        peer("mel", 9),
    ]);
    let (decision, _) = bench.request("app.test", true);
    assert_eq!(decision, Decision::Refuse(Refusal::Loop));
    let (decision, _) = bench.request("app.test", false);
    assert!(matches!(
        decision,
        Decision::Hop {
            node: NodeId(9),
            ..
        }
    ));
}
