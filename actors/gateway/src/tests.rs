//! The gateway as a specification: what each situation makes it do.

use tidegate_kernel::{
    Actor, Decision, Duration, Effect, Effects, Event, Note, Now, Outcome, Refusal, RequestHead,
    Seed, Ticket,
};
use tidegate_protocol::{
    AckRecord, Address, AppKind, Bytes, Digest, FeedEntry, GatewayRecord, Holder, HostRecord,
    InstanceRef, Key, LeaseRecord, Message, NodeId, Record, Role, RouteRecord, SlotRecord,
    SlotState, StoreFeed, TrafficReport, VersionSpec, Wake, WakeOutcome, WakeReply,
};

use crate::{Gateway, GatewayConfig};

mod corners;

const STORE: Address = Address::new(NodeId(1), Role::Store, 1);
const ME: Address = Address::new(NodeId(2), Role::Gateway, 0);
const SCHEDULER: Address = Address::new(NodeId(2), Role::Scheduler, 0);
const HOST: NodeId = NodeId(5);

/// A gateway with a clock, fed through its mirror like in life.
struct Bench {
    gateway: Gateway,
    fx: Effects,
    now: u64,
    session: u64,
    revision: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(GatewayConfig::new(ME, "syd", STORE))
    }

    fn with(config: GatewayConfig) -> Self {
        let mut bench = Bench {
            gateway: Gateway::new(config, Seed(1).rng()),
            fx: Effects::new(),
            now: 1_000,
            session: 0,
            revision: 0,
        };
        let started = bench.event(Event::Start);
        let [
            Effect::Send {
                to: STORE,
                body: Message::StoreWatch(watch),
                after: None,
            },
        ] = started.as_slice()
        else {
            panic!("a gateway subscribes first: {started:?}");
        };
        bench.session = watch.session;
        bench
    }

    /// With a scheduler and one program, version 7 of `app`, routed and acknowledged.
    fn with_app() -> Self {
        let mut bench = Self::new();
        bench.store(&[lease(), version(7), ack(7), route("app", 7, 1)]);
        bench
    }

    fn now(&self) -> Now {
        Now::at_ms(self.now)
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        self.gateway.handle(self.now(), event, &mut self.fx);
        self.gateway.check();
        self.fx.take()
    }

    /// Records appear in the store, in one commit. `None`: the record is deleted.
    fn feed(&mut self, records: &[(Key, Option<Record>)]) -> Vec<Effect> {
        let after_revision = self.revision;
        self.revision += 1;
        let entry = |(key, record): &(Key, Option<Record>)| FeedEntry {
            key: key.to_string(),
            value: record.as_ref().map(Record::encode),
            revision: self.revision,
        };
        let feed = StoreFeed {
            session: self.session,
            after_revision,
            revision: self.revision,
            entries: records.iter().map(entry).collect(),
            ..StoreFeed::default()
        };
        self.event(Event::Message {
            from: STORE,
            body: Message::StoreFeed(feed),
        })
    }

    fn store(&mut self, records: &[(Key, Record)]) -> Vec<Effect> {
        let records: Vec<_> = records
            .iter()
            .map(|(key, record)| (key.clone(), Some(record.clone())))
            .collect();
        self.feed(&records)
    }

    fn scheduler_says(&mut self, reply: WakeReply) -> Vec<Effect> {
        self.event(Event::Message {
            from: SCHEDULER,
            body: Message::WakeReply(reply),
        })
    }

    /// Time passes; the timer fires when it is due, as often as it is.
    fn pass(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.now + ms;
        let mut effects = Vec::new();
        while let Some((time, _)) = self.gateway.next_deadline() {
            let due = time.0.div_ceil(1_000_000).max(self.now);
            if due > end {
                break;
            }
            self.now = due;
            effects.extend(self.event(Event::Timer));
        }
        self.now = end;
        effects
    }

    /// Time passes; the store answers, and takes no commits.
    fn pass_stalled(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.pass((end - self.now).min(5_000));
            let feed = StoreFeed {
                session: self.session,
                after_revision: self.revision,
                revision: self.revision,
                ..StoreFeed::default()
            };
            let body = Message::StoreFeed(feed);
            self.event(Event::Message { from: STORE, body });
        }
    }

    fn decide(&mut self, host: &str) -> Decision {
        self.request(host, false).0
    }

    fn request(&mut self, host: &str, hopped: bool) -> (Decision, Vec<Effect>) {
        let head = RequestHead { host, hopped };
        let decision = self.gateway.decide(self.now(), &head, &mut self.fx);
        self.gateway.check();
        (decision, self.fx.take())
    }

    fn finish(&mut self, decision: &Decision, outcome: Outcome) -> (Option<Decision>, Vec<Effect>) {
        let ticket = ticket_of(decision);
        let next = self
            .gateway
            .finished(self.now(), ticket, outcome, &mut self.fx);
        self.gateway.check();
        (next, self.fx.take())
    }
}

