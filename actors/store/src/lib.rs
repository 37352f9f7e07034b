//! The store actor: group commit, and a change feed that heals itself.
//!
//! It decides in which order commits reach the engine and what each subscriber is sent; what
//! is durable and which precondition holds is the engine's business. One batch is at the
//! engine at a time, and what arrives meanwhile goes together in the next. A committer hears
//! only a durable outcome, and only after the change has been pushed to the subscribers, so
//! that whoever acts on an answer finds the feed already on its way.
//!
//! It must never answer a commit whose outcome it does not know, and never send a feed
//! message whose interval of revisions leaves out a matching entry: a mirror has nothing but
//! the interval to tell a gap by.
//!
//! A commit costs one pass over its changes, and for each change one look-up for each
//! distinct length of the watched prefixes; a subscriber that watches none of them costs
//! nothing.

mod admit;
mod chunk;
mod commits;
mod subscribers;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{
    Actor, BatchOutcome, CommitOutcome, Duration, Effect, Effects, EngineOp, EngineReply, Event,
    Load, Note, Now, Rng, Time,
};
use tidegate_protocol::{
    Address, FeedEntry, Message, StoreCommit, StoreCommitReply, StoreFeed, StoreWatch, limits,
    store_commit_reply::Outcome,
};

use commits::{Commits, Waiter};
use subscribers::{Subscriber, Subscribers};

/// Settings of a store actor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoreConfig {
    pub me: Address,
    /// Transactions in one batch.
    pub batch_txns_max: usize,
    /// Bytes of keys and values in one batch; a batch holds at least one transaction.
    pub batch_bytes_max: usize,
    /// Commits that wait for the batch at the engine; one more is refused.
    pub waiting_max: usize,
    /// Bytes of keys and values of the commits that wait.
    pub waiting_bytes_max: usize,
    pub subscribers_max: usize,
    /// A subscriber that has not renewed for this long is dropped at the next sweep; sweeps
    /// are as far apart.
    pub silence_max: Duration,
    /// Bytes of entries in one feed message. Changes of one commit are never split.
    pub feed_bytes_max: usize,
}

