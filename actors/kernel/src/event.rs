//! What can happen to an actor.

use serde::{Deserialize, Serialize};
use tidegate_protocol::{
    Address, Bytes, Digest, FeedEntry, InstanceRef, LogLine, Manifest, Message,
};

/// One input of [`crate::Actor::handle`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// First event of a life.
    Start,
    /// The deadline that the actor named has passed.
    Timer,
    Message {
        from: Address,
        body: Message,
    },
    Engine(EngineReply),
    Driver(DriverReport),
    Blob(BlobReport),
}

/// What became of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommitOutcome {
    /// Durable, at this revision.
    Applied(u64),
    /// The precondition on this key failed; nothing was written.
    Conflict(String),
    /// Not tried, or not durable: too large, disk full.
    Refused(String),
}

/// What became of a batch of commits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BatchOutcome {
    /// One for each transaction, in order.
    pub outcomes: Vec<CommitOutcome>,
    /// What the applied ones wrote, in commit order.
    pub changes: Vec<FeedEntry>,
    /// Revision after the batch.
    pub revision: u64,
}

/// Answer of a store's engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum EngineReply {
    Committed {
        batch: u64,
        outcome: BatchOutcome,
    },
    Feed {
        request: u64,
        after_revision: u64,
        /// Everything up to here is in `entries`.
        revision: u64,
        entries: Vec<FeedEntry>,
        /// `after_revision` is older than what the engine still has, or newer than what it
        /// ever had: only a snapshot helps.
        gone: bool,
    },
    Snapshot {
        request: u64,
        revision: u64,
        entries: Vec<FeedEntry>,
    },
}

/// An instance that the driver found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriverInstance {
    pub instance: InstanceRef,
    /// "ip:port" on which gateways reach it.
    pub endpoint: String,
}

/// What the instance driver saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DriverReport {
    Inventory(Vec<DriverInstance>),
    /// It was started; nothing is known of its health.
    Started {
        instance: InstanceRef,
        endpoint: String,
    },
    /// It could not be made or started.
    StartFailed {
        instance: InstanceRef,
        reason: String,
    },
    Checked {
        instance: InstanceRef,
        healthy: bool,
    },
    /// It ended, and nothing of it is left. `reason` tells how ("exit code 1", "signal 9").
    Exited {
        instance: InstanceRef,
        reason: String,
        log_tail: String,
    },
    Log {
        request: u64,
        cursor: Bytes,
        lines: Vec<LogLine>,
    },
}

/// What the blob store answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum BlobReport {
    Checked {
        digest: Digest,
        present: bool,
    },
    /// Blobs that were found damaged, and are gone.
    Dropped {
        count: u64,
    },
    /// `None`: absent, or no manifest.
    Manifest {
        digest: Digest,
        manifest: Option<Manifest>,
    },
    /// The received blob is whole and verified, or was dropped.
    Finished {
        digest: Digest,
        verified: bool,
    },
    Data {
        digest: Digest,
        offset: u64,
        /// Size of the whole blob; `None`: not here.
        total: Option<u64>,
        data: Bytes,
        reply_to: Address,
    },
}
