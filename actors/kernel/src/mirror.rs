//! A live copy of part of a store.
//!
//! Whoever decides from stored state keeps a mirror of it and commits with preconditions on
//! the revisions that it saw; a decision from a stale copy is refused by the store, and
//! nothing else has to be locked. The mirror subscribes to the store's change feed, notices
//! gaps by revision, asks again from where it stands, and takes a snapshot when the store
//! has forgotten that far back. Losing, repeating and delaying feed messages therefore costs
//! time only.
//!
//! A mirror is *live* while the store has answered lately. Silence of others counts only
//! while it is, and while the store is seen to take commits: neither a store that cannot be
//! reached nor one whose disk is full must make every host look dead. A revision that moves
//! is the proof, whoever moved it; the lease of a scheduler moves it every few seconds, so
//! that the death of all hosts is told from a store that takes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_protocol::{
    Address, Bytes, FeedEntry, Key, Message, Precondition, Record, StoreFeed, StoreWatch,
};

use crate::{Duration, Effects, Note, Now, Rng, Time};

/// How often a subscription is renewed. The store drops one that it has not heard of for
/// four times as long.
const RENEW: Duration = Duration::from_secs(5);
/// A renewal that stays without an answer is repeated after this.
const RETRY: Duration = Duration::from_secs(1);
/// Silence of the store after which the copy is no longer live.
const STALE: Duration = Duration::from_secs(12);
/// Time without a commit of anybody after which the store is held to take none. A host that
/// beats every 5 s has then been silent for 17 s at most, of the 30 s that it may be, and a
/// gateway node (15 s) for 27 of 45 s: each has time left for one more beat.
const STALLED: Duration = Duration::from_secs(12);

/// One key that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub key: Key,
    /// `None`: deleted, or no longer readable.
    pub record: Option<Record>,
    /// Revision of the commit that wrote it; 0 for a deletion found by a snapshot.
    pub revision: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Mirror {
    store: Address,
    prefixes: Vec<String>,
    session: u64,
    revision: u64,
    revisions: BTreeMap<Key, u64>,
    /// Parts of a snapshot received so far, all of `staged_revision`; the number of them all
    /// once the last one is among them.
    staged: BTreeMap<u32, Vec<FeedEntry>>,
    staged_revision: u64,
    staged_total: Option<usize>,
    heard: Option<Time>,
    live_since: Option<Time>,
    /// When the store's revision was last seen to move.
    moved: Option<Time>,
    /// Since when it has moved without a pause of `STALLED`.
    moving_since: Time,
    ask_at: Time,
    asked_at: Option<Time>,
    /// The latest revision that is known to exist since the mirror last asked.
    ahead: u64,
    loaded: bool,
}

impl Mirror {
    pub fn new(store: Address, prefixes: &[&str], rng: &mut Rng) -> Self {
        Self {
            store,
            prefixes: prefixes.iter().map(|p| (*p).to_owned()).collect(),
            session: rng.u64(),
            revision: 0,
            revisions: BTreeMap::new(),
            staged: BTreeMap::new(),
            staged_revision: 0,
            staged_total: None,
            heard: None,
            live_since: None,
            moved: None,
            moving_since: Time::ZERO,
            ask_at: Time::ZERO,
            asked_at: None,
            ahead: 0,
            loaded: false,
        }
    }

    pub fn store(&self) -> Address {
        self.store
    }

    /// Whether the copy has been complete at least once.
    pub fn is_loaded(&self) -> bool {
        self.loaded
    }

    pub fn is_live(&self, now: Now) -> bool {
        self.loaded && self.heard.is_some_and(|t| now.mono.since(t) < STALE)
    }

    /// How long somebody has been silent who writes to the store, and whose last sign the
    /// mirror received at `heard`: counted only from when the mirror last became live and the
    /// store began to take commits again, and zero while the one is not or the other takes
    /// none.
    pub fn silence(&self, now: Now, heard: Time) -> Duration {
        if self.is_stalled(now) {
            return Duration::ZERO;
        }
        self.unseen(now, heard.max(self.moving_since))
    }

    /// How long something has not been seen to change, in a mirror that was live all the
    /// time. Unlike `silence` it also counts while the store takes no commits: whoever is to
    /// find out whether it does again (a candidate for the lease) must not wait for others
    /// to.
    pub fn unseen(&self, now: Now, seen: Time) -> Duration {
        match self.live_since {
            Some(since) if self.is_live(now) => now.mono.since(seen.max(since)),
            _ => Duration::ZERO,
        }
    }

    fn is_stalled(&self, now: Now) -> bool {
        self.moved.is_none_or(|t| now.mono.since(t) >= STALLED)
    }

    fn move_to(&mut self, now: Now, revision: u64) {
        if revision == self.revision && self.moved.is_some() {
            return;
        }
        if self.is_stalled(now) {
            self.moving_since = now.mono;
        }
        self.moved = Some(now.mono);
        self.revision = revision;
    }

    /// Revision of the copy.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Revision of a key; 0 when it does not exist.
    pub fn revision_of(&self, key: &Key) -> u64 {
        self.revisions.get(key).copied().unwrap_or(0)
    }

    /// A precondition that the key is still as the mirror sees it.
    pub fn unchanged(&self, key: &Key) -> Precondition {
        Precondition {
            key: key.to_string(),
            revision: self.revision_of(key),
        }
    }

