//! The control actor as a specification: one event in, the exact effects out. The bench
//! plays the main store: it judges preconditions, counts revisions and feeds what it applied.

mod corners;
mod races;
mod requests;

use std::collections::BTreeMap;

use tidegate_kernel::{Actor as _, CommitId, Effect, Effects, Event, Now, Seed};
use tidegate_protocol::*;

use crate::{Control, ControlConfig};

const CONTROL: Address = Address::new(NodeId(1), Role::Control, 0);
const STORE: Address = Address::new(NodeId(1), Role::Store, Address::MAIN_STORE);
const SYNC: Address = Address::new(NodeId(1), Role::Sync, 0);
const CLIENT: Address = Address::new(NodeId(9), Role::Client, 0);
const OTHER: Address = Address::new(NodeId(8), Role::Client, 0);
const EDGE: Address = Address::new(NodeId(4), Role::Edge, 0);

struct Bench {
    control: Control,
    session: u64,
    now_ms: u64,
    fed: u64,
    revision: u64,
    /// Key to value and revision.
    stored: BTreeMap<String, (Bytes, u64)>,
}

impl Bench {
    /// A control actor whose mirror has seen an empty store.
    fn new() -> Self {
        let mut bench = Self::unconnected();
        bench.feed(Vec::new());
        bench
    }

    fn unconnected() -> Self {
        let config = ControlConfig::new(CONTROL, STORE, SYNC, "apps.test".into());
        let mut bench = Self {
            control: Control::new(config, Seed(1).rng()),
            session: 0,
            now_ms: 1_000,
            fed: 0,
            revision: 0,
            stored: BTreeMap::new(),
        };
        let effects = bench.event(Event::Start);
        let [
            Effect::Send {
                to: STORE,
                body: Message::StoreWatch(watch),
                after: None,
            },
        ] = &effects[..]
        else {
            panic!("{effects:?}");
        };
        let prefixes = [
            "project/",
            "version/",
            "deploy/",
            "region/",
            "counters/main",
        ];
        assert_eq!(watch.prefixes, prefixes);
        bench.session = watch.session;
        bench
    }

    fn event(&mut self, event: Event) -> Vec<Effect> {
        let mut fx = Effects::new();
        self.control.handle(Now::at_ms(self.now_ms), event, &mut fx);
        self.control.check();
        fx.take()
    }

    fn message(&mut self, from: Address, body: Message) -> Vec<Effect> {
        self.event(Event::Message { from, body })
    }

    /// What control does in `ms` of silence, timer by timer; renewals left out.
    fn wait(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.now_ms + ms;
        let mut effects = Vec::new();
        while let Some((at, _)) = self.control.next_deadline() {
            let at_ms = at.0.div_ceil(1_000_000);
            if at_ms > end {
                break;
            }
            self.now_ms = self.now_ms.max(at_ms);
            effects.extend(self.event(Event::Timer));
        }
        self.now_ms = end;
        effects.retain(|e| {
            !matches!(
                e,
                Effect::Send {
                    body: Message::StoreWatch(_),
                    ..
                }
            )
        });
        effects
    }

    /// Like `wait`, with a store that gives signs of life.
    fn wait_live(&mut self, ms: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        for _ in 0..ms / 1_000 {
            effects.extend(self.wait(1_000));
            effects.extend(self.feed(Vec::new()));
        }
        effects
    }

    fn call(&mut self, from: Address, id: u64, call: api_request::Call) -> Vec<Effect> {
        let request = ApiRequest {
            id,
            call: Some(call),
        };
        self.message(from, Message::ApiRequest(request))
    }

    /// Applies a transaction as the store does; the feed is still to come.
    fn apply(&mut self, txn: &Txn) -> store_commit_reply::Outcome {
        for p in &txn.preconditions {
            if self.stored.get(&p.key).map_or(0, |(_, r)| *r) != p.revision {
                return store_commit_reply::Outcome::Conflict(p.key.clone());
            }
        }
        self.revision += 1;
        for write in &txn.writes {
            match &write.value {
                Some(value) => {
                    self.stored
                        .insert(write.key.clone(), (value.clone(), self.revision));
                }
                None => {
                    self.stored.remove(&write.key);
                }
            }
        }
        store_commit_reply::Outcome::Applied(self.revision)
    }

    fn feed(&mut self, entries: Vec<FeedEntry>) -> Vec<Effect> {
        let feed = StoreFeed {
            session: self.session,
            after_revision: self.fed,
            revision: self.revision,
            entries,
            ..StoreFeed::default()
        };
        self.fed = self.revision;
        self.message(STORE, Message::StoreFeed(feed))
    }

    /// Brings the mirror up to date.
    fn catch_up(&mut self) -> Vec<Effect> {
        let fresh = self.stored.iter().filter(|(_, (_, r))| *r > self.fed);
        let entries = fresh
            .map(|(key, (value, revision))| FeedEntry {
                key: key.clone(),
                value: Some(value.clone()),
                revision: *revision,
            })
            .collect();
        self.feed(entries)
    }

