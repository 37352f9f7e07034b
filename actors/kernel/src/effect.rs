//! What an actor can ask its host to do.

use serde::{Deserialize, Serialize};
use tidegate_protocol::{Address, Bytes, Digest, InstanceRef, Message, Txn, VersionSpec};

use crate::buggify::Buggify;
use crate::{Decision, Note, Seed, Ticket};

/// Names a commit that an actor asked for. Drawn at random for each life of an actor, so
/// that an answer to a former life is never taken for one of this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommitId(pub u64);

/// One thing to do, in the order of the list.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every effect is a message; a box for each would cost an allocation"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Send a message. With `after`, only once that commit is applied; never when it is
    /// refused or forgotten.
    Send {
        to: Address,
        body: Message,
        after: Option<CommitId>,
    },
    /// Ask a store to commit. The answer comes as [`Message::StoreCommitReply`], or never.
    Commit {
        id: CommitId,
        store: Address,
        txn: Txn,
    },
    /// Wait no longer for a commit: what was to follow it is dropped.
    Forget(CommitId),
    /// Only the store actor: work for its engine.
    Engine(EngineOp),
    /// Only metald: work for its instance driver.
    Driver(DriverCommand),
    /// Only holders of artifacts: work for the node's blob store.
    Blob(BlobCommand),
    /// Only gateways: a held request goes on.
    Resume { ticket: Ticket, decision: Decision },
    /// A fact for logs, metrics and oracles; changes nothing.
    Note(Note),
}

/// Work for the engine of a store. Carried out in order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum EngineOp {
    /// Commit the transactions one after the other and make them durable together.
    Commit { batch: u64, txns: Vec<Txn> },
    /// Changes after a revision, in commit order, at most about `bytes_max`.
    Feed {
        request: u64,
        after_revision: u64,
        bytes_max: usize,
    },
    /// Everything under the prefixes, at one revision.
    Snapshot { request: u64, prefixes: Vec<String> },
}

/// Work for the instance driver.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum DriverCommand {
    /// Report what runs, from this life or a former one.
    Inventory,
    /// Make and start an instance. Its artifact is in the node's blob store.
    Start {
        instance: InstanceRef,
        spec: Box<VersionSpec>,
    },
    /// Try whether it answers: a TCP connect, or an HTTP GET of `health_path`.
    Check {
        instance: InstanceRef,
        health_path: String,
    },
    /// Ask it to end (SIGTERM).
    Terminate { instance: InstanceRef },
    /// End it now (SIGKILL to its whole process group).
    Kill { instance: InstanceRef },
    /// Read its version's output from a position; empty: the last lines.
    ReadLog {
        request: u64,
        version: u64,
        cursor: Bytes,
        bytes_max: u32,
    },
}

/// Work for the blob store of a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum BlobCommand {
    /// Is the blob here, whole?
    Check { digest: Digest },
    /// Is it whole still? Every byte is looked at, whatever was verified before; what is
    /// damaged is dropped. Answered like `Check`.
    Verify { digest: Digest },
    /// How many blobs were dropped because they were damaged, whoever noticed, since this was
    /// asked last?
    CountDropped,
    /// Read and decode the manifest of an artifact.
    LoadManifest { digest: Digest },
    /// Add bytes to a blob that is being received. Offset 0 begins anew.
    Append {
        digest: Digest,
        offset: u64,
        data: Bytes,
    },
    /// All bytes were appended: verify the digest and keep the blob, or drop it.
    Finish { digest: Digest },
    /// Read for another node.
    Read {
        digest: Digest,
        offset: u64,
        length_max: u32,
        reply_to: Address,
    },
}

/// The effects of one step, in order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Effects {
    /// Empty between two steps.
    #[serde(skip)]
    list: Vec<Effect>,
    buggify: Buggify,
}

impl Effects {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn push(&mut self, effect: Effect) {
        self.list.push(effect);
    }

    pub fn send(&mut self, to: Address, body: Message) {
        self.push(Effect::Send {
            to,
            body,
            after: None,
        });
    }

    /// Sends once the commit is applied.
    pub fn send_after(&mut self, commit: CommitId, to: Address, body: Message) {
        self.push(Effect::Send {
            to,
            body,
            after: Some(commit),
        });
    }

    pub fn commit(&mut self, id: CommitId, store: Address, txn: Txn) {
        self.push(Effect::Commit { id, store, txn });
    }

    pub fn note(&mut self, note: Note) {
        self.push(Effect::Note(note));
    }

    /// A point worth reaching in a test; counted by the simulator.
    pub fn mark(&mut self, name: &'static str) {
        self.push(Effect::Note(Note::Mark(name)));
    }

    /// Whether the actor is to take the awkward way here. Only in simulation, where the point
    /// is armed; the name begins with `buggify: ` and says what the actor does then.
    #[inline]
    pub fn buggify(&mut self, point: &'static str) -> bool {
        let fires = self.buggify.fires(point);
        if fires {
            self.mark(point);
        }
        fires
    }

    /// Arms a point: it fires so many times in a million passes.
    pub(crate) fn arm(&mut self, point: &str, per_million: u32, seed: Seed) {
        self.buggify.set(point, per_million, seed);
    }

    pub fn drain(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.list.drain(..)
    }

    pub fn as_slice(&self) -> &[Effect] {
        &self.list
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes the list, for tests that compare it.
    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.list)
    }
}
