//! What the oracles see of a request.

use tidegate_kernel::{Decision, Refusal, Time};
use tidegate_protocol::{Digest, InstanceRef, Key, Record};

use super::MS;
use crate::blob::Opened;
use crate::buggify::MIRROR_MISSES;
use crate::clock::SimTime;
use crate::instance::Phase;
use crate::oracle::End;
use crate::plan::{Change, PlannedFault};
use crate::world::World;

/// A request after the bound, with a wake before it, takes no longer.
const ENDS_WITHIN_NS: u64 = 10_000 * MS;

/// A mirror that missed something has asked, and was answered, by then.
const ASKS_WITHIN_NS: u64 = 8_000 * MS;

impl World {
    pub(super) fn judge_route(&mut self, gateway: u32, node: usize, instance: InstanceRef) {
        let env = &mut self.env;
        let oracles = &mut env.oracles;
        let findings = &mut oracles.findings;
        oracles.one_owner.sent(gateway, instance, findings);
        let (ledger, blobs) = (&env.ledger, &env.nodes[node].blobs);
        let holds = || {
            let artifact = ledger.artifact(instance.version);
            artifact.is_some_and(|artifact| blobs.holds_artifact(artifact))
        };
        oracles
            .verified
            .routed(node, instance.version, holds, findings);
    }

    pub(super) fn judge_static(
        &mut self,
        request: u32,
        node: usize,
        version: u64,
        artifact: Digest,
    ) {
        self.judge_arrival(request, version);
        let env = &mut self.env;
        let oracles = &mut env.oracles;
        let blobs = &env.nodes[node].blobs;
        let findings = &mut oracles.findings;
        let holds = || blobs.holds_artifact(artifact);
        oracles.verified.routed(node, version, holds, findings);
        let own = env.ledger.artifact(version) == Some(artifact);
        oracles.right_version.answered_from(version, own, findings);
    }

    /// A front sends a file.
    pub(super) fn judge_file(&mut self, node: usize, version: u64, opened: Opened) {
        let env = &mut self.env;
        let rotten_ns = match opened {
            Opened::Rotten(since) => env.now - since,
            Opened::Whole | Opened::Gone => return,
        };
        env.stats.mark("rotten files served");
        let blobs = env.nodes[node].blobs.count();
        let oracles = &mut env.oracles;
        let findings = &mut oracles.findings;
        let verified = &mut oracles.verified;
        verified.served_rotten(node, version, rotten_ns, blobs, findings);
    }

