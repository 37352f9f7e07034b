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
