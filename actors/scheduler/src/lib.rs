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
use slots::Pending;
use tidegate_kernel::{
    Actor, Change, CommitId, Duration, Effect, Effects, Event, Mirror, Now, Rng, Time,
};
use tidegate_protocol::{
    Address, InstanceFailed, Key, Message, Record, StoreCommitReply, TrafficReport,
    store_commit_reply::Outcome,
};
use view::{Failure, View};

/// How often the active scheduler looks at what time alone can change.
const TICK: Duration = Duration::from_secs(1);

#[derive(Debug)]
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
        let turn = self
            .election
            .on_timer(now, &self.config, &self.mirror, || id, fx);
        self.on_turn(now, turn, fx);
        if now.mono >= self.tick_at {
            self.tick_at = now.mono + TICK;
            self.expire_pending(now, fx);
            if self.election.term().is_some() {
                let awake: Vec<u64> = self.view.awake.iter().copied().collect();
                for version in awake {
                    self.look_at_version(now, version, fx);
                }
                self.admit(now, fx);
            }
        }
    }

    fn on_turn(&mut self, now: Now, turn: Turn, fx: &mut Effects) {
        match turn {
            Turn::None => {}
            Turn::Elected => {
                self.repeat_orders(fx);
                let awake: Vec<u64> = self.view.awake.iter().copied().collect();
                for version in awake {
                    self.look_at_version(now, version, fx);
                }
            }
            Turn::Deposed => {
                self.queue.clear();
                for pending in std::mem::take(&mut self.pending).into_values() {
                    fx.push(Effect::Forget(pending.commit));
                }
            }
        }
    }

    fn on_change(&mut self, now: Now, change: Change, fx: &mut Effects) {
        let config = &self.config;
        match (change.key, change.record) {
            (Key::Version(id), record) => {
                let spec = match record {
                    Some(Record::Version(spec)) => Some(spec),
                    _ => None,
                };
                self.view.set_spec(id, spec, config);
                self.look_at_version(now, id, fx);
            }
            (Key::Slot { version, index }, record) => {
                let slot = match record {
                    Some(Record::Slot(slot)) => Some(slot),
                    _ => None,
                };
                self.view.set_slot(now, version, index, slot, config);
                self.look_at_version(now, version, fx);
                self.admit(now, fx);
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
                self.view.set_host(now, node, record);
                self.admit(now, fx);
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
                let turn = self.election.on_fence(fence, change.revision, fx);
                self.on_turn(now, turn, fx);
            }
            _ => {}
        }
    }

    fn on_commit_reply(&mut self, now: Now, reply: StoreCommitReply, fx: &mut Effects) {
        let id = CommitId(reply.id);
        let applied = match reply.outcome {
            Some(Outcome::Applied(revision)) => Some(revision),
            _ => None,
        };
        let turn = match self.election.on_reply(id, applied, now, fx) {
            Some(turn) => turn,
            None => self.on_slot_reply(id, reply.outcome, fx),
        };
        self.on_turn(now, turn, fx);
        if turn == Turn::None {
            self.admit(now, fx);
        }
    }

    fn on_traffic(&mut self, now: Now, from: Address, report: &TrafficReport) {
        self.view.set_report(from, now.mono);
        for id in &report.busy {
            if let Some(version) = self.view.versions.get_mut(id) {
                version.last_busy = now.mono;
            }
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
        let known = version.failure.as_ref().map(|f| f.instance);
        if known == Some(instance) {
            return;
        }
        let delay = version.backoff.fail(&mut self.rng);
        version.failure = Some(Failure {
            instance,
            until: now.mono + delay,
            reason: failed.reason,
            log_tail: failed.log_tail,
        });
        if self.election.term().is_some() {
            self.tell_waiting_of_failure(now, instance.version, fx);
        }
    }
}

impl Actor for Scheduler {
    fn handle(&mut self, now: Now, event: Event, fx: &mut Effects) {
        match event {
            Event::Start => self.mirror.on_timer(now, fx),
            Event::Timer => self.on_timer(now, fx),
            Event::Message { from, body } => match body {
                Message::StoreFeed(feed) => {
                    for change in self.mirror.on_feed(now, from, feed, fx) {
                        self.on_change(now, change, fx);
                    }
                    self.settle_pending();
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
        assert!(
            self.election.term().is_some() || self.queue.is_empty(),
            "only the active scheduler queues wakes"
        );
    }
}

impl Scheduler {
    fn needs_tick(&self) -> bool {
        let acting = self.election.term().is_some();
        !self.pending.is_empty()
            || acting && (!self.view.awake.is_empty() || !self.queue.is_empty())
    }
}
