//! The scheduler actor: which instance runs where, and when none needs to.
//!
//! One scheduler is active in each region ([`election`](self) by lease and fence). It admits
//! wakes first-in first-out, chooses hosts, claims slots, takes back what hosts or instances
//! lost, and puts idle versions to sleep. All of its state is a mirror of the partition
//! store plus what can be learnt again: a new active scheduler needs nothing from the old.
//!
//! It must never act on a slot without naming the fence of its own election and the slot's
//! revision in the commit, never start more instances than the version has slots, and never
//! put a version to sleep while it does not know what every live gateway sees.

mod admission;
mod config;
mod election;
mod placement;
mod slots;
#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

use admission::Queue;
pub use config::SchedulerConfig;
use election::{Election, Turn};
pub use placement::{Candidate, choose_host};
use serde::{Deserialize, Serialize};
use slots::Pending;
use tidegate_kernel::{
    Actor, Change, CommitId, Duration, Effect, Effects, Event, Load, Mirror, Now, Rng, Time,
};
use tidegate_protocol::{
    Address, InstanceFailed, Key, Message, Record, SlotState, StoreCommitReply, TrafficReport,
};
use view::{Failure, View};

/// How often the active scheduler looks at what time alone can change.
const TICK: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
pub struct Scheduler {
    config: SchedulerConfig,
    rng: Rng,
    mirror: Mirror,
    election: Election,
    view: View,
    queue: Queue,
    /// Commits on slots that are not in the mirror yet.
    pending: BTreeMap<(u64, u32), Pending>,
    next_commit: u64,
    tick_at: Time,
    /// Since when, without a break, this term has known what every live gateway sees.
    traffic_known_since: Time,
}

/// What a feed message touched.
#[derive(Default)]
struct Touched {
    versions: Vec<u64>,
    /// A slot was freed, or a host appeared or changed in more than its heartbeat.
    capacity: bool,
    elected: bool,
}

impl Scheduler {
    pub fn new(config: SchedulerConfig, mut rng: Rng) -> Self {
        let prefixes = [
            Key::VERSIONS,
            Key::SLOTS,
            Key::ROUTES,
            Key::HOSTS,
            Key::GATEWAYS,
            Key::LEASE,
            Key::FENCE,
        ];
        Self {
            mirror: Mirror::new(config.store, &prefixes, &mut rng),
            election: Election::new(config.me),
            view: View::default(),
            queue: Queue::new(config.queue_max),
            pending: BTreeMap::new(),
            next_commit: rng.u64(),
            tick_at: Time::ZERO,
            traffic_known_since: Time::ZERO,
            config,
            rng,
        }
    }

    /// Whether this scheduler holds the region's lease, and under which epoch.
    pub fn active_epoch(&self) -> Option<u64> {
        self.election.term().map(|term| term.epoch)
    }

    fn next_id(&mut self) -> CommitId {
        self.next_commit = self.next_commit.wrapping_add(1);
        CommitId(self.next_commit)
    }

    fn on_timer(&mut self, now: Now, fx: &mut Effects) {
        self.mirror.on_timer(now, fx);
        let id = self.next_id();
        self.election
            .on_timer(now, &self.config, &self.mirror, || id, fx);
        if now.mono >= self.tick_at {
            self.tick_at = now.mono + TICK;
            self.expire_pending(now, fx);
            if self.election.term().is_some() {
                self.watch_traffic(now);
                self.look_at_awake(now, fx);
                self.queue.drop_stale(now.mono);
                self.admit(now, fx);
            }
        }
    }

    fn on_turn(&mut self, now: Now, turn: Turn, fx: &mut Effects) {
        match turn {
            Turn::None => {}
            Turn::Elected => {
                self.traffic_known_since = now.mono;
                self.repeat_orders(fx);
                self.look_at_awake(now, fx);
            }
            Turn::Deposed => {
                self.queue.clear();
                for pending in std::mem::take(&mut self.pending).into_values() {
                    fx.push(Effect::Forget(pending.commit));
                }
            }
        }
    }

    fn look_at_awake(&mut self, now: Now, fx: &mut Effects) {
        let awake: Vec<u64> = self.view.awake.iter().copied().collect();
        for version in awake {
            self.look_at_version(now, version, fx);
        }
    }

    /// Takes over what the mirror learnt. Nothing is decided before all of it is in the
    /// view: the mirror already names the newest revisions, and a commit decided from an
    /// older record under them would overwrite what it has not seen.
    fn on_feed(&mut self, now: Now, changes: Vec<Change>, fx: &mut Effects) {
        let mut touched = Touched::default();
        for change in changes {
            self.take_change(now, change, &mut touched, fx);
        }
        self.settle_pending();
        if touched.elected && self.election.term().is_some() {
            self.on_turn(now, Turn::Elected, fx);
        } else {
            touched.versions.sort_unstable();
            touched.versions.dedup();
            for version in touched.versions {
                self.look_at_version(now, version, fx);
            }
        }
        if touched.capacity {
            self.admit(now, fx);
        }
    }

