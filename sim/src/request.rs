//! A request's way: client, gateway, perhaps another region's gateway, instance, and back.
//!
//! The world plays the front: it calls the gateway actor's `decide` and `finished`, as
//! hyper's request tasks do, and it owns the connections. What a connection does when
//! something breaks follows TCP: a dead process refuses, a dead machine and a cut link are
//! silent until somebody gives up.
//!
//! Each step of a request has a number. An event that names another number comes too late
//! and is of no effect.

use std::sync::Arc;

use tidegate_kernel::{Decision, Outcome, Refusal, RequestHead, Ticket, Time};
use tidegate_protocol::{Address, Digest, InstanceRef, Role};

use crate::cells::AnyCell;
use crate::clock::SimTime;
use crate::draw::exponential;
use crate::driver::node_of;
use crate::env::EnvSink;
use crate::happening::{Happening, InstanceStep, RequestStep};
use crate::instance::{Phase, Reception};
use crate::oracle::End;
use crate::scenario::Behaviour;
use crate::world::World;

const MS: u64 = 1_000_000;
/// Mean delay between a client and the nearest gateway, one way, over a fixed millisecond.
const CLIENT_JITTER_NS: u64 = 200_000;
/// A connection attempt that nobody answers.
const CONNECT_TIMEOUT_NS: u64 = 1_000 * MS;
/// Gateways that a client tries.
const CLIENT_TRIES_MAX: u8 = 6;
/// Reading a file and sending it.
const STATIC_NS: u64 = 60_000;
/// One in so many held clients goes away.
const LEAVES_PER_MILLION: u32 = 20_000;

/// What one gateway actor knows of a request.
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    pub gateway: u32,
    ticket: Ticket,
    deadline: Time,
}

#[derive(Clone, Debug)]
pub struct Request {
    live: bool,
    step: u32,
    stream: u32,
    region: u16,
    sent_at: SimTime,
    pub legs: [Leg; 2],
    /// The leg that acts: 0, or 1 in the other region.
    at: u8,
    tries: u8,
    /// It has reached its instance and is not answered.
    inside: bool,
    held_since: Option<SimTime>,
    pub instance: u32,
    end: End,
}

/// All requests under way; places are used again.
#[derive(Debug, Default)]
pub struct Requests {
    all: Vec<Request>,
    free: Vec<u32>,
    /// Held requests by gateway and ticket.
    held: indexmap::IndexMap<(u32, Ticket), u32, rustc_hash::FxBuildHasher>,
}

impl Request {
    pub fn leg(&self) -> &Leg {
        &self.legs[usize::from(self.at)]
    }
}

impl Requests {
    fn insert(&mut self, stream: u32, region: usize, sent_at: SimTime) -> u32 {
        let leg = Leg {
            gateway: u32::MAX,
            ticket: Ticket(0),
            deadline: Time::ZERO,
        };
        let fresh = Request {
            live: true,
            step: 0,
            stream,
            region: region as u16,
            sent_at,
            legs: [leg; 2],
            at: 0,
            tries: 0,
            inside: false,
            held_since: None,
            instance: u32::MAX,
            end: End::Served,
        };
        match self.free.pop() {
            Some(place) => {
                let slot = &mut self.all[place as usize];
                // The number goes on, so that events of the former user stay without effect.
                let step = slot.step + 1;
                *slot = Request { step, ..fresh };
                place
            }
            None => {
                self.all.push(fresh);
                self.all.len() as u32 - 1
            }
        }
    }

    fn remove(&mut self, request: u32) {
        let slot = &mut self.all[request as usize];
        slot.live = false;
        slot.step += 1;
        self.free.push(request);
    }

    #[inline]
    fn get(&mut self, request: u32) -> &mut Request {
        &mut self.all[request as usize]
    }

    /// The request, if that step of it is the present one.
    #[inline]
    pub fn current(&self, request: u32, step: u32) -> Option<&Request> {
        let r = self.all.get(request as usize)?;
        (r.live && r.step == step).then_some(r)
    }

    fn live(&self) -> impl Iterator<Item = (u32, &Request)> {
        (0..).zip(&self.all).filter(|(_, r)| r.live)
    }

