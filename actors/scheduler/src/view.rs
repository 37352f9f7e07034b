//! What a scheduler knows of its region, in typed tables fed by the mirror.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Backoff, Duration, Mirror, Now, Time};
use tidegate_protocol::{
    Address, GatewayRecord, HostRecord, HostState, InstanceRef, NodeId, Role, SlotRecord,
    SlotState, VersionSpec,
};

use crate::SchedulerConfig;
use crate::placement::Candidate;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct View {
    pub(crate) versions: BTreeMap<u64, Version>,
    pub(crate) hosts: BTreeMap<NodeId, Host>,
    gateways: BTreeMap<NodeId, Gateway>,
    /// Version that each project's route names.
    routes: BTreeMap<String, u64>,
    /// When each gateway actor last reported its traffic.
    reports: BTreeMap<Address, Time>,
    /// Versions with a slot that is not free.
    pub(crate) awake: BTreeSet<u64>,
    /// Slots that name each host.
    occupied: BTreeMap<NodeId, u32>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Version {
    pub(crate) spec: Option<VersionSpec>,
    pub(crate) slots: BTreeMap<u32, Slot>,
    demand: BTreeMap<Address, (u32, Time)>,
    pub(crate) last_busy: Time,
    routed: bool,
    unrouted_at: Option<Time>,
    pub(crate) backoff: Backoff,
    pub(crate) failure: Option<Failure>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) record: SlotRecord,
    /// When this epoch was first seen in this state.
    pub(crate) since: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) instance: InstanceRef,
    pub(crate) at: Time,
    pub(crate) until: Time,
    pub(crate) reason: String,
    pub(crate) log_tail: String,
    pub(crate) before_start: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Host {
    record: HostRecord,
    heard: Time,
}

#[derive(Debug, Serialize, Deserialize)]
struct Gateway {
    actors: u32,
    heard: Time,
}

impl Failure {
    /// Milliseconds until the next start may be tried, rounded up.
    pub(crate) fn retry_after_ms(&self, now: Time) -> u64 {
        self.until.since(now).as_nanos().div_ceil(1_000_000) as u64
    }
}

impl Version {
    fn new(config: &SchedulerConfig) -> Self {
        Self {
            spec: None,
            slots: BTreeMap::new(),
            demand: BTreeMap::new(),
            last_busy: Time::ZERO,
            routed: false,
            unrouted_at: None,
            backoff: Backoff::new(config.backoff_base, config.backoff_cap),
            failure: None,
        }
    }

    pub(crate) fn set_demand(&mut self, from: Address, demand: u32, now: Time) {
        self.demand.insert(from, (demand, now));
        self.last_busy = now;
    }

    /// Who has asked for it lately.
    pub(crate) fn askers(&self, now: Time, age_max: Duration) -> impl Iterator<Item = Address> {
        self.demand
            .iter()
            .filter(move |(_, (_, seen))| now.since(*seen) < age_max)
            .map(|(asker, _)| *asker)
    }

    /// Instances that the demand of the last `age_max` calls for.
    pub(crate) fn wanted(&mut self, now: Time, age_max: Duration) -> u32 {
        self.demand
            .retain(|_, (_, seen)| now.since(*seen) < age_max);
        let Some(spec) = &self.spec else {
            return 0;
        };
        let total = self
            .demand
            .values()
            .fold(0u32, |sum, (demand, _)| sum.saturating_add(*demand));
        total
            .div_ceil(spec.concurrency.max(1))
            .clamp(1, spec.instances_max.max(1))
    }

    pub(crate) fn count(&self, state: SlotState) -> u32 {
        let of_state = |s: &&Slot| s.record.state() == state;
        self.slots.values().filter(of_state).count() as u32
    }

    /// Instances that start or run, as far as the mirror shows and nobody said otherwise.
    pub(crate) fn instances(&self) -> u32 {
        let died = self.failure.as_ref().map(|f| f.instance);
        let alive = |s: &&Slot| {
            matches!(s.record.state(), SlotState::Starting | SlotState::Running)
                && died != Some(s.record.instance())
        };
        self.slots.values().filter(alive).count() as u32
    }

