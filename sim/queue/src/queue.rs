//! The event queue: decides which event is next, and nothing else.
//!
//! Three places hold keys. The far future is a [`Wheel`] of unsorted buckets.
//! When the near future runs dry, the wheel's earliest batch is sorted into
//! `near`, and popping is taking from its end. A push that belongs before the end
//! of that batch is inserted into it while it is short, and otherwise goes into
//! `crowd`, a plain heap: ten thousand events at one instant cost a heap's
//! logarithm and never a quadratic insertion.
//!
//! Any push is right in any order, also one earlier than the last pop: it is next
//! then. Whether time may run backwards is the simulator's question, not the
//! queue's.
//!
//! Cost: compare `cargo bench -p tidegate-benches --bench queue`. The candidates'
//! prototypes, each in the loop of the kernel benchmark (13 ns without any order)
//! under latencies of 1 µs to 1 ms, took these ns of CPU a delivery with 50, 1,000
//! and 100,000 events in flight:
//!
//! | `BinaryHeap`, events inline | 65 | 90 | 380 |
//! | 4-ary heap of these keys | 44 | 59 | 246 |
//! | the same, a pop delayed into the next push | 44 | 56 | 249 |
//! | this | 38 | 42 | 160 |
//!
//! Digits of 4 and 5 bits made no difference beyond noise, 3 were worse; buckets
//! as lists through the slots were no faster with few events and twice as slow
//! with 100,000.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::key::{Key, SEQUENCE_END};
use crate::store::EventStore;
use crate::tie::TieBreak;
use crate::wheel::{BATCH_MAX, Wheel};

/// Events ordered by time, random tie-break, insertion.
#[derive(Debug)]
pub struct EventQueue<E> {
    store: EventStore<E>,
    ties: TieBreak,
    next_sequence: u32,
    /// Of the event that was popped last.
    popped_sequence: u32,
    /// Latest first, so that the next key is at the end.
    near: Vec<Key>,
    crowd: BinaryHeap<Reverse<Key>>,
    /// Keys up to this instant, inclusive, are in `near` or `crowd`, all later
    /// ones in `wheel`.
    near_until_ns: u64,
    wheel: Wheel,
}

impl<E> EventQueue<E> {
    /// A queue whose simultaneous events come in an order that `seed` decides.
    pub fn seeded(seed: u64) -> Self {
        Self::with_ties(TieBreak::seeded(seed))
    }

    /// A queue whose simultaneous events come in the order of their insertion:
    /// for reading a trace, never for looking for bugs.
    pub fn fifo() -> Self {
        Self::with_ties(TieBreak::constant())
    }

    fn with_ties(ties: TieBreak) -> Self {
        Self {
            store: EventStore::new(),
            ties,
            next_sequence: 0,
            popped_sequence: 0,
            near: Vec::new(),
            crowd: BinaryHeap::new(),
            near_until_ns: 0,
            wheel: Wheel::new(),
        }
    }

    /// Adds an event at an instant, with the next tie-break of the queue's seed.
    ///
    /// # Panics
    /// When 2^23 events wait already.
    #[inline]
    pub fn push(&mut self, time_ns: u64, event: E) {
        let tie = self.ties.draw();
        self.push_tied(time_ns, tie, event);
    }

    /// Adds an event with a tie-break of the caller's: among simultaneous events
    /// the lowest is first, equals come in the order of their insertion. It draws
    /// nothing from the queue's seed.
    ///
    /// # Panics
    /// As [`Self::push`].
    #[inline]
    pub fn push_tied(&mut self, time_ns: u64, tie: u16, event: E) {
        if self.next_sequence == SEQUENCE_END {
            self.renumber();
        }
        let slot = self.store.put(event);
        self.place(Key::new(time_ns, tie, self.next_sequence, slot));
        self.next_sequence += 1;
    }

    /// Takes the next event and its time, in nanoseconds.
    #[inline]
    pub fn pop(&mut self) -> Option<(u64, E)> {
        let key = self.pop_key()?;
        self.popped_sequence = key.sequence();
        let event = self.store.take(key.slot());
        debug_assert!(event.is_some(), "a key without an event");
        Some((key.time_ns(), event?))
    }