    /// Requests under way at an instance.
    fn inside(&self, instance: u32) -> Vec<u32> {
        self.live()
            .filter(|(_, r)| r.inside && r.instance == instance)
            .map(|(place, _)| place)
            .collect()
    }
}

impl World {
    /// The next event of a request; the former one is of no effect from now on.
    #[inline]
    fn next(&mut self, request: u32, delay: u64, what: RequestStep) {
        let r = self.requests.get(request);
        r.step += 1;
        let step = r.step;
        self.env.after(
            delay,
            Happening::Request {
                request,
                step,
                what,
            },
        );
    }

    pub(crate) fn on_arrival(&mut self, stream: u32) {
        let s = &mut self.streams[stream as usize];
        let tick = s.tick(self.env.now);
        let region = s.region;
        if let Some(next) = tick.next {
            self.env.queue.push(next, Happening::Arrival { stream });
        }
        if !tick.sends {
            return;
        }
        let delay = MS + exponential(&mut s.rng, CLIENT_JITTER_NS);
        let local = &self.gateways[region];
        let gateway = local[s.rng.index(local.len()).unwrap_or(0)];
        self.env.stats.requests.sent += 1;
        let request = self.requests.insert(stream, region, self.env.now);
        self.requests.get(request).legs[0].gateway = gateway;
        self.next(request, delay, RequestStep::AtGateway);
    }

    pub(crate) fn on_request(&mut self, request: u32, step: u32, what: RequestStep) {
        if self.requests.current(request, step).is_none() {
            return;
        }
        match what {
            RequestStep::AtGateway => self.at_gateway(request),
            RequestStep::AtInstance => self.at_instance(request),
            RequestStep::Answered => self.end_leg(request, Outcome::Answered, End::Served),
            RequestStep::ConnectFailed => self.connect_failed(request),
            RequestStep::Broken => self.end_leg(request, Outcome::Broken, End::Failed("broken")),
            RequestStep::TimedOut => {
                self.end_leg(request, Outcome::TimedOut, End::Failed("timed out"));
            }
            RequestStep::HopAnswered => {
                self.requests.get(request).at = 0;
                let end = self.requests.get(request).end;
                self.end_leg(request, Outcome::Answered, end);
            }
            RequestStep::AtClient => self.at_client(request),
            RequestStep::ClientLeaves => self.client_leaves(request),
        }
    }

    fn at_gateway(&mut self, request: u32) {
        let r = self.requests.get(request);
        let (gateway, hopped) = (r.leg().gateway, r.at == 1);
        let host = self.host_of(request);
        let head = RequestHead {
            host: &host,
            hopped,
        };
        match self.call(gateway, |gw, now, fx| gw.decide(now, &head, fx)) {
            Some(decision) => {
                self.apply(request, decision);
                self.resume_held();
            }
            // Nobody listens there.
            None if hopped => self.connect_failed_at_first(request),
            None => self.try_another_gateway(request),
        }
    }

    fn host_of(&self, request: u32) -> Arc<str> {
        let stream = self.requests.all[request as usize].stream;
        let app = self.streams[stream as usize].app;
        Arc::clone(&self.hosts[app as usize])
    }

    /// Calls a gateway actor directly; `None` when it does not live.
    #[inline]
    fn call<R>(
        &mut self,
        gateway: u32,
        f: impl FnOnce(
            &mut tidegate_gateway::Gateway,
            tidegate_kernel::Now,
            &mut tidegate_kernel::Effects,
        ) -> R,
    ) -> Option<R> {
        let stepped = self.stepped(gateway);
        let slot = &mut self.actors[gateway as usize];
        let Some(AnyCell::Gateway(cell)) = &mut slot.cell else {
            return None;
        };
        let now = self.env.nodes[stepped.node].clock.now(self.env.now);
        self.env.oracles.findings.at = self.env.now;
        let mut sink = EnvSink {
            stepped,
            env: &mut self.env,
        };
        let result = cell.call(now, &mut sink, f);
        self.arm(gateway);
        Some(result)
    }

