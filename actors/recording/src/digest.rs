//! What a step did, in twelve bytes or so.
//!
//! A step's effects are hashed in their order as its host was told to carry them out, with
//! what the outbox released, and with the answer of a direct call. A replay that arrives at
//! the same digest did the same.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{BlobCommand, Decision, DriverCommand, EngineOp, Note, Sink, Ticket};
use tidegate_protocol::{Address, Message};
use xxhash_rust::xxh3::xxh3_64;

use crate::format::put;

/// Digest of what a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepDigest {
    /// Number of effects.
    pub effects: u32,
    /// XXH3-64 of the effects and the answer.
    pub hash: u64,
}

/// Gathers what a step does. Keeps its memory from step to step.
#[derive(Debug, Default)]
pub struct Done {
    bytes: Vec<u8>,
    effects: u32,
}

impl Done {
    /// Forgets the former step.
    pub fn begin(&mut self) {
        self.bytes.clear();
        self.effects = 0;
    }

    /// The answer of a direct call; after the effects.
    pub fn answer<T: Serialize>(&mut self, answer: &T) {
        self.bytes.push(b'A');
        // Effects and answers are plain data; what could not be written would only be
        // missing from the digest, in a replay as well.
        let _ = put(&mut self.bytes, answer);
    }

    pub fn digest(&self) -> StepDigest {
        StepDigest {
            effects: self.effects,
            hash: xxh3_64(&self.bytes),
        }
    }

    fn effect<T: Serialize>(&mut self, kind: u8, what: &T) {
        self.effects += 1;
        self.bytes.push(kind);
        let _ = put(&mut self.bytes, what);
    }
}

/// A sink that notes what passes through it.
#[derive(Debug)]
pub struct Digesting<'a, S> {
    pub inner: &'a mut S,
    pub done: &'a mut Done,
}

impl<S: Sink> Sink for Digesting<'_, S> {
    fn send(&mut self, to: Address, body: Message) {
        self.done.effect(b'S', &(to, &body));
        self.inner.send(to, body);
    }

    fn engine(&mut self, op: EngineOp) {
        self.done.effect(b'E', &op);
        self.inner.engine(op);
    }

    fn driver(&mut self, command: DriverCommand) {
        self.done.effect(b'D', &command);
        self.inner.driver(command);
    }

    fn blob(&mut self, command: BlobCommand) {
        self.done.effect(b'B', &command);
        self.inner.blob(command);
    }

    fn resume(&mut self, ticket: Ticket, decision: Decision) {
        self.done.effect(b'R', &(ticket, &decision));
        self.inner.resume(ticket, decision);
    }

    fn note(&mut self, note: Note) {
        self.done.effect(b'N', &note);
        self.inner.note(note);
    }
}
