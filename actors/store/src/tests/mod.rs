//! The store as a specification: what each message makes it do.

use super::*;
use tidegate_kernel::Seed;
use tidegate_protocol::{NodeId, Role, Txn, Write};

mod commits;
mod feeds;

const ME: Address = Address::new(NodeId(1), Role::Store, 1);
const GATEWAY: Address = Address::new(NodeId(2), Role::Gateway, 0);
const METALD: Address = Address::new(NodeId(3), Role::Metald, 0);

/// A store actor at the moment 0, with the numbers that it draws first.
struct Bench {
    store: StoreActor,
    fx: Effects,
    now: Now,
    batch: u64,
    request: u64,
}

fn bench() -> Bench {
    bench_with(StoreConfig::new(ME))
}

fn bench_with(config: StoreConfig) -> Bench {
    let rng = Seed(1).rng();
    let mut same = rng.clone();
    Bench {
        store: StoreActor::new(config, rng),
        fx: Effects::new(),
        now: Now::at_ms(0),
        batch: same.u64(),
        request: same.u64(),
    }
}

impl Bench {
    fn event(&mut self, event: Event) -> Vec<Effect> {
        self.store.handle(self.now, event, &mut self.fx);
        self.store.check();
        self.fx.take()
    }

    fn message(&mut self, from: Address, body: Message) -> Vec<Effect> {
        self.event(Event::Message { from, body })
    }

    fn commit(&mut self, from: Address, id: u64) -> Vec<Effect> {
        let txn = Some(txn(id));
        self.message(from, Message::StoreCommit(StoreCommit { id, txn }))
    }

    fn watch(&mut self, from: Address, session: u64, prefix: &str, after: u64) -> Vec<Effect> {
        self.message(
            from,
            Message::StoreWatch(StoreWatch {
                session,
                prefixes: vec![prefix.to_owned()],
                after_revision: after,
            }),
        )
    }

    /// The engine applied the whole batch.
    fn committed(&mut self, batch: u64, changes: Vec<FeedEntry>) -> Vec<Effect> {
        let outcomes: Vec<CommitOutcome> = changes
            .iter()
            .map(|change| CommitOutcome::Applied(change.revision))
            .collect();
        let revision = changes.last().map_or(0, |change| change.revision);
        self.event(Event::Engine(EngineReply::Committed {
            batch,
            outcome: BatchOutcome {
                outcomes,
                changes,
                revision,
            },
        }))
    }

    /// The engine applied nothing of a batch of `count`, and stands at `revision`.
    fn conflicted(&mut self, batch: u64, count: usize, revision: u64) -> Vec<Effect> {
        let outcome = BatchOutcome {
            outcomes: vec![CommitOutcome::Conflict("k".into()); count],
            changes: Vec::new(),
            revision,
        };
        self.event(Event::Engine(EngineReply::Committed { batch, outcome }))
    }

    fn feed(&mut self, request: u64, revision: u64, entries: Vec<FeedEntry>) -> Vec<Effect> {
        self.event(Event::Engine(EngineReply::Feed {
            request,
            after_revision: 0,
            revision,
            entries,
            gone: false,
        }))
    }

    fn snapshot(&mut self, request: u64, revision: u64, entries: Vec<FeedEntry>) -> Vec<Effect> {
        self.event(Event::Engine(EngineReply::Snapshot {
            request,
            revision,
            entries,
        }))
    }

    /// A subscriber of session 7 that has everything up to a revision.
    fn caught_up(&mut self, from: Address, prefix: &str, revision: u64) {
        let request = self.store.next_request;
        self.watch(from, 7, prefix, revision);
        let entries = Vec::new();
        assert_eq!(self.feed(request, revision, entries).len(), 1);
    }
}

fn txn(n: u64) -> Txn {
    Txn {
        preconditions: Vec::new(),
        writes: vec![Write {
            key: format!("slot/{n}"),
            value: Some("v".into()),
        }],
    }
}

fn entry(key: &str, revision: u64) -> FeedEntry {
    FeedEntry {
        key: key.to_owned(),
        value: Some("v".into()),
        revision,
    }
}

fn to_engine(batch: u64, txns: &[u64]) -> Effect {
    Effect::Engine(EngineOp::Commit {
        batch,
        txns: txns.iter().copied().map(txn).collect(),
    })
}

fn send(to: Address, body: Message) -> Effect {
    Effect::Send {
        to,
        body,
        after: None,
    }
}

fn answer(to: Address, id: u64, outcome: Outcome) -> Effect {
    let outcome = Some(outcome);
    send(
        to,
        Message::StoreCommitReply(StoreCommitReply { id, outcome }),
    )
}

fn changes(to: Address, after: u64, revision: u64, entries: Vec<FeedEntry>) -> Effect {
    send(
        to,
        Message::StoreFeed(StoreFeed {
            session: 7,
            after_revision: after,
            revision,
            entries,
            ..StoreFeed::default()
        }),
    )
}

fn part(asked: u64, revision: u64, part: u32, last: bool, entries: Vec<FeedEntry>) -> Effect {
    send(
        GATEWAY,
        Message::StoreFeed(StoreFeed {
            session: 7,
            after_revision: asked,
            revision,
            reset: true,
            part,
            last,
            entries,
        }),
    )
}

fn ask_feed(request: u64, after_revision: u64) -> Effect {
    Effect::Engine(EngineOp::Feed {
        request,
        after_revision,
        bytes_max: limits::FEED_BYTES_MAX,
    })
}

fn ask_snapshot(request: u64, prefix: &str) -> Effect {
    Effect::Engine(EngineOp::Snapshot {
        request,
        prefixes: vec![prefix.to_owned()],
    })
}