    fn try_another_gateway(&mut self, request: u32) {
        let r = self.requests.get(request);
        r.tries += 1;
        let tries = usize::from(r.tries);
        let region = usize::from(r.region);
        let former = r.legs[0].gateway;
        if r.tries >= CLIENT_TRIES_MAX {
            self.env.stats.requests.failed += 1;
            *self.env.stats.reasons.entry("no gateway").or_default() += 1;
            return self.requests.remove(request);
        }
        // First the others of the region, in turn, then the next regions'.
        let regions = self.gateways.len();
        let local = self.gateways[region].len();
        let away = (tries / local.max(1)) % regions;
        let there = &self.gateways[(region + away) % regions];
        let place = there.iter().position(|g| *g == former).unwrap_or(tries);
        let gateway = there[(place + 1) % there.len()];
        self.requests.get(request).legs[0].gateway = gateway;
        let delay = 2 * MS + 40 * MS * away as u64;
        self.next(request, delay, RequestStep::AtGateway);
    }

    /// Carries out what a gateway decided about the leg that acts.
    fn apply(&mut self, request: u32, decision: Decision) {
        let gateway = self.requests.get(request).leg().gateway;
        let node = self.actors[gateway as usize].node;
        if let Some(since) = self.requests.get(request).held_since.take() {
            let us = (self.env.now - since) / 1_000;
            self.env.stats.hold.saturating_record(us.max(1));
        }
        match decision {
            Decision::Forward {
                ticket,
                instance,
                endpoint,
                deadline,
            } => {
                self.set_leg(request, ticket, deadline);
                self.judge_route(gateway, node, instance);
                let host = node_of(endpoint).and_then(|id| self.env.topology.index(id));
                let target = host.and_then(|h| self.env.instances.at(h, endpoint.port()));
                let (Some(host), Some(target)) = (host, target) else {
                    return self.next(request, MS, RequestStep::ConnectFailed);
                };
                self.requests.get(request).instance = target;
                match self.env.network.stream(node, host) {
                    Some(delay) if self.env.nodes[host].up => {
                        self.next(request, delay, RequestStep::AtInstance);
                    }
                    _ => self.next(request, CONNECT_TIMEOUT_NS, RequestStep::ConnectFailed),
                }
            }
            Decision::Hold { ticket, deadline } => {
                self.set_leg(request, ticket, deadline);
                self.hold(request, gateway, ticket);
            }
            Decision::Hop {
                ticket,
                node: peer,
                deadline,
                ..
            } => {
                self.set_leg(request, ticket, deadline);
                self.hop(request, node, Address::new(peer, Role::Gateway, 0));
            }
            Decision::Static {
                ticket,
                version,
                artifact,
            } => {
                self.set_leg(request, ticket, Time(u64::MAX));
                self.judge_static(request, node, version, artifact);
                self.next(request, STATIC_NS, RequestStep::Answered);
            }
            Decision::Refuse(refusal) => self.answer(request, end_of(&refusal)),
        }
    }

    fn set_leg(&mut self, request: u32, ticket: Ticket, deadline: Time) {
        let r = self.requests.get(request);
        let leg = &mut r.legs[usize::from(r.at)];
        leg.ticket = ticket;
        leg.deadline = deadline;
    }

    fn hold(&mut self, request: u32, gateway: u32, ticket: Ticket) {
        self.env.stats.held += 1;
        let r = self.requests.get(request);
        r.held_since = Some(self.env.now);
        self.requests.held.insert((gateway, ticket), request);
        if self.request_rng.chance(LEAVES_PER_MILLION) {
            let patience = self.request_rng.between(100, 8_000) * MS;
            self.next(request, patience, RequestStep::ClientLeaves);
        } else {
            // Whatever else was on its way is of no effect.
            self.requests.get(request).step += 1;
        }
    }

    /// Lets held requests go on, as the actors that were stepped last decided.
    pub(crate) fn resume_held(&mut self) {
        while !self.env.resumes.is_empty() {
            let resumes = std::mem::take(&mut self.env.resumes);
            for (gateway, ticket, decision) in resumes {
                if let Some(request) = self.requests.held.swap_remove(&(gateway, ticket)) {
                    self.apply(request, decision);
                }
            }
        }
    }

