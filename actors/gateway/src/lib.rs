//! The gateway actor: what happens to each request.
//!
//! Decides, for a host name, which version answers; for a version, which instance; and for
//! a request that nothing can take yet, how long its client waits and who is asked for an
//! instance. It answers from its mirror of the region's partition store alone: a store, a
//! scheduler or a control plane that is gone changes nothing for warm traffic.
//!
//! It must never route to a version whose artifact this node has not verified, nor mix two
//! epochs of a project, nor go back an epoch, nor let a request end in silence: whatever was
//! admitted is forwarded, refused, or resumed by its deadline.
//!
//! The front calls [`Gateway::decide`] and [`Gateway::finished`] directly; both cost one
//! lookup and a few comparisons, and allocate nothing for warm traffic.

mod config;
mod feed;
mod hold;
mod peers;
mod requests;
mod table;
#[cfg(test)]
mod tests;
mod version;

use std::collections::{BTreeMap, BTreeSet};

pub use config::GatewayConfig;
use peers::Peers;
use requests::{Request, Requests, Stage};
use serde::{Deserialize, Serialize};
use table::{Resolved, Table};
use tidegate_kernel::{
    Actor, Called, Decision, Duration, Effects, Event, FrontCall, Load, Mirror, Now, Outcome,
    Refusal, RequestHead, Rng, Ticket, Time,
};
use tidegate_protocol::{Address, AppKind, Key, Message, NodeId, TrafficReport};
use version::{Block, VersionIndex};

/// How often silent hosts, repeated wakes and refused instances are looked at.
const SWEEP: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
pub struct Gateway {
    config: GatewayConfig,
    rng: Rng,
    mirror: Mirror,
    table: Table,
    requests: Requests,
    peers: Peers,
    /// When each host's heartbeat was last seen to change.
    hosts: BTreeMap<NodeId, Time>,
    scheduler: Option<Address>,
    /// Waiting requests by the time at which they are given up.
    holds: BTreeSet<(Time, Ticket)>,
    report_at: Time,
    sweep_at: Time,
}

impl Gateway {
    pub fn new(config: GatewayConfig, mut rng: Rng) -> Self {
        let own_acks = format!("{}{}/", Key::ACKS, config.me.node);
        let prefixes = [
            Key::ROUTES,
            Key::VERSIONS,
            Key::SLOTS,
            Key::HOSTS,
            &own_acks,
            Key::PEERS,
            Key::LEASE,
        ];
        let mirror = Mirror::new(config.store, &prefixes, &mut rng);
        Self {
            mirror,
            table: Table::default(),
            requests: Requests::default(),
            peers: Peers::default(),
            hosts: BTreeMap::new(),
            scheduler: None,
            holds: BTreeSet::new(),
            report_at: Time::ZERO,
            sweep_at: Time::ZERO,
            config,
            rng,
        }
    }

    /// Admits a request and says what to do with it. Whatever is not refused must be ended
    /// with [`Gateway::finished`].
    pub fn decide(&mut self, now: Now, head: &RequestHead<'_>, fx: &mut Effects) -> Decision {
        let index = match self.table.resolve(head.host) {
            Some(Resolved::Version(index)) => index,
            None if self.mirror.is_loaded() => return Decision::Refuse(Refusal::UnknownHost),
            Some(Resolved::OnItsWay) | None => {
                return Decision::Refuse(Refusal::NotHereYet {
                    retry_after: Duration::from_secs(2),
                });
            }
        };
        let version = self.table.version_mut(index);
        version.admitted += 1;
        version.last_used = Some(now.mono);
        let ticket = self.requests.insert(Request {
            version: index,
            stage: Stage::Arrived,
            hopped: head.hopped,
            tries: 0,
            deadline: now.mono + self.config.request_deadline,
            hold_until: Time::ZERO,
            avoid: None,
        });
        self.place(now, ticket, fx)
    }

    /// Ends a request, or says where to try it next (only after
    /// [`Outcome::ConnectFailed`]). Unknown tickets change nothing.
    pub fn finished(
        &mut self,
        now: Now,
        ticket: Ticket,
        outcome: Outcome,
        fx: &mut Effects,
    ) -> Option<Decision> {
        let request = *self.requests.get_mut(ticket)?;
        if outcome != Outcome::ConnectFailed {
            self.end(now, ticket, fx);
            return None;
        }
        let refused_until = now.mono + self.config.refused_for;
        match request.stage {
            Stage::Forwarded(instance) => {
                let version = self.table.version_mut(request.version);
                if let Some(entry) = version.instance_mut(instance) {
                    entry.in_flight = entry.in_flight.saturating_sub(1);
                    entry.refused_until = refused_until;
                }
                let request = self.requests.get_mut(ticket)?;
                request.avoid = Some(instance);
                request.stage = Stage::Arrived;
            }
            Stage::Hopping(node) => {
                self.peers.refused(node, refused_until);
                self.requests.get_mut(ticket)?.stage = Stage::Arrived;
            }
            Stage::Arrived | Stage::Replaced | Stage::Waiting | Stage::Static => {
                self.end(now, ticket, fx);
                return None;
            }
        }
        let request = self.requests.get_mut(ticket)?;
        request.tries += 1;
        let refusal = if request.deadline <= now.mono {
            Some(Refusal::Deadline)
        } else if request.tries >= self.config.tries_max {
            Some(Refusal::Unreachable {
                retry_after: self.config.refused_for,
            })
        } else {
            None
        };
        Some(match refusal {
            Some(refusal) => self.refuse(now, ticket, refusal, fx),
            None => {
                fx.mark("a refused connection was tried elsewhere");
                self.place(now, ticket, fx)
            }
        })
    }

