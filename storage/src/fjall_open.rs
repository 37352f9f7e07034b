//! How the engine's database comes into being.

use std::fs;
use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use tidegate_engine::StorageError;

use crate::disk::{self, require_space, sync_dir};
use crate::fjall_engine::FjallOptions;
use crate::fjall_error::failed;

/// fjall replays its journal when it opens: this bounds the time that a restart takes.
const JOURNAL_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A database with the keyspaces of the engine.
pub(crate) struct Opened {
    pub(crate) db: Database,
    pub(crate) data: Keyspace,
    pub(crate) log: Keyspace,
    pub(crate) head: Keyspace,
}

/// Makes a database beside its place and moves it there when it is whole: fjall does not
/// open one whose creation was cut off.
pub(crate) fn create(dir: &Path, place: &Path, options: &FjallOptions) -> Result<(), StorageError> {
    let new = dir.join("db.new");
    if new.try_exists().map_err(|e| disk::failed(&new, &e))? {
        fs::remove_dir_all(&new).map_err(|e| disk::failed(&new, &e))?;
    }
    require_space(dir, options.free_bytes_min)?;
    drop(open_database(&new, options)?);
    fs::rename(&new, place).map_err(|e| disk::failed(place, &e))?;
    sync_dir(dir)
}

pub(crate) fn open_database(place: &Path, options: &FjallOptions) -> Result<Opened, StorageError> {
    let open = || {
        let db = Database::builder(place)
            .cache_size(options.cache_bytes)
            .max_journaling_size(JOURNAL_BYTES_MAX)
            .worker_threads(2)
            .open()?;
        let keyspace =
            || KeyspaceCreateOptions::default().max_memtable_size(options.memtable_bytes);
        let data = db.keyspace("data", keyspace)?;
        let log = db.keyspace("log", keyspace)?;
        let head = db.keyspace("head", keyspace)?;
        Ok(Opened {
            db,
            data,
            log,
            head,
        })
    };
    open().map_err(|e| failed(place, e))
}