    #[inline]
    pub(super) fn judge_arrival(&mut self, request: u32, version: u64) {
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
    pub(super) fn judge_end_of_leg(&mut self, request: u32, end: End) {
        let r = &self.requests.all[request as usize];
        let leg = r.leg();
        let app = self.streams[r.stream as usize].app;
        let late = match leg.deadline {
            // Nobody was told of a deadline: it was refused at once, or answered from files.
            Time::ZERO | Time(u64::MAX) => 0,
            deadline => {
                let node = self.actors[leg.gateway as usize].node;
                let now = self.env.nodes[node].clock.now(self.env.now).mono;
                now.0.saturating_sub(deadline.0)
            }
        };
        let excused = match end {
            End::Served | End::Refused(_) if late == 0 => true,
            _ => self.is_excused(request),
        };
        let oracles = &mut self.env.oracles;
        let host = &self.hosts[app as usize];
        oracles
            .answered
            .ended(host, end, late, excused, &mut oracles.findings);
    }

    /// Whether a region has to serve a request that is sent then, by the end of the run.
    #[inline]
    pub(super) fn is_owed(&self, app: u32, sent_at: SimTime) -> bool {
        let in_time = sent_at >= self.well_from && sent_at + ENDS_WITHIN_NS <= self.duration;
        in_time && !self.operator.is_poisoned(app) && !self.operator.is_removed(app)
    }

    /// Whether something on the request's way was broken lately, or its app is.
    pub(super) fn is_excused(&self, request: u32) -> bool {
        let r = &self.requests.all[request as usize];
        let app = self.streams[r.stream as usize].app;
        r.struck || self.operator.is_poisoned(app) || self.excuses.any(r.regions, self.env.now)
    }

    /// A gateway has decided about a request that it was asked about, or that it held. One
    /// that an instance turned away belongs to the version that it was sent to first.
    #[inline]
    pub(super) fn judge_decision(&mut self, request: u32, decision: &Decision) {
        let r = &self.requests.all[request as usize];
        if r.instance != u32::MAX {
            return;
        }
        let (gateway, app) = (r.leg().gateway, self.streams[r.stream as usize].app);
        let node = self.actors[gateway as usize].node;
        // A node that found a blob damaged cannot serve what it lacks until it has fetched it.
        let lacks = self.env.nodes[node].blobs.damaged > 0 && self.env.now < self.well_from;
        let oracles = &mut self.env.oracles;
        let host = &self.hosts[app as usize];
        let findings = &mut oracles.findings;
        let oracle = &mut oracles.right_version;
        match decision {
            Decision::Forward { instance, .. } => {
                oracle.decided(gateway, app, host, instance.version, findings);
            }
            Decision::Static { version, .. } => {
                oracle.decided(gateway, app, host, *version, findings);
            }
            Decision::Refuse(Refusal::NotHereYet { .. }) if lacks => {}
            Decision::Refuse(refusal @ (Refusal::UnknownHost | Refusal::NotHereYet { .. }))
                if oracle.has_adopted(gateway, app) && !self.operator.is_removed(app) =>
            {
                oracles.answered.unrouted(host, refusal, findings);
            }
            Decision::Hold { .. } | Decision::Hop { .. } | Decision::Refuse(_) => {}
        }
    }

    /// What a decision does to the load: one more try, or a refusal.
    #[inline]
    pub(super) fn judge_load(&mut self, request: u32, decision: &Decision) {
        let now = self.env.now;
        let r = &mut self.requests.all[request as usize];
        let app = self.streams[r.stream as usize].app;
        let host = &self.hosts[app as usize];
        let oracles = &mut self.env.oracles;
        let (overload, findings) = (&mut oracles.overload, &mut oracles.findings);
        match decision {
            Decision::Forward { .. } | Decision::Hop { .. } => {
                let leg = &mut r.legs[usize::from(r.at)];
                leg.sends = leg.sends.saturating_add(1);
                overload.sends(host, leg.sends, findings);
            }
            Decision::Refuse(refusal) => {
                let wait = refusal.retry_after_s().unwrap_or(0);
                r.retry_after_s = u16::try_from(wait).unwrap_or(u16::MAX);
                let held = r.held_since.map_or(0, |since| now - since);
                overload.refused(host, refusal, held, findings);
                self.judge_given_up(request, refusal);
            }
            Decision::Hold { .. } => self.judge_held(request),
            Decision::Static { .. } => {}
        }
    }

    /// Queues are looked at while they grow, and not only at checkpoints: a spike may pass
    /// between two.
    fn judge_held(&mut self, request: u32) {
        const EVERY: u64 = 64;
        if !self.env.stats.held.is_multiple_of(EVERY) {
            return;
        }
        let gateway = self.requests.all[request as usize].leg().gateway;
        let slot = &self.actors[gateway as usize];
        if let Some(cell) = &slot.cell {
            let name = &self.env.topology.nodes[slot.node].name;
            let oracles = &mut self.env.oracles;
            let findings = &mut oracles.findings;
            oracles.overload.loaded(name, &cell.load(), findings);
        }
    }

    /// An instance did not take a request.
    pub(super) fn judge_refusal(&mut self, request: u32, instance: u32) {
        let i = self.env.instances.get(instance);
        let ended = matches!(i.phase, Phase::Draining | Phase::Dead);
        if !(ended && i.terminated_at.is_some()) {
            return;
        }
        let (name, superseded) = (i.reference.to_string(), self.is_superseded(instance));
        let excused = superseded || self.gateways_may_lag() || self.is_excused(request);
        let oracles = &mut self.env.oracles;
        let findings = &mut oracles.findings;
        oracles.answered.turned_away(&name, excused, findings);
    }

    /// Whether gateways may miss the news that an instance is to end until they next ask, which
    /// is later than it waits for them. The request is then tried elsewhere.
    fn gateways_may_lag(&self) -> bool {
        let now = self.env.now;
        let misses = |fault: &PlannedFault| {
            let asked = fault.end + ASKS_WITHIN_NS;
            matches!(fault.change, Change::Buggify(MIRROR_MISSES, _))
                && (fault.begin..asked).contains(&now)
        };
        self.env.scenario.network.loss_per_million > 0 || self.faults.iter().any(misses)
    }

    /// Whether an instance's slot was taken back from its host, which was taken for dead. Such
    /// an instance ends at once, and gateways hear of it when it does.
    fn is_superseded(&self, instance: u32) -> bool {
        let i = self.env.instances.get(instance);
        let Some(region) = self.env.topology.nodes[i.host].region else {
            return false;
        };
        let (version, index) = (i.reference.version, i.reference.slot);
        match self
            .env
            .ledger
            .region(region)
            .get(&Key::Slot { version, index })
        {
            Some(Record::Slot(slot)) => slot.epoch > i.reference.epoch,
            _ => false,
        }
    }

    /// Requests that are open long after their deadline.
    pub(crate) fn judge_open_requests(&mut self) {
        const LONGEST_NS: u64 = 70_000 * MS;
        for (_, r) in self.requests.live() {
            let late = self.env.now.saturating_sub(r.sent_at + LONGEST_NS);
            let app = self.streams[r.stream as usize].app;
            let oracles = &mut self.env.oracles;
            oracles
                .answered
                .silent(&self.hosts[app as usize], late, &mut oracles.findings);
        }
    }
}
