//! The engine of the simulator: what a disk would hold, as a value.
//!
//! Its content is the *durable* state. The simulator plays the disk: it keeps a batch aside
//! while the simulated fsync lasts, calls [`Engine::commit`] when it ends, and at a crash
//! either drops the batch or commits it unanswered. Both are legal, because nobody was told.
//! A restart of the store keeps the engine; the loss of the disk replaces it.
//!
//! It never fails, and two engines given the same calls are equal. A commit of one write
//! costs two or three lookups in a B-tree and three small allocations.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::ops::Bound;

use tidegate_kernel::{BatchOutcome, CommitOutcome};
use tidegate_protocol::{Bytes, FeedEntry, Txn};

use crate::{
    Engine, Feed, LOG_CHANGES_MAX, LogIndex, StorageError, cut_feed, distinct_prefixes, judge,
};

/// A deterministic engine without a disk.
#[derive(Clone, Debug)]
pub struct MemoryEngine {
    entries: BTreeMap<String, (Bytes, u64)>,
    log: VecDeque<FeedEntry>,
    index: LogIndex,
    revision: u64,
}

impl MemoryEngine {
    pub fn new() -> Self {
        Self::with_log(LOG_CHANGES_MAX)
    }

    /// An engine whose change log keeps this many changes.
    pub fn with_log(changes_max: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            log: VecDeque::new(),
            index: LogIndex::new(changes_max, 0),
            revision: 0,
        }
    }

    /// Every key with its value and revision, in order, without a copy: for oracles.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes, u64)> {
        self.entries
            .iter()
            .map(|(key, (value, revision))| (key.as_str(), value, *revision))
    }

    fn under<'a>(
        &'a self,
        prefix: &'a str,
        after: &str,
    ) -> impl Iterator<Item = FeedEntry> + use<'a> {
        let from = if after < prefix || after.is_empty() {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        self.entries
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, (value, revision))| FeedEntry {
                key: key.clone(),
                value: Some(value.clone()),
                revision: *revision,
            })
    }

    fn apply(&mut self, txn: &Txn, changes: &mut Vec<FeedEntry>) -> u64 {
        self.revision += 1;
        let revision = self.revision;
        for write in &txn.writes {
            match (&write.value, self.entries.get_mut(&write.key)) {
                (Some(value), Some(entry)) => *entry = (value.clone(), revision),
                (Some(value), None) => {
                    self.entries
                        .insert(write.key.clone(), (value.clone(), revision));
                }
                (None, _) => {
                    self.entries.remove(&write.key);
                }
            }
            let change = FeedEntry {
                key: write.key.clone(),
                value: write.value.clone(),
                revision,
            };
            self.log.push_back(change.clone());
            changes.push(change);
        }
        // `judge` has bounded the number of writes.
        self.index.push(revision, txn.writes.len() as u32);
        while let Some((_, count)) = self.index.forget() {
            self.log.drain(..count as usize);
        }
        revision
    }
}

impl Default for MemoryEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for MemoryEngine {
    fn read(&self, key: &str) -> Result<Option<(Bytes, u64)>, StorageError> {
        Ok(self.entries.get(key).cloned())
    }

    fn range(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<FeedEntry>, StorageError> {
        Ok(self.under(prefix, after).take(limit).collect())
    }

    fn commit(&mut self, txns: &[Txn]) -> Result<BatchOutcome, StorageError> {
        let mut outcomes = Vec::with_capacity(txns.len());
        let mut changes = Vec::with_capacity(txns.len());
        for txn in txns {
            let Ok(verdict) = judge(txn, |key| {
                Ok::<_, Infallible>(self.entries.get(key).map_or(0, |(_, revision)| *revision))
            });
            outcomes.push(match verdict {
                Some(refusal) => refusal,
                None => CommitOutcome::Applied(self.apply(txn, &mut changes)),
            });
        }
        Ok(BatchOutcome {
            outcomes,
            changes,
            revision: self.revision,
        })
    }

    fn feed(&self, after_revision: u64, bytes_max: usize) -> Result<Feed, StorageError> {
        if !self.index.reaches(after_revision, self.revision) {
            return Ok(Feed::gone(self.revision));
        }
        let from = self
            .log
            .partition_point(|change| change.revision <= after_revision);
        let changes = self.log.range(from..).cloned().map(Ok);
        cut_feed(self.revision, bytes_max, changes)
    }

    fn snapshot(&self, prefixes: &[String]) -> Result<(u64, Vec<FeedEntry>), StorageError> {
        let entries = distinct_prefixes(prefixes)
            .into_iter()
            .flat_map(|prefix| self.under(prefix, ""))
            .collect();
        Ok((self.revision, entries))
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::Write;

    #[test]
    fn what_was_committed_is_read_by_key_and_by_prefix() {
        let write = |key: &str| Write {
            key: key.to_owned(),
            value: Some(Bytes::copy_from_slice(key.as_bytes())),
        };
        let mut engine = MemoryEngine::new();
        for keys in [["a/1", "b/1"], ["a/2", "a/3"]] {
            let txn = Txn {
                writes: keys.map(write).into(),
                ..Txn::default()
            };
            engine.commit(&[txn]).unwrap();
        }
        assert_eq!(engine.revision(), 2);
        assert_eq!(engine.read("a/2"), Ok(Some((Bytes::from("a/2"), 2))));
        assert_eq!(engine.read("a/9"), Ok(None));
        let range = |after, limit| {
            let entries = engine.range("a/", after, limit).unwrap();
            let keys = entries.into_iter().map(|e| (e.key, e.revision));
            keys.collect::<Vec<_>>()
        };
        let key = |key: &str, revision| (key.to_owned(), revision);
        assert_eq!(range("", 2), [key("a/1", 1), key("a/2", 2)]);
        assert_eq!(range("a/1", 9), [key("a/2", 2), key("a/3", 2)]);
        assert_eq!(range("a/3", 9), []);
    }
}
