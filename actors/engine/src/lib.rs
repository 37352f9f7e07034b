//! What a store's engine promises, and the engine that the simulator breaks.
//!
//! An [`Engine`] is a revisioned map from keys to values: transactions with preconditions go
//! in, each applied one gets the next revision, and a bounded log of changes can be read
//! from any revision that it still reaches. This crate decides what a transaction means
//! ([`judge`]), where a feed is cut ([`cut_feed`]), when a log forgets ([`LogIndex`]) and
//! how an actor's request becomes a call ([`run_op`]), so that no two engines can differ in
//! them. It must never touch a disk, a clock or a thread: engines that do live in
//! `tidegate-storage`.

mod engine;
mod error;
mod feed;
mod judge;
mod log_index;
mod memory;
mod run;

pub use engine::{Engine, Feed};
pub use error::StorageError;
pub use feed::{cut_feed, distinct_prefixes};
pub use judge::{TXN_BYTES_MAX, judge};
pub use log_index::{LOG_CHANGES_MAX, LogIndex};
pub use memory::MemoryEngine;
pub use run::run_op;
