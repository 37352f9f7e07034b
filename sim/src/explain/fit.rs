//! What of the kept events a page can hold: an actor's state takes time to put into words
//! and room on the page, what arrived takes room.
//!
//! Both go to the causal histories first and then to the events nearest to the violation,
//! until the allowance is used up. Nothing goes unsaid: an event that is without its states
//! or without what arrived says so on the page.

use std::collections::BTreeSet;

use super::causality::EventNumber;
use super::model::Explained;
use super::states;
use super::window::Window;

/// Text of states that is made, in bytes: some seconds.
const MADE_BYTES_MAX: usize = 192 << 20;
/// Text on the page, in bytes, of states and of what arrived.
const STATES_BYTES_MAX: usize = 10 << 20;
const ARRIVED_BYTES_MAX: usize = 8 << 20;

/// Places in `window.kept`, those first that explain most.
pub(super) fn by_worth(window: &Window) -> Vec<usize> {
    let history: BTreeSet<EventNumber> = window.histories.iter().flatten().copied().collect();
    let mut places: Vec<usize> = (0..window.kept.len()).collect();
    places.sort_by_key(|place| {
        let number = window.kept[*place];
        (!history.contains(&number), number.abs_diff(window.anchor))
    });
    places
}

/// Whether the states around each kept event are made. `cost`: about how many bytes.
pub(super) fn states_to_make(worth: &[usize], cost: impl Fn(usize) -> usize) -> Vec<bool> {
    within(MADE_BYTES_MAX, worth, cost)
}

/// Takes away what the page has no room for.
pub(super) fn fit(explained: &mut Explained, worth: &[usize]) {
    fit_states(explained, worth);
    fit_arrived(explained, worth);
}

fn fit_states(explained: &mut Explained, worth: &[usize]) {
    let mut bytes = vec![0; explained.shown.len()];
    let changes = explained.states.iter().flat_map(|(_, changes)| changes);
    for change in changes {
        bytes[change.event as usize] += change.bytes();
    }
    let fits = within(STATES_BYTES_MAX, worth, |place| bytes[place]);
    if fits.iter().all(|fits| *fits) {
        return;
    }
    for (event, fits) in explained.shown.iter_mut().zip(&fits) {
        event.has_states &= fits;
    }
    let shown = &explained.shown;
    for (_, changes) in &mut explained.states {
        let all = std::mem::take(changes);
        *changes = states::without(all, |event| shown[event as usize].has_states);
    }
}

fn fit_arrived(explained: &mut Explained, worth: &[usize]) {
    let mut known = BTreeSet::new();
    let mut bytes = vec![0; explained.shown.len()];
    for place in worth {
        // The page holds every text once.
        let text = explained.shown[*place].detail.as_str();
        if known.insert(text) {
            bytes[*place] = text.len();
        }
    }
    let fits = within(ARRIVED_BYTES_MAX, worth, |place| bytes[place]);
    for (event, fits) in explained.shown.iter_mut().zip(fits) {
        if !fits && !event.detail.is_empty() {
            event.detail = String::new();
            event.has_detail = false;
        }
    }
}

/// Which places share `max`, in their order, up to the first that finds no room.
fn within(max: usize, worth: &[usize], cost: impl Fn(usize) -> usize) -> Vec<bool> {
    let mut fits = vec![false; worth.len()];
    let mut sum = 0;
    for place in worth {
        sum += cost(*place);
        if sum > max {
            break;
        }
        fits[*place] = true;
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::super::model::sample;
    use super::super::states::{Change, Splice};
    use super::*;

    fn change(event: u32, within: bool, at: usize, delete: usize, text: String) -> Change {
        let insert = vec![text];
        Change {
            event,
            within,
            splices: vec![Splice { at, delete, insert }],
        }
    }

    #[test]
    fn histories_come_first_and_then_what_is_near() {
        let window = Window {
            kept: vec![3, 10, 20, 29, 30, 31, 40],
            histories: vec![BTreeSet::from([3, 30])],
            anchor: 30,
            ..Window::default()
        };
        assert_eq!(by_worth(&window), [4, 0, 3, 5, 2, 6, 1]);
    }

    #[test]
    fn what_finds_no_room_says_so() {
        let mut run = sample();
        let big = |c: &str| c.repeat(STATES_BYTES_MAX / 2);
        run.states = vec![(
            1,
            vec![
                change(0, false, 0, 0, big("a")),
                change(1, true, 0, 1, big("b")),
                change(2, true, 1, 0, "c".into()),
            ],
        )];
        for event in &mut run.shown {
            event.detail = event.number.to_string().repeat(ARRIVED_BYTES_MAX / 4);
        }
        fit(&mut run, &[2, 0, 1]);
        let states: Vec<bool> = run.shown.iter().map(|e| e.has_states).collect();
        assert_eq!(states, [true, false, true]);
        let (_, changes) = &run.states[0];
        let told: Vec<_> = changes.iter().map(|c| (c.event, c.within)).collect();
        assert_eq!(told, [(0, false), (2, false), (2, true)]);
        let details: Vec<bool> = run.shown.iter().map(|e| e.has_detail).collect();
        assert_eq!(details, [true, false, true]);
        assert_eq!(run.shown[1].detail, "");
    }

    #[test]
    fn a_small_page_keeps_everything() {
        let mut run = sample();
        let before = run.shown.clone();
        fit(&mut run, &[0, 1, 2]);
        assert_eq!(run.shown, before);
    }
}
