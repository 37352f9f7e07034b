//! What fjall's errors mean to an operator.

use std::path::Path;

use fjall::{Error, LsmError};
use tidegate_engine::StorageError;

use crate::disk;

/// The error of a database operation in `path`.
pub(crate) fn failed(path: &Path, error: Error) -> StorageError {
    let place = path.display().to_string();
    match error {
        Error::Io(e) | Error::Storage(LsmError::Io(e)) => disk::failed(path, &e),
        Error::Locked => StorageError::Locked { place },
        Error::InvalidVersion(found) => StorageError::Format {
            place,
            found: found.map_or("of another program".to_owned(), |v| format!("fjall {v}")),
            supported: "fjall 3".to_owned(),
        },
        Error::Poisoned => StorageError::Io {
            place,
            detail: "a write in the background failed; see the log".to_owned(),
        },
        damaged => StorageError::Corrupted {
            place,
            detail: damaged.to_string(),
        },
    }
}

/// What was read is not what this engine writes.
pub(crate) fn malformed(path: &Path, what: impl Into<String>) -> StorageError {
    StorageError::Corrupted {
        place: path.display().to_string(),
        detail: what.into(),
    }
}