    /// Whether the end of an instance is not known yet, and its slot was not given to
    /// another life since.
    pub(crate) fn is_news_of_failure(&self, instance: InstanceRef) -> bool {
        let superseded = self
            .slots
            .get(&instance.slot)
            .is_some_and(|s| s.record.epoch > instance.epoch);
        !superseded && self.failure.as_ref().map(|f| f.instance) != Some(instance)
    }

    /// Whether it lost its route so lately that it may be needed for a rollback.
    pub(crate) fn may_be_rolled_back_to(&self, now: Time, window: Duration) -> bool {
        !self.routed && self.unrouted_at.is_some_and(|t| now.since(t) < window)
    }

    pub(crate) fn failing(&self, now: Time) -> Option<&Failure> {
        self.failure.as_ref().filter(|f| f.until > now)
    }
}

impl View {
    pub(crate) fn version_mut(&mut self, id: u64, config: &SchedulerConfig) -> &mut Version {
        self.versions
            .entry(id)
            .or_insert_with(|| Version::new(config))
    }

    pub(crate) fn set_spec(
        &mut self,
        id: u64,
        spec: Option<VersionSpec>,
        config: &SchedulerConfig,
    ) {
        self.version_mut(id, config).spec = spec;
        self.tidy(id);
    }

    pub(crate) fn set_slot(
        &mut self,
        now: Now,
        id: u64,
        index: u32,
        record: Option<SlotRecord>,
        config: &SchedulerConfig,
    ) {
        let version = self.version_mut(id, config);
        let former = match record {
            Some(record) => {
                let since = version
                    .slots
                    .get(&index)
                    .filter(|s| (s.record.epoch, s.record.state) == (record.epoch, record.state))
                    .map_or(now.mono, |s| s.since);
                version.slots.insert(index, Slot { record, since })
            }
            None => version.slots.remove(&index),
        };
        let current = version
            .slots
            .get(&index)
            .and_then(|s| occupied_host(&s.record));
        let sleeps = version
            .slots
            .values()
            .all(|s| s.record.state() == SlotState::Free);
        if sleeps {
            self.awake.remove(&id);
        } else {
            self.awake.insert(id);
        }
        if let Some(host) = former.and_then(|s| occupied_host(&s.record)) {
            self.count_host(host, false);
        }
        if let Some(host) = current {
            self.count_host(host, true);
        }
        self.tidy(id);
    }

    pub(crate) fn set_route(
        &mut self,
        now: Now,
        project: &str,
        version: Option<u64>,
        config: &SchedulerConfig,
    ) {
        let former = match version {
            Some(version) => self.routes.insert(project.to_owned(), version),
            None => self.routes.remove(project),
        };
        if former == version {
            return;
        }
        if let Some(id) = former {
            if let Some(former) = self.versions.get_mut(&id) {
                former.routed = false;
                former.unrouted_at = Some(now.mono);
            }
            self.tidy(id);
        }
        if let Some(id) = version {
            self.version_mut(id, config).routed = true;
        }
    }

    /// Takes a host's record. Whether it may have room that it had not: a heartbeat alone
    /// gives none, unless it ends a silence.
    pub(crate) fn set_host(
        &mut self,
        now: Now,
        node: NodeId,
        record: Option<HostRecord>,
        config: &SchedulerConfig,
    ) -> bool {
        let Some(record) = record else {
            self.hosts.remove(&node);
            return false;
        };
        let beat = record.beat;
        let heard = now.mono;
        let Some(former) = self.hosts.insert(node, Host { record, heard }) else {
            return true;
        };
        let was_heard = now.mono.since(former.heard) < config.host_silence_max;
        let only_beats = self.hosts[&node].record
            == HostRecord {
                beat,
                ..former.record
            };
        !(was_heard && only_beats)
    }

    pub(crate) fn set_gateway(&mut self, now: Now, node: NodeId, record: Option<GatewayRecord>) {
        match record {
            Some(record) => {
                let gateway = Gateway {
                    actors: record.actors.max(1),
                    heard: now.mono,
                };
                self.gateways.insert(node, gateway);
            }
            None => {
                self.gateways.remove(&node);
                self.reports.retain(|actor, _| actor.node != node);
            }
        }
    }

    pub(crate) fn set_report(&mut self, from: Address, now: Time) {
        if self.gateways.contains_key(&from.node) {
            self.reports.insert(from, now);
        }
    }