    fn hop(&mut self, request: u32, node: usize, peer: Address) {
        self.env.stats.hops += 1;
        let target = self.env.topology.index(peer.node);
        let actor = self.env.actor_of(peer);
        let (Some(target), Some(actor)) = (target, actor) else {
            return self.next(request, MS, RequestStep::ConnectFailed);
        };
        match self.env.network.stream(node, target) {
            Some(delay) if self.env.nodes[target].up => {
                let r = self.requests.get(request);
                r.at = 1;
                r.legs[1].gateway = actor;
                self.next(request, delay, RequestStep::AtGateway);
            }
            _ => self.next(request, CONNECT_TIMEOUT_NS, RequestStep::ConnectFailed),
        }
    }

    fn at_instance(&mut self, request: u32) {
        let r = self.requests.get(request);
        let (instance, step) = (r.instance, r.step + 1);
        let i = self.env.instances.get_mut(instance);
        let host = i.host;
        if !self.env.nodes[host].up {
            return self.next(request, CONNECT_TIMEOUT_NS, RequestStep::ConnectFailed);
        }
        let reception = i.receive(request, step);
        let version = i.reference.version;
        if reception == Reception::Refused {
            let node = self.gateway_node(request);
            let back = self.env.network.stream(host, node);
            let delay = back.unwrap_or(CONNECT_TIMEOUT_NS);
            return self.next(request, delay, RequestStep::ConnectFailed);
        }
        self.judge_arrival(request, version);
        let r = self.requests.get(request);
        r.inside = true;
        r.step = step;
        if reception == Reception::Begins {
            self.serve(instance, request, step);
        } else {
            self.time_out(request);
        }
    }

    /// If nothing else happens to the request, its gateway gives up at the deadline.
    fn time_out(&mut self, request: u32) {
        let r = self.requests.get(request);
        let (leg, step) = (*r.leg(), r.step);
        let node = self.actors[leg.gateway as usize].node;
        let at = self.env.nodes[node].clock.when(leg.deadline, self.env.now);
        self.env.queue.push(
            at,
            Happening::Request {
                request,
                step,
                what: RequestStep::TimedOut,
            },
        );
    }

    fn serve(&mut self, instance: u32, request: u32, step: u32) {
        let i = self.env.instances.get(instance);
        let slow = self.env.nodes[i.host].slow;
        let half = i.service_ns / 2;
        let crashes = i.behaviour == Behaviour::CrashesSometimes;
        let time = (half + exponential(&mut self.request_rng, half)) * slow;
        if crashes && self.request_rng.chance(1_000) {
            let step = InstanceStep::Crash;
            self.env
                .after(time / 2, Happening::Instance { instance, step });
        }
        self.env.after(
            time,
            Happening::Served {
                instance,
                request,
                step,
            },
        );
    }

    pub(crate) fn on_served(&mut self, instance: u32, request: u32, step: u32) {
        let i = self.env.instances.get_mut(instance);
        if i.phase == Phase::Dead {
            return;
        }
        let host = i.host;
        let next = i.served();
        if i.is_drained() {
            self.env.exit_soon(instance, 5 * MS);
        }
        if let Some((request, step)) = next {
            self.serve(instance, request, step);
        }
        if self.requests.current(request, step).is_none() {
            return;
        }
        let node = self.gateway_node(request);
        self.requests.get(request).inside = false;
        match self.env.network.stream(host, node) {
            Some(delay) => self.next(request, delay, RequestStep::Answered),
            None => self.time_out(request),
        }
    }

    fn gateway_node(&self, request: u32) -> usize {
        let gateway = self.requests.all[request as usize].leg().gateway;
        self.actors[gateway as usize].node
    }

    /// The leg that acts has ended, and the gateway is told; `end` is what the client gets.
    fn end_leg(&mut self, request: u32, outcome: Outcome, end: End) {
        self.requests.get(request).inside = false;
        let leg = *self.requests.get(request).leg();
        let again = self.call(leg.gateway, |gw, now, fx| {
            gw.finished(now, leg.ticket, outcome, fx)
        });
        match again {
            Some(Some(decision)) => self.apply(request, decision),
            Some(None) => self.answer(request, end),
            None => {}
        }
        self.resume_held();
    }

    fn connect_failed(&mut self, request: u32) {
        self.env.stats.retries += 1;
        let unreachable = End::Failed("unreachable");
        self.end_leg(request, Outcome::ConnectFailed, unreachable);
    }

