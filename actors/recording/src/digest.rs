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

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Refusal;
    use tidegate_protocol::{NodeId, Probe, Role};

    #[derive(Default)]
    struct Count(u32);

    impl Sink for Count {
        fn send(&mut self, _: Address, _: Message) {
            self.0 += 1;
        }
        fn engine(&mut self, _: EngineOp) {
            self.0 += 10;
        }
        fn driver(&mut self, _: DriverCommand) {
            self.0 += 100;
        }
        fn blob(&mut self, _: BlobCommand) {
            self.0 += 1_000;
        }
        fn resume(&mut self, _: Ticket, _: Decision) {
            self.0 += 10_000;
        }
        fn note(&mut self, _: Note) {
            self.0 += 100_000;
        }
    }

    #[test]
    fn every_effect_is_counted_told_apart_and_passed_on() {
        let mut inner = Count::default();
        let mut done = Done::default();
        let nothing = done.digest();
        let mut seen = vec![nothing.hash];
        let to = Address::new(NodeId(1), Role::Edge, 0);
        let mut sink = Digesting {
            inner: &mut inner,
            done: &mut done,
        };
        for step in 0..6 {
            match step {
                0 => sink.send(to, Message::Probe(Probe::default())),
                1 => sink.engine(EngineOp::Snapshot {
                    request: 1,
                    prefixes: Vec::new(),
                }),
                2 => sink.driver(DriverCommand::Inventory),
                3 => sink.blob(BlobCommand::Check {
                    digest: tidegate_protocol::Digest([1; 32]),
                }),
                4 => sink.resume(Ticket(1), Decision::Refuse(Refusal::Loop)),
                _ => sink.note(Note::Mark("m")),
            }
            let digest = sink.done.digest();
            assert_eq!(digest.effects, step + 1);
            assert!(!seen.contains(&digest.hash));
            seen.push(digest.hash);
        }
        assert_eq!(inner.0, 111_111);
        done.answer(&1_u32);
        assert!(!seen.contains(&done.digest().hash));
        done.begin();
        assert_eq!(done.digest(), nothing);
    }
}
