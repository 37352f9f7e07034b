//! Which event made which.
//!
//! An event that happens pushes others into the queue, and the queue numbers its pushes. So
//! the numbers that an event pushed are one range, and the number of a popped event lies in
//! the range of its maker: no event has to carry its cause. Three things are not as simple:
//! the queue renumbers its events after some 30 million pushes, what waits for a paused
//! machine is pushed a second time by the end of the pause, and an operation of a disk that
//! was busy is pushed by the one before it. The first forgets causes (never invents one),
//! the other two are told here.
//!
//! A cause is not a reason: that a step armed a timer says why the timer fired, not that the
//! step was wrong.

use std::collections::BTreeMap;

/// Number of an event in its run, from 0.
pub type EventNumber = u32;

/// Stands for no event: made before the first one, by the calendar of the scenario, or
/// forgotten.
pub const NOBODY: EventNumber = EventNumber::MAX;

/// Learns the ranges of a run, and tells the maker of a popped event.
#[derive(Debug, Default)]
pub struct Makers {
    /// First sequence number of a range, and who pushed it; by that number.
    ranges: Vec<(u32, EventNumber)>,
    /// The queue's next number after the last event.
    next: u32,
    /// Pushed again by somebody who only passed it on: whose it is.
    passed_on: BTreeMap<u32, EventNumber>,
}

impl Makers {
    /// `next`: the queue's next number before the first event.
    pub fn new(next: u32) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }

    /// Who made the event of this sequence number.
    pub fn of(&mut self, popped: u32) -> EventNumber {
        if let Some(whose) = self.passed_on.remove(&popped) {
            return whose;
        }
        let after = self.ranges.partition_point(|(first, _)| *first <= popped);
        match after.checked_sub(1) {
            Some(place) => self.ranges[place].1,
            None => NOBODY,
        }
    }

    /// The event has happened, and the queue's next number is `next` now. Returns the range
    /// that it pushed.
    pub fn happened(&mut self, event: EventNumber, next: u32) -> std::ops::Range<u32> {
        let first = self.next;
        self.next = next;
        if next < first {
            // Renumbered: what the old numbers meant is gone.
            self.ranges.clear();
            self.passed_on.clear();
            self.ranges.push((0, NOBODY));
            return next..next;
        }
        if next > first {
            self.ranges.push((first, event));
        }
        first..next
    }

    /// The event that was pushed under this number is another one's, pushed again.
    pub fn pass_on(&mut self, pushed: u32, whose: EventNumber) {
        self.passed_on.insert(pushed, whose);
    }
}

/// An event and its makers, the latest first, at most so many.
pub fn ancestors(causes: &[EventNumber], event: EventNumber, max: usize) -> Vec<EventNumber> {
    let mut chain = Vec::new();
    let mut at = event;
    while chain.len() < max {
        let Some(cause) = causes.get(at as usize) else {
            break;
        };
        chain.push(at);
        at = *cause;
    }
    chain
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays events that were written down by hand: the popped number, how many it pushed.
    fn play(before: u32, events: &[(u32, u32)]) -> Vec<EventNumber> {
        let mut makers = Makers::new(before);
        let mut next = before;
        (0..)
            .zip(events)
            .map(|(event, (popped, pushes))| {
                let maker = makers.of(*popped);
                next += pushes;
                makers.happened(event, next);
                maker
            })
            .collect()
    }

    #[test]
    fn each_event_finds_its_maker() {
        // 0 and 1 are there from the beginning; event 0 pushes 2 and 3, event 1 nothing,
        // event 2 pushes 4, event 3 pushes 5 and 6.
        let events = [(1, 2), (0, 0), (3, 1), (2, 2), (6, 0), (4, 0), (5, 0)];
        assert_eq!(play(2, &events), [NOBODY, NOBODY, 0, 0, 3, 2, 3]);
    }

    #[test]
    fn ancestors_go_back_to_the_first() {
        let causes = [NOBODY, NOBODY, 0, 0, 3, 2, 3];
        assert_eq!(ancestors(&causes, 4, 10), [4, 3, 0]);
        assert_eq!(ancestors(&causes, 4, 2), [4, 3]);
        assert_eq!(ancestors(&causes, 1, 10), [1]);
        assert_eq!(ancestors(&causes, NOBODY, 10), [0; 0]);
    }

    #[test]
    fn what_was_passed_on_stays_its_makers() {
        let mut makers = Makers::new(1);
        assert_eq!(makers.of(0), NOBODY);
        assert_eq!(makers.happened(0, 3), 1..3);
        // Event 1 waits for a paused machine; event 2 ends the pause and pushes it again.
        assert_eq!(makers.of(1), 0);
        assert_eq!(makers.happened(1, 3), 3..3);
        assert_eq!(makers.of(2), 0);
        assert_eq!(makers.happened(2, 4), 3..4);
        makers.pass_on(3, 1);
        assert_eq!(makers.of(3), 1);
    }

    #[test]
    fn renumbering_forgets_and_never_invents() {
        let mut makers = Makers::new(1);
        makers.of(0);
        makers.happened(0, 50);
        makers.of(7);
        assert_eq!(makers.happened(1, 20), 20..20);
        assert_eq!(makers.of(12), NOBODY);
        assert_eq!(makers.happened(2, 22), 20..22);
        assert_eq!(makers.of(19), NOBODY);
        makers.happened(3, 22);
        assert_eq!(makers.of(21), 2);
    }
}
