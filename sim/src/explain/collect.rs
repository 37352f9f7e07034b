//! The second of two runs: words and states of the events that are kept.

use super::causality::EventNumber;
use super::describe;
use super::lanes::{Lanes, concerned};
use super::model::{Fate, Kind, Shown, ShownLoss, ShownNote};
use super::states::History;
use super::survey::{is_clients, is_idle, is_of, waits_for};
use super::told::{Cursors, LostMessage, Why};
use crate::SimTime;
use crate::happening::Happening;
use crate::topology::Topology;
use crate::world::{Observer, World};

/// Collects the kept events of a run that was surveyed.
#[derive(Debug)]
pub(super) struct Collect<'a, P> {
    lanes: &'a Lanes,
    causes: &'a [EventNumber],
    idle: &'a [bool],
    /// In order, and whether the states around each are.
    kept: &'a [EventNumber],
    stated: &'a [bool],
    pub shown: Vec<Shown>,
    pub notes: Vec<ShownNote>,
    pub losses: Vec<ShownLoss>,
    /// By the actors' numbers.
    pub histories: Vec<History>,
    /// Actors whose state may differ from the last one that was seen.
    stale: Vec<bool>,
    number: EventNumber,
    /// Whether the event at hand is kept, whether its states are, and whom it concerns.
    keeps: bool,
    states: bool,
    concerns: Vec<u32>,
    fault: Option<Happening>,
    cursors: Cursors,
    progress: P,
}

impl<'a, P: FnMut(SimTime)> Collect<'a, P> {
    pub(super) fn new(
        world: &World,
        lanes: &'a Lanes,
        causes: &'a [EventNumber],
        idle: &'a [bool],
        kept: &'a [EventNumber],
        stated: &'a [bool],
        progress: P,
    ) -> Self {
        Self {
            lanes,
            causes,
            idle,
            kept,
            stated,
            shown: Vec::with_capacity(kept.len()),
            notes: Vec::new(),
            losses: Vec::new(),
            histories: vec![History::default(); world.actors.len()],
            stale: vec![true; world.actors.len()],
            number: 0,
            keeps: false,
            states: false,
            concerns: Vec::new(),
            fault: None,
            cursors: Cursors::default(),
            progress,
        }
    }

    fn show(&mut self, world: &World, what: &Happening) {
        let (line, detail) = describe::event(world, what);
        let from = match what {
            Happening::Message(flight) => Some(self.lanes.of_address(world, flight.from)),
            _ => None,
        };
        self.shown.push(Shown {
            number: self.number,
            at: world.env.now,
            lane: self.lanes.of_happening(world, what),
            kind: kind_of(what),
            line,
            detail,
            cause: self.causes[self.number as usize],
            from,
            fate: fate_of(world, what),
            has_states: self.states_here(),
            has_detail: true,
        });
    }

    /// Whether the states around the event that is shown next are kept.
    fn states_here(&self) -> bool {
        self.stated.get(self.shown.len()) == Some(&true)
    }

    fn see(&mut self, world: &World, actor: u32, within: bool) {
        let event = self.shown.len() as u32 - 1;
        let slot = &world.actors[actor as usize];
        self.histories[actor as usize].see(event, within, slot);
        self.stale[actor as usize] = false;
    }

    /// What an event changes that keeps no states has to be looked at before the next one.
    fn forget(&mut self, world: &World, what: &Happening) {
        for actor in concerned(world, what) {
            self.stale[actor as usize] = true;
        }
    }

    fn lose(&mut self, world: &World, lost: &LostMessage) {
        let env = &world.env;
        let (from, to) = (lost.from, lost.to);
        let distance = match (env.topology.index(from.node), env.topology.index(to.node)) {
            (Some(from), Some(to)) => env.network.distance(from, to),
            _ => 0,
        };
        let body = lost.body.as_ref();
        self.losses.push(ShownLoss {
            event: self.shown.len() as u32 - 1,
            from: self.lanes.of_address(world, from),
            to: self.lanes.of_address(world, to),
            due: env.now + distance,
            why: match lost.why {
                Why::Cut => "the link was cut",
                Why::Mute => "its host is mute",
                Why::Chance => "the link lost it",
                Why::Wire => "it did not survive the wire",
            },
            line: body.map_or("a message".into(), describe::message_line),
            detail: body.map_or(String::new(), describe::message_detail),
        });
    }
}

