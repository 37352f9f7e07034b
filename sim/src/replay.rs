//! Runs a recording again: the same inputs, at the same times, through the same actor.
//!
//! The state is restored from the segment's snapshot; then each input is given to the actor,
//! and the digest of what it does is compared with the one that was recorded. The first
//! difference ends the comparison, since from there on the states differ as well. Nothing
//! that an actor does while it is replayed is carried out.

use tidegate_kernel::{
    BlobCommand, Cell, Decision, DriverCommand, Effect, EngineOp, FrontCall, Sink, Ticket,
};
use tidegate_protocol::{Address, Message};
use tidegate_recording::{Digesting, Done, Input, Malformed, Recording, Step, StepDigest};

use crate::cells::AnyCell;

/// An actor that is being replayed.
#[derive(Debug)]
pub struct Replay<'a> {
    recording: &'a Recording<'a>,
    cell: AnyCell,
    next: usize,
    done: Done,
}

/// What a replayed step did.
#[derive(Debug)]
pub struct Replayed<'a> {
    pub step: &'a Step<'a>,
    pub input: Input<FrontCall<'a>>,
    pub effects: Vec<Effect>,
    /// Of a direct call.
    pub answer: Option<Option<Decision>>,
    pub digest: StepDigest,
}

impl Replayed<'_> {
    /// Whether it did what was recorded; true as well where the recording ends in the step.
    pub fn is_as_recorded(&self) -> bool {
        self.step.done.is_none_or(|then| then == self.digest)
    }
}

impl<'a> Replay<'a> {
    /// An actor as it was when the recording began.
    ///
    /// # Errors
    /// The snapshot is not one of a state that this build knows.
    pub fn new(recording: &'a Recording<'a>) -> Result<Self, Malformed> {
        let header = recording.header();
        let restored = AnyCell::restore(header.actor.role, recording.snapshot());
        let cell = restored.map_err(|reason| {
            let reason = format!(
                "the snapshot of a {} by build {} cannot be read by this build: {reason}; replay it with the build that wrote it",
                header.actor.role.name(),
                header.build
            );
            Malformed::new(recording.snapshot_at(), reason)
        })?;
        Ok(Self {
            recording,
            cell,
            next: 0,
            done: Done::default(),
        })
    }

    pub fn cell(&self) -> &AnyCell {
        &self.cell
    }

    /// The step that comes next.
    pub fn next_step(&self) -> Option<&'a Step<'a>> {
        self.recording.steps().get(self.next)
    }

    /// Gives the actor its next input. Panics where the actor does. `None`: there is no more.
    ///
    /// # Errors
    /// The input is not one that this build knows.
    pub fn step(&mut self) -> Result<Option<Replayed<'a>>, Malformed> {
        let Some(step) = self.next_step() else {
            return Ok(None);
        };
        self.next += 1;
        let input: Input<FrontCall<'a>> = step.input()?;
        let mut effects = Effects(Vec::new());
        self.done.begin();
        let mut sink = Digesting {
            inner: &mut effects,
            done: &mut self.done,
        };
        let answer = match &input {
            Input::Event(event) => {
                self.cell.step(step.now, event.clone(), &mut sink);
                None
            }
            Input::Call(call) => {
                let gateway = self.cell.gateway().ok_or_else(|| {
                    Malformed::new(step.offset, "a direct call of an actor that takes none")
                })?;
                let answer = gateway.call(step.now, *call, &mut sink);
                self.done.answer(&answer);
                Some(answer)
            }
        };
        Ok(Some(Replayed {
            step,
            input,
            effects: effects.0,
            answer,
            digest: self.done.digest(),
        }))
    }
}

impl AnyCell {
    fn gateway(&mut self) -> Option<&mut Cell<tidegate_gateway::Gateway>> {
        match self {
            AnyCell::Gateway(cell) => Some(cell),
            _ => None,
        }
    }
}

/// Keeps what an actor would have done.
struct Effects(Vec<Effect>);

impl Sink for Effects {
    fn send(&mut self, to: Address, body: Message) {
        let after = None;
        self.0.push(Effect::Send { to, body, after });
    }

    fn engine(&mut self, op: EngineOp) {
        self.0.push(Effect::Engine(op));
    }

    fn driver(&mut self, command: DriverCommand) {
        self.0.push(Effect::Driver(command));
    }

    fn blob(&mut self, command: BlobCommand) {
        self.0.push(Effect::Blob(command));
    }

    fn resume(&mut self, ticket: Ticket, decision: Decision) {
        self.0.push(Effect::Resume { ticket, decision });
    }

    fn note(&mut self, note: tidegate_kernel::Note) {
        self.0.push(Effect::Note(note));
    }
}