    /// The time of the next event, in nanoseconds. It may sort a batch to find
    /// out, hence the exclusive borrow; the order is not affected.
    #[inline]
    pub fn peek_time(&mut self) -> Option<u64> {
        if self.near.is_empty() && self.crowd.is_empty() {
            self.refill_near();
        }
        let near = self.near.last().copied();
        let crowd = self.crowd.peek().map(|&Reverse(key)| key);
        let next = match (near, crowd) {
            (Some(near), Some(crowd)) => Some(near.min(crowd)),
            (near, crowd) => near.or(crowd),
        };
        next.map(Key::time_ns)
    }

    /// The sequence number that the next push will get, unless it is
    /// [`SEQUENCE_END`] by then: the waiting events are renumbered from 0 then, and
    /// what was read before means nothing any more.
    #[inline]
    pub fn next_sequence(&self) -> u32 {
        self.next_sequence
    }

    /// The sequence number of the event that was popped last. Together with
    /// [`Self::next_sequence`] it tells which event pushed which.
    #[inline]
    pub fn popped_sequence(&self) -> u32 {
        self.popped_sequence
    }

    /// How many events wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.store.len()
    }

    /// Whether no event waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[inline]
    fn place(&mut self, key: Key) {
        if key.time_ns() > self.near_until_ns {
            self.wheel.push(key);
        } else if self.near.len() < BATCH_MAX {
            self.insert_near(key);
        } else {
            self.crowd.push(Reverse(key));
        }
    }

    #[inline]
    fn pop_key(&mut self) -> Option<Key> {
        if self.crowd.is_empty() {
            if self.near.is_empty() {
                self.refill_near();
            }
            return self.near.pop();
        }
        self.pop_crowded()
    }

    fn pop_crowded(&mut self) -> Option<Key> {
        let near = self.near.last();
        match (near, self.crowd.peek()) {
            (Some(near), Some(Reverse(crowd))) if near < crowd => self.near.pop(),
            _ => self.crowd.pop().map(|Reverse(key)| key),
        }
    }

    #[inline(never)]
    fn refill_near(&mut self) {
        if let Some(last_ns) = self.wheel.take_batch(&mut self.near) {
            self.near_until_ns = last_ns;
            self.near.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    /// One step of an insertion sort, from the end that is popped next.
    #[inline]
    fn insert_near(&mut self, key: Key) {
        let mut index = self.near.len();
        self.near.push(key);
        while index > 0 && self.near[index - 1] < key {
            self.near[index] = self.near[index - 1];
            index -= 1;
        }
        self.near[index] = key;
    }

    /// Gives the waiting events the lowest sequence numbers in their order.
    #[cold]
    fn renumber(&mut self) {
        let crowd = self.crowd.drain().map(|Reverse(key)| key);
        let mut keys: Vec<Key> = self.near.drain(..).chain(crowd).collect();
        keys.extend(std::mem::replace(&mut self.wheel, Wheel::new()).into_keys());
        keys.sort_unstable();
        self.near_until_ns = 0;
        self.next_sequence = 0;
        for key in keys {
            self.place(key.renumbered(self.next_sequence));
            self.next_sequence += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_tell_who_pushed_what() {
        let mut queue = EventQueue::seeded(7);
        queue.push(1, "parent");
        queue.pop();
        assert_eq!((queue.popped_sequence(), queue.next_sequence()), (0, 1));
        queue.push(9, "late");
        queue.push(5, "early");
        for (event, sequence) in [("early", 2), ("late", 1)] {
            assert_eq!(queue.pop().map(|(_, event)| event), Some(event));
            assert_eq!(queue.popped_sequence(), sequence);
        }
    }

    #[test]
    fn renumbering_changes_no_order() {
        let mut queue = EventQueue::fifo();
        let mut expected = Vec::new();
        queue.next_sequence = SEQUENCE_END - 100;
        for event in 0..200_u64 {
            let time_ns = event % 3 * 1_000_000;
            queue.push(time_ns, event);
            expected.push((time_ns, event));
        }
        assert_eq!(queue.next_sequence, 200, "the sequence began anew");
        expected.sort_unstable();
        let popped: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(popped, expected);
    }
}
