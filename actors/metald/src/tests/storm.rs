//! A host in a storm: messages are lost, slots are claimed, stopped and taken away, apps
//! crash and hang, metald restarts. At every moment no slot runs twice and no slot is freed
//! under a living instance; once the storm is over, what runs is what the slots say.

use std::collections::BTreeMap;

use tidegate_kernel::{
    Actor, BlobCommand, BlobReport, DriverCommand, DriverInstance, DriverReport, Effect, Effects,
    Event, Now, Rng, Seed,
};
use tidegate_protocol::{
    FeedEntry, InstanceRef, Key, Message, Provision, Record, SlotRecord, SlotState, Stop,
    StoreFeed, Txn,
};

use super::words::*;
use crate::{Metald, MetaldConfig};

const STORM_MS: u64 = 60_000;
const CALM_MS: u64 = 240_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Well,
    Sick,
    Hanging,
    Stubborn,
    CrashesAt(u64),
}

#[derive(Debug)]
struct World {
    rng: Rng,
    metald: Metald,
    now_ms: u64,
    is_storm: bool,
    revision: u64,
    log: Vec<FeedEntry>,
    slots: BTreeMap<Key, (u64, SlotRecord)>,
    session: u64,
    driver: BTreeMap<(u32, u64), Fate>,
    inbox: BTreeMap<(u64, u64), Event>,
    sent: u64,
}

