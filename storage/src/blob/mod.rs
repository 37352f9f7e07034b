//! Blobs by content, on a local disk.
//!
//! `blobs/ab/cdef…` holds the blob whose SHA-256 is `abcdef…`; `staging/` holds what is being
//! received. A blob appears under its name only by a rename, after it was verified and
//! synced, so a file under `blobs/` was whole once. It is verified again before it is used:
//! reads of a whole blob verify what they return; ranged reads verify the whole file first,
//! once for each process and state of the file (size and time of change), since the
//! receiver of ranges verifies the sum of them anyway. A blob that is found damaged is
//! dropped, so that it can be fetched anew. What rots without a change of the file's state
//! is found by `verify`, which believes nothing; the node's edge calls it round and round.
//!
//! One process at a time has the store open; inside it, any number of threads. A first
//! ranged read costs a pass over the file, a finish a pass and two fsyncs.

mod command;
mod error;
mod read;
mod staging;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tidegate_engine::StorageError;
use tidegate_protocol::Digest;
use tidegate_protocol::limits::{ARTIFACT_FILE_BYTES_MAX, MANIFEST_BYTES_MAX};

pub use command::run_command;
pub use error::BlobError;

use crate::disk::{self, create_dir, sync_dir};
use crate::format;

const FORMAT: &str = "tidegate blobs 1";
/// Bytes that are read, hashed or copied at once.
pub(crate) const BUFFER_BYTES: usize = 256 * 1024;
/// Blobs of which the store remembers that they are whole.
const VERIFIED_MAX: usize = 65_536;
/// Free bytes below which nothing is received.
const FREE_BYTES_MIN: u64 = 128 * 1024 * 1024;
/// The largest thing that can be a part of an artifact.
pub(crate) const BLOB_BYTES_MAX: u64 = if ARTIFACT_FILE_BYTES_MAX > MANIFEST_BYTES_MAX as u64 {
    ARTIFACT_FILE_BYTES_MAX
} else {
    MANIFEST_BYTES_MAX as u64
};

/// A content-addressed store in one directory.
#[derive(Debug)]
pub struct BlobStore {
    root: PathBuf,
    free_bytes_min: u64,
    /// What was verified by this process, and in which state.
    verified: Mutex<BTreeMap<Digest, FileState>>,
    receiving: Mutex<Receiving>,
    finished: Condvar,
    names: AtomicU64,
    /// Blobs that were found damaged, and that nobody was told of.
    dropped: AtomicU64,
    _lock: File,
}

/// Guards the files of `staging/` that are named by digest.
#[derive(Debug, Default)]
struct Receiving {
    /// Taken out of `staging/` and being verified.
    finishing: BTreeSet<Digest>,
}

/// What changes when a file is written or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileState {
    bytes: u64,
    modified: SystemTime,
}

impl BlobStore {
    /// Opens the store in `root`, or makes one in an empty directory. What a former process
    /// was receiving is dropped.
    pub fn open(root: &Path) -> Result<Self, StorageError> {
        Self::open_with(root, FREE_BYTES_MIN)
    }

    /// [`BlobStore::open`], with the number of bytes of the file system that it leaves free.
    pub fn open_with(root: &Path, free_bytes_min: u64) -> Result<Self, StorageError> {
        create_dir(root)?;
        let lock = disk::lock(root)?;
        format::claim(root, FORMAT)?;
        let store = Self {
            root: root.to_owned(),
            free_bytes_min,
            verified: Mutex::default(),
            receiving: Mutex::default(),
            finished: Condvar::new(),
            names: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            _lock: lock,
        };
        let staging = store.staging();
        if staging
            .try_exists()
            .map_err(|e| disk::failed(&staging, &e))?
        {
            fs::remove_dir_all(&staging).map_err(|e| disk::failed(&staging, &e))?;
        }
        create_dir(&staging)?;
        store.create_shards()?;
        Ok(store)
    }

    /// All shards are made at once, so that keeping a blob never has to make one durable.
    fn create_shards(&self) -> Result<(), StorageError> {
        let blobs = self.root.join("blobs");
        if blobs.join("ff").is_dir() {
            return Ok(());
        }
        for shard in 0..=u8::MAX {
            create_dir(&blobs.join(format!("{shard:02x}")))?;
        }
        sync_dir(&blobs)?;
        sync_dir(&self.root)
    }

    /// Where a blob is, or would be.
    fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.to_string();
        let (shard, rest) = hex.split_at(2);
        self.root.join("blobs").join(shard).join(rest)
    }

    fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// A name in `staging/` that nothing else has.
    fn scratch(&self) -> PathBuf {
        let name = self.names.fetch_add(1, Ordering::Relaxed);
        self.staging().join(format!("{name}.tmp"))
    }

    fn receiving(&self) -> MutexGuard<'_, Receiving> {
        held(&self.receiving)
    }

    fn is_known(&self, digest: &Digest, state: FileState) -> bool {
        held(&self.verified).get(digest) == Some(&state)
    }

    fn doubt(&self, digest: &Digest) {
        held(&self.verified).remove(digest);
    }

    fn know(&self, digest: Digest, state: FileState) {
        let mut verified = held(&self.verified);
        if verified.len() >= VERIFIED_MAX {
            verified.clear();
        }
        verified.insert(digest, state);
    }
}

/// What these locks guard is whole after each statement, so a panic elsewhere spoils nothing.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