impl<P: FnMut(SimTime)> Observer for Collect<'_, P> {
    fn event(&mut self, number: u64, _: SimTime, _: u64, _: &Happening) {
        self.number = number as EventNumber;
        self.keeps = self.kept.get(self.shown.len()) == Some(&self.number);
    }

    fn before(&mut self, world: &World, what: &Happening) {
        self.concerns.clear();
        self.fault = None;
        self.states = self.keeps && self.states_here();
        if self.keeps {
            self.show(world, what);
        }
        if let Happening::Fault { fault, begin } = *what {
            // Whom it strikes is known once it has begun.
            self.fault = Some(Happening::Fault { fault, begin });
        }
        if !self.states {
            if !self.idle[self.number as usize] {
                self.forget(world, what);
            }
            return;
        }
        self.concerns = concerned(world, what);
        for i in 0..self.concerns.len() {
            let actor = self.concerns[i];
            if self.stale[actor as usize] {
                self.see(world, actor, false);
            }
        }
    }

    fn after(&mut self, world: &World) {
        let (notes, lost) = self.cursors.fresh(world.env.told.as_deref());
        let fault = self.fault.take();
        if let (Some(fault), false) = (&fault, self.states) {
            self.forget(world, fault);
        }
        if !self.keeps {
            return;
        }
        let event = self.shown.len() as u32 - 1;
        for (actor, note) in notes {
            let (kind, text) = describe::note(world, note);
            self.notes.push(ShownNote {
                event,
                lane: self.lanes.of_actor(*actor),
                kind,
                text,
            });
        }
        for lost in lost {
            self.lose(world, lost);
        }
        if let (Some(fault), true) = (&fault, self.states) {
            self.concerns = concerned(world, fault);
        }
        for actor in std::mem::take(&mut self.concerns) {
            self.see(world, actor, true);
        }
    }

    fn progress(&mut self, at: SimTime) {
        (self.progress)(at);
    }
}

fn kind_of(what: &Happening) -> Kind {
    match what {
        Happening::Message(_) => Kind::Message,
        Happening::Timer { .. } => Kind::Timer,
        Happening::Disk { .. } => Kind::Disk,
        Happening::Driver { .. } => Kind::Driver,
        Happening::Blob { .. } => Kind::Blob,
        Happening::Instance { .. } | Happening::Served { .. } => Kind::Instance,
        Happening::Arrival { .. } => Kind::Client,
        Happening::Request { what, .. } if is_clients(*what) => Kind::Client,
        Happening::Request { .. } => Kind::Request,
        Happening::Fault { .. } | Happening::AfterCommit { .. } => Kind::Fault,
        Happening::Operator { .. } => Kind::Operator,
        Happening::Checkpoint => Kind::Checkpoint,
    }
}

fn fate_of(world: &World, what: &Happening) -> Fate {
    if waits_for(world, what).is_some() {
        return Fate::Waits;
    }
    match what {
        Happening::Message(flight) => {
            let env = &world.env;
            let to = env.topology.index(flight.to.node);
            let from = env.topology.index(flight.from.node);
            if let (Some(from), Some(to)) = (from, to)
                && env.network.is_cut(from, to)
            {
                return Fate::Lost;
            }
            if to == Some(Topology::OPERATOR) {
                return Fate::Happened;
            }
            let actor = env.actor_of(flight.to);
            let lives = actor.is_some_and(|a| world.actors[a as usize].cell.is_some());
            if lives { Fate::Happened } else { Fate::Nobody }
        }
        Happening::Disk { actor, life }
        | Happening::Driver { actor, life, .. }
        | Happening::Blob { actor, life, .. }
            if !is_of(world, *actor, *life) =>
        {
            Fate::Nobody
        }
        Happening::Timer { .. } if is_idle(world, what) => Fate::Early,
        _ => Fate::Happened,
    }
}
