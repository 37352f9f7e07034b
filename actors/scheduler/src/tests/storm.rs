//! Two schedulers and a real store in a storm: messages are lost, doubled and late, clocks
//! go at different speeds, each scheduler is cut off from everybody and restarted, hosts
//! fall silent, instances come and go. At every moment no life of a slot is claimed twice and no claim takes a slot that
//! was not free; once the storm is over, one scheduler is active and wakes are served.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_engine::{Engine, MemoryEngine, run_op};
use tidegate_kernel::{
    BlobCommand, Cell, Decision, DriverCommand, EngineOp, EngineReply, Event, Now, Rng, Seed, Sink,
    Ticket,
};
use tidegate_kernel::{Duration, Note, Time};
use tidegate_protocol::{
    Address, FeedEntry, FenceRecord, Holder, Key, LeaseRecord, Message, Precondition, Record, Role,
    SlotRecord, SlotState, StoreCommit, Txn, Wake, WakeOutcome,
};
use tidegate_store::{StoreActor, StoreConfig};

use super::words::*;
use crate::{Scheduler, SchedulerConfig};

const SEEDS: u64 = 200;
const STORM: Duration = Duration::from_secs(150);
const CALM: Duration = Duration::from_secs(60);
const VERSIONS: [u64; 3] = [7, 8, 9];
const HOSTS: [u32; 3] = [5, 6, 10];
const CANDIDATES: [Address; 2] = [ME, OTHER];
/// Who writes what hosts and instances write.
const WORLD: Address = Address::new(tidegate_protocol::NodeId(9), Role::Client, 0);

/// What an actor's step wants.
#[derive(Default)]
struct Wants {
    sent: Vec<(Address, Message)>,
    engine: Vec<EngineOp>,
    notes: Vec<Note>,
}

impl Sink for Wants {
    fn send(&mut self, to: Address, body: Message) {
        self.sent.push((to, body));
    }

    fn engine(&mut self, op: EngineOp) {
        self.engine.push(op);
    }

    fn driver(&mut self, command: DriverCommand) {
        panic!("no actor here has a driver: {command:?}");
    }

    fn blob(&mut self, command: BlobCommand) {
        panic!("no actor here has blobs: {command:?}");
    }

    fn resume(&mut self, _ticket: Ticket, decision: Decision) {
        panic!("no actor here holds requests: {decision:?}");
    }

    fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
}

/// What happens next somewhere.
enum Happening {
    To(Address, Box<Event>),
    /// Hosts beat, gateways wake, the weather changes.
    Beat,
}

