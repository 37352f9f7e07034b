//! The embedded engine: a fjall database in one directory.
//!
//! Three keyspaces: `data` (key → revision and value), `log` (revision and position → change)
//! and `head` (the revision, and how far the log has forgotten). A batch of transactions is
//! judged in memory against what is stored and what its earlier transactions wrote, then
//! written as one fjall batch with one fsync: the cost of a commit is the cost of the fsync,
//! so a batch of a hundred costs little more than one.
//!
//! The log forgets at once and removes later: each commit deletes somewhat more old changes
//! than it adds, so a log that has to shrink never stops the store.
//!
//! It must never go on after a write whose fate it does not know. When one fails, reads stay
//! possible and every later commit is refused until the directory is opened anew, which
//! finds either all of that batch or nothing. A disk that is nearly full is refused before
//! the write and needs no restart.
//!
//! fjall throws away the end of its journal from the first record that it cannot read: bit
//! rot there looks like a crash. What has been moved to tables is guarded by checksums.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use fjall::{Database, Guard, Keyspace, OwnedWriteBatch, PersistMode};
use tidegate_engine::{
    Engine, Feed, LOG_CHANGES_MAX, LogIndex, StorageError, cut_feed, distinct_prefixes, judge,
};
use tidegate_kernel::{BatchOutcome, CommitOutcome};
use tidegate_protocol::{Bytes, FeedEntry, Prost, Txn};

use crate::disk::{self, create_dir, require_space};
use crate::fjall_error::{failed, malformed};
use crate::fjall_layout::{
    HEAD, decode_head, decode_log_key, decode_record, encode_head, encode_record, log_key,
};
use crate::fjall_open::{Opened, create, open_database};
use crate::format;

const FORMAT: &str = "tidegate store 1";
/// Old changes that a commit removes, besides twice as many as it adds.
const REMOVALS_MIN: usize = 64;

/// What an operator may choose.
#[derive(Clone, Debug)]
pub struct FjallOptions {
    /// Changes that the log keeps.
    pub log_changes_max: usize,
    /// Commits are refused while the file system has fewer bytes free.
    pub free_bytes_min: u64,
    /// Memory for blocks that were read.
    pub cache_bytes: u64,
    /// Memory of one keyspace for what is not yet in tables. Counts when the store is made.
    pub memtable_bytes: u64,
}

impl Default for FjallOptions {
    fn default() -> Self {
        Self {
            log_changes_max: LOG_CHANGES_MAX,
            free_bytes_min: 128 * 1024 * 1024,
            cache_bytes: 64 * 1024 * 1024,
            memtable_bytes: 16 * 1024 * 1024,
        }
    }
}

/// An engine on a local disk. One process at a time.
pub struct FjallEngine {
    db: Database,
    data: Keyspace,
    log: Keyspace,
    head: Keyspace,
    place: PathBuf,
    free_bytes_min: u64,
    revision: u64,
    index: LogIndex,
    /// Forgotten, not yet removed from the log.
    doomed: VecDeque<(u64, u32)>,
    /// Set by the first write that failed.
    stopped: Option<StorageError>,
    // Declared last: released when the database is closed.
    _lock: File,
}

/// A batch that is judged and not yet written.
struct Staged<'a> {
    outcomes: Vec<CommitOutcome>,
    changes: Vec<FeedEntry>,
    revision: u64,
    /// Revisions of the batch with the number of their changes.
    counts: Vec<(u64, u32)>,
    /// Position in `changes` of what each key ends as.
    last: BTreeMap<&'a str, usize>,
}

impl FjallEngine {
    /// Opens the store in `dir`, or makes one in an empty directory.
    pub fn open(dir: &Path, options: &FjallOptions) -> Result<Self, StorageError> {
        create_dir(dir)?;
        let lock = disk::lock(dir)?;
        format::claim(dir, FORMAT)?;
        let place = dir.join("db");
        if !place.try_exists().map_err(|e| disk::failed(&place, &e))? {
            create(dir, &place, options)?;
        }
        let Opened {
            db,
            data,
            log,
            head,
        } = open_database(&place, options)?;
        let mut engine = Self {
            db,
            data,
            log,
            head,
            place,
            free_bytes_min: options.free_bytes_min,
            revision: 0,
            index: LogIndex::new(options.log_changes_max, 0),
            doomed: VecDeque::new(),
            stopped: None,
            _lock: lock,
        };
        engine.recover(options.log_changes_max)?;
        Ok(engine)
    }

