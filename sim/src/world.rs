//! The world: the production actors, everything around them, and the loop that makes
//! things happen.
//!
//! The loop takes the next event, folds it into the trace, lets it happen, and goes on; it
//! never ticks. What an event does is in the file of its kind: requests, instances, faults,
//! the operator.

use std::sync::Arc;

use tidegate_kernel::{Event, Rng, Seed};
use tidegate_protocol::{Address, Key, Record, SlotState};

use crate::cells::{ActorSlot, actors_of, born};
use crate::clock::SimTime;
use crate::env::{Env, EnvSink, Stepped};
use crate::excuse::Excuses;
use crate::expand::expand;
use crate::happening::{Flight, Happening, RequestStep};
use crate::ledger::Written;
use crate::operator::Operator;
use crate::oracle::Findings;
use crate::plan::{Change, PlannedFault, Struck, plan};
use crate::request::Requests;
use crate::scenario::Scenario;
use crate::topology::NodeSet;
use crate::traffic::Stream;

/// Between two looks of the oracles that look at everything.
pub(crate) const CHECKPOINT_NS: u64 = 5_000_000_000;

/// A timer fires no later than this after it is due: runtimes count whole milliseconds.
const TIMER_LATE_NS: u64 = 1_500_000;

/// Sees each event of a run, for comparing two runs and for explaining one.
pub trait Observer {
    /// `digest`: the trace up to and with this event.
    fn event(&mut self, number: u64, at: SimTime, digest: u64, what: &Happening);

    /// Called before an event happens, after [`Self::event`].
    #[inline]
    fn before(&mut self, _world: &World, _what: &Happening) {}

    /// Called after it has happened, with everything that it changed.
    #[inline]
    fn after(&mut self, _world: &World) {}

    /// Called once, after the oracles have judged the end.
    fn end(&mut self, _world: &World) {}

    /// Called every few simulated seconds.
    fn progress(&mut self, _at: SimTime) {}
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    #[inline]
    fn event(&mut self, _: u64, _: SimTime, _: u64, _: &Happening) {}
}

#[derive(Debug)]
pub struct World {
    pub env: Env,
    pub actors: Vec<ActorSlot>,
    pub faults: Vec<PlannedFault>,
    /// Whom each fault struck, once it has begun.
    pub(crate) struck: Vec<u128>,
    pub(crate) requests: Requests,
    pub(crate) streams: Vec<Stream>,
    /// Gateway actors of each region.
    pub(crate) gateways: Vec<Vec<u32>>,
    /// Host name of each app.
    pub(crate) hosts: Vec<Arc<str>>,
    pub(crate) operator: Operator,
    pub(crate) request_rng: Rng,
    pub(crate) pause_rng: Rng,
    pub(crate) buggify_seed: Seed,
    timer_rng: Rng,
    pub(crate) excuses: Excuses,
    pub(crate) duration: SimTime,
    /// From here on everything has to be well.
    pub(crate) well_from: SimTime,
    pub(crate) faults_end: SimTime,
    seed: Seed,
}

impl World {
    pub fn new(scenario: &Scenario, seed: Seed) -> Self {
        let env = Env::new(expand(scenario, seed), seed);
        let faults = plan(&env.scenario, &env.topology);
        let hosts = env
            .scenario
            .apps
            .iter()
            .map(|app| Arc::from(crate::operator::host_of(app)))
            .collect();
        let faults_end = env.scenario.faults_end.get_ref().nanos();
        let mut world = Self {
            actors: Vec::new(),
            struck: vec![0; faults.len()],
            faults,
            requests: Requests::default(),
            streams: crate::traffic::streams(&env.scenario, &env.topology, seed),
            gateways: vec![Vec::new(); env.topology.regions.len()],
            hosts,
            operator: Operator::new(&env.scenario, seed),
            request_rng: seed.derive("requests").rng(),
            pause_rng: seed.derive("pauses").rng(),
            buggify_seed: seed.derive("buggify"),
            timer_rng: seed.derive("timers").rng(),
            excuses: Excuses::new(env.topology.regions.len()),
            duration: env.scenario.duration.get_ref().nanos(),
            well_from: faults_end + env.scenario.liveness_within.get_ref().nanos(),
            faults_end,
            seed,
            env,
        };
        for stream in &world.streams {
            let traffic = &world.env.scenario.traffic[stream.traffic];
            let overload = &mut world.env.oracles.overload;
            overload.stream(traffic, world.well_from, world.duration);
        }
        world.populate();
        world.schedule();
        world
    }

