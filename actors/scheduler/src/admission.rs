//! Wakes: who is let in, in which order, and what everybody else hears.
//!
//! First-in first-out by version: many gateways asking for one version are one entry. The
//! head of the queue waits for a host, and nobody overtakes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Duration, Effects, Load, Note, Now, Time};
use tidegate_protocol::{Address, Message, Wake, WakeOutcome, WakeReply};

use crate::Scheduler;

/// An entry that nobody has asked for in so long leaves the queue.
const FRESH: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Queue {
    order: tidegate_kernel::Bounded<u64>,
    /// When each version in the order was last asked for.
    asked: BTreeMap<u64, Time>,
}

impl Queue {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            order: tidegate_kernel::Bounded::new(capacity),
            asked: BTreeMap::new(),
        }
    }

    /// Joins the queue, or refreshes the place in it. `false`: the queue is full.
    fn join(&mut self, version: u64, now: Time) -> bool {
        if let Some(asked) = self.asked.get_mut(&version) {
            *asked = now;
            return true;
        }
        let joined = self.order.push(version).is_ok();
        if joined {
            self.asked.insert(version, now);
        }
        joined
    }

    fn leave(&mut self, version: u64) {
        if self.asked.remove(&version).is_none() {
            return;
        }
        if self.order.front() == Some(&version) {
            self.order.pop();
        } else {
            self.order.retain(|v| *v != version);
        }
    }

    /// Everybody whom nobody asks for any more leaves, wherever in the queue.
    pub(crate) fn drop_stale(&mut self, now: Time) {
        let asked = &mut self.asked;
        let before = asked.len();
        asked.retain(|_, asked| now.since(*asked) < FRESH);
        if asked.len() < before {
            self.order.retain(|version| asked.contains_key(version));
        }
    }

    fn contains(&self, version: u64) -> bool {
        self.asked.contains_key(&version)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.asked.clear();
    }

    pub(crate) fn load(&self) -> Load {
        Load::new("wakes", self.asked.len(), self.order.capacity())
    }

    /// Panics when the order and the times are not of the same versions.
    pub(crate) fn check(&self) {
        assert!(
            self.order.len() == self.asked.len() && self.order.iter().all(|v| self.contains(*v)),
            "each queued version has one place"
        );
    }
}

impl Scheduler {
    pub(crate) fn on_wake(&mut self, now: Now, from: Address, wake: &Wake, fx: &mut Effects) {
        let outcome = self.judge(now, from, wake, fx);
        let failure = self
            .view
            .versions
            .get(&wake.version)
            .and_then(|v| v.failing(now.mono))
            .filter(|_| outcome == WakeOutcome::Failed);
        let reply = WakeReply {
            version: wake.version,
            outcome: outcome.into(),
            retry_after_ms: failure.map_or(1_000, |f| f.retry_after_ms(now.mono)),
            reason: failure.map(|f| f.reason.clone()).unwrap_or_default(),
            log_tail: failure.map(|f| f.log_tail.clone()).unwrap_or_default(),
            before_start: failure.is_some_and(|f| f.before_start),
        };
        fx.send(from, Message::WakeReply(reply));
    }

    fn judge(&mut self, now: Now, from: Address, wake: &Wake, fx: &mut Effects) -> WakeOutcome {
        if self.election.term().is_none() {
            return WakeOutcome::NotActive;
        }
        let id = wake.version;
        let Some(version) = self.view.versions.get_mut(&id).filter(|v| v.spec.is_some()) else {
            return WakeOutcome::Unknown;
        };
        version.set_demand(from, wake.demand, now.mono);
        let have = self.have(id);
        let Some(missing) = self.missing(now, id) else {
            return WakeOutcome::Unknown;
        };
        if missing == 0 {
            return WakeOutcome::Coming;
        }
        let failing = self.view.versions[&id].failing(now.mono).is_some();
        if failing {
            return if have == 0 {
                WakeOutcome::Failed
            } else {
                WakeOutcome::Coming
            };
        }
        if self.free_slot(id).is_none() {
            return WakeOutcome::Full;
        }
        if !self.queue.join(id, now.mono) {
            fx.note(Note::Full { queue: "wakes" });
            return WakeOutcome::NoCapacity;
        }
        self.admit(now, fx);
        if !self.queue.contains(id) || self.have(id) > 0 {
            WakeOutcome::Coming
        } else {
            fx.mark("a wake waits for a host");
            WakeOutcome::NoCapacity
        }
    }

