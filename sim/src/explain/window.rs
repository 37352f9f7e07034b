//! Which events the page keeps: the last ones before the first violation (or before the end
//! when there is none), a few after it, and the causal history of each violation however far
//! back it goes.

use std::collections::BTreeSet;

use super::causality::{EventNumber, NOBODY, ancestors};

/// Makers of a violating event that are followed back.
const ANCESTORS_MAX: usize = 1_000;
/// Moments that name what a violation names, and how far each is followed back.
const NAMED_MAX: usize = 40;
const NAMED_ANCESTORS_MAX: usize = 25;
/// What those moments sent, all together.
const NAMED_EFFECTS_MAX: usize = 200;
/// Violations whose history is sought; the first ones explain most.
const HISTORIES_MAX: usize = 10;
/// One in so many kept events is after the violation.
const AFTER_SHARE: usize = 20;

/// Where a violation was found and which events name the same things, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub event: Option<EventNumber>,
    pub named: Vec<EventNumber>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// In order.
    pub kept: Vec<EventNumber>,
    /// The causal history of each violation, in order.
    pub histories: Vec<BTreeSet<EventNumber>>,
    /// The unbroken part: from this event to that, both inclusive.
    pub first: EventNumber,
    pub last: EventNumber,
    /// The violating event, or the last one.
    pub anchor: EventNumber,
    /// A history was longer than what is followed.
    pub cut_short: bool,
}

/// `max`: events of the unbroken part.
pub(super) fn choose(causes: &[EventNumber], idle: &[bool], found: &[Found], max: usize) -> Window {
    let mut window = Window::default();
    let Some(end) = causes.len().checked_sub(1) else {
        return window;
    };
    let violating = found.first().and_then(|f| f.event);
    let anchor = violating.map_or(end, |event| event as usize);
    window.anchor = anchor as EventNumber;
    let after = if violating.is_some() {
        max / AFTER_SHARE
    } else {
        0
    };
    let counts = |n: &usize| !idle[*n] || Some(*n as EventNumber) == violating;
    let before = (0..=anchor).rev().filter(counts).take(max - after);
    let mut kept: BTreeSet<EventNumber> = before.map(|n| n as EventNumber).collect();
    let behind = (anchor + 1..=end).filter(counts).take(after);
    kept.extend(behind.map(|n| n as EventNumber));
    window.first = kept.first().copied().unwrap_or(0);
    window.last = kept.last().copied().unwrap_or(0);
    for one in found.iter().take(HISTORIES_MAX) {
        let (history, whole) = history(causes, one);
        window.cut_short |= !whole;
        kept.extend(&history);
        window.histories.push(history);
    }
    window.kept = kept.into_iter().collect();
    window
}

/// The violating event and its makers; then the last events before it that name the same
/// things, each with its own makers and with what it sent. Also whether that is all.
///
/// What was sent is shown as well because makers alone do not lead everywhere: a store
/// commits in one batch what several sent, and only one of them made the batch.
fn history(causes: &[EventNumber], found: &Found) -> (BTreeSet<EventNumber>, bool) {
    let mut whole = true;
    let mut history = BTreeSet::new();
    if let Some(event) = found.event {
        let chain = ancestors(causes, event, ANCESTORS_MAX);
        whole = chain.last().is_none_or(|n| causes[*n as usize] == NOBODY);
        history.extend(chain);
    }
    let until = found.event.unwrap_or(NOBODY);
    let before = found.named.iter().filter(|n| **n <= until);
    let named: BTreeSet<EventNumber> = before.rev().take(NAMED_MAX).copied().collect();
    for event in &named {
        for event in ancestors(causes, *event, NAMED_ANCESTORS_MAX) {
            if !history.insert(event) {
                break;
            }
        }
    }
    let first = named.first().copied().unwrap_or(until) as usize;
    let later = (first..causes.len()).map(|n| n as EventNumber);
    let sent = later
        .take_while(|n| *n <= until)
        .filter(|n| named.contains(&causes[*n as usize]));
    history.extend(sent.take(NAMED_EFFECTS_MAX));
    (history, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two chains: the even numbers, each made by the one before, and the odd ones.
    fn causes(count: u32) -> Vec<EventNumber> {
        (0..count)
            .map(|n| n.checked_sub(2).unwrap_or(NOBODY))
            .collect()
    }

    #[test]
    fn the_last_events_and_the_history_are_kept() {
        let found = Found {
            event: Some(80),
            named: Vec::new(),
        };
        let w = choose(&causes(100), &[false; 100], &[found], 20);
        assert_eq!((w.first, w.last), (62, 81));
        let evens: BTreeSet<u32> = (0..=80).step_by(2).collect();
        assert_eq!(w.histories, [evens]);
        assert_eq!(w.kept.len(), 31 + 20);
        assert!(!w.cut_short);
    }

    #[test]
    fn without_a_violation_the_end_is_kept() {
        let w = choose(&causes(100), &[false; 100], &[], 20);
        assert_eq!(w.kept, (80..100).collect::<Vec<_>>());
        assert_eq!(choose(&[], &[], &[], 20), Window::default());
    }

    #[test]
    fn idle_events_take_no_room_unless_they_are_history() {
        let mut idle = [false; 100];
        idle[60..70].fill(true);
        let found = Found {
            event: Some(70),
            named: Vec::new(),
        };
        let w = choose(&causes(100), &idle, &[found], 3);
        assert_eq!((w.first, w.last), (58, 70));
        assert!(w.kept.contains(&66) && !w.kept.contains(&67));
    }

    #[test]
    fn what_names_the_same_is_history_up_to_the_violation() {
        let found = Found {
            event: None,
            named: vec![41, 43],
        };
        let w = choose(&causes(100), &[false; 100], &[found], 5);
        // 43 is followed back over 41, to the first; 45 is what it sent.
        assert_eq!(w.histories[0], (0..23).map(|i| 45 - 2 * i).collect());
        let later = Found {
            event: Some(42),
            named: vec![43],
        };
        let w = choose(&causes(100), &[false; 100], &[later], 5);
        assert_eq!(
            w.histories[0],
            (0..=42).step_by(2).collect::<BTreeSet<_>>(),
            "neither 43 nor what it sent"
        );
    }

    #[test]
    fn a_long_history_is_cut_and_says_so() {
        let causes: Vec<u32> = (0..5_000_u32)
            .map(|n| n.checked_sub(1).unwrap_or(NOBODY))
            .collect();
        let found = Found {
            event: Some(4_999),
            named: Vec::new(),
        };
        let w = choose(&causes, &[false; 5_000], &[found], 1);
        assert!(w.cut_short);
        assert_eq!(w.histories[0].len(), 1_000);
    }
}
