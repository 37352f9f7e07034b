//! The one step that both worlds take.

use serde::{Deserialize, Serialize};
use tidegate_protocol::{Address, Message, StoreCommit};

use crate::{
    Actor, BlobCommand, Called, Decision, DriverCommand, Effect, Effects, EngineOp, Event, Load,
    Note, Now, Outbox, Seed, Ticket, Time,
};

/// Where a host carries out what an actor wants. Messages may be lost; the rest may be late.
pub trait Sink {
    fn send(&mut self, to: Address, body: Message);
    fn engine(&mut self, op: EngineOp);
    fn driver(&mut self, command: DriverCommand);
    fn blob(&mut self, command: BlobCommand);
    fn resume(&mut self, ticket: Ticket, decision: Decision);
    fn note(&mut self, note: Note);
}

/// An actor with its outbox: what a host owns.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cell<A> {
    actor: A,
    outbox: Outbox,
    effects: Effects,
}

impl<A: Actor> Cell<A> {
    pub fn new(actor: A) -> Self {
        Self {
            actor,
            outbox: Outbox::default(),
            effects: Effects::new(),
        }
    }

    /// Hands the actor one event and carries out its effects.
    pub fn step(&mut self, now: Now, event: Event, sink: &mut impl Sink) {
        for (to, body) in self.outbox.on_event(&event) {
            sink.send(to, body);
        }
        self.act(sink, |actor, fx| actor.handle(now, event, fx));
    }