    fn recover(&mut self, log_changes_max: usize) -> Result<(), StorageError> {
        let (revision, floor) = match self.head.get(HEAD).map_err(|e| self.failed(e))? {
            None => (0, 0),
            Some(bytes) => decode_head(&bytes)
                .ok_or_else(|| malformed(&self.place, "the head record does not decode"))?,
        };
        self.revision = revision;
        self.index = LogIndex::new(log_changes_max, floor);
        for (logged, changes) in self.logged_revisions()? {
            if logged > revision {
                return Err(malformed(
                    &self.place,
                    format!("the log holds revision {logged}, after the last one, {revision}"),
                ));
            }
            if logged <= floor {
                self.doomed.push_back((logged, changes));
            } else {
                self.index.push(logged, changes);
            }
        }
        self.forget();
        Ok(())
    }

    fn logged_revisions(&self) -> Result<Vec<(u64, u32)>, StorageError> {
        let mut revisions: Vec<(u64, u32)> = Vec::new();
        for guard in self.log.iter() {
            let key = guard.key().map_err(|e| self.failed(e))?;
            let revision = decode_log_key(&key)
                .ok_or_else(|| malformed(&self.place, "a key of the log does not decode"))?;
            match revisions.last_mut() {
                Some((last, changes)) if *last == revision => *changes += 1,
                _ => revisions.push((revision, 1)),
            }
        }
        Ok(revisions)
    }

    fn forget(&mut self) {
        while let Some(forgotten) = self.index.forget() {
            self.doomed.push_back(forgotten);
        }
    }

    fn stage<'a>(&self, txns: &'a [Txn]) -> Result<Staged<'a>, StorageError> {
        let mut staged = Staged {
            outcomes: Vec::with_capacity(txns.len()),
            changes: Vec::with_capacity(txns.len()),
            revision: self.revision,
            counts: Vec::with_capacity(txns.len()),
            last: BTreeMap::new(),
        };
        for txn in txns {
            let verdict = judge(txn, |key| self.revision_in(&staged, key))?;
            let outcome = verdict.unwrap_or_else(|| staged.apply(txn));
            staged.outcomes.push(outcome);
        }
        Ok(staged)
    }

    fn revision_in(&self, staged: &Staged<'_>, key: &str) -> Result<u64, StorageError> {
        if let Some(&at) = staged.last.get(key) {
            let change = &staged.changes[at];
            return Ok(change.value.as_ref().map_or(0, |_| change.revision));
        }
        match self.data.get(key).map_err(|e| self.failed(e))? {
            None => Ok(0),
            Some(record) => self
                .decode_record(key, &record)
                .map(|(revision, _)| revision),
        }
    }

    fn write(&mut self, staged: &Staged<'_>) -> Result<(), StorageError> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        for &at in staged.last.values() {
            let FeedEntry {
                key,
                value,
                revision,
            } = &staged.changes[at];
            match value {
                Some(value) => {
                    batch.insert(&self.data, key.as_str(), encode_record(*revision, value));
                }
                None => batch.remove(&self.data, key.as_str()),
            }
        }
        let mut revision = 0;
        let mut position = 0;
        for change in &staged.changes {
            position = if change.revision == revision {
                position + 1
            } else {
                0
            };
            revision = change.revision;
            batch.insert(
                &self.log,
                log_key(revision, position),
                change.encode_to_vec(),
            );
        }
        let removed = self.remove_doomed(&mut batch, staged.changes.len());
        batch.insert(
            &self.head,
            HEAD,
            encode_head(staged.revision, self.index.floor()),
        );
        batch.commit().map_err(|e| self.failed(e))?;
        self.doomed.drain(..removed);
        Ok(())
    }

    /// Appends the removal of some forgotten changes; returns how many revisions they were.
    fn remove_doomed(&self, batch: &mut OwnedWriteBatch, added: usize) -> usize {
        let budget = REMOVALS_MIN + 2 * added;
        let mut changes = 0;
        let mut revisions = 0;
        for &(revision, count) in &self.doomed {
            if changes >= budget {
                break;
            }
            for position in 0..count {
                batch.remove(&self.log, log_key(revision, position));
            }
            changes += count as usize;
            revisions += 1;
        }
        revisions
    }

    fn entry(&self, guard: Guard) -> Result<FeedEntry, StorageError> {
        let (key, record) = guard.into_inner().map_err(|e| self.failed(e))?;
        let key =
            std::str::from_utf8(&key).map_err(|_| malformed(&self.place, "a key is not text"))?;
        let (revision, value) = self.decode_record(key, &record)?;
        Ok(FeedEntry {
            key: key.to_owned(),
            value: Some(value),
            revision,
        })
    }

    fn decode_record(&self, key: &str, record: &[u8]) -> Result<(u64, Bytes), StorageError> {
        let (revision, value) = decode_record(record)
            .ok_or_else(|| malformed(&self.place, format!("the record of `{key}` is cut off")))?;
        Ok((revision, Bytes::copy_from_slice(value)))
    }

    fn failed(&self, error: fjall::Error) -> StorageError {
        failed(&self.place, error)
    }
}

