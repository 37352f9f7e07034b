//! One metald in a test: a store that it mirrors, a clock, and its effects.
//!
//! Renewals of the subscription, heartbeats and the work for the blob store are kept apart
//! from the other effects; the tests of those look at them. Commits are numbered in the
//! order of their appearance, since their real ids are random.

use std::collections::BTreeMap;

use tidegate_kernel::{
    Actor, BlobCommand, BlobReport, CommitId, DriverCommand, DriverInstance, DriverReport, Effect,
    Effects, Event, Now, Seed,
};
use tidegate_protocol::{
    Address, FeedEntry, InstanceRef, Key, Message, Provision, Record, SlotRecord, SlotState, Stop,
    StoreFeed, Txn,
};

use super::words::*;
use crate::{Metald, MetaldConfig};

const START_MS: u64 = 1_000;

pub(super) struct Rig {
    pub(super) metald: Metald,
    pub(super) now_ms: u64,
    revision: u64,
    session: u64,
    revisions: BTreeMap<String, u64>,
    missed: Vec<FeedEntry>,
    commits: Vec<CommitId>,
    pub(super) blob: Vec<BlobCommand>,
    pub(super) background: Vec<Effect>,
}

impl Rig {
    pub(super) fn with(change: impl FnOnce(&mut MetaldConfig)) -> Self {
        let mut config = MetaldConfig::new(ME, "host-7", "a", 2, STORE, ORIGIN);
        change(&mut config);
        Self {
            metald: Metald::new(config, Seed(1).rng()),
            now_ms: START_MS,
            revision: 0,
            session: 0,
            revisions: BTreeMap::new(),
            missed: Vec::new(),
            commits: Vec::new(),
            blob: Vec::new(),
            background: Vec::new(),
        }
    }

    /// Started; neither the store nor the driver has answered.
    pub(super) fn started() -> Self {
        let mut rig = Self::with(|_| {});
        assert_eq!(
            rig.event(Event::Start),
            [driver(DriverCommand::Inventory)],
            "the driver is asked first"
        );
        rig
    }

    /// Serving an empty host: the lease names a scheduler, the version is known, its slots
    /// 0, 1 and 2 are free.
    pub(super) fn serving() -> Self {
        let mut rig = Self::started();
        rig.snapshot(region());
        assert_eq!(rig.inventory(&[]), []);
        assert!(rig.metald.is_ready());
        rig
    }

    /// With an instance that is being made: its artifact is here, the driver is at it.
    pub(super) fn making(epoch: u64) -> Self {
        let mut rig = Self::serving();
        rig.put_slot(slot(epoch, SlotState::Starting));
        let started = rig.artifact_arrives();
        assert_eq!(started, [start(epoch)]);
        rig
    }

    /// With an instance that was started, and checked once without an answer.
    pub(super) fn starting(epoch: u64) -> Self {
        let mut rig = Self::making(epoch);
        rig.report_started(epoch);
        rig
    }

    /// With a healthy instance whose slot says so.
    pub(super) fn running(epoch: u64) -> Self {
        let mut rig = Self::starting(epoch);
        rig.report_checked(epoch, true);
        rig.put_slot(running_slot(epoch));
        rig
    }

    pub(super) fn event(&mut self, event: Event) -> Vec<Effect> {
        let mut fx = Effects::new();
        let is_timer = event == Event::Timer;
        let now = Now::at_ms(self.now_ms);
        self.metald.handle(now, event, &mut fx);
        self.metald.check();
        if is_timer {
            let (at, why) = self.metald.next_deadline().unwrap();
            assert!(at > now.mono, "`{why}` does not spin");
        }
        let effects = fx.take();
        effects.into_iter().filter_map(|e| self.sort(e)).collect()
    }