    fn populate(&mut self) {
        for node in 0..self.env.topology.nodes.len() {
            let info = self.env.topology.nodes[node].clone();
            for (role, index) in actors_of(info.kind, &self.env.scenario) {
                let me = Address::new(info.id, role, index);
                let actor = self.actors.len() as u32;
                self.env.nodes[node].actors.push((role, index, actor));
                if let (tidegate_protocol::Role::Gateway, Some(region)) = (role, info.region) {
                    self.gateways[region].push(actor);
                }
                self.actors.push(ActorSlot {
                    me,
                    node,
                    life: 0,
                    cell: None,
                    tape: None,
                    armed: 0,
                    armed_for: None,
                });
            }
        }
        let absent = self.absent_at_first();
        for actor in 0..self.actors.len() as u32 {
            if absent >> self.actors[actor as usize].node & 1 == 0 {
                self.give_birth(actor);
            }
        }
    }

    /// Machines that join later.
    fn absent_at_first(&self) -> NodeSet {
        let absent = self.faults.iter().filter_map(|fault| match fault.target {
            Struck::Nodes(set) if fault.change == Change::Absent => Some(set),
            _ => None,
        });
        absent.fold(0, |all, set| all | set)
    }

    fn schedule(&mut self) {
        for (fault, planned) in (0..).zip(&self.faults) {
            let begin = Happening::Fault { fault, begin: true };
            self.env.queue.push(planned.begin, begin);
            let end = Happening::Fault {
                fault,
                begin: false,
            };
            self.env.queue.push(planned.end, end);
        }
        for (stream, s) in (0..).zip(&mut self.streams) {
            let first = s.first();
            for _ in 0..s.clients() {
                let at = if s.is_closed() {
                    s.thinks(first)
                } else {
                    Some(first)
                };
                if let Some(at) = at {
                    self.env.queue.push(at, Happening::Arrival { stream });
                }
            }
        }
        for (operation, at) in self.operator.times() {
            self.env.queue.push(at, Happening::Operator { operation });
        }
        self.env.queue.push(CHECKPOINT_NS, Happening::Checkpoint);
    }

    /// Runs to the end of the scenario.
    pub fn run(&mut self, observer: &mut impl Observer) {
        self.run_until(observer, |_| false);
    }

    /// Runs to the end of the scenario, or until the oracles have found what is looked for.
    pub fn run_until(&mut self, observer: &mut impl Observer, found: impl Fn(&Findings) -> bool) {
        while let Some((at, happening)) = self.env.queue.pop() {
            if at > self.duration {
                break;
            }
            self.env.now = at;
            happening.fold(at, &mut self.env.trace);
            let number = self.env.stats.events;
            observer.event(number, at, self.env.trace.value(), &happening);
            if matches!(happening, Happening::Checkpoint) {
                observer.progress(at);
            }
            self.env.stats.events = number + 1;
            observer.before(self, &happening);
            self.happen(happening);
            observer.after(self);
            if found(&self.env.oracles.findings) {
                return observer.end(self);
            }
        }
        self.env.now = self.duration;
        self.judge_end();
        observer.end(self);
    }

    #[inline]
    fn happen(&mut self, happening: Happening) {
        if self.env.paused > 0
            && let Some(node) = self.node_of(&happening)
            && self.env.nodes[node].pauses > 0
        {
            self.env.nodes[node].deferred.push(happening);
            return;
        }
        match happening {
            Happening::Request {
                request,
                step,
                what,
            } => self.on_request(request, step, what),
            Happening::Served {
                instance,
                request,
                step,
            } => self.on_served(instance, request, step),
            Happening::Arrival { stream } => self.on_arrival(stream),
            Happening::Message(flight) => self.on_message(*flight),
            Happening::Timer { actor, armed } => self.on_timer(actor, armed),
            Happening::Disk { actor, life } => self.on_disk(actor, life),
            Happening::Driver {
                actor,
                life,
                report,
            } => self.step_life(actor, life, Event::Driver(*report)),
            Happening::Blob {
                actor,
                life,
                report,
            } => self.step_life(actor, life, Event::Blob(*report)),
            Happening::Instance { instance, step } => self.on_instance(instance, step),
            Happening::Fault { fault, begin } => self.on_fault(fault as usize, begin),
            Happening::AfterCommit { node, crash } => self.on_after_commit(node, crash),
            Happening::Operator { operation } => self.on_operator(operation),
            Happening::Checkpoint => self.on_checkpoint(),
        }
    }