    /// Whether every actor of every live gateway has reported its traffic lately. Only then
    /// is silence about a version a sign that nobody uses it.
    pub(crate) fn traffic_is_known(
        &self,
        now: Now,
        mirror: &Mirror,
        config: &SchedulerConfig,
    ) -> bool {
        let mut live = self
            .gateways
            .iter()
            .filter(|(_, g)| mirror.silence(now, g.heard) < config.gateway_silence_max)
            .peekable();
        live.peek().is_some()
            && live.all(|(node, gateway)| {
                (0..gateway.actors).all(|index| {
                    let actor = Address::new(*node, Role::Gateway, index as u16);
                    self.reports
                        .get(&actor)
                        .is_some_and(|t| now.mono.since(*t) < config.report_age_max)
                })
            })
    }

    /// Whether a host has been silent for too long; an unknown one counts from `since`.
    pub(crate) fn is_silent(
        &self,
        now: Now,
        node: NodeId,
        since: Time,
        mirror: &Mirror,
        config: &SchedulerConfig,
    ) -> bool {
        let heard = self.hosts.get(&node).map_or(since, |h| h.heard);
        mirror.silence(now, heard) >= config.host_silence_max
    }

    /// Every host as a candidate for one more instance of a version. `claims` are the hosts
    /// of claims that are not in the mirror yet, with their versions.
    pub(crate) fn candidates<'a>(
        &'a self,
        now: Now,
        id: u64,
        claims: impl Iterator<Item = (u64, NodeId)>,
        mirror: &Mirror,
        config: &SchedulerConfig,
    ) -> Vec<Candidate<'a>> {
        let mut of_version: BTreeMap<NodeId, u32> = BTreeMap::new();
        let slots = self
            .versions
            .get(&id)
            .into_iter()
            .flat_map(|v| v.slots.values());
        for host in slots.filter_map(|s| occupied_host(&s.record)) {
            *of_version.entry(host).or_default() += 1;
        }
        let mut claimed: BTreeMap<NodeId, u32> = BTreeMap::new();
        for (version, host) in claims {
            *claimed.entry(host).or_default() += 1;
            if version == id {
                *of_version.entry(host).or_default() += 1;
            }
        }
        let count = |counts: &BTreeMap<NodeId, u32>, node| counts.get(node).copied().unwrap_or(0);
        self.hosts
            .iter()
            .map(|(node, host)| Candidate {
                node: *node,
                zone: &host.record.zone,
                occupied: count(&self.occupied, node) + count(&claimed, node),
                capacity: host.record.capacity,
                of_version: count(&of_version, node),
                usable: host.record.state() == HostState::Active
                    && mirror.silence(now, host.heard) < config.host_silence_max,
            })
            .collect()
    }

    fn count_host(&mut self, host: NodeId, up: bool) {
        let count = self.occupied.entry(host).or_default();
        *count = if up {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
        if *count == 0 {
            self.occupied.remove(&host);
        }
    }

    /// Forgets a version of which neither record nor slot is left.
    fn tidy(&mut self, id: u64) {
        let empty = |v: &Version| v.spec.is_none() && v.slots.is_empty() && !v.routed;
        if self.versions.get(&id).is_some_and(empty) {
            self.versions.remove(&id);
        }
    }

    /// Panics when the incremental counts differ from the slots.
    pub(crate) fn check(&self) {
        let mut occupied: BTreeMap<NodeId, u32> = BTreeMap::new();
        for slot in self.versions.values().flat_map(|v| v.slots.values()) {
            if let Some(host) = occupied_host(&slot.record) {
                *occupied.entry(host).or_default() += 1;
            }
        }
        assert_eq!(occupied, self.occupied, "occupied slots of each host");
        let sleeps = |v: &Version| {
            v.slots
                .values()
                .all(|s| s.record.state() == SlotState::Free)
        };
        let awake = self.versions.iter().filter(|(_, v)| !sleeps(v));
        assert!(
            awake.map(|(id, _)| id).eq(&self.awake),
            "versions with a slot that is not free"
        );
    }
}

/// The host on which a slot holds a place.
fn occupied_host(slot: &SlotRecord) -> Option<NodeId> {
    let held = slot.state() != SlotState::Free && slot.host != 0;
    held.then_some(NodeId(slot.host))
}
