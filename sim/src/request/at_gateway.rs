//! At the gateway: where a request goes first, and what is done that a gateway decided.

use std::sync::Arc;

use tidegate_kernel::{Decision, FrontCall, Outcome, RequestHead, Ticket, Time};
use tidegate_protocol::{Address, Digest, Role};

use super::{CLIENT_JITTER_NS, CONNECT_TIMEOUT_NS, MS, end_of};
use crate::blob::Opened;
use crate::draw::exponential;
use crate::driver::node_of;
use crate::env::EnvSink;
use crate::happening::{Happening, RequestStep};
use crate::oracle::End;
use crate::world::World;

/// Gateways that a client tries.
const CLIENT_TRIES_MAX: u8 = 6;
/// Reading a file and sending it.
const STATIC_NS: u64 = 60_000;
/// What a front asks clients to wait whose file is being fetched again.
const FILE_RETRY_AFTER_S: u16 = 5;
/// One in so many held clients goes away.
const LEAVES_PER_MILLION: u32 = 20_000;

impl World {
    /// The next event of a request; the former one is of no effect from now on.
    #[inline]
    pub(super) fn next(&mut self, request: u32, delay: u64, what: RequestStep) {
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
        let tick = self.streams[stream as usize].tick(self.env.now);
        if let Some(next) = tick.next {
            self.env.queue.push(next, Happening::Arrival { stream });
        }
        if tick.sends {
            self.send(stream, 0, 0);
        }
    }

    /// A client sends, after a wait, for the first time or again.
    pub(super) fn send(&mut self, stream: u32, wait: u64, retried: u8) {
        let s = &mut self.streams[stream as usize];
        let region = s.region;
        let delay = MS + exponential(&mut s.rng, CLIENT_JITTER_NS);
        let local = &self.gateways[region];
        let gateway = local[s.rng.index(local.len()).unwrap_or(0)];
        let app = s.app;
        self.env.stats.requests.sent += 1;
        let at = self.env.now + wait;
        if self.is_owed(app, at) {
            self.env.oracles.progress.asked(region);
        }
        let request = self.requests.insert(stream, region, at);
        let r = self.requests.get(request);
        r.legs[0].gateway = gateway;
        r.retried = retried;
        self.env.oracles.overload.sent(stream, at);
        self.next(request, wait + delay, RequestStep::AtGateway);
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

    pub(super) fn at_gateway(&mut self, request: u32) {
        let r = self.requests.get(request);
        let (gateway, hopped) = (r.leg().gateway, r.at == 1);
        let host = self.host_of(request);
        let head = RequestHead {
            host: &host,
            hopped,
        };
        match self.call(gateway, FrontCall::Decide(head)).flatten() {
            Some(decision) => {
                self.judge_decision(request, &decision);
                self.apply(request, decision);
                self.resume_held();
            }
            // Nobody listens there.
            None if hopped => self.connect_failed_at_first(request),
            None => self.try_another_gateway(request),
        }
    }

    pub(super) fn host_of(&self, request: u32) -> Arc<str> {
        let stream = self.requests.all[request as usize].stream;
        let app = self.streams[stream as usize].app;
        Arc::clone(&self.hosts[app as usize])
    }

    /// Calls a gateway actor directly; `None` when it does not live.
    #[inline]
    pub(super) fn call(&mut self, gateway: u32, call: FrontCall<'_>) -> Option<Option<Decision>> {
        let stepped = self.stepped(gateway);
        let slot = &mut self.actors[gateway as usize];
        let now = self.env.nodes[stepped.node].clock.now(self.env.now);
        self.env.oracles.findings.at = self.env.now;
        let mut sink = EnvSink {
            stepped,
            env: &mut self.env,
        };
        let result = slot.call(now, call, &mut sink)?;
        self.arm(gateway);
        Some(result)
    }

    pub(super) fn try_another_gateway(&mut self, request: u32) {
        let r = self.requests.get(request);
        r.tries += 1;
        let tries = usize::from(r.tries);
        let region = usize::from(r.region);
        let former = r.legs[0].gateway;
        if r.tries >= CLIENT_TRIES_MAX {
            self.env.stats.requests.failed += 1;
            *self.env.stats.reasons.entry("no gateway").or_default() += 1;
            return self.leave(request);
        }
        // First the others of the region, in turn, then the next regions'.
        let regions = self.gateways.len();
        let local = self.gateways[region].len();
        let away = (tries / local.max(1)) % regions;
        let there = &self.gateways[(region + away) % regions];
        let place = there.iter().position(|g| *g == former).unwrap_or(tries);
        let gateway = there[(place + 1) % there.len()];
        let r = self.requests.get(request);
        r.legs[0].gateway = gateway;
        r.legs[0].sends = 0;
        r.regions |= 1 << ((region + away) % regions);
        let delay = 2 * MS + 40 * MS * away as u64;
        self.next(request, delay, RequestStep::AtGateway);
    }

    /// Carries out what a gateway decided about the leg that acts.
    pub(super) fn apply(&mut self, request: u32, decision: Decision) {
        let gateway = self.requests.get(request).leg().gateway;
        let node = self.actors[gateway as usize].node;
        self.judge_load(request, &decision);
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
                self.serve_file(request, node, version, artifact);
            }
            Decision::Refuse(refusal) => self.answer(request, end_of(&refusal)),
        }
    }

    /// The front opens a file and sends it; a file that is gone is answered with 503.
    fn serve_file(&mut self, request: u32, node: usize, version: u64, artifact: Digest) {
        let env = &mut self.env;
        let blobs = &mut env.nodes[node].blobs;
        let opened = blobs.open(artifact, env.stats.requests.sent);
        if opened != Opened::Gone {
            self.judge_file(node, version, opened);
            return self.next(request, STATIC_NS, RequestStep::Answered);
        }
        self.env.stats.mark("files that a front found gone");
        self.requests.get(request).retry_after_s = FILE_RETRY_AFTER_S;
        self.end_leg(request, Outcome::ClientGone, End::Refused("file gone"));
    }

    pub(super) fn set_leg(&mut self, request: u32, ticket: Ticket, deadline: Time) {
        let r = self.requests.get(request);
        let leg = &mut r.legs[usize::from(r.at)];
        leg.ticket = ticket;
        leg.deadline = deadline;
    }

    pub(super) fn hold(&mut self, request: u32, gateway: u32, ticket: Ticket) {
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
                    self.judge_decision(request, &decision);
                    self.apply(request, decision);
                }
            }
        }
    }

    pub(super) fn hop(&mut self, request: u32, node: usize, peer: Address) {
        self.env.stats.hops += 1;
        let target = self.env.topology.index(peer.node);
        let actor = self.env.actor_of(peer);
        let (Some(target), Some(actor)) = (target, actor) else {
            return self.next(request, MS, RequestStep::ConnectFailed);
        };
        let r = self.requests.get(request);
        if let Some(region) = self.env.topology.nodes[target].region {
            r.regions |= 1 << region;
        }
        match self.env.network.stream(node, target) {
            Some(delay) if self.env.nodes[target].up => {
                r.at = 1;
                r.legs[1].gateway = actor;
                r.legs[1].sends = 0;
                r.legs[1].deadline = Time::ZERO;
                self.next(request, delay, RequestStep::AtGateway);
            }
            _ => self.next(request, CONNECT_TIMEOUT_NS, RequestStep::ConnectFailed),
        }
    }
}
