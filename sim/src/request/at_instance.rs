//! At the instance: whether it takes a request, how long it works on it, and what becomes of
//! its requests when it dies.

use super::{CONNECT_TIMEOUT_NS, MS};
use crate::draw::exponential;
use crate::happening::{Happening, InstanceStep, RequestStep};
use crate::instance::{Phase, Reception};
use crate::scenario::Behaviour;
use crate::world::World;

/// Requests after which a leaking instance is slower by as much as it was slow at first, and
/// after which it has no memory left.
const LEAK_SLOWS: u64 = 250;
const LEAK_ENDS: u32 = 1_000;

impl World {
    pub(super) fn at_instance(&mut self, request: u32) {
        let r = self.requests.get(request);
        let (instance, step) = (r.instance, r.step + 1);
        let host = self.env.instances.get(instance).host;
        if self.env.nodes[host].deaf > 0 {
            self.requests.get(request).struck = true;
            return self.next(request, CONNECT_TIMEOUT_NS, RequestStep::ConnectFailed);
        }
        let i = self.env.instances.get_mut(instance);
        if !self.env.nodes[host].up {
            return self.next(request, CONNECT_TIMEOUT_NS, RequestStep::ConnectFailed);
        }
        let reception = i.receive(request, step);
        let version = i.reference.version;
        if reception == Reception::Refused {
            self.judge_refusal(request, instance);
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
    pub(super) fn time_out(&mut self, request: u32) {
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

    pub(super) fn serve(&mut self, instance: u32, request: u32, step: u32) {
        let i = self.env.instances.get_mut(instance);
        i.taken += 1;
        let slow = self.env.nodes[i.host].slow;
        let half = i.service_ns / 2;
        let behaviour = i.behaviour;
        let tired = match behaviour {
            Behaviour::Leaks => 1 + u64::from(i.taken) / LEAK_SLOWS,
            _ => 1,
        };
        let out_of_memory = behaviour == Behaviour::Leaks && i.taken == LEAK_ENDS;
        let time = (half + exponential(&mut self.request_rng, half)) * slow * tired;
        let crashes = behaviour == Behaviour::CrashesSometimes;
        if out_of_memory || crashes && self.request_rng.chance(1_000) {
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
        if i.in_flight() == 0 {
            i.idle_since = self.env.now;
        }
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
            Some(delay) => self.take_answer(request, delay),
            None => self.time_out(request),
        }
    }

    /// The client takes the answer at its own pace; the request stays in flight until it has
    /// all of it, or until the gateway gives up.
    fn take_answer(&mut self, request: u32, delay: u64) {
        let r = self.requests.get(request);
        let pace = self.env.slow_clients[usize::from(r.region)];
        if pace == 0 {
            return self.next(request, delay, RequestStep::Answered);
        }
        let delay = delay + exponential(&mut self.request_rng, pace);
        let now = self.env.now;
        let r = self.requests.get(request);
        let legs = r.legs[..=usize::from(r.at)].to_vec();
        let ends = legs.into_iter().map(|leg| {
            let node = self.actors[leg.gateway as usize].node;
            self.env.nodes[node].clock.when(leg.deadline, now)
        });
        if ends.min().is_some_and(|end| now + delay > end) {
            self.requests.get(request).struck = true;
            return self.time_out(request);
        }
        self.next(request, delay, RequestStep::Answered);
    }

    pub(super) fn gateway_node(&self, request: u32) -> usize {
        let gateway = self.requests.all[request as usize].leg().gateway;
        self.actors[gateway as usize].node
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
}