fn ticket_of(decision: &Decision) -> Ticket {
    match decision {
        Decision::Forward { ticket, .. }
        | Decision::Hold { ticket, .. }
        | Decision::Hop { ticket, .. }
        | Decision::Static { ticket, .. } => *ticket,
        Decision::Refuse(refusal) => panic!("refused: {refusal:?}"),
    }
}

fn spec(id: u64) -> VersionSpec {
    VersionSpec {
        id,
        project: "app".into(),
        number: id as u32,
        kind: AppKind::Program.into(),
        artifact: Bytes::from(Digest([id as u8; 32])),
        instances_max: 3,
        concurrency: 2,
        ..VersionSpec::default()
    }
}

fn version(id: u64) -> (Key, Record) {
    (Key::Version(id), Record::Version(spec(id)))
}

fn static_version(id: u64) -> (Key, Record) {
    let spec = VersionSpec {
        kind: AppKind::Static.into(),
        ..spec(id)
    };
    (Key::Version(id), Record::Version(spec))
}

fn version_in(id: u64, regions: &[&str]) -> (Key, Record) {
    let spec = VersionSpec {
        regions: regions.iter().map(|r| (*r).to_owned()).collect(),
        ..spec(id)
    };
    (Key::Version(id), Record::Version(spec))
}

fn ack(version: u64) -> (Key, Record) {
    let record = AckRecord {
        node: ME.node.0,
        version,
        artifact: Bytes::from(Digest([version as u8; 32])),
    };
    let node = ME.node;
    (Key::Ack { node, version }, Record::Ack(record))
}

fn route(project: &str, version: u64, epoch: u64) -> (Key, Record) {
    let record = RouteRecord {
        project: project.into(),
        version,
        epoch,
        hosts: vec![format!("{project}.test"), format!("www.{project}.test")],
    };
    (Key::Route(project.into()), Record::Route(record))
}

fn lease() -> (Key, Record) {
    let record = LeaseRecord {
        holder: Some(Holder { node: 2, index: 0 }),
        epoch: 1,
        beat: 0,
    };
    (Key::Lease, Record::Lease(record))
}

fn slot_in(version: u64, index: u32, state: SlotState) -> (Key, Record) {
    let record = SlotRecord {
        version,
        index,
        epoch: 1,
        state: state.into(),
        host: HOST.0,
        endpoint: format!("127.0.0.1:{}", 4_000 + index),
        fence: 1,
    };
    (Key::Slot { version, index }, Record::Slot(record))
}

fn running(version: u64, index: u32) -> (Key, Record) {
    slot_in(version, index, SlotState::Running)
}

fn host_beat(beat: u64) -> (Key, Record) {
    let record = HostRecord {
        node: HOST.0,
        beat,
        ..HostRecord::default()
    };
    (Key::Host(HOST), Record::Host(record))
}

fn peer(region: &str, node: u32) -> (Key, Record) {
    let record = GatewayRecord {
        node,
        region: region.into(),
        hop_endpoint: format!("127.0.0.1:{node}"),
        ..GatewayRecord::default()
    };
    let key = Key::Peer {
        region: region.into(),
        node: NodeId(node),
    };
    (key, Record::Peer(record))
}

fn wake(version: u64, demand: u32) -> Effect {
    Effect::Send {
        to: SCHEDULER,
        body: Message::Wake(Wake { version, demand }),
        after: None,
    }
}

fn reply(version: u64, outcome: WakeOutcome) -> WakeReply {
    WakeReply {
        version,
        outcome: outcome.into(),
        retry_after_ms: 2_000,
        ..WakeReply::default()
    }
}

fn instance_of(decision: &Decision) -> InstanceRef {
    match decision {
        Decision::Forward { instance, .. } => *instance,
        other => panic!("not forwarded: {other:?}"),
    }
}

/// Decisions on held requests among effects.
fn resumed(effects: &[Effect]) -> Vec<(Ticket, Decision)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Resume { ticket, decision } => Some((*ticket, decision.clone())),
            _ => None,
        })
        .collect()
}

fn wakes(effects: &[Effect]) -> Vec<Wake> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send {
                body: Message::Wake(wake),
                ..
            } => Some(*wake),
            _ => None,
        })
        .collect()
}

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
