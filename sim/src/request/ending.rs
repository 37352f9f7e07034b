//! How a request ends: the gateways hear of it, from the last to the first, then the client.

use tidegate_kernel::{Decision, FrontCall, Outcome};

use super::{CLIENT_JITTER_NS, Leg, MS, UNKNOWN_HOST};
use crate::draw::exponential;
use crate::happening::{Happening, RequestStep};
use crate::oracle::End;
use crate::topology::NodeSet;
use crate::world::World;

impl World {
    /// The leg that acts has ended, and the gateway is told; `end` is what the client gets.
    pub(super) fn end_leg(&mut self, request: u32, outcome: Outcome, end: End) {
        self.requests.get(request).inside = false;
        let leg = *self.requests.get(request).leg();
        let again = self.finish(leg, outcome);
        match again {
            Some(Some(decision)) => self.apply(request, decision),
            Some(None) => self.answer(request, end),
            None => {}
        }
        self.resume_held();
    }

    /// Tells a leg's gateway that it has ended; the outer `None`: nobody lives there.
    fn finish(&mut self, leg: Leg, outcome: Outcome) -> Option<Option<Decision>> {
        let ticket = leg.ticket;
        self.call(leg.gateway, FrontCall::Finished { ticket, outcome })
    }

    pub(super) fn connect_failed(&mut self, request: u32) {
        self.env.stats.retries += 1;
        let unreachable = End::Failed("unreachable");
        self.end_leg(request, Outcome::ConnectFailed, unreachable);
    }

    pub(super) fn connect_failed_at_first(&mut self, request: u32) {
        self.requests.get(request).at = 0;
        self.connect_failed(request);
    }

    /// The leg that acts has an answer for whoever asked it.
    pub(super) fn answer(&mut self, request: u32, end: End) {
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

    pub(super) fn at_client(&mut self, request: u32) {
        let r = self.requests.get(request);
        let (end, sent_at, region) = (r.end, r.sent_at, usize::from(r.region));
        let stream = r.stream;
        let app = self.streams[stream as usize].app;
        let stats = &mut self.env.stats;
        match end {
            End::Served => {
                stats.requests.served += 1;
                let us = (self.env.now - sent_at) / 1_000;
                stats.latency.saturating_record(us.max(1));
                let overload = &mut self.env.oracles.overload;
                overload.served(stream, sent_at, self.env.now);
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
        if sent_at >= self.well_from {
            let oracles = &mut self.env.oracles;
            if self.operator.is_removed(app) {
                let gone = end == End::Refused(UNKNOWN_HOST);
                let host = &self.hosts[app as usize];
                let findings = &mut oracles.findings;
                oracles.converged.removed_app_ended(host, gone, findings);
            } else if !self.operator.is_poisoned(app) {
                oracles.progress.ended(region, end);
            }
        }
        if self.retry(request) {
            self.requests.remove(request);
        } else {
            self.leave(request);
        }
    }

    /// A client has what it will ever get of a request. If it is one of a fixed number, it
    /// thinks, and sends the next.
    pub(super) fn leave(&mut self, request: u32) {
        let stream = self.requests.get(request).stream;
        self.requests.remove(request);
        if let Some(next) = self.streams[stream as usize].thinks(self.env.now) {
            self.env.queue.push(next, Happening::Arrival { stream });
        }
    }

    /// A client that was refused or failed sends again, if its app's clients do.
    fn retry(&mut self, request: u32) -> bool {
        let r = self.requests.get(request);
        let (stream, retried) = (r.stream, r.retried);
        let s = &self.streams[stream as usize];
        let traffic = &self.env.scenario.traffic[s.traffic];
        if u32::from(retried) >= *traffic.retries.get_ref() {
            return false;
        }
        let wait = match r.end {
            End::Served | End::Refused(UNKNOWN_HOST) => return false,
            _ if !traffic.honours_retry_after => 0,
            End::Refused(_) | End::Failed(_) => u64::from(r.retry_after_s) * 1_000 * MS,
        };
        self.env.stats.mark("clients that sent again");
        self.send(stream, wait, retried + 1);
        true
    }

    pub(super) fn client_leaves(&mut self, request: u32) {
        self.lose_client(request);
        let r = self.requests.get(request);
        if r.at == 1 {
            r.at = 0;
            let first = *self.requests.get(request).leg();
            self.finish(first, Outcome::ClientGone);
        }
        self.env.stats.requests.left += 1;
        let r = self.requests.get(request);
        let (stream, sent_at) = (r.stream as usize, r.sent_at);
        let (app, region) = (self.streams[stream].app, self.streams[stream].region);
        if self.is_owed(app, sent_at) {
            self.env.oracles.progress.left(region);
        }
        self.leave(request);
        self.resume_held();
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
                if self.requests.get(request).at == 1 {
                    self.lose_client(request);
                }
                self.leave(request);
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
        self.resume_held();
    }

    /// Connections between two sets of machines break: what they carry ends now.
    pub(crate) fn reset(&mut self, one: NodeSet, other: NodeSet) {
        self.env.network.reset(one, other);
        let apart = |a: usize, b: usize| {
            let on = |set: NodeSet, node: usize| set >> node & 1 == 1;
            on(one, a) && on(other & !one, b) || on(one, b) && on(other & !one, a)
        };
        let places: Vec<u32> = self.requests.live().map(|(place, _)| place).collect();
        for request in places {
            let r = &self.requests.all[request as usize];
            let node = |leg: usize| self.actors[r.legs[leg].gateway as usize].node;
            if r.at == 1 && apart(node(0), node(1)) {
                self.break_hop(request);
            } else if r.inside {
                let host = self.env.instances.get(r.instance).host;
                if apart(node(usize::from(r.at)), host) {
                    let r = self.requests.get(request);
                    r.struck = true;
                    r.inside = false;
                    self.next(request, 0, RequestStep::Broken);
                }
            }
        }
        self.resume_held();
    }

    /// The second gateway learns that who asked it is not there any more.
    fn lose_client(&mut self, request: u32) {
        let second = *self.requests.get(request).leg();
        self.requests
            .held
            .swap_remove(&(second.gateway, second.ticket));
        if !second.is_on_its_way() {
            self.finish(second, Outcome::ClientGone);
        }
    }

    /// The connection between two gateways broke: to the second one its client has gone.
    fn break_hop(&mut self, request: u32) {
        self.lose_client(request);
        let r = self.requests.get(request);
        r.at = 0;
        r.inside = false;
        r.struck = true;
        self.next(request, 0, RequestStep::Broken);
    }
}