    pub fn next_deadline(&self) -> (Time, &'static str) {
        (self.ask_at, "renew the subscription")
    }

    /// Subscribes, or renews, when it is time. Call on `Start` and on `Timer`.
    pub fn on_timer(&mut self, now: Now, fx: &mut Effects) {
        if now.mono < self.ask_at {
            return;
        }
        self.ask(now, fx);
    }

    /// Takes a feed message; returns what changed, in commit order (deletions that a snapshot
    /// reveals come first). A message of another session, or from another store, changes
    /// nothing.
    pub fn on_feed(
        &mut self,
        now: Now,
        from: Address,
        feed: StoreFeed,
        fx: &mut Effects,
    ) -> Vec<Change> {
        if from != self.store
            || feed.session != self.session
            || fx.buggify("buggify: a mirror misses a message")
        {
            return Vec::new();
        }
        if !self.is_live(now) {
            self.live_since = Some(now.mono);
        }
        self.heard = Some(now.mono);
        if feed.reset {
            self.ask_again_in(RENEW, now);
            return self.on_snapshot_part(now, feed, fx);
        }
        if feed.after_revision > self.revision {
            match self.asked_at {
                Some(asked) if now.mono.since(asked) < RETRY => {
                    self.ahead = self.ahead.max(feed.revision);
                    self.ask_again_in(RETRY, now);
                }
                _ => self.ask(now, fx),
            }
            return Vec::new();
        }
        let known = self.revision;
        self.move_to(now, known.max(feed.revision));
        self.loaded = true;
        // A gap stays one, whatever arrives from below it.
        let behind = self.ahead > self.revision;
        self.ask_again_in(if behind { RETRY } else { RENEW }, now);
        feed.entries
            .into_iter()
            .filter(|entry| entry.revision > known)
            .filter_map(|entry| self.apply(entry, fx))
            .collect()
    }

    /// Counted from the last time: changes that keep coming must not put the next one off,
    /// or the store takes the subscriber for dead and stops to push.
    fn ask_again_in(&mut self, after: Duration, now: Now) {
        self.ask_at = self.asked_at.map_or(now.mono, |asked| asked + after);
    }

    fn ask(&mut self, now: Now, fx: &mut Effects) {
        self.asked_at = Some(now.mono);
        self.ask_at = now.mono + RETRY;
        self.ahead = 0;
        fx.send(
            self.store,
            Message::StoreWatch(StoreWatch {
                session: self.session,
                prefixes: self.prefixes.clone(),
                after_revision: self.revision,
            }),
        );
    }

    fn on_snapshot_part(&mut self, now: Now, feed: StoreFeed, fx: &mut Effects) -> Vec<Change> {
        // A store that was restored to an earlier state answers whoever asks from a later
        // one with a snapshot below it. Any other snapshot below the copy is merely late.
        let went_back = feed.after_revision == self.revision;
        if self.loaded && feed.revision < self.revision && !went_back {
            return Vec::new();
        }
        if feed.revision != self.staged_revision {
            self.staged.clear();
            self.staged_total = None;
            self.staged_revision = feed.revision;
        }
        if feed.last {
            self.staged_total = Some(feed.part as usize + 1);
        }
        self.staged.insert(feed.part, feed.entries);
        if self.staged_total != Some(self.staged.len()) {
            self.ask_at = now.mono + RETRY;
            return Vec::new();
        }
        self.staged_total = None;
        let mut entries: Vec<FeedEntry> = std::mem::take(&mut self.staged)
            .into_values()
            .flatten()
            .collect();
        entries.sort_by_key(|entry| entry.revision);
        self.move_to(now, feed.revision);
        self.loaded = true;
        let mut gone = std::mem::take(&mut self.revisions);
        let mut changes = Vec::new();
        for entry in entries {
            let known = Key::parse(&entry.key).ok().and_then(|k| {
                let revision = gone.remove(&k)?;
                (revision == entry.revision).then_some((k, revision))
            });
            match known {
                Some((key, revision)) => {
                    self.revisions.insert(key, revision);
                }
                None => changes.extend(self.apply(entry, fx)),
            }
        }
        let deleted = gone.into_keys().map(|key| Change {
            key,
            record: None,
            revision: 0,
        });
        deleted.chain(changes).collect()
    }

    fn apply(&mut self, entry: FeedEntry, fx: &mut Effects) -> Option<Change> {
        let key = match Key::parse(&entry.key) {
            Ok(key) => key,
            Err(error) => {
                fx.note(Note::Malformed {
                    what: error.to_string(),
                });
                return None;
            }
        };
        let record = entry.value.and_then(|value| self.read(&key, &value, fx));
        if record.is_some() {
            self.revisions.insert(key.clone(), entry.revision);
        } else {
            self.revisions.remove(&key);
        }
        Some(Change {
            key,
            record,
            revision: entry.revision,
        })
    }

    fn read(&self, key: &Key, value: &Bytes, fx: &mut Effects) -> Option<Record> {
        Record::parse(key, value)
            .map_err(|error| {
                fx.note(Note::Malformed {
                    what: error.to_string(),
                });
            })
            .ok()
    }
}

#[cfg(test)]
mod tests;