    fn connect_failed_at_first(&mut self, request: u32) {
        self.requests.get(request).at = 0;
        self.connect_failed(request);
    }

    /// The leg that acts has an answer for whoever asked it.
    fn answer(&mut self, request: u32, end: End) {
        self.judge_end_of_leg(request, end);
        let r = self.requests.get(request);
        r.end = end;
        if r.at == 0 {
            let delay = MS + exponential(&mut self.request_rng, CLIENT_JITTER_NS);
            return self.next(request, delay, RequestStep::AtClient);
        }
        let node = |leg: Leg| self.actors[leg.gateway as usize].node;
        let (from, to) = {
            let legs = self.requests.all[request as usize].legs;
            (node(legs[1]), node(legs[0]))
        };
        match self.env.network.stream(from, to) {
            Some(delay) => self.next(request, delay, RequestStep::HopAnswered),
            None => {
                let r = self.requests.get(request);
                r.at = 0;
                r.step += 1;
                self.time_out(request);
            }
        }
    }

    fn at_client(&mut self, request: u32) {
        let r = self.requests.get(request);
        let (end, sent_at, region) = (r.end, r.sent_at, usize::from(r.region));
        let app = self.streams[r.stream as usize].app;
        let stats = &mut self.env.stats;
        match end {
            End::Served => {
                stats.requests.served += 1;
                let us = (self.env.now - sent_at) / 1_000;
                stats.latency.saturating_record(us.max(1));
            }
            End::Refused(why) => {
                stats.requests.refused += 1;
                *stats.reasons.entry(why).or_default() += 1;
            }
            End::Failed(why) => {
                stats.requests.failed += 1;
                *stats.reasons.entry(why).or_default() += 1;
            }
        }
        if sent_at >= self.well_from && !self.operator.is_poisoned(app) {
            self.env.oracles.progress.ended(region, end);
        }
        self.requests.remove(request);
    }

    fn client_leaves(&mut self, request: u32) {
        let leg = *self.requests.get(request).leg();
        self.requests.held.swap_remove(&(leg.gateway, leg.ticket));
        self.call(leg.gateway, |gw, now, fx| {
            gw.finished(now, leg.ticket, Outcome::ClientGone, fx)
        });
        let r = self.requests.get(request);
        if r.at == 1 {
            r.at = 0;
            let first = *self.requests.get(request).leg();
            self.call(first.gateway, |gw, now, fx| {
                gw.finished(now, first.ticket, Outcome::ClientGone, fx)
            });
        }
        self.env.stats.requests.left += 1;
        self.requests.remove(request);
        self.resume_held();
    }

    /// Connections to an instance that died. `silent`: its machine died with it.
    pub(crate) fn break_instance(&mut self, instance: u32, silent: bool) {
        let host = self.env.instances.get(instance).host;
        for request in self.requests.inside(instance) {
            let node = self.gateway_node(request);
            let back = self.env.network.stream(host, node);
            let r = self.requests.get(request);
            r.inside = false;
            r.step += 1;
            match back {
                Some(delay) if !silent => self.next(request, delay, RequestStep::Broken),
                _ => self.time_out(request),
            }
        }
    }

    /// Requests whose gateway died: their clients do not learn what became of them.
    pub(crate) fn break_gateway(&mut self, gateway: u32, silent: bool) {
        self.requests.held.retain(|(g, _), _| *g != gateway);
        let struck: Vec<u32> = self
            .requests
            .live()
            .filter(|(_, r)| {
                r.legs[..=usize::from(r.at)]
                    .iter()
                    .any(|l| l.gateway == gateway)
            })
            .map(|(place, _)| place)
            .collect();
        for request in struck {
            let first = self.requests.get(request).legs[0].gateway;
            if first == gateway {
                self.env.stats.requests.unknown += 1;
                self.requests.remove(request);
                continue;
            }
            let r = self.requests.get(request);
            r.at = 0;
            r.inside = false;
            r.step += 1;
            if silent {
                self.time_out(request);
            } else {
                self.next(request, MS, RequestStep::Broken);
            }
        }
    }