    fn take_change(&mut self, now: Now, change: Change, touched: &mut Touched, fx: &mut Effects) {
        let config = &self.config;
        match (change.key, change.record) {
            (Key::Version(id), record) => {
                let spec = match record {
                    Some(Record::Version(spec)) => Some(spec),
                    _ => None,
                };
                self.view.set_spec(id, spec, config);
                touched.versions.push(id);
            }
            (Key::Slot { version, index }, record) => {
                let slot = match record {
                    Some(Record::Slot(slot)) => Some(slot),
                    _ => None,
                };
                let frees = slot.as_ref().is_none_or(|s| s.state() == SlotState::Free);
                self.view.set_slot(now, version, index, slot, config);
                if let Some(pending) = self.pending.get_mut(&(version, index)) {
                    pending.shown = true;
                }
                touched.versions.push(version);
                touched.capacity |= frees;
            }
            (Key::Route(project), record) => {
                let version = match record {
                    Some(Record::Route(route)) => Some(route.version),
                    _ => None,
                };
                self.view.set_route(now, &project, version, config);
            }
            (Key::Host(node), record) => {
                let record = match record {
                    Some(Record::Host(record)) => Some(record),
                    _ => None,
                };
                touched.capacity |= self.view.set_host(now, node, record, config);
            }
            (Key::Gateway(node), record) => {
                let record = match record {
                    Some(Record::Gateway(record)) => Some(record),
                    _ => None,
                };
                self.view.set_gateway(now, node, record);
            }
            (Key::Lease, record) => {
                let lease = match record {
                    Some(Record::Lease(lease)) => Some(lease),
                    _ => None,
                };
                self.election.on_lease(now, lease);
            }
            (Key::Fence, record) => {
                let fence = match record {
                    Some(Record::Fence(fence)) => Some(fence),
                    _ => None,
                };
                match self.election.on_fence(fence, change.revision, fx) {
                    Turn::Elected => touched.elected = true,
                    turn => self.on_turn(now, turn, fx),
                }
            }
            _ => {}
        }
    }

    fn on_commit_reply(&mut self, now: Now, reply: StoreCommitReply, fx: &mut Effects) {
        let id = CommitId(reply.id);
        let outcome = reply.outcome.as_ref();
        let turn = match self.election.on_reply(id, outcome, now, fx) {
            Some(turn) => turn,
            None => self.on_slot_reply(id, reply.outcome, fx),
        };
        self.on_turn(now, turn, fx);
    }

    fn on_traffic(&mut self, now: Now, from: Address, report: &TrafficReport) {
        self.view.set_report(from, now.mono);
        for id in &report.busy {
            if let Some(version) = self.view.versions.get_mut(id) {
                version.last_busy = now.mono;
            }
        }
    }

    fn watch_traffic(&mut self, now: Now) {
        if !self.view.traffic_is_known(now, &self.mirror, &self.config) {
            self.traffic_known_since = now.mono;
        }
    }

    /// An instance died: its version waits before the next start.
    fn on_failed(&mut self, now: Now, failed: InstanceFailed, fx: &mut Effects) {
        let Some(instance) = failed.instance else {
            return;
        };
        let Some(version) = self.view.versions.get_mut(&instance.version) else {
            return;
        };
        if !version.is_news_of_failure(instance) {
            return;
        }
        let delay = version.backoff.fail(&mut self.rng);
        version.failure = Some(Failure {
            instance,
            at: now.mono,
            until: now.mono + delay,
            reason: failed.reason,
            log_tail: failed.log_tail,
            before_start: failed.before_start,
        });
        if self.election.term().is_some() {
            self.tell_waiting_of_failure(now, instance.version, fx);
        }
    }
}

impl Actor for Scheduler {
    fn handle(&mut self, now: Now, event: Event, fx: &mut Effects) {
        let turn = self.election.lapse(now, &self.config, fx);
        self.on_turn(now, turn, fx);
        match event {
            Event::Start => self.mirror.on_timer(now, fx),
            Event::Timer => self.on_timer(now, fx),
            Event::Message { from, body } => match body {
                Message::StoreFeed(feed) => {
                    let changes = self.mirror.on_feed(now, from, feed, fx);
                    self.on_feed(now, changes, fx);
                }
                Message::StoreCommitReply(reply) => self.on_commit_reply(now, reply, fx),
                Message::Wake(wake) => self.on_wake(now, from, &wake, fx),
                Message::TrafficReport(report) => self.on_traffic(now, from, &report),
                Message::InstanceFailed(failed) => self.on_failed(now, failed, fx),
                _ => {}
            },
            Event::Engine(_) | Event::Driver(_) | Event::Blob(_) => {}
        }
    }

    fn next_deadline(&self) -> Option<(Time, &'static str)> {
        [
            self.mirror.next_deadline(),
            self.election.next_deadline(&self.config),
        ]
        .into_iter()
        .chain(self.needs_tick().then_some((self.tick_at, "tick")))
        .min_by_key(|(time, _)| *time)
    }

    fn check(&self) {
        self.view.check();
        self.queue.check();
        assert!(
            self.election.term().is_some() || self.queue.is_empty(),
            "only the active scheduler queues wakes"
        );
    }

    fn load(&self) -> Vec<Load> {
        vec![self.queue.load()]
    }
}

impl Scheduler {
    fn needs_tick(&self) -> bool {
        let acting = self.election.term().is_some();
        !self.pending.is_empty()
            || acting && (!self.view.awake.is_empty() || !self.queue.is_empty())
    }
}