    /// The machine on which an event happens.
    pub(crate) fn node_of(&self, happening: &Happening) -> Option<usize> {
        match happening {
            Happening::Message(flight) => self.env.topology.index(flight.to.node),
            Happening::Timer { actor, .. }
            | Happening::Disk { actor, .. }
            | Happening::Driver { actor, .. }
            | Happening::Blob { actor, .. } => Some(self.actors[*actor as usize].node),
            Happening::Instance { instance, .. } | Happening::Served { instance, .. } => {
                Some(self.env.instances.get(*instance).host)
            }
            Happening::Request {
                request,
                step,
                what,
            } => self.node_of_request(*request, *step, *what),
            Happening::Arrival { .. }
            | Happening::Fault { .. }
            | Happening::AfterCommit { .. }
            | Happening::Operator { .. }
            | Happening::Checkpoint => None,
        }
    }

    fn node_of_request(&self, request: u32, step: u32, what: RequestStep) -> Option<usize> {
        let r = self.requests.current(request, step)?;
        match what {
            RequestStep::AtInstance => Some(self.env.instances.get(r.instance).host),
            RequestStep::AtClient | RequestStep::ClientLeaves => None,
            RequestStep::HopAnswered => Some(self.actors[r.legs[0].gateway as usize].node),
            _ => Some(self.actors[r.leg().gateway as usize].node),
        }
    }

    fn on_message(&mut self, flight: Flight) {
        let Some(to) = self.env.topology.index(flight.to.node) else {
            return;
        };
        let from = self.env.topology.index(flight.from.node);
        // What is on its way when a link is cut is lost with it.
        let network = &self.env.network;
        if from.is_some_and(|from| {
            network.is_cut(from, to) || network.connection(from, to) != flight.connection
        }) {
            self.env.stats.messages_lost += 1;
            return;
        }
        if to == crate::topology::Topology::OPERATOR {
            return self.on_reply(flight.body);
        }
        if let Some(actor) = self.env.actor_of(flight.to) {
            let Flight { from, body, .. } = flight;
            self.step(actor, Event::Message { from, body });
        }
    }

    fn on_timer(&mut self, actor: u32, armed: u32) {
        let slot = &mut self.actors[actor as usize];
        if slot.armed != armed || slot.armed_for.is_none() {
            return;
        }
        slot.armed_for = None;
        let Some(cell) = &slot.cell else {
            return;
        };
        let now = self.env.nodes[slot.node].clock.now(self.env.now);
        match cell.next_deadline() {
            Some((deadline, _)) if deadline <= now.mono => self.step(actor, Event::Timer),
            _ => self.arm(actor),
        }
    }

    fn on_disk(&mut self, actor: u32, life: u32) {
        let slot = &self.actors[actor as usize];
        if slot.life != life || slot.cell.is_none() {
            return;
        }
        let Some(store) = self.env.store_index(slot.me) else {
            return;
        };
        let (reply, next) = self.env.disks[store].complete();
        if let Some(cost) = next {
            self.env.after(cost, Happening::Disk { actor, life });
        }
        let Some(reply) = reply else {
            return;
        };
        self.learn(store, &reply);
        self.step(actor, Event::Engine(reply));
    }

    /// Tells ledger and oracles what became durable.
    pub(crate) fn learn(&mut self, store: usize, reply: &tidegate_kernel::EngineReply) {
        let tidegate_kernel::EngineReply::Committed { outcome, .. } = reply else {
            return;
        };
        let writes = self.env.ledger.apply(store, &outcome.changes);
        let oracles = &mut self.env.oracles;
        oracles.findings.at = self.env.now;
        let Some(region) = store.checked_sub(1) else {
            for commit in writes.chunk_by(|a, b| a.revision == b.revision) {
                oracles.tasks.on_main(commit, &mut oracles.findings);
            }
            return;
        };
        for written in writes {
            let oracles = &mut self.env.oracles;
            let findings = &mut oracles.findings;
            oracles.tasks.on_partition(region, &written, findings);
            self.on_partition_write(region, &written);
        }
    }