    /// Calls the actor directly (the gateway's hot path) and carries out its effects.
    #[inline]
    pub fn call(&mut self, now: Now, call: A::Call<'_>, sink: &mut impl Sink) -> A::Answer
    where
        A: Called,
    {
        self.act(sink, |actor, fx| actor.call(now, call, fx))
    }

    #[inline]
    fn act<R>(&mut self, sink: &mut impl Sink, f: impl FnOnce(&mut A, &mut Effects) -> R) -> R {
        let result = f(&mut self.actor, &mut self.effects);
        #[cfg(debug_assertions)]
        self.actor.check();
        if !self.effects.is_empty() {
            self.carry_out(sink);
        }
        result
    }

    /// Arms a point of the actor: it fires so many times in a million passes. For simulation.
    pub fn arm(&mut self, point: &str, per_million: u32, seed: Seed) {
        self.effects.arm(point, per_million, seed);
    }

    pub fn next_deadline(&self) -> Option<(Time, &'static str)> {
        self.actor.next_deadline()
    }

    pub fn actor(&self) -> &A {
        &self.actor
    }

    /// How full the actor's queues and its outbox are.
    pub fn load(&self) -> Vec<Load> {
        let mut load = self.actor.load();
        load.push(self.outbox.load());
        load
    }

    fn carry_out(&mut self, sink: &mut impl Sink) {
        for effect in self.effects.drain() {
            match effect {
                Effect::Send {
                    to,
                    body,
                    after: None,
                } => sink.send(to, body),
                Effect::Send {
                    to,
                    body,
                    after: Some(commit),
                } => {
                    if let Err(note) = self.outbox.hold(commit, to, body) {
                        sink.note(note);
                    }
                }
                Effect::Commit { id, store, txn } => sink.send(
                    store,
                    Message::StoreCommit(StoreCommit {
                        id: id.0,
                        txn: Some(txn),
                    }),
                ),
                Effect::Forget(commit) => self.outbox.forget(commit),
                Effect::Engine(op) => sink.engine(op),
                Effect::Driver(command) => sink.driver(command),
                Effect::Blob(command) => sink.blob(command),
                Effect::Resume { ticket, decision } => sink.resume(ticket, decision),
                Effect::Note(note) => sink.note(note),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CommitId;
    use tidegate_protocol::{
        Digest, NodeId, Probe, Role, StoreCommitReply, Txn, store_commit_reply::Outcome,
    };

    const STORE: Address = Address::new(NodeId(1), Role::Store, 0);
    const PEER: Address = Address::new(NodeId(2), Role::Metald, 0);
    const DIGEST: Digest = Digest([1; 32]);

    /// Wants one of everything when it starts.
    struct Wishful {
        checked: std::cell::Cell<u32>,
    }

    impl Actor for Wishful {
        fn handle(&mut self, _now: Now, event: Event, fx: &mut Effects) {
            if event != Event::Start {
                return;
            }
            assert!(fx.is_empty());
            fx.send(PEER, probe(1));
            fx.commit(CommitId(5), STORE, Txn::default());
            fx.send_after(CommitId(5), PEER, probe(2));
            fx.send_after(CommitId(6), PEER, probe(3));
            fx.push(Effect::Forget(CommitId(6)));
            fx.push(Effect::Engine(EngineOp::Snapshot {
                request: 1,
                prefixes: Vec::new(),
            }));
            fx.push(Effect::Driver(DriverCommand::Inventory));
            fx.push(Effect::Blob(BlobCommand::Check { digest: DIGEST }));
            fx.push(Effect::Resume {
                ticket: Ticket(7),
                decision: Decision::Refuse(crate::Refusal::Loop),
            });
            fx.note(Note::Full { queue: "q" });
            fx.mark("wished");
            assert_eq!((fx.as_slice().len(), fx.is_empty()), (11, false));
        }

        fn next_deadline(&self) -> Option<(Time, &'static str)> {
            Some((Time(9), "wish again"))
        }

        fn check(&self) {
            self.checked.set(self.checked.get() + 1);
        }

        fn load(&self) -> Vec<Load> {
            vec![Load::new("wishes", 3, 2)]
        }
    }

    fn probe(sequence: u64) -> Message {
        Message::Probe(Probe {
            sequence,
            ..Probe::default()
        })
    }

    #[derive(Default)]
    struct Carried(Vec<String>);

    impl Sink for Carried {
        fn send(&mut self, to: Address, body: Message) {
            let what = match body {
                Message::Probe(probe) => format!("probe {}", probe.sequence),
                Message::StoreCommit(commit) => format!("commit {}", commit.id),
                other => panic!("{other:?}"),
            };
            self.0.push(format!("{what} to {}", to.node.0));
        }
        fn engine(&mut self, _: EngineOp) {
            self.0.push("engine".into());
        }
        fn driver(&mut self, _: DriverCommand) {
            self.0.push("driver".into());
        }
        fn blob(&mut self, _: BlobCommand) {
            self.0.push("blob".into());
        }
        fn resume(&mut self, ticket: Ticket, _: Decision) {
            self.0.push(format!("resume {}", ticket.0));
        }
        fn note(&mut self, note: Note) {
            self.0.push(format!("{note:?}"));
        }
    }

    #[test]
    fn every_effect_is_carried_out_in_order_and_once() {
        let mut cell = Cell::new(Wishful {
            checked: std::cell::Cell::new(0),
        });
        let mut sink = Carried::default();
        cell.step(Now::at_ms(0), Event::Start, &mut sink);
        let expected = [
            "probe 1 to 2",
            "commit 5 to 1",
            "engine",
            "driver",
            "blob",
            "resume 7",
            "Full { queue: \"q\" }",
            "Mark(\"wished\")",
        ];
        assert_eq!(sink.0, expected);
        assert_eq!(
            cell.load(),
            [Load::new("wishes", 3, 2), Load::new("outbox", 1, 65_536)]
        );
        assert!(cell.load()[0].is_over() && !cell.load()[1].is_over());
        assert!(!Load::new("full", 2, 2).is_over());
        assert_eq!(cell.next_deadline(), Some((Time(9), "wish again")));

        let mut sink = Carried::default();
        let reply = StoreCommitReply {
            id: 5,
            outcome: Some(Outcome::Applied(1)),
        };
        let answer = Event::Message {
            from: STORE,
            body: Message::StoreCommitReply(reply),
        };
        cell.step(Now::at_ms(0), answer, &mut sink);
        assert_eq!(sink.0, ["probe 2 to 2"]);
        assert_eq!(cell.actor().checked.get(), 2);
    }
}
