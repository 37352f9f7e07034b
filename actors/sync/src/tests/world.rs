//! A small world: the real control, sync and store actors, with two regions whose edges and
//! schedulers are played by hand. Messages between nodes are lost and late; regions are cut
//! off; control and sync crash. What must hold at every moment is asserted on every commit.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_control::{Control, ControlConfig};
use tidegate_engine::{Engine as _, MemoryEngine, run_op};
use tidegate_kernel::{
    BlobCommand, Cell, Decision, DriverCommand, EngineOp, Event, Note, Now, Rng, Seed, Sink, Ticket,
};
use tidegate_protocol::*;
use tidegate_store::{StoreActor, StoreConfig};

use crate::{Sync, SyncConfig};

pub(super) const CONTROL: Address = Address::new(NodeId(1), Role::Control, 0);
pub(super) const SYNC: Address = Address::new(NodeId(1), Role::Sync, 0);
pub(super) const MAIN: Address = Address::new(NodeId(1), Role::Store, Address::MAIN_STORE);
pub(super) const CLIENT: Address = Address::new(NodeId(1), Role::Client, 0);
pub(super) const REGIONS: [&str; 2] = ["mel", "syd"];

pub(super) fn store_of(region: usize) -> Address {
    Address::new(
        NodeId(10 + region as u32),
        Role::Store,
        Address::PARTITION_STORE,
    )
}

fn edge_of(region: usize) -> Address {
    Address::new(NodeId(20 + region as u32), Role::Edge, 0)
}

fn scheduler_of(region: usize) -> Address {
    Address::new(NodeId(20 + region as u32), Role::Scheduler, 0)
}

#[derive(Default)]
struct Out {
    sent: Vec<(Address, Message)>,
    ops: Vec<EngineOp>,
}

impl Sink for Out {
    fn send(&mut self, to: Address, body: Message) {
        self.sent.push((to, body));
    }
    fn engine(&mut self, op: EngineOp) {
        self.ops.push(op);
    }
    fn driver(&mut self, command: DriverCommand) {
        unreachable!("{command:?}");
    }
    fn blob(&mut self, command: BlobCommand) {
        unreachable!("{command:?}");
    }
    fn resume(&mut self, ticket: Ticket, _: Decision) {
        unreachable!("{ticket:?}");
    }
    fn note(&mut self, note: Note) {
        assert!(
            !matches!(note, Note::Malformed { .. } | Note::Full { .. }),
            "{note:?}"
        );
    }
}

struct Store {
    cell: Cell<StoreActor>,
    engine: MemoryEngine,
}

