//! A scheduler with a clock, fed through its mirror by a store of one process.

use std::collections::BTreeMap;

use tidegate_kernel::{Actor, CommitId, Effect, Effects, Event, Now, Seed};
use tidegate_protocol::{
    Address, FeedEntry, Key, Message, NodeId, Record, StoreCommitReply, StoreFeed, TrafficReport,
    Txn, Wake, Write, store_commit_reply::Outcome,
};

use super::words::*;
use crate::{Scheduler, SchedulerConfig};

pub(super) struct Bench {
    pub(super) scheduler: Scheduler,
    fx: Effects,
    /// Milliseconds.
    pub(super) now: u64,
    session: u64,
    pub(super) revision: u64,
    /// Revision of each key that exists.
    revisions: BTreeMap<String, u64>,
    /// Renewals of the subscription are answered, and renewals of the lease fed.
    pub(super) feed_is_up: bool,
    /// Renewals of the lease are applied and answered.
    pub(super) renewals_are_up: bool,
    /// Beating nodes, by key.
    alive: BTreeMap<Key, Record>,
    /// Gateway actors that report their traffic.
    pub(super) reporters: Vec<Address>,
    /// What they report.
    pub(super) busy: Vec<u64>,
}

impl Bench {
    /// With a complete mirror of an empty store; not elected.
    pub(super) fn standby() -> Self {
        let mut bench = Self::with(SchedulerConfig::new(ME, STORE));
        assert_eq!(bench.feed(&[]), []);
        bench
    }

    /// Subscribed, and has heard nothing.
    pub(super) fn with(config: SchedulerConfig) -> Self {
        let mut bench = Bench {
            scheduler: Scheduler::new(config, Seed(1).rng()),
            fx: Effects::new(),
            now: 1_000,
            session: 0,
            revision: 0,
            revisions: BTreeMap::new(),
            feed_is_up: true,
            renewals_are_up: true,
            alive: BTreeMap::new(),
            reporters: Vec::new(),
            busy: Vec::new(),
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
            panic!("a scheduler subscribes first: {started:?}");
        };
        bench.session = watch.session;
        bench
    }

    /// The active scheduler of a region with these records.
    pub(super) fn active(records: &[(Key, Record)]) -> Self {
        Self::active_with(SchedulerConfig::new(ME, STORE), records)
    }

    pub(super) fn active_with(config: SchedulerConfig, records: &[(Key, Record)]) -> Self {
        let mut bench = Self::with(config);
        assert_eq!(bench.store(records), []);
        bench.elect();
        bench
    }

    /// Is elected as soon as it may; returns what that made it do.
    pub(super) fn elect(&mut self) -> Vec<Effect> {
        let campaign = self.acts_within(20_000);
        self.apply(&campaign)
    }

    pub(super) fn is_active(&self) -> bool {
        self.scheduler.active_epoch().is_some()
    }

    pub(super) fn event(&mut self, event: Event) -> Vec<Effect> {
        self.scheduler
            .handle(Now::at_ms(self.now), event, &mut self.fx);
        self.scheduler.check();
        self.fx.take()
    }

    pub(super) fn message(&mut self, from: Address, body: Message) -> Vec<Effect> {
        self.event(Event::Message { from, body })
    }

    /// A wake from a gateway; the answer is the last effect.
    pub(super) fn wake(&mut self, from: Address, version: u64, demand: u32) -> Vec<Effect> {
        self.message(from, Message::Wake(Wake { version, demand }))
    }

    /// Records appear in the store, in one commit. `None`: the record is deleted.
    pub(super) fn feed(&mut self, records: &[(Key, Option<Record>)]) -> Vec<Effect> {
        let writes: Vec<Write> = records
            .iter()
            .map(|(key, record)| Write {
                key: key.to_string(),
                value: record.as_ref().map(Record::encode),
            })
            .collect();
        let feed = self.commit(&[writes]);
        self.deliver(feed)
    }

    pub(super) fn store(&mut self, records: &[(Key, Record)]) -> Vec<Effect> {
        for (key, record) in records {
            if matches!(key, Key::Host(_) | Key::Gateway(_)) {
                self.alive.insert(key.clone(), record.clone());
            }
        }
        let records: Vec<_> = records
            .iter()
            .map(|(key, record)| (key.clone(), Some(record.clone())))
            .collect();
        self.feed(&records)
    }

    /// Several commits that reach the scheduler in one message.
    pub(super) fn store_at_once(&mut self, commits: &[(Key, Record)]) -> Vec<Effect> {
        let commits: Vec<_> = commits
            .iter()
            .map(|(key, record)| vec![write(key, record)])
            .collect();
        let feed = self.commit(&commits);
        self.deliver(feed)
    }

