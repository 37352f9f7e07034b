//! What can go wrong with a blob.

use tidegate_engine::StorageError;
use tidegate_protocol::Digest;

use crate::artifact::ManifestError;

/// Why a blob cannot be had or kept.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("what was to be stored cannot be read: {0}")]
    Source(std::io::Error),
    #[error("where a blob was to be copied cannot be written: {0}")]
    Sink(std::io::Error),
    #[error("blob {0} is not in this store; fetch it")]
    Missing(Digest),
    #[error("blob {0} was damaged on disk and has been dropped; fetch it again")]
    Damaged(Digest),
    #[error("blob {digest} was received up to byte {have}, and byte {offset} came; begin anew")]
    Gap {
        digest: Digest,
        offset: u64,
        have: u64,
    },
    #[error("what was received as blob {expected} has digest {found}; it has been dropped")]
    Mismatch { expected: Digest, found: Digest },
    #[error("more than {bytes_max} bytes; a blob of that kind must be smaller")]
    TooLarge { bytes_max: u64 },
    #[error("blob {digest} is no manifest of an artifact: {source}")]
    Manifest {
        digest: Digest,
        source: ManifestError,
    },
}
