//! Who watches what, and how far each was sent.
//!
//! Subscribers live in slots that do not move, and are found by address, by the request that
//! they await, and by watched prefix. The prefixes of one subscriber do not cover each
//! other, so a key reaches it by at most one.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;
use serde::{Deserialize, Serialize};
use tidegate_kernel::{Duration, Time};
use tidegate_protocol::{Address, FeedEntry};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Subscriber {
    pub(crate) address: Address,
    pub(crate) session: u64,
    /// Sorted; none covers another.
    pub(crate) prefixes: Vec<String>,
    pub(crate) heard: Time,
    /// Everything that matches up to here was sent, or the subscriber said that it has it.
    pub(crate) sent: u64,
    /// The engine's answer that it waits for; meanwhile nothing is pushed.
    pub(crate) awaiting: Option<u64>,
    /// What the batch at hand has for it; empty between events.
    pub(crate) outgoing: Vec<FeedEntry>,
}

impl Subscriber {
    pub(crate) fn new(address: Address, session: u64, prefixes: Vec<String>, heard: Time) -> Self {
        Self {
            address,
            session,
            prefixes,
            heard,
            sent: 0,
            awaiting: None,
            outgoing: Vec::new(),
        }
    }

    pub(crate) fn watches(&self, key: &str) -> bool {
        self.prefixes.iter().any(|p| key.starts_with(p.as_str()))
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Subscribers {
    slots: Vec<Option<Subscriber>>,
    free: Vec<usize>,
    by_address: IndexMap<Address, usize, FxBuildHasher>,
    by_request: BTreeMap<u64, usize>,
    by_prefix: IndexMap<String, Vec<usize>, FxBuildHasher>,
    /// How many of the prefixes in `by_prefix` have this length.
    lengths: BTreeMap<usize, usize>,
}

impl Subscribers {
    pub(crate) fn len(&self) -> usize {
        self.by_address.len()
    }

    pub(crate) fn find(&self, address: Address) -> Option<(usize, &Subscriber)> {
        let slot = *self.by_address.get(&address)?;
        Some((slot, self.slots[slot].as_ref()?))
    }

    /// The subscriber of a slot that is known to be taken.
    pub(crate) fn get_mut(&mut self, slot: usize) -> &mut Subscriber {
        self.slots[slot]
            .as_mut()
            .expect("a slot that is indexed is taken")
    }

    pub(crate) fn insert(&mut self, subscriber: Subscriber) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.by_address.insert(subscriber.address, slot);
        for prefix in &subscriber.prefixes {
            if let Some(watchers) = self.by_prefix.get_mut(prefix.as_str()) {
                watchers.push(slot);
            } else {
                self.by_prefix.insert(prefix.clone(), vec![slot]);
                *self.lengths.entry(prefix.len()).or_default() += 1;
            }
        }
        self.slots[slot] = Some(subscriber);
        slot
    }

    pub(crate) fn remove(&mut self, address: Address) {
        let Some(slot) = self.by_address.swap_remove(&address) else {
            return;
        };
        let Some(subscriber) = self.slots[slot].take() else {
            return;
        };
        self.free.push(slot);
        if let Some(request) = subscriber.awaiting {
            self.by_request.remove(&request);
        }
        for prefix in &subscriber.prefixes {
            let Some(watchers) = self.by_prefix.get_mut(prefix.as_str()) else {
                continue;
            };
            watchers.retain(|watcher| *watcher != slot);
            if watchers.is_empty() {
                self.by_prefix.swap_remove(prefix.as_str());
                self.shorten(prefix.len());
            }
        }
    }

    fn shorten(&mut self, length: usize) {
        if let Some(count) = self.lengths.get_mut(&length) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&length);
            }
        }
    }

    pub(crate) fn drop_silent(&mut self, now: Time, silence_max: Duration) {
        let silent: Vec<Address> = self
            .slots
            .iter()
            .flatten()
            .filter(|s| now.since(s.heard) >= silence_max)
            .map(|s| s.address)
            .collect();
        for address in silent {
            self.remove(address);
        }
    }

    /// Notes that a subscriber waits for the engine to answer `request`.
    pub(crate) fn await_answer(&mut self, slot: usize, request: u64) {
        self.get_mut(slot).awaiting = Some(request);
        self.by_request.insert(request, slot);
    }

    /// The slot that waited for an answer of the engine; `None` when it is gone.
    pub(crate) fn answered(&mut self, request: u64) -> Option<usize> {
        let slot = self.by_request.remove(&request)?;
        self.get_mut(slot).awaiting = None;
        Some(slot)
    }

    /// The slots that await nothing, and what each was sent.
    pub(crate) fn caught_up(&self) -> Vec<(usize, u64)> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter_map(|(slot, s)| Some((slot, s.as_ref()?)))
            .filter(|(_, s)| s.awaiting.is_none())
            .map(|(slot, s)| (slot, s.sent))
            .collect()
    }

    /// Adds an entry to the outgoing ones of every subscriber that watches its key and has
    /// caught up; slots that had none before are appended to `touched`.
    pub(crate) fn offer(&mut self, entry: &FeedEntry, touched: &mut Vec<usize>) {
        for &length in self.lengths.keys() {
            if length > entry.key.len() {
                break;
            }
            let watchers = entry
                .key
                .get(..length)
                .and_then(|prefix| self.by_prefix.get(prefix));
            for &slot in watchers.into_iter().flatten() {
                let Some(subscriber) = self.slots[slot].as_mut() else {
                    continue;
                };
                if subscriber.awaiting.is_some() {
                    continue;
                }
                if subscriber.outgoing.is_empty() {
                    touched.push(slot);
                }
                subscriber.outgoing.push(entry.clone());
            }
        }
    }

    pub(crate) fn check(&self, subscribers_max: usize) {
        assert!(self.by_address.len() <= subscribers_max);
        assert_eq!(self.slots.len(), self.free.len() + self.by_address.len());
        assert!(self.by_request.len() <= self.by_address.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::{NodeId, Role};

    fn address(node: u32) -> Address {
        Address::new(NodeId(node), Role::Edge, 0)
    }

    fn subscribers(watched: &[(u32, &[&str])]) -> Subscribers {
        let mut all = Subscribers::default();
        for (node, prefixes) in watched {
            let prefixes = prefixes.iter().map(|p| (*p).to_owned()).collect();
            all.insert(Subscriber::new(address(*node), 1, prefixes, Time::ZERO));
        }
        all
    }

    fn touched(all: &mut Subscribers, key: &str) -> Vec<u32> {
        let entry = FeedEntry {
            key: key.to_owned(),
            ..FeedEntry::default()
        };
        let mut slots = Vec::new();
        all.offer(&entry, &mut slots);
        slots
            .into_iter()
            .map(|slot| {
                let subscriber = all.get_mut(slot);
                let outgoing = std::mem::take(&mut subscriber.outgoing);
                assert_eq!(outgoing, std::slice::from_ref(&entry));
                subscriber.address.node.0
            })
            .collect()
    }

    #[test]
    fn a_key_reaches_those_who_watch_a_prefix_of_it() {
        let mut all = subscribers(&[
            (1, &["slot/", "version/"]),
            (2, &[""]),
            (3, &["ack/00000003"]),
            (4, &["slot/1"]),
        ]);
        for (key, expected) in [
            ("slot/", &[2, 1][..]),
            ("slot/12", &[2, 1, 4]),
            ("ack/00000003/1", &[2, 3]),
            ("ack/00000004/1", &[2]),
            ("é", &[2]),
        ] {
            assert_eq!(touched(&mut all, key), expected, "{key}");
        }
    }

    #[test]
    fn a_removed_subscriber_leaves_nothing_behind() {
        let mut all = subscribers(&[(1, &["slot/"]), (2, &["slot/", "host/"])]);
        all.await_answer(0, 7);
        all.remove(address(1));
        assert_eq!(all.answered(7), None);
        assert_eq!(touched(&mut all, "slot/1"), [2]);
        all.remove(address(2));
        assert!(all.by_prefix.is_empty() && all.lengths.is_empty());
        all.check(0);
    }

    #[test]
    fn the_silent_are_dropped() {
        let mut all = subscribers(&[(1, &["a"]), (2, &["a"])]);
        all.get_mut(1).heard = Time(10);
        all.drop_silent(Time(20), Duration::from_nanos(20));
        assert!(all.find(address(1)).is_none());
        assert!(all.find(address(2)).is_some());
    }

    #[test]
    #[should_panic(expected = "assertion")]
    fn a_request_of_nobody_breaks_an_invariant() {
        let mut subscribers = subscribers(&[]);
        subscribers.by_request.insert(1, 0);
        subscribers.check(8);
    }

    #[test]
    fn lengths_are_kept_while_some_prefix_has_them() {
        let mut subscribers = subscribers(&[(1, &["slot/"]), (2, &["host/", "ack/"])]);
        subscribers.remove(address(1));
        assert_eq!(subscribers.lengths.get(&5), Some(&1));
        subscribers.remove(address(2));
        assert!(subscribers.lengths.is_empty());
    }
}