    /// The store takes commits; the scheduler has not heard of it yet.
    pub(super) fn commit(&mut self, commits: &[Vec<Write>]) -> StoreFeed {
        let after_revision = self.revision;
        let mut entries = Vec::new();
        for writes in commits {
            self.revision += 1;
            for write in writes {
                let _former = match write.value {
                    Some(_) => self.revisions.insert(write.key.clone(), self.revision),
                    None => self.revisions.remove(&write.key),
                };
                entries.push(FeedEntry {
                    key: write.key.clone(),
                    value: write.value.clone(),
                    revision: self.revision,
                });
            }
        }
        StoreFeed {
            session: self.session,
            after_revision,
            revision: self.revision,
            entries,
            ..StoreFeed::default()
        }
    }

    pub(super) fn deliver(&mut self, feed: StoreFeed) -> Vec<Effect> {
        self.message(STORE, Message::StoreFeed(feed))
    }

    /// Applies the one commit among the effects: feed, then answer.
    pub(super) fn apply(&mut self, effects: &[Effect]) -> Vec<Effect> {
        let (id, txn) = commit_in(effects);
        let feed = self.take(&txn);
        let mut effects = self.deliver(feed);
        effects.extend(self.answer(id, Outcome::Applied(self.revision)));
        effects
    }

    /// The store applies a transaction whose preconditions hold.
    pub(super) fn take(&mut self, txn: &Txn) -> StoreFeed {
        for precondition in &txn.preconditions {
            let revision = self.revision_of(&precondition.key);
            assert_eq!(revision, precondition.revision, "{}", precondition.key);
        }
        self.commit(std::slice::from_ref(&txn.writes))
    }

    pub(super) fn answer(&mut self, id: CommitId, outcome: Outcome) -> Vec<Effect> {
        let reply = StoreCommitReply {
            id: id.0,
            outcome: Some(outcome),
        };
        self.message(STORE, Message::StoreCommitReply(reply))
    }

    pub(super) fn revision_of(&self, key: &str) -> u64 {
        self.revisions.get(key).copied().unwrap_or(0)
    }

    pub(super) fn fence(&self) -> (&'static str, u64) {
        (Key::FENCE, self.revision_of(Key::FENCE))
    }

    /// Time passes; the timer fires when it is due, as often as it is. The store's and the
    /// lease's renewals are answered, unless they are down, and left out.
    pub(super) fn pass(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.now + ms;
        let mut effects = Vec::new();
        while let Some(fired) = self.fire(end) {
            effects.extend(fired);
        }
        self.now = end;
        effects
    }

    /// Time passes until it does something: what that is. It must within so long.
    pub(super) fn acts_within(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.now + ms;
        while let Some(effects) = self.fire(end) {
            if !effects.is_empty() {
                return effects;
            }
        }
        panic!("nothing happens within {ms} ms");
    }

    /// The next timer, if it is due until `end`.
    fn fire(&mut self, end: u64) -> Option<Vec<Effect>> {
        let (time, _) = self.scheduler.next_deadline()?;
        let due = time.0.div_ceil(1_000_000).max(self.now);
        (due <= end).then(|| {
            self.now = due;
            let fired = self.event(Event::Timer);
            self.tend(fired)
        })
    }

    /// Time passes while hosts and gateways beat, and gateway actors report, every 5 s.
    pub(super) fn live(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.now + ms;
        let mut effects = Vec::new();
        while self.now < end {
            let alive: Vec<_> = self.alive.clone().into_iter().collect();
            effects.extend(self.store(&alive));
            for reporter in self.reporters.clone() {
                let busy = self.busy.clone();
                let report = Message::TrafficReport(TrafficReport { busy });
                effects.extend(self.message(reporter, report));
            }
            effects.extend(self.pass((end - self.now).min(5_000)));
        }
        effects
    }

    /// A node beats no longer.
    pub(super) fn dies(&mut self, key: &Key) {
        assert!(self.alive.remove(key).is_some());
    }

    pub(super) fn host_dies(&mut self, node: u32) {
        self.dies(&Key::Host(NodeId(node)));
    }

    fn tend(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut others = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send {
                    to: STORE,
                    body: Message::StoreWatch(watch),
                    after: None,
                } => {
                    if self.feed_is_up {
                        let mut feed = self.commit(&[]);
                        feed.after_revision = watch.after_revision;
                        others.extend(self.deliver(feed));
                    }
                }
                Effect::Commit { id, ref txn, .. } if is_renewal(txn) && self.renewals_are_up => {
                    let feed = self.take(txn);
                    if self.feed_is_up {
                        others.extend(self.deliver(feed));
                    }
                    others.extend(self.answer(id, Outcome::Applied(self.revision)));
                }
                effect => others.push(effect),
            }
        }
        others
    }
}

fn is_renewal(txn: &Txn) -> bool {
    txn.writes.iter().all(|w| w.key == Key::LEASE)
}

/// The one commit among effects.
pub(super) fn commit_in(effects: &[Effect]) -> (CommitId, Txn) {
    let mut commits = commits_in(effects);
    assert_eq!(commits.len(), 1, "one commit: {effects:?}");
    commits.remove(0)
}

pub(super) fn commits_in(effects: &[Effect]) -> Vec<(CommitId, Txn)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Commit { id, store, txn } => {
                assert_eq!(*store, STORE);
                Some((*id, txn.clone()))
            }
            _ => None,
        })
        .collect()
}
