//! The first of two runs: who made which event, where each violation was found, and what
//! the actors noted. It keeps nine bytes an event and no text, so that a run of any length
//! can be surveyed before the few events are chosen that a page can hold.

use std::collections::VecDeque;

use tidegate_kernel::Note;

use super::causality::{EventNumber, Makers, NOBODY};
use super::lanes::{first_concerned, is_turn};
use super::told::Cursors;
use crate::happening::{Happening, RequestStep};
use crate::instance::Phase;
use crate::world::{Observer, World};
use crate::{SimTime, topology::members};

/// Notes that are kept; later ones are not looked at.
const NOTES_MAX: usize = 500_000;

/// What an actor noted in an event.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    pub event: EventNumber,
    pub actor: u32,
    pub note: Note,
}

#[derive(Debug)]
pub(super) struct Survey<P> {
    /// The maker of each event.
    pub causes: Vec<EventNumber>,
    /// Events without effect: timers that another one replaced, steps of ended requests.
    pub idle: Vec<bool>,
    /// The actor that each event concerned, if it concerned one.
    pub whom: Vec<u32>,
    pub notes: Vec<Noted>,
    /// In which event each kept violation was found; `None`: at the end of the run.
    pub found: Vec<Option<EventNumber>>,
    makers: Makers,
    /// Events that wait for paused machines, and those that asked for the operations that
    /// wait for a disk.
    paused: Vec<Vec<EventNumber>>,
    disks: Vec<VecDeque<EventNumber>>,
    sent: u64,
    arrival: bool,
    fault: Option<u32>,
    cursors: Cursors,
    progress: P,
}

impl<P: FnMut(SimTime)> Survey<P> {
    pub(super) fn new(world: &World, progress: P) -> Self {
        Self {
            causes: Vec::new(),
            idle: Vec::new(),
            whom: Vec::new(),
            notes: Vec::new(),
            found: Vec::new(),
            makers: Makers::new(world.env.queue.next_sequence()),
            paused: vec![Vec::new(); world.env.nodes.len()],
            // What was asked for before the first event has no maker.
            disks: (world.env.disks.iter())
                .map(|disk| disk.waiting().iter().map(|_| NOBODY).collect())
                .collect(),
            sent: 0,
            arrival: false,
            fault: None,
            cursors: Cursors::default(),
            progress,
        }
    }

    fn number(&self) -> EventNumber {
        self.causes.len() as EventNumber - 1
    }

    fn maker(&mut self, world: &World, what: &Happening) -> EventNumber {
        let popped = world.env.queue.popped_sequence();
        let maker = self.makers.of(popped);
        match what {
            // The calendar makes these, not the one before.
            Happening::Arrival { .. } | Happening::Checkpoint => NOBODY,
            Happening::Disk { actor, life } if is_of(world, *actor, *life) => {
                let store = world
                    .env
                    .store_index(world.actors[*actor as usize].me)
                    .unwrap_or_default();
                self.disks[store].pop_front().unwrap_or(maker)
            }
            _ => maker,
        }
    }

    /// Whoever made a disk's queue longer asked for what is new in it.
    fn look_at_disks(&mut self, world: &World) {
        let number = self.number();
        for (asked, disk) in self.disks.iter_mut().zip(&world.env.disks) {
            let waiting = disk.waiting().len();
            asked.truncate(waiting);
            asked.resize(waiting, number);
        }
    }

    /// The end of a pause pushes again what waited.
    fn look_at_pauses(&mut self, world: &World, fault: u32, pushed: std::ops::Range<u32>) {
        let mut pushed = pushed;
        for node in members(world.struck[fault as usize]) {
            if !world.env.nodes[node].deferred.is_empty() {
                continue;
            }
            for whose in std::mem::take(&mut self.paused[node]) {
                if let Some(sequence) = pushed.next() {
                    self.makers.pass_on(sequence, whose);
                }
            }
        }
    }

    fn look_at_findings(&mut self, world: &World, event: Option<EventNumber>) {
        let kept = world.env.oracles.findings.kept().len();
        if self.found.len() < kept {
            self.found.resize(kept, event);
        }
    }
}

impl<P: FnMut(SimTime)> Observer for Survey<P> {
    fn event(&mut self, _: u64, _: SimTime, _: u64, _: &Happening) {}

    fn before(&mut self, world: &World, what: &Happening) {
        let maker = self.maker(world, what);
        self.causes.push(maker);
        let waits = waits_for(world, what);
        if let Some(node) = waits {
            let number = self.number();
            self.paused[node].push(number);
        }
        self.idle.push(waits.is_none() && is_idle(world, what));
        let whom = first_concerned(world, what);
        self.whom.push(whom.unwrap_or(NOBODY));
        self.arrival = matches!(what, Happening::Arrival { .. });
        self.fault = match what {
            Happening::Fault { fault, .. } => Some(*fault),
            _ => None,
        };
    }

    fn after(&mut self, world: &World) {
        let number = self.number();
        let next = world.env.queue.next_sequence();
        let pushed = self.makers.happened(number, next);
        if let Some(fault) = self.fault {
            self.look_at_pauses(world, fault, pushed);
        }
        if self.arrival {
            let sent = world.env.stats.requests.sent;
            // It only began another phase of its stream.
            self.idle[number as usize] = sent == self.sent;
            self.sent = sent;
        }
        self.look_at_disks(world);
        self.look_at_findings(world, Some(number));
        let (notes, _) = self.cursors.fresh(world.env.told.as_deref());
        for (actor, note) in notes {
            if is_turn(note) && self.notes.len() < NOTES_MAX {
                self.notes.push(Noted {
                    event: number,
                    actor: *actor,
                    note: note.clone(),
                });
            }
        }
    }

    fn end(&mut self, world: &World) {
        self.look_at_findings(world, None);
    }

    fn progress(&mut self, at: SimTime) {
        (self.progress)(at);
    }
}

/// The paused machine that an event waits for.
pub(super) fn waits_for(world: &World, what: &Happening) -> Option<usize> {
    if world.env.paused == 0 {
        return None;
    }
    let node = world.node_of(what)?;
    (world.env.nodes[node].pauses > 0).then_some(node)
}

/// Whether an event is addressed to the present life of an actor.
pub(super) fn is_of(world: &World, actor: u32, life: u32) -> bool {
    let slot = &world.actors[actor as usize];
    slot.life == life && slot.cell.is_some()
}

/// Whether an event is of no effect, so that nobody misses it.
pub(super) fn is_idle(world: &World, what: &Happening) -> bool {
    match what {
        Happening::Timer { actor, armed } => {
            let slot = &world.actors[*actor as usize];
            slot.armed != *armed || slot.armed_for.is_none() || !is_due(world, *actor)
        }
        Happening::Request { request, step, .. } => {
            world.requests.current(*request, *step).is_none()
        }
        Happening::Served { instance, .. } | Happening::Instance { instance, .. } => {
            world.env.instances.get(*instance).phase == Phase::Dead
        }
        _ => false,
    }
}

fn is_due(world: &World, actor: u32) -> bool {
    let slot = &world.actors[actor as usize];
    let now = world.env.nodes[slot.node].clock.now(world.env.now);
    let deadline = slot.cell.as_ref().and_then(|cell| cell.next_deadline());
    deadline.is_some_and(|(deadline, _)| deadline <= now.mono)
}

/// Whether a client waits for this step, and not a gateway or an instance.
pub(super) fn is_clients(what: RequestStep) -> bool {
    matches!(what, RequestStep::AtClient | RequestStep::ClientLeaves)
}