struct Storm {
    rng: Rng,
    now: Time,
    schedulers: BTreeMap<Address, Cell<Scheduler>>,
    /// Speed of each candidate's clock, in thousandths.
    speeds: BTreeMap<Address, u64>,
    store: Cell<StoreActor>,
    engine: MemoryEngine,
    agenda: BTreeMap<(Time, u64), Happening>,
    posted: u64,
    is_storm: bool,
    /// Who cannot reach anybody, and until when.
    cut_off: BTreeMap<Address, Time>,
    silent_hosts: BTreeSet<u32>,
    /// Host that each life of a slot was claimed for.
    claimed: BTreeMap<(u64, u32, u64), u32>,
    slots: BTreeMap<Key, SlotRecord>,
    /// Last answer to each wake in the calm.
    answers: BTreeMap<u64, WakeOutcome>,
    marks: BTreeMap<&'static str, u64>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut rng = Seed(seed).rng();
        let mut engine = MemoryEngine::new();
        let records: Vec<_> = VERSIONS
            .iter()
            .flat_map(|v| [version(*v), free(*v, 0, 0), free(*v, 1, 0)])
            .chain(HOSTS.map(|h| host(h, 1)))
            .collect();
        let outcome = engine.commit(&[txn(&[], &records)]).unwrap();
        let mut storm = Storm {
            store: Cell::new(StoreActor::new(
                StoreConfig::new(STORE),
                Seed(rng.u64()).rng(),
            )),
            speeds: CANDIDATES.map(|c| (c, rng.between(700, 1_300))).into(),
            rng,
            now: Time(1_000_000_000),
            schedulers: BTreeMap::new(),
            engine,
            agenda: BTreeMap::new(),
            posted: 0,
            is_storm: true,
            cut_off: BTreeMap::new(),
            silent_hosts: BTreeSet::new(),
            claimed: BTreeMap::new(),
            slots: BTreeMap::new(),
            answers: BTreeMap::new(),
            marks: BTreeMap::new(),
        };
        storm.judge(&outcome.changes);
        for candidate in CANDIDATES {
            storm.start(candidate);
        }
        storm.post(Duration::ZERO, Happening::To(STORE, Box::new(Event::Start)));
        storm.post(Duration::ZERO, Happening::Beat);
        storm
    }

    /// A new life of a scheduler.
    fn start(&mut self, address: Address) {
        let config = SchedulerConfig::new(address, STORE);
        let actor = Scheduler::new(config, Seed(self.rng.u64()).rng());
        self.schedulers.insert(address, Cell::new(actor));
        self.post(
            Duration::ZERO,
            Happening::To(address, Box::new(Event::Start)),
        );
    }

    fn post(&mut self, delay: Duration, what: Happening) {
        self.posted += 1;
        self.agenda.insert((self.now + delay, self.posted), what);
    }

    /// A message leaves; the network does with it what it likes.
    fn send(&mut self, from: Address, to: Address, body: Message) {
        let is_cut = |a: &Address| self.cut_off.get(a).is_some_and(|until| *until > self.now);
        if is_cut(&from) || is_cut(&to) || self.is_storm && self.rng.chance(150_000) {
            return;
        }
        let copies = if self.is_storm && self.rng.chance(80_000) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let slow = self.is_storm && self.rng.chance(100_000);
            let most = if slow { 9_000 } else { 40 };
            let delay = Duration::from_millis(self.rng.between(1, most));
            let body = body.clone();
            let event = Box::new(Event::Message { from, body });
            self.post(delay, Happening::To(to, event));
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let mut due: Option<(Time, Option<Address>)> =
                self.agenda.keys().next().map(|(time, _)| (*time, None));
            let timers = self.schedulers.iter().map(|(a, c)| (*a, c.next_deadline()));
            let timers = timers.chain([(STORE, self.store.next_deadline())]);
            for (address, deadline) in timers {
                let Some((time, _)) = deadline else { continue };
                let time = Time((time.0 * 1_000).div_ceil(self.speed(address)));
                if due.is_none_or(|(earliest, _)| time < earliest) {
                    due = Some((time, Some(address)));
                }
            }
            match due {
                Some((time, who)) if time <= end => {
                    self.now = self.now.max(time);
                    match who {
                        Some(address) => self.step(address, Event::Timer),
                        None => self.happen(),
                    }
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn speed(&self, address: Address) -> u64 {
        self.speeds.get(&address).copied().unwrap_or(1_000)
    }

    fn happen(&mut self) {
        match self.agenda.pop_first() {
            Some((_, Happening::To(to, event))) => self.step(to, *event),
            Some((_, Happening::Beat)) => self.beat(),
            None => {}
        }
    }

    fn step(&mut self, to: Address, event: Event) {
        let now = Now {
            mono: Time(self.now.0 * self.speed(to) / 1_000),
            ..Now::default()
        };
        let mut wants = Wants::default();
        match (to, event) {
            (STORE, event) => self.store.step(now, event, &mut wants),
            (to, event) if self.schedulers.contains_key(&to) => {
                if let Some(cell) = self.schedulers.get_mut(&to) {
                    cell.step(now, event, &mut wants);
                }
            }
            (_, Event::Message { body, .. }) => self.outside(body),
            (to, event) => panic!("{to} was told {event:?}"),
        }
        for note in wants.notes {
            if let Note::Mark(name) = note {
                *self.marks.entry(name).or_default() += 1;
            }
        }
        for op in wants.engine {
            self.engine_op(op);
        }
        for (peer, body) in wants.sent {
            self.send(to, peer, body);
        }
    }

    fn engine_op(&mut self, op: EngineOp) {
        let reply = run_op(&mut self.engine, op).unwrap();
        if let EngineReply::Committed { outcome, .. } = &reply {
            self.judge(&outcome.changes);
        }
        let delay = Duration::from_millis(2);
        let event = Box::new(Event::Engine(reply));
        self.post(delay, Happening::To(STORE, event));
    }

    /// Looks at what was really committed.
    fn judge(&mut self, changes: &[FeedEntry]) {
        for entry in changes {
            let key = Key::parse(&entry.key).unwrap();
            let Some(value) = &entry.value else { continue };
            let Record::Slot(slot) = Record::parse(&key, value).unwrap() else {
                continue;
            };
            let former = self.slots.insert(key, slot.clone());
            let Some(former) = former else { continue };
            assert!(slot.epoch >= former.epoch, "{former:?} became {slot:?}");
            assert!(slot.fence >= former.fence, "{former:?} became {slot:?}");
            if slot.state() == SlotState::Starting {
                assert_eq!(
                    former.state(),
                    SlotState::Free,
                    "{former:?} became {slot:?}"
                );
                let life = (slot.version, slot.index, slot.epoch);
                let other = self.claimed.insert(life, slot.host);
                assert_eq!(other, None, "{life:?} was claimed twice");
            }
        }
    }

    /// What hosts and gateways do with what they are told.
    fn outside(&mut self, body: Message) {
        match body {
            Message::Provision(provision) => {
                let slot = provision.slot.unwrap();
                let life = (slot.version, slot.index, slot.epoch);
                let host = self.claimed.get(&life);
                assert_eq!(host, Some(&slot.host), "{life:?} was not claimed so");
            }
            Message::Stop(stop) => {
                let stopped = stop.instance.unwrap();
                let slot = &self.slots[&slot_key(stopped.version, stopped.slot)];
                assert!(
                    slot.epoch > stopped.epoch || slot.state() != SlotState::Running,
                    "{stopped} is stopped but {slot:?}"
                );
            }
            Message::WakeReply(reply)
                if !self.is_storm && reply.outcome() != WakeOutcome::NotActive =>
            {
                self.answers.insert(reply.version, reply.outcome());
            }
            _ => {}
        }
    }

    fn beat(&mut self) {
        if self.is_storm {
            self.change_weather();
        }
        for node in HOSTS {
            if !self.silent_hosts.contains(&node) && self.rng.chance(300_000) {
                // Scarce in the storm, so that wakes queue.
                let capacity = if self.is_storm {
                    self.rng.between(1, 2) as u32
                } else {
                    3
                };
                let (key, record) = host(node, capacity);
                self.write(Vec::new(), &key, &record);
            }
        }
        for (key, slot) in self.slots.clone() {
            if !self.silent_hosts.contains(&slot.host) {
                self.live_on(&key, slot);
            }
        }
        for version in VERSIONS {
            if self.is_storm && self.rng.chance(500_000) {
                continue;
            }
            let demand = self.rng.between(1, 4) as u32;
            for candidate in CANDIDATES {
                self.send(GATEWAY, candidate, Message::Wake(Wake { version, demand }));
            }
        }
        self.post(Duration::from_millis(400), Happening::Beat);
    }

    fn change_weather(&mut self) {
        for candidate in CANDIDATES {
            if self.rng.chance(40_000) {
                let until = self.now + Duration::from_millis(self.rng.between(1_000, 20_000));
                self.cut_off.insert(candidate, until);
            }
            if self.rng.chance(10_000) {
                self.start(candidate);
            }
        }
        if self.rng.chance(10_000) {
            self.usurp();
        }
        for node in HOSTS {
            if self.rng.chance(20_000) && !self.silent_hosts.remove(&node) {
                self.silent_hosts.insert(node);
            }
        }
    }

    /// A third candidate is elected, and dies at once.
    fn usurp(&mut self) {
        let Some((value, revision)) = self.engine.read(Key::FENCE).unwrap() else {
            return;
        };
        let Record::Fence(fence) = Record::parse(&Key::Fence, &value).unwrap() else {
            panic!("the key tells the kind");
        };
        let holder = Some(Holder { node: 99, index: 0 });
        let epoch = fence.epoch + 1;
        let fence = Record::Fence(FenceRecord { holder, epoch });
        let lease = Record::Lease(LeaseRecord {
            holder,
            epoch,
            beat: 0,
        });
        let unchanged = Precondition {
            key: Key::FENCE.to_owned(),
            revision,
        };
        let txn = Some(Txn {
            preconditions: vec![unchanged],
            writes: vec![write(&Key::Fence, &fence), write(&Key::Lease, &lease)],
        });
        let id = self.rng.u64();
        self.send(WORLD, STORE, Message::StoreCommit(StoreCommit { id, txn }));
    }

    /// An instance starts, or ends, some time.
    fn live_on(&mut self, key: &Key, slot: SlotRecord) {
        let (chance, state) = match slot.state() {
            SlotState::Starting => (400_000, SlotState::Running),
            SlotState::Running if self.is_storm => (100_000, SlotState::Free),
            SlotState::Stopping => (400_000, SlotState::Free),
            SlotState::Running | SlotState::Free | SlotState::Unspecified => return,
        };
        if !self.rng.chance(chance) {
            return;
        }
        let name = key.to_string();
        let (value, revision) = self.engine.read(&name).unwrap().unwrap();
        let is_current = Record::parse(key, &value) == Ok(Record::Slot(slot.clone()));
        assert!(is_current, "the judge saw every change");
        let record = SlotRecord {
            state: state.into(),
            host: if state == SlotState::Free {
                0
            } else {
                slot.host
            },
            ..slot
        };
        let unchanged = Precondition {
            key: name,
            revision,
        };
        self.write(vec![unchanged], key, &Record::Slot(record));
    }

    fn write(&mut self, preconditions: Vec<Precondition>, key: &Key, record: &Record) {
        let txn = Some(Txn {
            preconditions,
            writes: vec![write(key, record)],
        });
        let id = self.rng.u64();
        self.send(WORLD, STORE, Message::StoreCommit(StoreCommit { id, txn }));
    }

    fn active(&self) -> Vec<Address> {
        let active = |c: &Cell<Scheduler>| c.actor().active_epoch().is_some();
        let all = self.schedulers.iter();
        all.filter(|(_, c)| active(c)).map(|(a, _)| *a).collect()
    }

    fn calm_down(&mut self) {
        self.is_storm = false;
        self.cut_off.clear();
        self.silent_hosts.clear();
    }
}

#[test]
fn no_life_of_a_slot_is_claimed_twice_and_after_the_storm_wakes_are_served() {
    let mut marks: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut claims = 0;
    for seed in 1..=SEEDS {
        let mut storm = Storm::new(seed);
        storm.run(STORM);
        storm.calm_down();
        storm.run(CALM);
        assert_eq!(storm.active().len(), 1, "seed {seed}: {:?}", storm.active());
        for version in VERSIONS {
            let state = storm.slots[&slot_key(version, 0)].state();
            let answer = storm.answers.get(&version);
            assert_eq!(
                (answer, state),
                (Some(&WakeOutcome::Coming), SlotState::Running),
                "seed {seed}, version {version}"
            );
        }
        claims += storm.claimed.len();
        for (name, count) in storm.marks {
            *marks.entry(name).or_default() += count;
        }
    }
    for mark in [
        "a claim lost a race",
        "a deposed scheduler's claim was refused",
    ] {
        assert!(marks.contains_key(mark), "the storm never made {mark:?}");
    }
    assert!(claims > SEEDS as usize * 20, "{claims} claims");
}