fn metald(rng: &mut Rng) -> Metald {
    let config = MetaldConfig::new(ME, "host-7", "a", 4, STORE, ORIGIN);
    Metald::new(config, Seed(rng.u64()).rng())
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Seed(seed).rng();
        let mut world = World {
            metald: metald(&mut rng),
            rng,
            now_ms: 1_000,
            is_storm: true,
            revision: 0,
            log: Vec::new(),
            slots: BTreeMap::new(),
            session: 0,
            driver: BTreeMap::new(),
            inbox: BTreeMap::new(),
            sent: 0,
        };
        for (key, record) in region() {
            world.write(&key, record);
        }
        world.post(0, Event::Start);
        world
    }

    fn loses(&mut self) -> bool {
        self.is_storm && self.rng.chance(200_000)
    }

    fn post(&mut self, delay_ms: u64, event: Event) {
        self.sent += 1;
        self.inbox
            .insert((self.now_ms + delay_ms, self.sent), event);
    }

    fn post_message(&mut self, from: tidegate_protocol::Address, body: Message) {
        if !self.loses() {
            let delay = self.rng.between(1, 20);
            self.post(delay, Event::Message { from, body });
        }
    }

    fn report(&mut self, delay_ms: u64, report: DriverReport) {
        self.post(delay_ms, Event::Driver(report));
    }

    // ---- the store ----

    fn write(&mut self, key: &Key, record: Record) {
        self.revision += 1;
        self.log.push(FeedEntry {
            key: key.to_string(),
            value: Some(record.encode()),
            revision: self.revision,
        });
        if let Record::Slot(slot) = record {
            self.slots.insert(key.clone(), (self.revision, slot));
        }
        self.feed_after(self.revision - 1);
    }

    fn feed_after(&mut self, after_revision: u64) {
        let feed = StoreFeed {
            session: self.session,
            after_revision,
            revision: self.revision,
            reset: after_revision == 0,
            last: true,
            entries: self.log[after_revision as usize..].to_vec(),
            ..StoreFeed::default()
        };
        self.post_message(STORE, Message::StoreFeed(feed));
    }

    fn commit(&mut self, txn: Txn) {
        let Ok(key @ Key::Slot { .. }) = Key::parse(&txn.writes[0].key) else {
            return;
        };
        let seen = txn.preconditions[0].revision;
        if self.slots[&key].0 != seen {
            return;
        }
        let value = txn.writes.into_iter().next().unwrap().value.unwrap();
        let Ok(Record::Slot(slot)) = Record::parse(&key, &value) else {
            panic!("no slot at {key}");
        };
        if slot.state() == SlotState::Free {
            let life = (slot.index, slot.epoch);
            assert!(!self.driver.contains_key(&life), "freed under {life:?}");
        }
        self.write(&key, Record::Slot(slot));
    }

    // ---- the scheduler ----

    fn schedule(&mut self) {
        let keys: Vec<Key> = self.slots.keys().cloned().collect();
        let key = keys[self.rng.index(keys.len()).unwrap()].clone();
        let mut slot = self.slots[&key].1.clone();
        let is_here = slot.host == HOST.0;
        let draw = self.rng.below(10);
        match slot.state() {
            SlotState::Free => {
                slot.epoch += 1;
                slot.state = SlotState::Starting.into();
                slot.host = if draw < 8 { HOST.0 } else { OTHER_HOST.0 };
            }
            SlotState::Starting | SlotState::Running if is_here && draw < 3 => {
                slot.state = SlotState::Stopping.into();
            }
            _ if !is_here || draw == 3 => {
                slot.epoch += 1;
                slot.state = SlotState::Free.into();
                slot.host = 0;
            }
            _ => return,
        }
        self.write(&key, Record::Slot(slot.clone()));
        if slot.host == HOST.0 && slot.state() == SlotState::Starting {
            let provision = Provision {
                slot: Some(slot),
                spec: Some(spec(VERSION)),
            };
            self.post_message(SCHEDULER, Message::Provision(provision));
        } else if slot.state() == SlotState::Stopping {
            let instance = Some(slot.instance());
            self.post_message(SCHEDULER, Message::Stop(Stop { instance }));
        }
    }

    // ---- the driver ----

    fn drive(&mut self, command: DriverCommand) {
        match command {
            DriverCommand::Inventory => {
                let found = self.driver.keys().map(|&(slot, epoch)| DriverInstance {
                    instance: InstanceRef {
                        version: VERSION,
                        slot,
                        epoch,
                    },
                    endpoint: ENDPOINT.into(),
                });
                let found = DriverReport::Inventory(found.collect());
                self.report(5, found);
            }
            DriverCommand::Start { instance, .. } => self.start(instance),
            DriverCommand::Check { instance, .. } => {
                match self.driver.get(&(instance.slot, instance.epoch)) {
                    None | Some(Fate::Hanging) => {}
                    Some(fate) => {
                        let healthy = *fate != Fate::Sick;
                        self.report(3, DriverReport::Checked { instance, healthy });
                    }
                }
            }
            DriverCommand::Terminate { instance } => {
                let fate = self.driver.get(&(instance.slot, instance.epoch));
                if fate.is_some_and(|fate| *fate != Fate::Stubborn) {
                    self.exit(instance, "exit code 0");
                }
            }
            DriverCommand::Kill { instance } => {
                if !self.loses() {
                    self.exit(instance, "signal 9");
                }
            }
            DriverCommand::ReadLog { .. } => panic!("nobody reads logs here"),
        }
    }

    fn start(&mut self, instance: InstanceRef) {
        let running: Vec<_> = self
            .driver
            .keys()
            .filter(|l| l.0 == instance.slot)
            .collect();
        assert!(running.is_empty(), "{instance} beside {running:?}");
        let at = self.now_ms + self.rng.below(20_000);
        let fates = [
            Fate::Well,
            Fate::Sick,
            Fate::Hanging,
            Fate::Stubborn,
            Fate::CrashesAt(at),
        ];
        let fate = if self.is_storm && self.rng.chance(500_000) {
            fates[self.rng.index(fates.len()).unwrap()]
        } else {
            Fate::Well
        };
        if self.loses() {
            let reason = "no such file".into();
            return self.report(9, DriverReport::StartFailed { instance, reason });
        }
        self.driver.insert((instance.slot, instance.epoch), fate);
        let endpoint = ENDPOINT.into();
        let delay = self.rng.between(5, 100);
        self.report(delay, DriverReport::Started { instance, endpoint });
    }

    fn exit(&mut self, instance: InstanceRef, reason: &str) {
        let life = (instance.slot, instance.epoch);
        if self.driver.remove(&life).is_some() {
            let exited = DriverReport::Exited {
                instance,
                reason: reason.into(),
                log_tail: String::new(),
            };
            // After whatever was reported of it before.
            self.report(101, exited);
        }
    }

    fn crash_apps(&mut self) {
        let due = self.driver.iter().filter(|(_, fate)| match fate {
            Fate::CrashesAt(at) => *at <= self.now_ms,
            _ => false,
        });
        let due: Vec<(u32, u64)> = due.map(|(life, _)| *life).collect();
        for (slot, epoch) in due {
            let version = VERSION;
            let instance = InstanceRef {
                version,
                slot,
                epoch,
            };
            self.exit(instance, "exit code 1");
        }
    }

    // ---- the loop ----

    fn run_until(&mut self, end_ms: u64, mut each_step: impl FnMut(&mut Self)) {
        let mut next_step = self.now_ms;
        loop {
            let posted = self.inbox.first_key_value().map(|((at, _), _)| *at);
            let wake = self.metald.next_deadline();
            let wake = wake.map(|(at, _)| at.0.div_ceil(1_000_000).max(self.now_ms));
            let next = [posted, wake, Some(next_step)].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end_ms) else {
                return;
            };
            self.now_ms = self.now_ms.max(at);
            if posted == Some(at) {
                let (_, event) = self.inbox.pop_first().unwrap();
                self.handle(event);
            } else if wake == Some(at) {
                self.handle(Event::Timer);
            } else {
                next_step = at + 300;
                self.crash_apps();
                each_step(self);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let mut fx = Effects::new();
        let is_timer = event == Event::Timer;
        let now = Now::at_ms(self.now_ms);
        self.metald.handle(now, event, &mut fx);
        self.metald.check();
        let (at, why) = self.metald.next_deadline().unwrap();
        assert!(!is_timer || at > now.mono, "`{why}` does not spin");
        for effect in fx.take() {
            match effect {
                Effect::Commit { txn, .. } if !self.loses() => self.commit(txn),
                Effect::Driver(command) => self.drive(command),
                Effect::Blob(BlobCommand::LoadManifest { digest }) => {
                    let manifest = Some(Default::default());
                    self.post(1, Event::Blob(BlobReport::Manifest { digest, manifest }));
                }
                Effect::Send {
                    body: Message::StoreWatch(watch),
                    ..
                } => {
                    self.session = watch.session;
                    if !self.loses() {
                        self.feed_after(watch.after_revision);
                    }
                }
                _ => {}
            }
        }
    }

    fn restart(&mut self) {
        self.metald = metald(&mut self.rng);
        self.inbox.clear();
        self.post(50, Event::Start);
    }
}

fn survive(seed: u64) -> World {
    let mut world = World::new(seed);
    world.run_until(STORM_MS, |world| {
        if world.rng.chance(20_000) {
            world.restart();
        } else {
            world.schedule();
        }
    });
    world.is_storm = false;
    world.run_until(STORM_MS + CALM_MS, |_| {});
    world
}

#[test]
fn after_a_storm_what_runs_is_what_the_slots_say() {
    let mut survivors = 0;
    for seed in 0..200 {
        let world = survive(seed);
        let slots = world.slots.values().map(|(_, slot)| slot);
        let own: Vec<&SlotRecord> = slots.filter(|slot| slot.host == HOST.0).collect();
        let stuck = own.iter().find(|s| s.state() != SlotState::Running);
        assert_eq!(stuck, None, "seed {seed}");
        let entitled: Vec<(u32, u64)> = own.iter().map(|s| (s.index, s.epoch)).collect();
        let running: Vec<(u32, u64)> = world.driver.keys().copied().collect();
        assert_eq!(running, entitled, "seed {seed}");
        assert_eq!(world.metald.instances.len(), running.len(), "seed {seed}");
        survivors += running.len();
    }
    assert!(survivors > 100, "the storm left something to compare");
}
