//! The contract between an actor and whoever runs it.
//!
//! An actor is a value. It is handed an [`Event`] and the time ([`Now`]), changes itself and
//! appends [`Effect`]s; it says when it wants to be woken; it can check its own invariants.
//! It has no other way to reach anything, and nothing has another way to reach it. A host
//! (the real one or the simulator) wraps it in a [`Cell`], feeds the cell events and carries
//! out what the cell puts into a [`Sink`].
//!
//! What the kernel decides for all actors: time as two clocks, randomness by labelled
//! sub-seeds, persist-before-send ([`Outbox`]), a store mirror that heals itself
//! ([`Mirror`]), and bounded queues. It must never know a protocol of a particular actor.

mod backoff;
mod bounded;
mod buggify;
mod cell;
mod effect;
mod event;
mod http;
mod load;
mod mirror;
mod note;
mod outbox;
mod place;
mod rng;
mod time;

use serde::{Deserialize, Serialize};

pub use backoff::Backoff;
pub use bounded::Bounded;
pub use cell::{Cell, Sink};
pub use effect::{BlobCommand, CommitId, DriverCommand, Effect, Effects, EngineOp};
pub use event::{
    BatchOutcome, BlobReport, CommitOutcome, DriverInstance, DriverReport, EngineReply, Event,
};
pub use http::{Decision, FrontCall, Outcome, Refusal, RequestHead, Ticket};
pub use load::Load;
pub use mirror::{Change, Mirror};
pub use note::Note;
pub use outbox::Outbox;
pub use place::origin_of;
pub use rng::{Rng, Seed};
pub use time::{Duration, Now, Time, WallTime};

/// A deterministic state machine.
pub trait Actor {
    /// Takes one event: changes state, appends effects. The first event is
    /// [`Event::Start`].
    fn handle(&mut self, now: Now, event: Event, fx: &mut Effects);

    /// When it wants [`Event::Timer`], and why. Asked again after every event.
    fn next_deadline(&self) -> Option<(Time, &'static str)>;

    /// Panics when an invariant of its own is broken. Called after every event in
    /// simulation and in debug builds.
    fn check(&self) {}

    /// How full its queues are. Asked now and then, never on a hot path.
    fn load(&self) -> Vec<Load> {
        Vec::new()
    }
}

/// An actor that is also called directly, without a mailbox, by the thread that owns it. What
/// it is called with is data, as an event is.
pub trait Called: Actor {
    type Call<'a>: Copy + Serialize + Deserialize<'a>;
    type Answer: Serialize;

    fn call(&mut self, now: Now, call: Self::Call<'_>, fx: &mut Effects) -> Self::Answer;
}
