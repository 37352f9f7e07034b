//! Tidegate on a disk.
//!
//! Two things are kept here, and nothing is decided about them: records, in an
//! [`Engine`] ([`FjallEngine`], one directory, one process), and blobs, in a [`BlobStore`]
//! (files by content). Both are reached through the commands of the kernel, which
//! [`run_op`] and [`run_command`] turn into calls. All calls block; the shell gives them
//! threads ([`EngineThread`], or a pool of its own for blobs). Nothing here knows tokio, the
//! network or the simulator.

mod artifact;
mod blob;
mod disk;
mod engine_thread;
mod fjall_engine;
mod fjall_error;
mod fjall_layout;
mod fjall_open;
mod format;

pub use artifact::{
    ArtifactError, ManifestError, build_artifact, decode_manifest, materialize, validate_manifest,
};
pub use blob::{BlobError, BlobStore, run_command};
pub use engine_thread::{EngineThread, SubmitError};
pub use fjall_engine::{FjallEngine, FjallOptions};
pub use tidegate_engine::{
    Engine, Feed, LOG_CHANGES_MAX, MemoryEngine, StorageError, TXN_BYTES_MAX, run_op,
};