impl<'a> Staged<'a> {
    fn apply(&mut self, txn: &'a Txn) -> CommitOutcome {
        self.revision += 1;
        for write in &txn.writes {
            self.last.insert(&write.key, self.changes.len());
            self.changes.push(FeedEntry {
                key: write.key.clone(),
                value: write.value.clone(),
                revision: self.revision,
            });
        }
        // `judge` has bounded the number of writes.
        self.counts.push((self.revision, txn.writes.len() as u32));
        CommitOutcome::Applied(self.revision)
    }
}

impl Engine for FjallEngine {
    fn read(&self, key: &str) -> Result<Option<(Bytes, u64)>, StorageError> {
        // fjall has no empty key and panics on one.
        if key.is_empty() {
            return Ok(None);
        }
        let record = self.data.get(key).map_err(|e| self.failed(e))?;
        record
            .map(|record| {
                let (revision, value) = self.decode_record(key, &record)?;
                Ok((value, revision))
            })
            .transpose()
    }

    fn range(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<FeedEntry>, StorageError> {
        let from = if after < prefix || after.is_empty() {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        let mut entries = Vec::new();
        for guard in self.data.range::<&str, _>((from, Bound::Unbounded)) {
            if entries.len() == limit {
                break;
            }
            let entry = self.entry(guard)?;
            if !entry.key.starts_with(prefix) {
                break;
            }
            entries.push(entry);
        }
        Ok(entries)
    }

    fn commit(&mut self, txns: &[Txn]) -> Result<BatchOutcome, StorageError> {
        if let Some(stopped) = &self.stopped {
            return Err(stopped.clone());
        }
        let staged = self.stage(txns)?;
        if staged.revision > self.revision {
            require_space(&self.place, self.free_bytes_min)?;
            if let Err(error) = self.write(&staged) {
                let stopped = StorageError::Stopped {
                    place: self.place.display().to_string(),
                    cause: error.to_string(),
                };
                tracing::error!("{stopped}");
                self.stopped = Some(stopped.clone());
                return Err(stopped);
            }
            self.revision = staged.revision;
            for (revision, changes) in &staged.counts {
                self.index.push(*revision, *changes);
            }
            self.forget();
        }
        Ok(BatchOutcome {
            outcomes: staged.outcomes,
            changes: staged.changes,
            revision: self.revision,
        })
    }

    fn feed(&self, after_revision: u64, bytes_max: usize) -> Result<Feed, StorageError> {
        if !self.index.reaches(after_revision, self.revision) {
            return Ok(Feed::gone(self.revision));
        }
        let changes = self
            .log
            .range(log_key(after_revision + 1, 0)..)
            .map(|guard| {
                let change = guard.value().map_err(|e| self.failed(e))?;
                FeedEntry::decode(&*change)
                    .map_err(|_| malformed(&self.place, "a change of the log does not decode"))
            });
        cut_feed(self.revision, bytes_max, changes)
    }

    fn snapshot(&self, prefixes: &[String]) -> Result<(u64, Vec<FeedEntry>), StorageError> {
        let mut entries = Vec::new();
        for prefix in distinct_prefixes(prefixes) {
            for guard in self.data.prefix(prefix) {
                entries.push(self.entry(guard)?);
            }
        }
        Ok((self.revision, entries))
    }

    fn revision(&self) -> u64 {
        self.revision
    }
}

impl std::fmt::Debug for FjallEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FjallEngine")
            .field("place", &self.place)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
