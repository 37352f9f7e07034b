//! Sync alone with stores that are played by hand: one event in, the exact effects out.

use std::collections::BTreeMap;

use tidegate_kernel::{Actor as _, CommitId, Effect, Effects, Event, Now, Seed};
use tidegate_protocol::*;

use super::world::{MAIN, SYNC, store_of};
use crate::{Sync, SyncConfig};

pub(super) const SCHEDULER: Address = Address::new(NodeId(20), Role::Scheduler, 0);

/// A store as far as sync can tell: preconditions, revisions and a feed.
#[derive(Default)]
struct FakeStore {
    stored: BTreeMap<String, (Bytes, u64)>,
    log: Vec<FeedEntry>,
    revision: u64,
    fed: u64,
    session: u64,
}

impl FakeStore {
    fn apply(&mut self, txn: &Txn) -> store_commit_reply::Outcome {
        let revision_of = |key: &str| self.stored.get(key).map_or(0, |(_, r)| *r);
        for p in &txn.preconditions {
            if revision_of(&p.key) != p.revision {
                return store_commit_reply::Outcome::Conflict(p.key.clone());
            }
        }
        self.revision += 1;
        for write in &txn.writes {
            match &write.value {
                Some(value) => self
                    .stored
                    .insert(write.key.clone(), (value.clone(), self.revision)),
                None => self.stored.remove(&write.key),
            };
            self.log.push(FeedEntry {
                key: write.key.clone(),
                value: write.value.clone(),
                revision: self.revision,
            });
        }
        store_commit_reply::Outcome::Applied(self.revision)
    }

    fn feed(&mut self) -> StoreFeed {
        let feed = StoreFeed {
            session: self.session,
            after_revision: self.fed,
            revision: self.revision,
            entries: std::mem::take(&mut self.log),
            ..StoreFeed::default()
        };
        self.fed = self.revision;
        feed
    }
}

pub(super) struct Bench {
    sync: Sync,
    pub(super) now_ms: u64,
    stores: BTreeMap<Address, FakeStore>,
}

impl Bench {
    /// A sync actor with live mirrors of an empty main store and of regions `mel`, `syd`.
    pub(super) fn new() -> Self {
        let mut bench = Self {
            sync: Sync::new(SyncConfig::new(SYNC, MAIN), Seed(1).rng()),
            now_ms: 1_000,
            stores: BTreeMap::new(),
        };
        for store in [MAIN, store_of(0), store_of(1)] {
            bench.stores.insert(store, FakeStore::default());
        }
        bench.event(Event::Start);
        assert_eq!(bench.feed(MAIN), [live(MAIN)]);
        for (i, name) in super::world::REGIONS.into_iter().enumerate() {
            let region = RegionRecord {
                name: name.into(),
                store_node: store_of(i).node.0,
            };
            let effects = bench.put(MAIN, Key::Region(name.into()), Record::Region(region));
            assert_eq!(effects, [], "its mirror has asked");
            assert_eq!(bench.feed(store_of(i)), [live(store_of(i))]);
        }
        bench
    }