    /// Requests admitted and not finished.
    pub fn admitted(&self) -> usize {
        self.requests.len()
    }

    /// Version and epoch that this actor serves for a project.
    pub fn serving(&self, project: &str) -> Option<(u64, u64)> {
        self.table.serving(project)
    }

    /// Finds the request a place: an instance, the artifact, another region, the queue, or
    /// a refusal.
    fn place(&mut self, now: Now, ticket: Ticket, fx: &mut Effects) -> Decision {
        let Some(&mut request) = self.requests.get_mut(ticket) else {
            return Decision::Refuse(Refusal::Deadline);
        };
        let version = self.table.version(request.version);
        let Some(spec) = &version.spec else {
            return self.refuse(now, ticket, Refusal::UnknownHost, fx);
        };
        if spec.kind == AppKind::Static {
            return self.place_static(now, ticket, request.version, fx);
        }
        let overtakes = !version.waiting.is_empty() && request.stage != Stage::Waiting;
        if !overtakes && let Some(decision) = self.forward(now, ticket, request) {
            return decision;
        }
        let version = self.table.version(request.version);
        let runs_here = version
            .spec
            .as_ref()
            .is_some_and(|s| s.may_run_in(&self.config.region));
        let no_capacity = matches!(version.block, Block::NoCapacity { until } if until > now.mono);
        if !runs_here || no_capacity {
            if let Some(decision) = self.hop(now, ticket, request) {
                return decision;
            }
            if !runs_here {
                let refusal = if request.hopped {
                    Refusal::Loop
                } else {
                    Refusal::NoCapacity {
                        retry_after: Duration::from_secs(5),
                    }
                };
                return self.refuse(now, ticket, refusal, fx);
            }
        }
        if let Some(refusal) = self.failing(now, request.version) {
            return self.refuse(now, ticket, refusal, fx);
        }
        self.hold(now, ticket, fx)
    }

    fn place_static(
        &mut self,
        now: Now,
        ticket: Ticket,
        index: VersionIndex,
        fx: &mut Effects,
    ) -> Decision {
        let version = self.table.version(index);
        match &version.spec {
            Some(spec) if version.acked => {
                let decision = Decision::Static {
                    ticket,
                    version: version.id,
                    artifact: spec.artifact,
                };
                if let Some(request) = self.requests.get_mut(ticket) {
                    request.stage = Stage::Static;
                }
                decision
            }
            _ => {
                let refusal = Refusal::NotHereYet {
                    retry_after: Duration::from_secs(2),
                };
                self.refuse(now, ticket, refusal, fx)
            }
        }
    }

    fn forward(&mut self, now: Now, ticket: Ticket, request: Request) -> Option<Decision> {
        let version = self.table.version_mut(request.version);
        let chosen = version.pick(now.mono, request.avoid, &mut self.rng)?;
        let instance = &mut version.instances[chosen];
        instance.in_flight += 1;
        let decision = Decision::Forward {
            ticket,
            instance: instance.instance,
            endpoint: instance.endpoint,
            deadline: request.deadline,
        };
        self.requests.get_mut(ticket)?.stage = Stage::Forwarded(instance.instance);
        Some(decision)
    }

    fn hop(&mut self, now: Now, ticket: Ticket, request: Request) -> Option<Decision> {
        if request.hopped {
            return None;
        }
        let spec = self.table.version(request.version).spec.as_ref()?;
        let (node, endpoint) =
            self.peers
                .choose(&self.config.region, &spec.regions, now.mono, &mut self.rng)?;
        self.requests.get_mut(ticket)?.stage = Stage::Hopping(node);
        Some(Decision::Hop {
            ticket,
            node,
            endpoint,
            deadline: request.deadline,
        })
    }

