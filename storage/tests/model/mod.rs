//! The reference: a history of revisions, and every answer computed from it the long way.

use std::collections::BTreeMap;

use tidegate_engine::Feed;
use tidegate_kernel::{BatchOutcome, CommitOutcome};
use tidegate_protocol::limits::VALUE_BYTES_MAX;
use tidegate_protocol::{FeedEntry, Txn};

/// Bytes that a feed counts for an entry besides its key and value.
const ENTRY_OVERHEAD_BYTES: usize = 16;

/// What a store should hold.
#[derive(Debug)]
pub(crate) struct Model {
    /// `history[r - 1]` is what revision `r` wrote.
    history: Vec<Vec<FeedEntry>>,
    log_changes_max: usize,
}

impl Model {
    pub(crate) fn new(log_changes_max: usize) -> Self {
        Self {
            history: Vec::new(),
            log_changes_max,
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.history.len() as u64
    }

    pub(crate) fn content(&self) -> BTreeMap<String, FeedEntry> {
        let mut content = BTreeMap::new();
        for change in self.history.iter().flatten() {
            if change.value.is_some() {
                content.insert(change.key.clone(), change.clone());
            } else {
                content.remove(&change.key);
            }
        }
        content
    }

    pub(crate) fn revision_of(&self, key: &str) -> u64 {
        self.content().get(key).map_or(0, |entry| entry.revision)
    }

    pub(crate) fn commit(&mut self, txns: &[Txn]) -> BatchOutcome {
        let before = self.history.len();
        let outcomes = txns.iter().map(|txn| self.commit_one(txn)).collect();
        BatchOutcome {
            outcomes,
            changes: self.history[before..].concat(),
            revision: self.revision(),
        }
    }

    fn commit_one(&mut self, txn: &Txn) -> CommitOutcome {
        for write in &txn.writes {
            let bytes = write.value.as_ref().map_or(0, |value| value.len());
            if bytes > VALUE_BYTES_MAX {
                return CommitOutcome::Refused(format!(
                    "the value of `{}` has {bytes} bytes; at most {VALUE_BYTES_MAX} are taken",
                    write.key
                ));
            }
        }
        let failed = txn
            .preconditions
            .iter()
            .find(|p| self.revision_of(&p.key) != p.revision);
        if let Some(precondition) = failed {
            return CommitOutcome::Conflict(precondition.key.clone());
        }
        let revision = self.revision() + 1;
        let changes = txn.writes.iter().map(|write| FeedEntry {
            key: write.key.clone(),
            value: write.value.clone(),
            revision,
        });
        self.history.push(changes.collect());
        CommitOutcome::Applied(revision)
    }

    pub(crate) fn feed(&self, after: u64, bytes_max: usize) -> Feed {
        let head = self.revision();
        if after > head || after < self.floor() {
            return Feed::gone(head);
        }
        let mut entries: Vec<FeedEntry> = Vec::new();
        let mut bytes = 0;
        for revision in after + 1..=head {
            let changes = &self.history[revision as usize - 1];
            bytes += changes.iter().map(weight).sum::<usize>();
            if bytes > bytes_max && !entries.is_empty() && !changes.is_empty() {
                return Feed {
                    entries,
                    revision: revision - 1,
                    gone: false,
                };
            }
            entries.extend(changes.iter().cloned());
        }
        Feed {
            entries,
            revision: head,
            gone: false,
        }
    }

    /// The newest revision that the log no longer holds.
    fn floor(&self) -> u64 {
        let mut changes = 0;
        for revision in (1..=self.revision()).rev() {
            changes += self.history[revision as usize - 1].len();
            if changes > self.log_changes_max {
                return revision;
            }
        }
        0
    }
}

fn weight(entry: &FeedEntry) -> usize {
    entry.key.len() + entry.value.as_ref().map_or(0, |value| value.len()) + ENTRY_OVERHEAD_BYTES
}
