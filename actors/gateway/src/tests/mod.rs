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
mod instances;
mod routes;
mod waiting;

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