    /// Why nothing of the version can be had, when it has just failed to start.
    fn failing(&self, now: Now, index: VersionIndex) -> Option<Refusal> {
        let version = self.table.version(index);
        match &version.block {
            Block::Failed { until, reason }
                if *until > now.mono && version.instances.is_empty() =>
            {
                Some(Refusal::StartFailed {
                    reason: reason.clone(),
                    retry_after: until.since(now.mono),
                })
            }
            _ => None,
        }
    }

    fn refuse(&mut self, now: Now, ticket: Ticket, refusal: Refusal, fx: &mut Effects) -> Decision {
        self.end(now, ticket, fx);
        Decision::Refuse(refusal)
    }

    /// Forgets a request, and gives what it held to those who wait.
    fn end(&mut self, now: Now, ticket: Ticket, fx: &mut Effects) {
        let Some(request) = self.requests.remove(ticket) else {
            return;
        };
        let version = self.table.version_mut(request.version);
        version.admitted -= 1;
        version.last_used = Some(now.mono);
        match request.stage {
            Stage::Forwarded(instance) => {
                if let Some(entry) = version.instance_mut(instance) {
                    entry.in_flight = entry.in_flight.saturating_sub(1);
                }
                if !version.waiting.is_empty() {
                    self.dispatch(now, request.version, fx);
                }
            }
            Stage::Waiting => {
                version.waiting.retain(|t| *t != ticket);
                self.holds.remove(&(request.hold_until, ticket));
            }
            Stage::Arrived | Stage::Replaced | Stage::Hopping(_) | Stage::Static => {}
        }
        if self.table.version(request.version).spec.is_none() {
            self.table.release(request.version);
        }
    }

    fn report_traffic(&mut self, now: Now, fx: &mut Effects) {
        self.report_at = now.mono + self.config.traffic_report_every;
        let window = self.config.traffic_report_every * 2;
        let Some(scheduler) = self.scheduler else {
            return;
        };
        let busy = self
            .table
            .indices()
            .map(|index| self.table.version(index))
            .filter(|version| version.was_used_within(now.mono, window))
            .map(|version| version.id)
            .collect();
        fx.send(scheduler, Message::TrafficReport(TrafficReport { busy }));
    }
}

impl Called for Gateway {
    type Call<'a> = FrontCall<'a>;
    type Answer = Option<Decision>;

    #[inline]
    fn call(&mut self, now: Now, call: FrontCall<'_>, fx: &mut Effects) -> Option<Decision> {
        match call {
            FrontCall::Decide(head) => Some(self.decide(now, &head, fx)),
            FrontCall::Finished { ticket, outcome } => self.finished(now, ticket, outcome, fx),
        }
    }
}

impl Actor for Gateway {
    fn handle(&mut self, now: Now, event: Event, fx: &mut Effects) {
        match event {
            Event::Start => self.mirror.on_timer(now, fx),
            Event::Timer => {
                self.mirror.on_timer(now, fx);
                self.give_up_expired(now, fx);
                if now.mono >= self.sweep_at {
                    self.sweep(now, fx);
                }
                if now.mono >= self.report_at {
                    self.report_traffic(now, fx);
                }
            }
            Event::Message { from, body } => match body {
                Message::StoreFeed(feed) => {
                    for change in self.mirror.on_feed(now, from, feed, fx) {
                        self.on_change(now, change, fx);
                    }
                }
                Message::WakeReply(reply) => self.on_wake_reply(now, reply, fx),
                _ => {}
            },
            Event::Engine(_) | Event::Driver(_) | Event::Blob(_) => {}
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let hold = self
            .holds
            .first()
            .map(|(time, _)| (*time, "give up a wait"));
        let fixed = [
            self.mirror.next_deadline(),
            (self.report_at, "report traffic"),
            (self.sweep_at, "sweep"),
        ];
        fixed.into_iter().chain(hold).min_by_key(|(time, _)| *time)
    }

    fn check(&self) {
        let waiting: usize = self
            .table
            .indices()
            .map(|i| self.table.version(i).waiting.len())
            .sum();
        assert_eq!(waiting, self.holds.len(), "every wait has a deadline");
        assert!(waiting <= self.config.waiting_max, "the queues are bounded");
    }

    fn load(&self) -> Vec<Load> {
        let versions = || self.table.indices().map(|i| self.table.version(i));
        let longest = versions().map(|v| v.waiting.len()).max().unwrap_or(0);
        let config = &self.config;
        let mut load = vec![
            Load::new("waiting requests", self.holds.len(), config.waiting_max),
            Load::new(
                "requests waiting for one version",
                longest,
                config.waiting_version_max,
            ),
        ];
        for version in versions() {
            let Some(spec) = &version.spec else {
                continue;
            };
            let busiest = version.instances.iter().map(|i| i.in_flight).max();
            load.push(Load::new(
                "requests in flight at one instance",
                busiest.unwrap_or(0) as usize,
                spec.concurrency as usize,
            ));
        }
        load
    }
}