    pub(super) fn waits_for(&self) -> &'static str {
        self.sync.next_deadline().unwrap().1
    }

    /// Hands sync an event; subscriptions are noticed and left out.
    pub(super) fn event(&mut self, event: Event) -> Vec<Effect> {
        let mut fx = Effects::new();
        self.sync.handle(Now::at_ms(self.now_ms), event, &mut fx);
        self.sync.check();
        let mut effects = fx.take();
        effects.retain(|effect| match effect {
            Effect::Send {
                to,
                body: Message::StoreWatch(watch),
                ..
            } => {
                self.stores.get_mut(to).unwrap().session = watch.session;
                false
            }
            _ => true,
        });
        effects
    }

    pub(super) fn message(&mut self, from: Address, body: Message) -> Vec<Effect> {
        self.event(Event::Message { from, body })
    }

    pub(super) fn feed(&mut self, store: Address) -> Vec<Effect> {
        let feed = self.stores.get_mut(&store).unwrap().feed();
        self.message(store, Message::StoreFeed(feed))
    }

    /// Writes records in one commit of somebody else, unseen until the next feed.
    pub(super) fn write(&mut self, store: Address, records: Vec<(Key, Option<Record>)>) {
        let writes = records.into_iter().map(|(key, record)| Write {
            key: key.to_string(),
            value: record.map(|r| r.encode()),
        });
        let txn = Txn {
            preconditions: Vec::new(),
            writes: writes.collect(),
        };
        self.stores.get_mut(&store).unwrap().apply(&txn);
    }

    pub(super) fn put(&mut self, store: Address, key: Key, record: Record) -> Vec<Effect> {
        self.write(store, vec![(key, Some(record))]);
        self.feed(store)
    }

    pub(super) fn apply(&mut self, store: Address, txn: &Txn) -> store_commit_reply::Outcome {
        self.stores.get_mut(&store).unwrap().apply(txn)
    }

    pub(super) fn reply(
        &mut self,
        store: Address,
        commit: CommitId,
        outcome: store_commit_reply::Outcome,
    ) -> Vec<Effect> {
        let reply = StoreCommitReply {
            id: commit.0,
            outcome: Some(outcome),
        };
        self.message(store, Message::StoreCommitReply(reply))
    }

    /// Carries out every commit among the effects, and those that follow; returns the rest.
    pub(super) fn settle(&mut self, mut effects: Vec<Effect>) -> Vec<Effect> {
        let mut rest = Vec::new();
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Commit { id, store, txn } => {
                    let outcome = self.apply(store, &txn);
                    effects.extend(self.feed(store));
                    effects.extend(self.reply(store, id, outcome));
                }
                other => rest.push(other),
            }
        }
        rest
    }

    /// Lets time pass with stores that give signs of life every second.
    pub(super) fn wait(&mut self, ms: u64) -> Vec<Effect> {
        self.wait_with(ms, &[MAIN, store_of(0), store_of(1)])
    }

    /// Lets time pass while only these stores can be reached.
    pub(super) fn wait_with(&mut self, ms: u64, reached: &[Address]) -> Vec<Effect> {
        let end = self.now_ms + ms;
        let mut effects = Vec::new();
        while self.now_ms < end {
            let stop = (self.now_ms + 1_000).min(end);
            while let Some((at, _)) = self.sync.next_deadline()
                && at.0.div_ceil(1_000_000) <= stop
            {
                self.now_ms = self.now_ms.max(at.0.div_ceil(1_000_000));
                effects.extend(self.event(Event::Timer));
            }
            self.now_ms = stop;
            for store in reached {
                effects.extend(self.feed(*store));
            }
        }
        effects
    }

    /// Lets time pass while gateways 20 and 21 beat every ten seconds or sooner.
    pub(super) fn wait_beating(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.now_ms + ms;
        let mut effects = Vec::new();
        while self.now_ms < end {
            effects.extend(self.wait((end - self.now_ms).min(10_000)));
            for region in 0..2 {
                effects.extend(self.beat(region, 20 + region as u32, self.now_ms));
            }
        }
        effects
    }

    /// Lets time pass while somebody writes to every partition every ten seconds or sooner.
    pub(super) fn wait_written(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.now_ms + ms;
        let mut effects = Vec::new();
        while self.now_ms < end {
            for region in 0..2 {
                let key = Key::Instances(NodeId(99));
                let record = Record::Instances(InstancesRecord::default());
                effects.extend(self.put(store_of(region), key, record));
            }
            effects.extend(self.wait((end - self.now_ms).min(10_000)));
        }
        effects
    }

    /// A gateway whose beat is new.
    pub(super) fn beat(&mut self, region: usize, node: u32, beat: u64) -> Vec<Effect> {
        let record = gateway(region, node, beat);
        self.put(
            store_of(region),
            Key::Gateway(NodeId(node)),
            Record::Gateway(record),
        )
    }

    pub(super) fn ack(&mut self, region: usize, node: u32, version: u64) -> Vec<Effect> {
        let ack = AckRecord {
            node,
            version,
            artifact: vec![7; 32].into(),
        };
        let key = Key::Ack {
            node: NodeId(node),
            version,
        };
        self.put(store_of(region), key, Record::Ack(ack))
    }

    /// What control writes for a new version.
    pub(super) fn deploy(&mut self, spec: VersionSpec) -> Vec<Effect> {
        let old = self.project(&spec.project);
        let project = ProjectRecord {
            name: spec.project.clone(),
            hosts: vec![format!("{}.test", spec.project)],
            last_number: spec.number,
            ..old.unwrap_or_default()
        };
        let deploy = DeployRecord {
            version: spec.id,
            project: spec.project.clone(),
            step: DeployStep::Distribute.into(),
            ..DeployRecord::default()
        };
        let key = Key::Project(project.name.clone());
        self.write(
            MAIN,
            vec![
                (Key::Version(spec.id), Some(Record::Version(spec.clone()))),
                (Key::Deploy(spec.id), Some(Record::Deploy(deploy))),
                (key, Some(Record::Project(project))),
            ],
        );
        self.feed(MAIN)
    }

    pub(super) fn record(&self, store: Address, key: &Key) -> Option<Record> {
        let (value, _) = self.stores[&store].stored.get(&key.to_string())?;
        Some(Record::parse(key, value).unwrap())
    }

    pub(super) fn revision(&self, store: Address, key: &Key) -> u64 {
        self.stores[&store]
            .stored
            .get(&key.to_string())
            .map_or(0, |(_, r)| *r)
    }

    pub(super) fn project(&self, name: &str) -> Option<ProjectRecord> {
        match self.record(MAIN, &Key::Project(name.into())) {
            Some(Record::Project(project)) => Some(project),
            _ => None,
        }
    }

    #[track_caller]
    pub(super) fn deploy_of(&self, id: u64) -> DeployRecord {
        match self.record(MAIN, &Key::Deploy(id)) {
            Some(Record::Deploy(deploy)) => deploy,
            other => panic!("{other:?}"),
        }
    }
}

