//! The promise of an engine.
//!
//! Revisions count applied transactions: 1, 2, 3, … without a gap, across restarts. The
//! revision of a key is that of the transaction that wrote it last. An engine must never
//! show a transaction in part, and never acknowledge one that a crash could take back.

use tidegate_kernel::BatchOutcome;
use tidegate_protocol::{Bytes, FeedEntry, Txn};

use crate::StorageError;

/// A revisioned, transactional map with a change log. One caller owns it.
pub trait Engine {
    /// The value of a key and its revision; `None` when it does not exist.
    fn read(&self, key: &str) -> Result<Option<(Bytes, u64)>, StorageError>;

    /// At most `limit` entries under `prefix` whose keys are greater than `after`, in the
    /// order of their keys. An empty `after` begins at the first.
    fn range(
        &self,
        prefix: &str,
        after: &str,
        limit: usize,
    ) -> Result<Vec<FeedEntry>, StorageError>;

    /// Commits the transactions one after the other; a later one sees what an earlier one
    /// wrote. Everything that is applied is durable, together, when this returns.
    ///
    /// A transaction that cannot be applied changes nothing and has its outcome in the list;
    /// an error means that nothing of the batch is acknowledged, and that a later call, or a
    /// later life, either shows all of it or nothing.
    fn commit(&mut self, txns: &[Txn]) -> Result<BatchOutcome, StorageError>;

    /// What was written after a revision, in commit order, until about `bytes_max`. The
    /// entries of one revision are never parted, and at least one revision is in it when
    /// there is one.
    fn feed(&self, after_revision: u64, bytes_max: usize) -> Result<Feed, StorageError>;

    /// Everything under the prefixes, each key once and in order, with the revision at which
    /// this is the whole truth. The empty prefix names every key.
    fn snapshot(&self, prefixes: &[String]) -> Result<(u64, Vec<FeedEntry>), StorageError>;

    /// Revision of the last applied transaction; 0 before the first.
    fn revision(&self) -> u64;
}

/// A piece of the change log.
#[derive(Clone, Debug, PartialEq)]
pub struct Feed {
    /// A deleted key has no value.
    pub entries: Vec<FeedEntry>,
    /// Everything after the asked revision up to here is in `entries`.
    pub revision: u64,
    /// The asked revision is older than the log, or newer than anything committed: only a
    /// snapshot helps.
    pub gone: bool,
}

impl Feed {
    /// The answer to a revision that the log does not reach.
    pub fn gone(revision: u64) -> Self {
        Self {
            entries: Vec::new(),
            revision,
            gone: true,
        }
    }
}