pub(super) struct World {
    now_ms: u64,
    pub(super) rng: Rng,
    sequence: u64,
    in_flight: BTreeMap<(u64, u64), (Address, Address, Message)>,
    control: Cell<Control>,
    sync: Cell<Sync>,
    stores: BTreeMap<Address, Store>,
    /// Messages between nodes that are lost, in a million.
    pub(super) loss: u32,
    pub(super) cut: BTreeSet<usize>,
    /// Regions whose hosts start nothing.
    pub(super) without_room: BTreeSet<usize>,
    beat: u64,
    hands_at: u64,
    next_request: u64,
    pub(super) replies: BTreeMap<u64, ApiReply>,
    /// Highest epoch ever seen of a route, and of a slot; what each version id was.
    routes: BTreeMap<(Address, String), u64>,
    slots: BTreeMap<(Address, String), u64>,
    versions: BTreeMap<u64, VersionSpec>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Seed(seed).derive("world").rng();
        let addresses = [MAIN, store_of(0), store_of(1)];
        let stores = addresses.map(|address| {
            let cell = Cell::new(StoreActor::new(
                StoreConfig::new(address),
                Seed(rng.u64()).rng(),
            ));
            let engine = MemoryEngine::with_log(200);
            (address, Store { cell, engine })
        });
        let mut world = Self {
            now_ms: 1_000,
            control: new_control(&mut rng),
            sync: new_sync(&mut rng),
            rng,
            sequence: 0,
            in_flight: BTreeMap::new(),
            stores: stores.into(),
            loss: 0,
            cut: BTreeSet::new(),
            without_room: BTreeSet::new(),
            beat: 0,
            hands_at: 1_000,
            next_request: 1,
            replies: BTreeMap::new(),
            routes: BTreeMap::new(),
            slots: BTreeMap::new(),
            versions: BTreeMap::new(),
        };
        for address in addresses {
            world.step_store(address, Event::Start);
        }
        world.step_control(Event::Start);
        world.step_sync(Event::Start);
        world
    }

    pub(super) fn crash_sync(&mut self) {
        self.sync = new_sync(&mut self.rng);
        self.step_sync(Event::Start);
    }

    pub(super) fn crash_control(&mut self) {
        self.control = new_control(&mut self.rng);
        self.step_control(Event::Start);
    }

    pub(super) fn request(&mut self, call: api_request::Call) -> u64 {
        let id = self.next_request;
        self.next_request += 1;
        let request = ApiRequest {
            id,
            call: Some(call),
        };
        self.send(CLIENT, CONTROL, Message::ApiRequest(request));
        id
    }

    pub(super) fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        loop {
            let deadline = |at: Option<(tidegate_kernel::Time, &'static str)>| {
                at.map_or(u64::MAX, |(at, _)| at.0.div_ceil(1_000_000))
            };
            let message = self
                .in_flight
                .first_key_value()
                .map_or(u64::MAX, |((at, _), _)| *at);
            let control = deadline(self.control.next_deadline());
            let sync = deadline(self.sync.next_deadline());
            let stores = self.stores.iter();
            let store = stores
                .map(|(a, s)| (deadline(s.cell.next_deadline()), *a))
                .min();
            let (store, address) = store.unwrap();
            let next = message.min(control).min(sync).min(store).min(self.hands_at);
            if next > end {
                self.now_ms = end;
                return;
            }
            self.now_ms = self.now_ms.max(next);
            if next == message {
                let (_, (from, to, body)) = self.in_flight.pop_first().unwrap();
                self.deliver(from, to, body);
            } else if next == control {
                self.step_control(Event::Timer);
            } else if next == sync {
                self.step_sync(Event::Timer);
            } else if next == store {
                self.step_store(address, Event::Timer);
            } else {
                self.hands_at = self.now_ms + 1_000;
                self.play_regions();
            }
        }
    }

    fn now(&self) -> Now {
        Now::at_ms(self.now_ms)
    }

    fn region_of(node: NodeId) -> Option<usize> {
        (node.0 >= 10).then_some((node.0 % 10) as usize)
    }

    fn send(&mut self, from: Address, to: Address, body: Message) {
        let ends = [from, to].map(|a| Self::region_of(a.node));
        let crosses = ends[0] != ends[1];
        let cut = crosses && ends.iter().flatten().any(|r| self.cut.contains(r));
        if cut || (from.node != to.node && self.rng.chance(self.loss)) {
            return;
        }
        let copies = if self.rng.chance(self.loss / 2) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = if crosses {
                self.rng.between(5, 200)
            } else {
                self.rng.between(0, 3)
            };
            self.sequence += 1;
            let at = (self.now_ms + delay, self.sequence);
            self.in_flight.insert(at, (from, to, body.clone()));
        }
    }

    fn deliver(&mut self, from: Address, to: Address, body: Message) {
        let event = |body| Event::Message { from, body };
        match (to.role, body) {
            (Role::Control, body) => self.step_control(event(body)),
            (Role::Sync, body) => self.step_sync(event(body)),
            (Role::Store, body) => self.step_store(to, event(body)),
            (Role::Scheduler, Message::Wake(wake)) => self.on_wake(from, to, wake.version),
            (Role::Client, Message::ApiReply(reply)) => {
                self.replies.insert(reply.id, reply);
            }
            _ => {}
        }
    }

    fn step_control(&mut self, event: Event) {
        let mut out = Out::default();
        self.control.step(self.now(), event, &mut out);
        out.sent
            .into_iter()
            .for_each(|(to, body)| self.send(CONTROL, to, body));
    }

    fn step_sync(&mut self, event: Event) {
        let mut out = Out::default();
        self.sync.step(self.now(), event, &mut out);
        out.sent
            .into_iter()
            .for_each(|(to, body)| self.send(SYNC, to, body));
    }

    fn step_store(&mut self, address: Address, event: Event) {
        let now = self.now();
        let store = self.stores.get_mut(&address).unwrap();
        let mut out = Out::default();
        store.cell.step(now, event, &mut out);
        let mut changed = Vec::new();
        while !out.ops.is_empty() {
            for op in std::mem::take(&mut out.ops) {
                let reply = run_op(&mut store.engine, op).unwrap();
                if let tidegate_kernel::EngineReply::Committed { outcome, .. } = &reply {
                    changed.extend(outcome.changes.clone());
                }
                store.cell.step(now, Event::Engine(reply), &mut out);
            }
        }
        for entry in changed {
            self.witness(address, &entry);
        }
        for (to, body) in out.sent {
            self.send(address, to, body);
        }
    }

    /// What must hold of every commit, whatever was lost before it.
    fn witness(&mut self, store: Address, entry: &FeedEntry) {
        let key = Key::parse(&entry.key).unwrap();
        let Some(value) = &entry.value else { return };
        match Record::parse(&key, value).unwrap() {
            Record::Route(route) => {
                let highest = self
                    .routes
                    .entry((store, route.project.clone()))
                    .or_default();
                assert!(
                    route.epoch > *highest || *highest == 0,
                    "{route:?} after {highest}"
                );
                *highest = route.epoch;
            }
            Record::Slot(slot) => {
                let known = self.slots.get(&(store, entry.key.clone()));
                assert!(
                    known.is_none_or(|epoch| slot.epoch >= *epoch && slot.epoch > 0),
                    "{slot:?}"
                );
                self.slots.insert((store, entry.key.clone()), slot.epoch);
            }
            Record::Version(spec) => {
                let known = self.versions.entry(spec.id).or_insert_with(|| spec.clone());
                assert_eq!(*known, spec, "a version id means one version for ever");
            }
            _ => {}
        }
    }

    pub(super) fn records(&self, store: Address, prefix: &str) -> Vec<Record> {
        let engine = &self.stores[&store].engine;
        let under = engine.iter().filter(|(key, _, _)| key.starts_with(prefix));
        under
            .map(|(key, value, _)| Record::parse(&Key::parse(key).unwrap(), value).unwrap())
            .collect()
    }

    fn read(&self, store: Address, key: &Key) -> Option<(Record, u64)> {
        let (value, revision) = self.stores[&store].engine.read(&key.to_string()).unwrap()?;
        Some((Record::parse(key, &value).unwrap(), revision))
    }

    /// Edges beat, fetch and acknowledge; schedulers stop what has left.
    fn play_regions(&mut self) {
        self.beat += 1;
        for (region, name) in REGIONS.into_iter().enumerate() {
            let edge = edge_of(region);
            let hello = RegionHello {
                region: name.into(),
                store_node: store_of(region).node.0,
            };
            self.send(edge, CONTROL, Message::RegionHello(hello));
            let gateway = GatewayRecord {
                node: edge.node.0,
                name: format!("{name}-1"),
                region: name.into(),
                hop_endpoint: "10.0.0.1:7".into(),
                beat: self.beat,
                ..GatewayRecord::default()
            };
            self.commit(
                edge,
                region,
                vec![(
                    Key::Gateway(edge.node),
                    Some(Record::Gateway(gateway)),
                    None,
                )],
            );
            let lease = LeaseRecord {
                holder: Some(Holder {
                    node: edge.node.0,
                    index: 0,
                }),
                epoch: 1,
                beat: self.beat,
            };
            self.commit(
                edge,
                region,
                vec![(Key::Lease, Some(Record::Lease(lease)), None)],
            );
            self.acknowledge(region);
            self.stop_what_left(region);
        }
    }

    fn acknowledge(&mut self, region: usize) {
        let node = edge_of(region).node;
        for record in self.records(store_of(region), Key::VERSIONS) {
            let Record::Version(spec) = record else {
                unreachable!()
            };
            let key = Key::Ack {
                node,
                version: spec.id,
            };
            if self.read(store_of(region), &key).is_none() {
                let ack = AckRecord {
                    node: node.0,
                    version: spec.id,
                    artifact: spec.artifact,
                };
                self.commit(
                    edge_of(region),
                    region,
                    vec![(key, Some(Record::Ack(ack)), None)],
                );
            }
        }
        for record in self.records(store_of(region), Key::ACKS) {
            let Record::Ack(ack) = record else {
                unreachable!()
            };
            if self
                .read(store_of(region), &Key::Version(ack.version))
                .is_none()
            {
                let key = Key::Ack {
                    node,
                    version: ack.version,
                };
                self.commit(edge_of(region), region, vec![(key, None, None)]);
            }
        }
    }

    fn stop_what_left(&mut self, region: usize) {
        for record in self.records(store_of(region), Key::SLOTS) {
            let Record::Slot(slot) = record else {
                unreachable!()
            };
            let left = self
                .read(store_of(region), &Key::Version(slot.version))
                .is_none();
            if left && slot.state() == SlotState::Running {
                let key = Key::Slot {
                    version: slot.version,
                    index: slot.index,
                };
                let (_, revision) = self.read(store_of(region), &key).unwrap();
                let free = SlotRecord {
                    state: SlotState::Free.into(),
                    ..slot
                };
                self.commit(
                    edge_of(region),
                    region,
                    vec![(key, Some(Record::Slot(free)), Some(revision))],
                );
            }
        }
    }

    fn on_wake(&mut self, from: Address, to: Address, version: u64) {
        let region = Self::region_of(to.node).unwrap();
        let mut outcome = WakeOutcome::Unknown;
        if self
            .read(store_of(region), &Key::Version(version))
            .is_some()
        {
            outcome = WakeOutcome::NoCapacity;
            let key = Key::Slot { version, index: 0 };
            if let Some((Record::Slot(slot), revision)) = self.read(store_of(region), &key)
                && !self.without_room.contains(&region)
            {
                outcome = WakeOutcome::Coming;
                if slot.state() == SlotState::Free {
                    let running = SlotRecord {
                        epoch: slot.epoch + 1,
                        state: SlotState::Running.into(),
                        host: 77,
                        ..slot
                    };
                    let write = (key, Some(Record::Slot(running)), Some(revision));
                    self.commit(scheduler_of(region), region, vec![write]);
                }
            }
        }
        let reply = WakeReply {
            version,
            outcome: outcome.into(),
            ..WakeReply::default()
        };
        self.send(to, from, Message::WakeReply(reply));
    }

    fn commit(
        &mut self,
        from: Address,
        region: usize,
        writes: Vec<(Key, Option<Record>, Option<u64>)>,
    ) {
        let mut txn = Txn::default();
        for (key, record, revision) in writes {
            let key = key.to_string();
            if let Some(revision) = revision {
                txn.preconditions.push(Precondition {
                    key: key.clone(),
                    revision,
                });
            }
            txn.writes.push(Write {
                key,
                value: record.map(|r| r.encode()),
            });
        }
        let id = self.rng.u64();
        let commit = StoreCommit { id, txn: Some(txn) };
        self.send(from, store_of(region), Message::StoreCommit(commit));
    }
}

fn new_control(rng: &mut Rng) -> Cell<Control> {
    let config = ControlConfig::new(CONTROL, MAIN, SYNC, "apps.test".into());
    Cell::new(Control::new(config, Seed(rng.u64()).rng()))
}

fn new_sync(rng: &mut Rng) -> Cell<Sync> {
    Cell::new(Sync::new(
        SyncConfig::new(SYNC, MAIN),
        Seed(rng.u64()).rng(),
    ))
}