    fn judge_route(&mut self, gateway: u32, node: usize, instance: InstanceRef) {
        let env = &mut self.env;
        let oracles = &mut env.oracles;
        let findings = &mut oracles.findings;
        oracles.one_owner.sent(gateway, instance, findings);
        let (ledger, blobs) = (&env.ledger, &env.nodes[node].blobs);
        let holds = || {
            let spec = ledger
                .stores
                .iter()
                .find_map(|s| s.version(instance.version));
            spec.and_then(|s| Digest::try_from(&s.artifact).ok())
                .is_some_and(|artifact| blobs.holds_artifact(artifact))
        };
        oracles
            .verified
            .routed(node, instance.version, holds, findings);
    }

    fn judge_static(&mut self, request: u32, node: usize, version: u64, artifact: Digest) {
        self.judge_arrival(request, version);
        let env = &mut self.env;
        let oracles = &mut env.oracles;
        let blobs = &env.nodes[node].blobs;
        let findings = &mut oracles.findings;
        let holds = || blobs.holds_artifact(artifact);
        oracles.verified.routed(node, version, holds, findings);
        let spec = env.ledger.main().version(version);
        let own = spec.is_none_or(|s| Digest::try_from(&s.artifact) == Ok(artifact));
        oracles.right_version.answered_from(version, own, findings);
    }

    #[inline]
    fn judge_arrival(&mut self, request: u32, version: u64) {
        let stream = self.requests.all[request as usize].stream;
        let app = self.streams[stream as usize].app;
        let resolved = self.env.ledger.resolved(app, version);
        let oracles = &mut self.env.oracles;
        let host = &self.hosts[app as usize];
        oracles
            .right_version
            .reached(host, version, resolved, &mut oracles.findings);
    }

    #[inline]
    fn judge_end_of_leg(&mut self, request: u32, end: End) {
        let r = &self.requests.all[request as usize];
        let leg = r.leg();
        let app = self.streams[r.stream as usize].app;
        let late = if leg.deadline == Time(u64::MAX) {
            0
        } else {
            let node = self.actors[leg.gateway as usize].node;
            let now = self.env.nodes[node].clock.now(self.env.now).mono;
            match end {
                End::Refused(_) => 0,
                _ => now.0.saturating_sub(leg.deadline.0),
            }
        };
        let excused = match end {
            End::Served if late == 0 => true,
            _ => self.is_excused(app),
        };
        let oracles = &mut self.env.oracles;
        let host = &self.hosts[app as usize];
        oracles
            .answered
            .ended(host, end, late, excused, &mut oracles.findings);
    }

    /// Whether something was broken lately, or is wrong with the app.
    fn is_excused(&self, app: u32) -> bool {
        const AFTER_NS: u64 = 65_000 * MS;
        let env = &self.env;
        let lately = env.fault_ended.is_some_and(|at| env.now < at + AFTER_NS);
        env.faults_on > 0 || lately || self.operator.is_poisoned(app)
    }

    /// Requests that are open long after their deadline.
    pub(crate) fn judge_open_requests(&mut self) {
        const LONGEST_NS: u64 = 70_000 * MS;
        for (_, r) in self.requests.live() {
            let late = (self.env.now - r.sent_at).saturating_sub(LONGEST_NS);
            let app = self.streams[r.stream as usize].app;
            let oracles = &mut self.env.oracles;
            oracles
                .answered
                .silent(&self.hosts[app as usize], late, &mut oracles.findings);
        }
    }
}

fn end_of(refusal: &Refusal) -> End {
    match refusal {
        Refusal::UnknownHost => End::Refused("unknown host"),
        Refusal::NotHereYet { .. } => End::Refused("not here yet"),
        Refusal::QueueFull { .. } => End::Refused("queue full"),
        Refusal::HoldTimeout { .. } => End::Refused("hold timeout"),
        Refusal::NoCapacity { .. } => End::Refused("no capacity"),
        Refusal::StartFailed { .. } => End::Refused("start failed"),
        Refusal::Unreachable { .. } => End::Failed("unreachable"),
        Refusal::Broken => End::Failed("broken"),
        Refusal::Deadline => End::Failed("deadline"),
        Refusal::Loop => End::Failed("loop"),
    }
}