    fn reply(&mut self, commit: CommitId, outcome: store_commit_reply::Outcome) -> Vec<Effect> {
        let reply = StoreCommitReply {
            id: commit.0,
            outcome: Some(outcome),
        };
        self.message(STORE, Message::StoreCommitReply(reply))
    }

    /// Carries out a request that needs a commit; returns its reply and what followed.
    #[track_caller]
    fn carry_out(&mut self, call: api_request::Call) -> ApiReply {
        let effects = self.call(CLIENT, self.now_ms, call);
        let (commit, txn, reply) = committed(&effects);
        let outcome = self.apply(&txn);
        assert!(
            matches!(outcome, store_commit_reply::Outcome::Applied(_)),
            "{outcome:?}"
        );
        assert_eq!(self.catch_up(), []);
        assert_eq!(self.reply(commit, outcome), []);
        self.now_ms += 1;
        reply
    }

    /// Writes a record past control, as sync does, and feeds it.
    fn put(&mut self, key: Key, record: Record) -> Vec<Effect> {
        self.write(key, record);
        self.catch_up()
    }

    fn write(&mut self, key: Key, record: Record) {
        let txn = Txn {
            writes: vec![Write {
                key: key.to_string(),
                value: Some(record.encode()),
            }],
            ..Txn::default()
        };
        self.apply(&txn);
    }

    fn record(&self, key: &Key) -> Option<Record> {
        let (value, _) = self.stored.get(&key.to_string())?;
        Some(Record::parse(key, value).unwrap())
    }

    fn project(&self, name: &str) -> ProjectRecord {
        match self.record(&Key::Project(name.into())) {
            Some(Record::Project(project)) => project,
            other => panic!("{other:?}"),
        }
    }

    fn deploy(&self, id: u64) -> DeployRecord {
        match self.record(&Key::Deploy(id)) {
            Some(Record::Deploy(deploy)) => deploy,
            other => panic!("{other:?}"),
        }
    }

    /// What sync does at a cutover.
    fn cut_over(&mut self, id: u64) {
        let deploy = self.deploy(id);
        let mut project = self.project(&deploy.project);
        let step = if project.latched {
            DeployStep::Ready
        } else {
            project.active = id;
            project.epoch += 1;
            DeployStep::Live
        };
        let deploy = DeployRecord {
            step: step.into(),
            epoch: project.epoch,
            ..deploy
        };
        self.write(Key::Project(project.name.clone()), Record::Project(project));
        let effects = self.put(Key::Deploy(id), Record::Deploy(deploy));
        assert_eq!(effects, []);
    }
}

/// The one commit of a step with the reply that follows it.
#[track_caller]
fn committed(effects: &[Effect]) -> (CommitId, Txn, ApiReply) {
    match effects {
        [
            Effect::Commit {
                id,
                store: STORE,
                txn,
            },
            Effect::Send {
                body: Message::ApiReply(reply),
                after: Some(after),
                ..
            },
        ] if id == after => (*id, txn.clone(), reply.clone()),
        other => panic!("not one commit and its reply: {other:?}"),
    }
}

#[track_caller]
fn replied(effects: &[Effect]) -> ApiReply {
    let replies: Vec<_> = effects
        .iter()
        .filter_map(|e| match e {
            Effect::Send {
                body: Message::ApiReply(reply),
                after: None,
                ..
            } => Some(reply),
            _ => None,
        })
        .collect();
    match &replies[..] {
        [reply] => (*reply).clone(),
        other => panic!("not one reply: {other:?}"),
    }
}

#[track_caller]
fn failed(effects: &[Effect], error: ApiError, reason: &str) {
    let reply = replied(effects);
    assert_eq!(reply.error(), error, "{}", reply.reason);
    assert!(reply.reason.contains(reason), "{}", reply.reason);
}

fn spec(project: &str) -> VersionSpec {
    VersionSpec {
        project: project.into(),
        kind: AppKind::Static.into(),
        artifact: vec![7; 32].into(),
        ..VersionSpec::default()
    }
}

fn create(project: &str, key: &str) -> api_request::Call {
    api_request::Call::CreateVersion(CreateVersion {
        spec: Some(spec(project)),
        hosts: Vec::new(),
        idempotency_key: key.into(),
    })
}

fn create_with_hosts(project: &str, hosts: &[&str]) -> api_request::Call {
    api_request::Call::CreateVersion(CreateVersion {
        spec: Some(spec(project)),
        hosts: hosts.iter().map(|h| (*h).to_owned()).collect(),
        idempotency_key: String::new(),
    })
}

fn activate(project: &str, number: u32, rollback: bool) -> api_request::Call {
    api_request::Call::Activate(Activate {
        project: project.into(),
        number,
        rollback,
    })
}

fn remove(project: &str) -> api_request::Call {
    api_request::Call::RemoveProject(RemoveProject {
        project: project.into(),
    })
}

fn precondition(key: Key, revision: u64) -> Precondition {
    Precondition {
        key: key.to_string(),
        revision,
    }
}

fn write(key: Key, record: Record) -> Write {
    Write {
        key: key.to_string(),
        value: Some(record.encode()),
    }
}