    fn on_partition_write(&mut self, region: usize, written: &Written) {
        let env = &mut self.env;
        let findings = &mut env.oracles.findings;
        findings.at = env.now;
        if let Some(Record::Fence(fence)) = &written.after {
            let owner = &mut env.oracles.one_owner;
            owner.elected(region, fence.epoch, findings);
        }
        let (Key::Slot { version, .. }, Some(Record::Slot(slot))) = (&written.key, &written.after)
        else {
            return;
        };
        let before = match &written.before {
            Some(Record::Slot(before)) => Some(before),
            _ => None,
        };
        let spec = env.ledger.region(region).version(*version);
        let max = spec.map(|spec| spec.instances_max);
        let findings = &mut env.oracles.findings;
        env.oracles
            .one_owner
            .slot_written(region, before, slot, max, findings);
        let taken_back = before.filter(|b| b.state() == SlotState::Running && b.epoch < slot.epoch);
        if let Some(before) = taken_back {
            self.judge_taken_back(region, before);
        }
        let env = &mut self.env;
        let claim = (region, slot.instance());
        match slot.state() {
            SlotState::Starting => {
                env.claims.entry(claim).or_insert(env.now);
            }
            SlotState::Running => {
                if let Some(since) = env.claims.swap_remove(&claim) {
                    let ms = (env.now - since) / 1_000_000;
                    env.stats.wake.saturating_record(ms.max(1));
                }
            }
            _ => {
                env.claims.swap_remove(&claim);
            }
        }
    }

    /// One step of an actor, if it lives.
    pub(crate) fn step(&mut self, actor: u32, event: Event) {
        let slot = &mut self.actors[actor as usize];
        if slot.cell.is_none() {
            return;
        }
        let now = self.env.nodes[slot.node].clock.now(self.env.now);
        self.env.oracles.findings.at = self.env.now;
        let mut sink = EnvSink {
            stepped: Stepped {
                me: slot.me,
                node: slot.node,
                actor,
                life: slot.life,
            },
            env: &mut self.env,
        };
        slot.step(now, event, &mut sink);
        self.arm(actor);
        self.resume_held();
    }

    fn step_life(&mut self, actor: u32, life: u32, event: Event) {
        if self.actors[actor as usize].life == life {
            self.step(actor, event);
        }
    }

    /// Makes sure that a timer is set for the actor's deadline, or for an earlier time.
    #[inline]
    pub(crate) fn arm(&mut self, actor: u32) {
        let slot = &mut self.actors[actor as usize];
        let Some((deadline, _)) = slot.cell.as_ref().and_then(|cell| cell.next_deadline()) else {
            return;
        };
        if slot.armed_for.is_some_and(|armed| armed <= deadline) {
            return;
        }
        slot.armed_for = Some(deadline);
        slot.armed = slot.armed.wrapping_add(1);
        let armed = slot.armed;
        let due = self.env.nodes[slot.node].clock.when(deadline, self.env.now);
        let at = due + self.timer_rng.below(TIMER_LATE_NS);
        self.env.queue.push(at, Happening::Timer { actor, armed });
    }

    /// Sets an actor's timer anew, after its machine's clock changed.
    pub(crate) fn rearm(&mut self, actor: u32) {
        self.actors[actor as usize].armed_for = None;
        self.arm(actor);
    }

    /// The actor begins a life.
    pub(crate) fn give_birth(&mut self, actor: u32) {
        let slot = &mut self.actors[actor as usize];
        let env = &self.env;
        slot.armed_for = None;
        slot.cell = born(
            slot.me,
            slot.node,
            slot.life,
            &env.topology,
            &env.scenario,
            self.seed,
        );
        slot.begin_tape();
        self.arm_points_of(actor);
        self.step(actor, Event::Start);
    }

    pub(crate) fn stepped(&self, actor: u32) -> Stepped {
        let slot = &self.actors[actor as usize];
        Stepped {
            me: slot.me,
            node: slot.node,
            actor,
            life: slot.life,
        }
    }
}