pub(super) fn live(store: Address) -> Effect {
    Effect::Note(tidegate_kernel::Note::Feed { store, live: true })
}

pub(super) fn gateway(region: usize, node: u32, beat: u64) -> GatewayRecord {
    GatewayRecord {
        node,
        name: format!("gw-{node}"),
        region: super::world::REGIONS[region].into(),
        hop_endpoint: format!("10.0.0.{node}:7"),
        beat,
        ..GatewayRecord::default()
    }
}

pub(super) fn site(id: u64, project: &str, number: u32) -> VersionSpec {
    VersionSpec {
        id,
        project: project.into(),
        number,
        kind: AppKind::Static.into(),
        artifact: vec![7; 32].into(),
        ..VersionSpec::default()
    }
}

pub(super) fn program(id: u64, project: &str, number: u32) -> VersionSpec {
    VersionSpec {
        kind: AppKind::Program.into(),
        command: vec!["./run".into()],
        instances_max: 2,
        concurrency: 1,
        start_timeout_ms: 1_000,
        ..site(id, project, number)
    }
}

pub(super) fn slot(
    version: u64,
    index: u32,
    state: SlotState,
    epoch: u64,
) -> (Key, Option<Record>) {
    let record = SlotRecord {
        version,
        index,
        epoch,
        state: state.into(),
        ..SlotRecord::default()
    };
    (Key::Slot { version, index }, Some(Record::Slot(record)))
}

/// The commits among effects, each with its store.
pub(super) fn commits(effects: &[Effect]) -> Vec<(CommitId, Address, Txn)> {
    let commits = effects.iter().filter_map(|effect| match effect {
        Effect::Commit { id, store, txn } => Some((*id, *store, txn.clone())),
        _ => None,
    });
    commits.collect()
}

/// The only commit among effects that must be nothing but commits to different stores.
#[track_caller]
pub(super) fn commit_to(effects: &[Effect], store: Address) -> (CommitId, Txn) {
    let mut to_store = commits(effects)
        .into_iter()
        .filter(|(_, to, _)| *to == store);
    match (to_store.next(), to_store.next()) {
        (Some((id, _, txn)), None) => (id, txn),
        _ => panic!("not one commit to {store}: {effects:?}"),
    }
}

/// A transaction whose every write requires the revision beside it.
pub(super) fn txn(writes: Vec<(Key, Option<Record>, u64)>) -> Txn {
    Txn {
        preconditions: writes
            .iter()
            .map(|(key, _, revision)| Precondition {
                key: key.to_string(),
                revision: *revision,
            })
            .collect(),
        writes: writes
            .iter()
            .map(|(key, record, _)| Write {
                key: key.to_string(),
                value: record.as_ref().map(Record::encode),
            })
            .collect(),
    }
}

impl Bench {
    /// A new life of sync beside the same stores.
    pub(super) fn restarted(mut self) -> Self {
        self.sync = Sync::new(SyncConfig::new(SYNC, MAIN), Seed(2).rng());
        self.event(Event::Start);
        for store in self.stores.values_mut() {
            store.fed = 0;
            let entries = store
                .stored
                .iter()
                .map(|(key, (value, revision))| FeedEntry {
                    key: key.clone(),
                    value: Some(value.clone()),
                    revision: *revision,
                });
            store.log = entries.collect();
        }
        self
    }

    pub(super) fn add_store(&mut self, store: Address) {
        self.stores.insert(store, FakeStore::default());
    }

    pub(super) fn nothing_to_compare(&self) -> bool {
        self.sync
            .regions
            .values()
            .all(|region| region.scope.is_empty())
    }
}
