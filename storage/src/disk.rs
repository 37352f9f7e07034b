//! What both stores need of a disk: errors with a place, directories that stay, one process
//! at a time, and room that is not used up.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::Path;

use tidegate_engine::StorageError;

/// The error of a file operation on `path`.
pub(crate) fn failed(path: &Path, error: &io::Error) -> StorageError {
    let place = path.display().to_string();
    let detail = error.to_string();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageError::Full { place, detail },
        _ => StorageError::Io { place, detail },
    }
}

/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StorageError> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| failed(path, &e))
}

/// Creates a directory and those above it.
pub(crate) fn create_dir(path: &Path) -> Result<(), StorageError> {
    std::fs::create_dir_all(path).map_err(|e| failed(path, &e))
}

/// Takes `dir` for this process, as long as the file is kept. The lock goes with the
/// process, however it ends.
pub(crate) fn lock(dir: &Path) -> Result<File, StorageError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|e| failed(&path, &e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StorageError::Locked {
            place: dir.display().to_string(),
        }),
        Err(TryLockError::Error(e)) => Err(failed(&path, &e)),
    }
}

/// Refuses to go on while fewer than `free_bytes_min` are free around `path`. A write that
/// meets a full disk half way is much harder to come back from than one that never begins.
pub(crate) fn require_space(path: &Path, free_bytes_min: u64) -> Result<(), StorageError> {
    let stat = rustix::fs::statvfs(path).map_err(|e| failed(path, &e.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= free_bytes_min {
        return Ok(());
    }
    Err(StorageError::Full {
        place: path.display().to_string(),
        detail: format!("{free} bytes are free, {free_bytes_min} are kept in reserve"),
    })
}
