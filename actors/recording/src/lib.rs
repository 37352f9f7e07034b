//! Flight recordings: what an actor was given, so that the same code can be given it again.
//!
//! A recording of an actor is a sequence of segments. Each is one file: who the actor is, a
//! snapshot of its whole state, and then every input with both clocks, each followed by a
//! digest of what the actor did. As an actor has no other way to reach anything, this is
//! enough to run it again to the same effects, from any segment on.
//!
//! This crate decides the format ([`mod@format`]), writes it while an actor runs
//! ([`Writer`]) and reads it back ([`Recording`]). It must never change what an actor does,
//! nor wait: where the bytes go is up to an [`Out`], and when that cannot take them, the
//! recording has a gap and goes on with the next snapshot. A recorded step costs the
//! encoding of its input and its effects, two checksums and one hash, and allocates nothing
//! but snapshots.

mod digest;
pub mod format;
mod reader;
mod snapshot;
#[cfg(test)]
mod tests;
mod writer;

pub use digest::{Digesting, Done, StepDigest};
pub use format::{End, Header, Malformed};
pub use reader::{Input, Recording, Step};
pub use snapshot::{restore, snapshot};
pub use writer::{Limits, Out, Subject, Writer};

/// What a file of a segment is called: `*.tgrec`.
pub const EXTENSION: &str = "tgrec";
