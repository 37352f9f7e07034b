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
//! while it is: a store that cannot be reached must not make every host look dead.

use std::collections::BTreeMap;

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

/// One key that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub key: Key,
    /// `None`: deleted, or no longer readable.
    pub record: Option<Record>,
    /// Revision of the commit that wrote it; 0 for a deletion found by a snapshot.
    pub revision: u64,
}

#[derive(Debug)]
pub struct Mirror {
    store: Address,
    prefixes: Vec<String>,
    session: u64,
    revision: u64,
    revisions: BTreeMap<Key, u64>,
    /// Parts of a snapshot received so far.
    staged: Vec<FeedEntry>,
    staged_parts: u32,
    staged_revision: u64,
    heard: Option<Time>,
    live_since: Option<Time>,
    ask_at: Time,
    asked_gap_at: Option<Time>,
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
            staged: Vec::new(),
            staged_parts: 0,
            staged_revision: 0,
            heard: None,
            live_since: None,
            ask_at: Time::ZERO,
            asked_gap_at: None,
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

    /// How long somebody has been silent whose last sign the mirror received at `heard`:
    /// counted only from when the mirror last became live, and zero while it is not.
    pub fn silence(&self, now: Now, heard: Time) -> Duration {
        match self.live_since {
            Some(since) if self.is_live(now) => now.mono.since(heard.max(since)),
            _ => Duration::ZERO,
        }
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

    /// Takes a feed message; returns what changed, in commit order. A message of another
    /// session, or from another store, changes nothing.
    pub fn on_feed(
        &mut self,
        now: Now,
        from: Address,
        feed: StoreFeed,
        fx: &mut Effects,
    ) -> Vec<Change> {
        if from != self.store || feed.session != self.session {
            return Vec::new();
        }
        if !self.is_live(now) {
            self.live_since = Some(now.mono);
        }
        self.heard = Some(now.mono);
        self.ask_at = now.mono + RENEW;
        if feed.reset {
            return self.on_snapshot_part(feed, fx);
        }
        if feed.after_revision > self.revision {
            let asked_lately = self.asked_gap_at.is_some_and(|t| now.mono.since(t) < RETRY);
            if !asked_lately {
                self.asked_gap_at = Some(now.mono);
                self.ask(now, fx);
            }
            return Vec::new();
        }
        let known = self.revision;
        self.revision = self.revision.max(feed.revision);
        self.loaded = true;
        feed.entries
            .into_iter()
            .filter(|entry| entry.revision > known)
            .filter_map(|entry| self.apply(entry, fx))
            .collect()
    }

    fn ask(&mut self, now: Now, fx: &mut Effects) {
        self.ask_at = now.mono + RETRY;
        fx.send(
            self.store,
            Message::StoreWatch(StoreWatch {
                session: self.session,
                prefixes: self.prefixes.clone(),
                after_revision: self.revision,
            }),
        );
    }

    fn on_snapshot_part(&mut self, feed: StoreFeed, fx: &mut Effects) -> Vec<Change> {
        if feed.part == 0 {
            self.staged.clear();
            self.staged_parts = 0;
            self.staged_revision = feed.revision;
        }
        if feed.part != self.staged_parts || feed.revision != self.staged_revision {
            return Vec::new();
        }
        self.staged_parts += 1;
        self.staged.extend(feed.entries);
        if !feed.last {
            return Vec::new();
        }
        let entries = std::mem::take(&mut self.staged);
        self.revision = feed.revision;
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
