//! How the files of a version get to the nodes that need them.
//!
//! An artifact is a manifest and the blobs that it names, each addressed by its SHA-256. The
//! [`Origin`] serves chunks of blobs to whoever asks; a [`Fetcher`] is embedded in an actor
//! that needs whole artifacts (an edge, a metald) and collects what is missing, in any
//! order, over messages that get lost, from whichever source has it. Blobs are verified by the node's blob store when they
//! are whole; nothing is reported as fetched before.
//!
//! What a manifest says was written by a tenant: [`contents`] judges it against the limits
//! before a byte is fetched for it.

mod blobs;
mod fetcher;
mod manifest;
mod origin;
mod sources;
mod transfer;

pub use fetcher::{Fetcher, FetcherConfig, Progress};
pub use manifest::{MalformedManifest, contents};
pub use origin::{Origin, OriginConfig};