impl StoreConfig {
    pub fn new(me: Address) -> Self {
        Self {
            me,
            batch_txns_max: 256,
            batch_bytes_max: 4 * 1024 * 1024,
            waiting_max: 4096,
            waiting_bytes_max: 64 * 1024 * 1024,
            subscribers_max: 1024,
            silence_max: Duration::from_secs(20),
            feed_bytes_max: limits::FEED_BYTES_MAX,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct StoreActor {
    config: StoreConfig,
    commits: Commits,
    subscribers: Subscribers,
    /// Revision of the engine as far as it is known; `None` until the engine has told.
    revision: Option<u64>,
    next_request: u64,
    sweep_at: Option<Time>,
    /// Slots that the batch at hand has entries for; kept for its allocation.
    touched: Vec<usize>,
}

impl StoreActor {
    pub fn new(config: StoreConfig, mut rng: Rng) -> Self {
        Self {
            commits: Commits::new(config.waiting_max, rng.u64()),
            subscribers: Subscribers::default(),
            revision: None,
            next_request: rng.u64(),
            sweep_at: None,
            touched: Vec::new(),
            config,
        }
    }

    /// Subscribers now; for metrics.
    pub fn subscriber_count(&self) -> usize {
        self.subscribers.len()
    }

    fn on_message(&mut self, now: Now, from: Address, body: Message, fx: &mut Effects) {
        match body {
            Message::StoreCommit(commit) => self.on_commit(from, commit, fx),
            Message::StoreWatch(watch) => self.on_watch(now, from, watch, fx),
            _ => {}
        }
    }

    fn on_commit(&mut self, from: Address, commit: StoreCommit, fx: &mut Effects) {
        let StoreCommit { id, txn } = commit;
        let waiter = Waiter { from, id };
        let admitted = admit::admit(txn)
            .and_then(|admitted| self.commits.enqueue(waiter, admitted, &self.config, fx));
        match admitted {
            Ok(()) => self.start_batch(fx),
            Err(reason) => reply(waiter, Outcome::Refused(reason), fx),
        }
    }

    fn start_batch(&mut self, fx: &mut Effects) {
        if let Some(op) = self.commits.start_batch(&self.config, fx) {
            fx.push(Effect::Engine(op));
        }
    }

    fn on_engine(&mut self, answer: EngineReply, fx: &mut Effects) {
        match answer {
            EngineReply::Committed { batch, outcome } => self.on_committed(batch, outcome, fx),
            EngineReply::Feed {
                request,
                after_revision: _,
                revision,
                entries,
                gone,
            } => match self.subscribers.answered(request) {
                Some(slot) if gone => self.ask_snapshot(slot, fx),
                Some(slot) => self.on_changes(slot, revision, entries, fx),
                None => {}
            },
            EngineReply::Snapshot {
                request,
                revision,
                entries,
            } => {
                if let Some(slot) = self.subscribers.answered(request) {
                    self.on_snapshot(slot, revision, entries, fx);
                }
            }
        }
    }

    fn on_committed(&mut self, batch: u64, outcome: BatchOutcome, fx: &mut Effects) {
        let Some(waiters) = self.commits.finish(batch) else {
            return;
        };
        if waiters.len() != outcome.outcomes.len() {
            fx.note(Note::Malformed {
                what: format!(
                    "the engine answered {} of {} transactions; the others stay unanswered",
                    outcome.outcomes.len(),
                    waiters.len()
                ),
            });
        }
        self.publish(&outcome, fx);
        for (waiter, outcome) in waiters.into_iter().zip(outcome.outcomes) {
            if fx.buggify("buggify: a store does not answer a commit") {
                continue;
            }
            let outcome = match outcome {
                CommitOutcome::Applied(revision) => Outcome::Applied(revision),
                CommitOutcome::Conflict(key) => Outcome::Conflict(key),
                CommitOutcome::Refused(reason) => Outcome::Refused(reason),
            };
            reply(waiter, outcome, fx);
        }
        self.start_batch(fx);
    }

    /// Tells the subscribers what a batch changed.
    fn publish(&mut self, outcome: &BatchOutcome, fx: &mut Effects) {
        let applied = outcome
            .outcomes
            .iter()
            .filter(|outcome| matches!(outcome, CommitOutcome::Applied(_)))
            .count() as u64;
        // An earlier batch whose write failed may have been durable after all, and is then
        // in nobody's changes but counted by the engine.
        let left_out = self
            .revision
            .is_some_and(|known| outcome.revision > known.saturating_add(applied));
        self.learn(outcome.revision);
        if left_out || fx.buggify("buggify: a store asks its engine what changed") {
            fx.mark("store: revisions that no answer told of");
            for (slot, sent) in self.subscribers.caught_up() {
                self.ask_changes(slot, sent, fx);
            }
        } else {
            self.push(&outcome.changes, outcome.revision, fx);
        }
    }

    /// Sends what a batch changed to every subscriber that watches it and has caught up.
    fn push(&mut self, changes: &[FeedEntry], revision: u64, fx: &mut Effects) {
        let mut touched = std::mem::take(&mut self.touched);
        for entry in changes {
            self.subscribers.offer(entry, &mut touched);
        }
        for slot in touched.drain(..) {
            let subscriber = self.subscribers.get_mut(slot);
            let entries = std::mem::take(&mut subscriber.outgoing);
            send_changes(
                subscriber,
                entries,
                revision,
                self.config.feed_bytes_max,
                fx,
            );
        }
        self.touched = touched;
    }

    fn on_watch(&mut self, now: Now, from: Address, watch: StoreWatch, fx: &mut Effects) {
        let StoreWatch {
            session,
            prefixes,
            after_revision,
        } = watch;
        let prefixes = match admit::prefixes(prefixes) {
            Ok(prefixes) => prefixes,
            Err(what) => return fx.note(Note::Malformed { what }),
        };
        let known = self
            .subscribers
            .find(from)
            .filter(|(_, s)| s.session == session && s.prefixes == prefixes)
            .map(|(slot, _)| slot);
        let slot = match known {
            Some(slot) => slot,
            None => {
                self.subscribers.remove(from);
                if !self.make_room(now, fx) {
                    return;
                }
                let fresh = Subscriber::new(from, session, prefixes, now.mono);
                self.sweep_at
                    .get_or_insert(now.mono + self.config.silence_max);
                let slot = self.subscribers.insert(fresh);
                return self.catch_up(slot, after_revision, fx);
            }
        };
        let revision = self.revision;
        let subscriber = self.subscribers.get_mut(slot);
        subscriber.heard = now.mono;
        if subscriber.awaiting.is_some() {
            return;
        }
        match revision {
            // Nothing that matches was committed after `sent`.
            Some(revision) if (subscriber.sent..=revision).contains(&after_revision) => {
                send(subscriber, after_revision, revision, Vec::new(), fx);
            }
            _ => self.catch_up(slot, after_revision, fx),
        }
    }

    /// Whether one more subscriber has room, once the silent ones are gone.
    fn make_room(&mut self, now: Now, fx: &mut Effects) -> bool {
        if self.subscribers.len() >= self.config.subscribers_max {
            self.subscribers
                .drop_silent(now.mono, self.config.silence_max);
        }
        let room = self.subscribers.len() < self.config.subscribers_max;
        if !room {
            fx.note(Note::Full {
                queue: "subscribers",
            });
        }
        room
    }

    /// Serves a subscriber from the engine, from where it stands.
    fn catch_up(&mut self, slot: usize, after_revision: u64, fx: &mut Effects) {
        self.subscribers.get_mut(slot).sent = after_revision;
        if after_revision == 0 || fx.buggify("buggify: a store sends everything again") {
            self.ask_snapshot(slot, fx);
        } else {
            self.ask_changes(slot, after_revision, fx);
        }
    }

    fn ask_changes(&mut self, slot: usize, after_revision: u64, fx: &mut Effects) {
        let request = self.request(slot);
        fx.push(Effect::Engine(EngineOp::Feed {
            request,
            after_revision,
            bytes_max: self.config.feed_bytes_max,
        }));
    }

    fn ask_snapshot(&mut self, slot: usize, fx: &mut Effects) {
        let request = self.request(slot);
        let prefixes = self.subscribers.get_mut(slot).prefixes.clone();
        fx.push(Effect::Engine(EngineOp::Snapshot { request, prefixes }));
    }

    fn request(&mut self, slot: usize) -> u64 {
        let request = self.next_request;
        self.next_request = request.wrapping_add(1);
        self.subscribers.await_answer(slot, request);
        request
    }

    fn on_changes(
        &mut self,
        slot: usize,
        revision: u64,
        entries: Vec<FeedEntry>,
        fx: &mut Effects,
    ) {
        // An answer without entries was not cut short, so it reaches the engine's revision.
        let complete = entries.is_empty() || self.revision.is_some_and(|known| revision >= known);
        if complete {
            self.learn(revision);
        }
        let subscriber = self.subscribers.get_mut(slot);
        let matching: Vec<FeedEntry> = entries
            .into_iter()
            .filter(|entry| subscriber.watches(&entry.key))
            .collect();
        if complete || !matching.is_empty() {
            send_changes(
                subscriber,
                matching,
                revision,
                self.config.feed_bytes_max,
                fx,
            );
        }
        if !complete {
            self.ask_changes(slot, revision, fx);
        }
    }

    fn on_snapshot(
        &mut self,
        slot: usize,
        revision: u64,
        entries: Vec<FeedEntry>,
        fx: &mut Effects,
    ) {
        self.learn(revision);
        let subscriber = self.subscribers.get_mut(slot);
        let bytes_max = if fx.buggify("buggify: a store sends a snapshot in small parts") {
            1
        } else {
            self.config.feed_bytes_max
        };
        let mut parts = chunk::by_bytes(entries, bytes_max);
        let last = parts.len() - 1;
        for (part, entries) in parts.drain(..).enumerate() {
            fx.send(
                subscriber.address,
                Message::StoreFeed(StoreFeed {
                    session: subscriber.session,
                    after_revision: subscriber.sent,
                    revision,
                    reset: true,
                    part: u32::try_from(part).unwrap_or(u32::MAX),
                    last: part == last,
                    entries,
                }),
            );
        }
        subscriber.sent = revision;
        if self.revision.is_some_and(|known| revision < known) {
            self.ask_changes(slot, revision, fx);
        }
    }

    fn learn(&mut self, revision: u64) {
        self.revision = self.revision.max(Some(revision));
    }

    fn on_timer(&mut self, now: Now) {
        if self.sweep_at.is_some_and(|at| now.mono >= at) {
            self.subscribers
                .drop_silent(now.mono, self.config.silence_max);
            self.sweep_at =
                (self.subscribers.len() > 0).then(|| now.mono + self.config.silence_max);
        }
    }
}

impl Actor for StoreActor {
    fn handle(&mut self, now: Now, event: Event, fx: &mut Effects) {
        match event {
            Event::Message { from, body } => self.on_message(now, from, body, fx),
            Event::Engine(answer) => self.on_engine(answer, fx),
            Event::Timer => self.on_timer(now),
            Event::Start | Event::Driver(_) | Event::Blob(_) => {}
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        self.sweep_at.map(|at| (at, "drop silent subscribers"))
    }

    fn check(&self) {
        self.commits.check(&self.config);
        self.subscribers.check(self.config.subscribers_max);
        assert!(
            self.sweep_at.is_some() || self.subscribers.len() == 0,
            "a subscriber that nobody sweeps"
        );
    }

    fn load(&self) -> Vec<Load> {
        let config = &self.config;
        let mut load = self.commits.load(config).to_vec();
        let subscribers = self.subscribers.len();
        load.push(Load::new(
            "subscribers",
            subscribers,
            config.subscribers_max,
        ));
        load
    }
}

fn reply(waiter: Waiter, outcome: Outcome, fx: &mut Effects) {
    fx.send(
        waiter.from,
        Message::StoreCommitReply(StoreCommitReply {
            id: waiter.id,
            outcome: Some(outcome),
        }),
    );
}

/// Sends every matching change after what was sent, up to `revision`.
///
/// A message without entries moves `sent` no further: should it be lost, the next one still
/// joins on to what the subscriber has.
fn send_changes(
    subscriber: &mut Subscriber,
    entries: Vec<FeedEntry>,
    revision: u64,
    bytes_max: usize,
    fx: &mut Effects,
) {
    let mut parts = chunk::by_commit(entries, bytes_max).into_iter().peekable();
    while let Some(entries) = parts.next() {
        let last = entries.last().map_or(revision, |entry| entry.revision);
        let upto = if parts.peek().is_some() {
            last
        } else {
            revision
        };
        let after = subscriber.sent;
        if !entries.is_empty() {
            subscriber.sent = upto;
        }
        send(subscriber, after, upto, entries, fx);
    }
}

fn send(
    subscriber: &Subscriber,
    after_revision: u64,
    revision: u64,
    entries: Vec<FeedEntry>,
    fx: &mut Effects,
) {
    fx.send(
        subscriber.address,
        Message::StoreFeed(StoreFeed {
            session: subscriber.session,
            after_revision,
            revision,
            entries,
            ..StoreFeed::default()
        }),
    );
}