    fn sort(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::Send {
                body: Message::StoreWatch(ref watch),
                ..
            } => {
                self.session = watch.session;
                self.background.push(effect);
                None
            }
            Effect::Commit { ref txn, .. } if is_heartbeat(txn) => {
                self.background.push(effect);
                None
            }
            Effect::Blob(command) => {
                self.blob.push(command);
                None
            }
            Effect::Commit { id, store, txn } => Some(Effect::Commit {
                id: self.number(id),
                store,
                txn,
            }),
            Effect::Forget(id) => Some(Effect::Forget(self.number(id))),
            other => Some(other),
        }
    }

    fn number(&mut self, id: CommitId) -> CommitId {
        let at = self.commits.iter().position(|known| *known == id);
        let at = at.unwrap_or_else(|| {
            self.commits.push(id);
            self.commits.len() - 1
        });
        CommitId(at as u64 + 1)
    }

    // ---- time ----

    /// Lets time pass to `ms` after the start, waking metald whenever it asks for it, with a
    /// store that renews: what it did, and when.
    pub(super) fn until(&mut self, ms: u64) -> Vec<(u64, Effect)> {
        self.pass(ms, true)
    }

    /// The same for so many milliseconds from now.
    pub(super) fn after(&mut self, ms: u64) -> Vec<(u64, Effect)> {
        self.until(self.now_ms - START_MS + ms)
    }

    /// The same while the store is silent.
    pub(super) fn until_without_store(&mut self, ms: u64) -> Vec<(u64, Effect)> {
        self.pass(ms, false)
    }

    fn pass(&mut self, ms: u64, store_answers: bool) -> Vec<(u64, Effect)> {
        let end = START_MS + ms;
        let mut done = Vec::new();
        loop {
            let (at, _) = self.metald.next_deadline().unwrap();
            let at_ms = at.0.div_ceil(1_000_000);
            if at_ms > end {
                break;
            }
            self.now_ms = self.now_ms.max(at_ms);
            let renewals = self.renewals();
            let effects = self.event(Event::Timer);
            let stamp = self.now_ms - START_MS;
            done.extend(effects.into_iter().map(|e| (stamp, e)));
            if store_answers && self.renewals() > renewals {
                let effects = self.feed(Vec::new());
                assert_eq!(effects, [], "an empty feed changes nothing");
            }
        }
        self.now_ms = end;
        done
    }

    fn renewals(&self) -> usize {
        let watches = self.background.iter();
        watches.filter(|e| matches!(e, Effect::Send { .. })).count()
    }

    // ---- the store ----

    pub(super) fn snapshot(&mut self, records: Vec<(Key, Record)>) -> Vec<Effect> {
        let entries: Vec<FeedEntry> = records.into_iter().map(|r| self.entry(r)).collect();
        let feed = StoreFeed {
            session: self.session,
            revision: self.revision,
            reset: true,
            last: true,
            entries,
            ..StoreFeed::default()
        };
        self.message(STORE, Message::StoreFeed(feed))
    }

    pub(super) fn put(&mut self, key: Key, record: Record) -> Vec<Effect> {
        let entry = self.entry((key, record));
        self.feed(vec![entry])
    }

    pub(super) fn put_slot(&mut self, slot: SlotRecord) -> Vec<Effect> {
        self.put(key(&slot), Record::Slot(slot))
    }

    /// Stored, but the feed does not arrive.
    pub(super) fn put_unseen(&mut self, slot: SlotRecord) {
        let entry = self.entry((key(&slot), Record::Slot(slot)));
        self.missed.push(entry);
    }

    /// The store serves what did not arrive.
    pub(super) fn catch_up(&mut self) -> Vec<Effect> {
        let missed = std::mem::take(&mut self.missed);
        self.feed(missed)
    }

    pub(super) fn delete(&mut self, key: Key) -> Vec<Effect> {
        self.revision += 1;
        self.revisions.remove(&key.to_string());
        let entry = FeedEntry {
            key: key.to_string(),
            value: None,
            revision: self.revision,
        };
        self.feed(vec![entry])
    }

    fn entry(&mut self, (key, record): (Key, Record)) -> FeedEntry {
        self.revision += 1;
        self.revisions.insert(key.to_string(), self.revision);
        FeedEntry {
            key: key.to_string(),
            value: Some(record.encode()),
            revision: self.revision,
        }
    }

    fn feed(&mut self, entries: Vec<FeedEntry>) -> Vec<Effect> {
        let feed = StoreFeed {
            session: self.session,
            after_revision: self.revision - entries.len() as u64,
            revision: self.revision,
            entries,
            ..StoreFeed::default()
        };
        self.message(STORE, Message::StoreFeed(feed))
    }

    /// The commit that writes `record` over what the mirror shows of its slot.
    pub(super) fn commit(&self, number: u64, record: SlotRecord) -> Effect {
        let key = key(&record).to_string();
        let revision = self.revisions[&key];
        commit_over(number, revision, record)
    }

    pub(super) fn revision_of(&self, record: &SlotRecord) -> u64 {
        self.revisions[&key(record).to_string()]
    }

    // ---- everybody else ----

    pub(super) fn message(&mut self, from: Address, body: Message) -> Vec<Effect> {
        self.event(Event::Message { from, body })
    }

    pub(super) fn provision(&mut self, slot: SlotRecord) -> Vec<Effect> {
        let provision = Provision {
            spec: Some(spec(slot.version)),
            slot: Some(slot),
        };
        self.message(SCHEDULER, Message::Provision(provision))
    }

    pub(super) fn stop(&mut self, epoch: u64) -> Vec<Effect> {
        let stop = Stop {
            instance: Some(instance(epoch)),
        };
        self.message(SCHEDULER, Message::Stop(stop))
    }

    pub(super) fn inventory(&mut self, found: &[InstanceRef]) -> Vec<Effect> {
        let found = found.iter().map(|instance| DriverInstance {
            instance: *instance,
            endpoint: ENDPOINT.into(),
        });
        self.report(DriverReport::Inventory(found.collect()))
    }

    pub(super) fn report(&mut self, report: DriverReport) -> Vec<Effect> {
        self.event(Event::Driver(report))
    }

    pub(super) fn report_started(&mut self, epoch: u64) -> Vec<Effect> {
        self.report(DriverReport::Started {
            instance: instance(epoch),
            endpoint: ENDPOINT.into(),
        })
    }

    pub(super) fn report_checked(&mut self, epoch: u64, healthy: bool) -> Vec<Effect> {
        self.report(DriverReport::Checked {
            instance: instance(epoch),
            healthy,
        })
    }

    pub(super) fn report_exited(&mut self, epoch: u64, reason: &str) -> Vec<Effect> {
        self.report(DriverReport::Exited {
            instance: instance(epoch),
            reason: reason.into(),
            log_tail: "the end".into(),
        })
    }

    /// The blob store answers whatever it was asked, as if it held every blob.
    pub(super) fn artifact_arrives(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while !self.blob.is_empty() {
            for command in std::mem::take(&mut self.blob) {
                effects.extend(self.event(Event::Blob(held(command))));
            }
        }
        effects
    }
}

fn held(command: BlobCommand) -> BlobReport {
    match command {
        BlobCommand::Check { digest } => BlobReport::Checked {
            digest,
            present: true,
        },
        BlobCommand::LoadManifest { digest } => BlobReport::Manifest {
            digest,
            manifest: Some(Default::default()),
        },
        other => panic!("a held blob needs no {other:?}"),
    }
}

fn is_heartbeat(txn: &Txn) -> bool {
    let keys = [Key::HOSTS, Key::INSTANCES];
    let key = &txn.writes[0].key;
    keys.iter().any(|prefix| key.starts_with(prefix))
}