    /// Claims for the queue's head until no host has room.
    pub(crate) fn admit(&mut self, now: Now, fx: &mut Effects) {
        if self.election.term().is_none() {
            return;
        }
        while let Some(&id) = self.queue.order.front() {
            let stale = now.mono.since(self.queue.asked[&id]) >= FRESH;
            let served = self.missing(now, id).is_none_or(|missing| missing == 0);
            let failing = self
                .view
                .versions
                .get(&id)
                .is_some_and(|v| v.failing(now.mono).is_some());
            if stale || served || failing || self.free_slot(id).is_none() {
                self.queue.leave(id);
            } else if !self.claim(now, id, fx) {
                return;
            }
        }
    }

    /// Whoever waits for a version hears that it does not start, unless another instance of
    /// it is there to wait for.
    pub(crate) fn tell_waiting_of_failure(&mut self, now: Now, id: u64, fx: &mut Effects) {
        self.queue.leave(id);
        if self.have(id) > 0 {
            return;
        }
        let Some(version) = self.view.versions.get(&id) else {
            return;
        };
        let Some(failure) = version.failing(now.mono) else {
            return;
        };
        for asker in version.askers(now.mono, self.config.demand_age_max) {
            fx.send(
                asker,
                Message::WakeReply(WakeReply {
                    version: id,
                    outcome: WakeOutcome::Failed.into(),
                    retry_after_ms: failure.retry_after_ms(now.mono),
                    reason: failure.reason.clone(),
                    log_tail: failure.log_tail.clone(),
                    before_start: failure.before_start,
                }),
            );
        }
    }

    /// Instances that run, start, or are about to.
    fn have(&self, id: u64) -> u32 {
        self.view
            .versions
            .get(&id)
            .map_or(0, |version| version.instances() + self.claims_of(id))
    }

    fn missing(&mut self, now: Now, id: u64) -> Option<u32> {
        let have = self.have(id);
        let version = self.view.versions.get_mut(&id)?;
        version.spec.as_ref()?;
        let wanted = version.wanted(now.mono, self.config.demand_age_max);
        Some(wanted.saturating_sub(have))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Now::at_ms(seconds * 1_000).mono
    }

    fn queue(versions: &[u64]) -> Queue {
        let mut queue = Queue::new(4);
        for version in versions {
            assert!(queue.join(*version, at(0)));
        }
        queue
    }

    fn order(queue: &Queue) -> Vec<u64> {
        queue.check();
        queue.order.iter().copied().collect()
    }

    #[test]
    fn who_leaves_leaves_the_others_their_places() {
        for (leaves, expected) in [(1, [2, 3]), (2, [1, 3]), (3, [1, 2])] {
            let mut queue = queue(&[1, 2, 3]);
            queue.leave(leaves);
            queue.leave(9);
            assert_eq!(order(&queue), expected);
        }
    }

    #[test]
    fn who_was_not_asked_for_in_ten_seconds_leaves() {
        let mut queue = queue(&[1, 2, 3]);
        assert!(queue.join(2, at(1)));
        queue.drop_stale(at(9));
        assert_eq!(order(&queue), [1, 2, 3]);
        queue.drop_stale(at(10));
        assert_eq!(order(&queue), [2]);
        assert!(!queue.is_empty());
        queue.drop_stale(at(11));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_full_queue_takes_nobody_new() {
        let mut queue = queue(&[1, 2, 3, 4]);
        assert!(!queue.join(5, at(0)) && queue.join(4, at(0)));
        assert_eq!(queue.load(), Load::new("wakes", 4, 4));
        queue.clear();
        assert_eq!(order(&queue), [0; 0]);
    }

    #[test]
    #[should_panic(expected = "one place")]
    fn a_place_of_another_version_breaks_an_invariant() {
        let mut queue = queue(&[1]);
        queue.asked = BTreeMap::from([(2, at(0))]);
        queue.check();
    }
}
