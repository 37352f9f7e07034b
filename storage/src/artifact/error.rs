//! What can be wrong with an artifact. Each error names the path and what to do.

use std::path::PathBuf;

use tidegate_protocol::Digest;

use super::ManifestError;
use crate::blob::BlobError;

/// A directory cannot become an artifact, or an artifact no directory.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("{} cannot be used: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{} is a symbolic link; replace it by what it points to (for example with `cp -L`) or \
         remove it",
        .0.display()
    )]
    Symlink(PathBuf),
    #[error("{} is neither a file nor a directory; remove it", .0.display())]
    Special(PathBuf),
    #[error("the name of {} is not UTF-8; rename it", .0.display())]
    NotText(PathBuf),
    #[error("{}: {source}; rename it, or leave it out", path.display())]
    Path {
        path: PathBuf,
        source: ManifestError,
    },
    #[error("{} has more than {bytes_max} bytes; make it smaller, or leave it out", path.display())]
    FileTooLarge { path: PathBuf, bytes_max: u64 },
    #[error("{} cannot be an artifact: {source}; leave something out", path.display())]
    Manifest {
        path: PathBuf,
        source: ManifestError,
    },
    #[error("{} holds no file; deploy a directory that does", .0.display())]
    Empty(PathBuf),
    #[error("artifact {0} is not in this store; fetch it")]
    Missing(Digest),
    #[error(
        "blob {digest} has not the {expected} bytes that the manifest says; build the artifact \
         anew"
    )]
    WrongSize { digest: Digest, expected: u64 },
    #[error("{} exists already; remove it, or choose another place", .0.display())]
    TargetExists(PathBuf),
    #[error("{} has no directory above it; choose another place", .0.display())]
    NoParent(PathBuf),
}
