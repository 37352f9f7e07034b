//! Which instances get requests: refused connections, silent hosts, stops, and what is reported of them.

use super::*;

#[test]
fn a_refused_connection_is_tried_at_another_instance() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0), running(7, 1)]);
    let first = bench.decide("app.test");
    let (next, _) = bench.finish(&first, Outcome::ConnectFailed);
    let next = next.expect("tried elsewhere");
    assert_ne!(instance_of(&first), instance_of(&next));
    assert_eq!(ticket_of(&first), ticket_of(&next));
}

#[test]
fn a_lone_instance_that_refuses_is_tried_again_later() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0)]);
    let first = bench.decide("app.test");
    let (next, _) = bench.finish(&first, Outcome::ConnectFailed);
    assert!(matches!(next, Some(Decision::Hold { .. })));
    let resumed = resumed(&bench.pass(4_000));
    assert_eq!(resumed.len(), 1);
    assert_eq!(instance_of(&resumed[0].1), instance_of(&first));
}

#[test]
fn a_request_is_not_offered_forever() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0), running(7, 1), running(7, 2)]);
    let first = bench.decide("app.test");
    let mut last = first.clone();
    for _ in 0..4 {
        if matches!(last, Decision::Hold { .. }) {
            assert_eq!(resumed(&bench.pass(4_000)).len(), 1);
        }
        let (next, _) = bench.finish(&first, Outcome::ConnectFailed);
        last = next.expect("an answer");
    }
    let Decision::Refuse(Refusal::Unreachable { .. }) = last else {
        panic!("given up: {last:?}");
    };
    assert_eq!(bench.gateway.admitted(), 0);
}

#[test]
fn an_instance_on_a_silent_host_gets_nothing() {
    let mut bench = Bench::with_app();
    bench.store(&[host_beat(1), running(7, 0)]);
    for _ in 0..5 {
        bench.pass(6_000);
        bench.store(&[lease()]);
    }
    bench.pass(2_000);
    assert!(matches!(bench.decide("app.test"), Decision::Hold { .. }));
    bench.store(&[host_beat(2)]);
    let resumed = resumed(&bench.pass(1_500));
    assert_eq!(resumed.len(), 1, "it has come back");
}

#[test]
fn a_store_that_is_gone_changes_nothing_for_warm_traffic() {
    let mut bench = Bench::with_app();
    bench.store(&[host_beat(1), running(7, 0)]);
    bench.pass(600_000);
    let decision = bench.decide("app.test");
    assert!(matches!(decision, Decision::Forward { .. }));
}

#[test]
fn a_store_that_takes_no_commits_changes_nothing_for_warm_traffic() {
    let mut bench = Bench::with_app();
    bench.store(&[host_beat(1), running(7, 0)]);
    bench.pass_stalled(300_000);
    let decision = bench.decide("app.test");
    assert!(matches!(decision, Decision::Forward { .. }));
    bench.finish(&decision, Outcome::Answered);
    // It takes those of others again, and the host is as dead as before.
    for _ in 0..5 {
        bench.store(&[lease()]);
        bench.pass(5_800);
    }
    let decision = bench.decide("app.test");
    assert!(matches!(decision, Decision::Forward { .. }));
    bench.finish(&decision, Outcome::Answered);
    bench.store(&[lease()]);
    bench.pass(2_000);
    assert!(matches!(bench.decide("app.test"), Decision::Hold { .. }));
}

#[test]
fn a_slot_that_stops_gets_no_new_request() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0)]);
    let first = bench.decide("app.test");
    bench.store(&[slot_in(7, 0, SlotState::Stopping)]);
    assert!(matches!(bench.decide("app.test"), Decision::Hold { .. }));
    bench.finish(&first, Outcome::Answered);
    assert_eq!(bench.gateway.admitted(), 1);
}

#[test]
fn those_who_wait_move_over_a_cutover() {
    let mut bench = Bench::with_app();
    let held = bench.decide("app.test");
    bench.store(&[version(8), ack(8), running(8, 0)]);
    let moved = resumed(&bench.store(&[route("app", 8, 2)]));
    assert_eq!(moved.len(), 1);
    assert_eq!(moved[0].0, ticket_of(&held));
    assert_eq!(instance_of(&moved[0].1).version, 8);
}

#[test]
fn traffic_is_reported_until_a_version_has_been_quiet_for_two_reports() {
    let mut bench = Bench::with_app();
    bench.store(&[running(7, 0)]);
    let request = bench.decide("app.test");
    bench.finish(&request, Outcome::Answered);
    let reports = |effects: &[Effect]| -> Vec<Vec<u64>> {
        effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Send {
                    to: SCHEDULER,
                    body: Message::TrafficReport(TrafficReport { busy }),
                    ..
                } => Some(busy.clone()),
                _ => None,
            })
            .collect()
    };
    let effects = bench.pass(16_000);
    assert_eq!(reports(&effects), [vec![7], vec![7], vec![], vec![]]);
}
