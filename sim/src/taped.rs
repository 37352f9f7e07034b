//! Recordings of simulated actors, and actors that go on from their own snapshots.
//!
//! The same writer that records a production actor records a simulated one, so that whatever
//! a scenario makes an actor do is a test of the recorder: the recording must replay to the
//! same effects, and a run whose actors are replaced by what their snapshots restore must be
//! the same run. Neither changes an actor, and both are off unless asked for.

use tidegate_kernel::{Decision, Event, FrontCall, Now, Sink};
use tidegate_protocol::{Address, Role};
use tidegate_recording::{Limits, Out, Subject, Writer, restore, snapshot};

use crate::cells::{ActorSlot, AnyCell, each};
use crate::world::World;

/// What build a recording says it is of.
pub const BUILD: &str = env!("CARGO_PKG_VERSION");

/// What happens beside an actor's steps.
#[derive(Debug)]
pub(crate) enum Tape {
    /// Every so often, what is restored from the actor's snapshot takes its place.
    Restoring { every: u32, steps: u32 },
    Recording {
        limits: Limits,
        writer: Box<Writer<Shelf>>,
        /// Segments of former lives.
        shelf: Vec<Vec<u8>>,
    },
}

/// Keeps segments in memory.
#[derive(Debug, Default)]
pub(crate) struct Shelf(Vec<Vec<u8>>);

impl Out for Shelf {
    fn is_ready(&self) -> bool {
        true
    }

    fn begin(&mut self, segment: Vec<u8>, _: u64) {
        self.0.push(segment);
    }

    fn append(&mut self, frames: &[u8]) -> bool {
        let segment = self.0.last_mut();
        segment.map(|s| s.extend_from_slice(frames)).is_some()
    }

    fn give_up(&mut self, _: &str) {}
}

fn writer(slot: &ActorSlot, limits: Limits) -> Box<Writer<Shelf>> {
    let subject = Subject {
        actor: slot.me,
        build: BUILD.to_owned(),
        life: u64::from(slot.life),
    };
    Box::new(Writer::new(subject, limits, Shelf::default()))
}

impl Tape {
    fn recording(slot: &ActorSlot, limits: Limits) -> Self {
        Tape::Recording {
            limits,
            writer: writer(slot, limits),
            shelf: Vec::new(),
        }
    }

    fn before(&mut self, role: Role, cell: &mut AnyCell) {
        if let Tape::Restoring { every, steps } = self {
            *steps += 1;
            if steps.is_multiple_of(*every) {
                cell.pass_through_snapshot(role);
            }
        }
    }
}

impl AnyCell {
    /// The bytes of its state; `None`: it has a value that cannot be written.
    pub fn snapshot(&self) -> Option<Vec<u8>> {
        each!(self, c => snapshot(c)).ok()
    }

    /// The cell of a snapshot of an actor of this role.
    ///
    /// # Errors
    /// Nothing of this role is recorded, or the bytes are not those of such a state.
    pub fn restore(role: Role, bytes: &[u8]) -> Result<Self, String> {
        Ok(match role {
            Role::Control => AnyCell::Control(restore(bytes)?),
            Role::Sync => AnyCell::Sync(restore(bytes)?),
            Role::Store => AnyCell::Store(restore(bytes)?),
            Role::Origin => AnyCell::Origin(restore(bytes)?),
            Role::Gateway => AnyCell::Gateway(restore(bytes)?),
            Role::Edge => AnyCell::Edge(restore(bytes)?),
            Role::Scheduler => AnyCell::Scheduler(restore(bytes)?),
            Role::Metald => AnyCell::Metald(restore(bytes)?),
            Role::Client => return Err("clients are not recorded".into()),
        })
    }

    fn pass_through_snapshot(&mut self, role: Role) {
        let restored = self.snapshot().ok_or("it cannot be written".to_owned());
        let restored = restored.and_then(|bytes| {
            let restored = AnyCell::restore(role, &bytes)?;
            let again = restored.snapshot();
            assert_eq!(again.as_ref(), Some(&bytes), "one state, one snapshot");
            Ok(restored)
        });
        match restored {
            Ok(restored) => *self = restored,
            Err(reason) => panic!("the snapshot of a {} is no state: {reason}", role.name()),
        }
    }
}

impl ActorSlot {
    /// One step of its actor, if it lives.
    pub(crate) fn step(&mut self, now: Now, event: Event, sink: &mut impl Sink) {
        let Some(cell) = &mut self.cell else {
            return;
        };
        let Some(tape) = &mut self.tape else {
            return cell.step(now, event, sink);
        };
        tape.before(self.me.role, cell);
        match tape {
            Tape::Recording { writer, .. } => {
                each!(cell, c => writer.step(c, now, event, sink));
            }
            Tape::Restoring { .. } => cell.step(now, event, sink),
        }
    }

    /// Calls its gateway actor directly; `None` when none lives.
    #[inline]
    pub(crate) fn call(
        &mut self,
        now: Now,
        call: FrontCall<'_>,
        sink: &mut impl Sink,
    ) -> Option<Option<Decision>> {
        if let (Some(tape), Some(cell)) = (&mut self.tape, &mut self.cell) {
            tape.before(self.me.role, cell);
        }
        let Some(AnyCell::Gateway(cell)) = &mut self.cell else {
            return None;
        };
        Some(match &mut self.tape {
            Some(Tape::Recording { writer, .. }) => writer.call(cell, now, call, sink),
            _ => cell.call(now, call, sink),
        })
    }

    /// Its actor has begun another life.
    pub(crate) fn begin_tape(&mut self) {
        let Some(Tape::Recording { limits, .. }) = &self.tape else {
            return;
        };
        let next = writer(self, *limits);
        if let Some(Tape::Recording { writer, shelf, .. }) = &mut self.tape {
            let mut former = std::mem::replace(writer, next);
            shelf.append(&mut former.finish().0);
        }
    }
}

impl World {
    /// From now on every actor is replaced by what its snapshot restores, before each so
    /// many steps of its.
    pub fn restore_actors_every(&mut self, steps: u32) {
        for slot in &mut self.actors {
            let (every, steps) = (steps.max(1), 0);
            slot.tape = Some(Tape::Restoring { every, steps });
        }
    }

    /// From now on every actor is recorded.
    pub fn record_actors(&mut self, limits: Limits) {
        for slot in &mut self.actors {
            slot.tape = Some(Tape::recording(slot, limits));
        }
    }

    /// What was recorded: each actor's segments, in order. Ends the recording.
    pub fn take_recordings(&mut self) -> Vec<(Address, Vec<Vec<u8>>)> {
        let taped = |slot: &mut ActorSlot| match slot.tape.take()? {
            Tape::Recording {
                mut writer,
                mut shelf,
                ..
            } => {
                shelf.append(&mut writer.finish().0);
                Some((slot.me, shelf))
            }
            Tape::Restoring { .. } => None,
        };
        self.actors.iter_mut().filter_map(taped).collect()
    }
}
