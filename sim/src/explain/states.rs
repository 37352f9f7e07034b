//! What an actor held before and after an event, kept as what changed.
//!
//! An actor's state is its Debug text, laid out on lines. The page gets the first text of
//! each actor and then splices of lines, so that thousands of states cost little more than
//! what differs between them. Making the text is what costs time: [`weight`] says how much.

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::{bounded, layout};
use crate::cells::ActorSlot;

/// Largest text of one state; what is longer is cut, and says so.
const STATE_BYTES_MAX: usize = 96 * 1024;
/// Lines of both sides together of which the smallest difference is sought; its cost is
/// their number times the difference.
const COMPARED_LINES_MAX: usize = 20_000;

/// Lines that take the place of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    /// Index of the first line that goes, counted after the splices before this one.
    pub at: usize,
    pub delete: usize,
    pub insert: Vec<String>,
}

/// One change of an actor's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Index of the kept event.
    pub event: u32,
    /// Whether it happened in that event; otherwise somewhere since the actor's last kept
    /// event.
    pub within: bool,
    pub splices: Vec<Splice>,
}

impl Change {
    /// Bytes of text that it brings.
    pub(super) fn bytes(&self) -> usize {
        let inserted = self.splices.iter().flat_map(|s| &s.insert);
        inserted.map(String::len).sum()
    }
}

/// The states of one actor.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    text: String,
    lines: Vec<String>,
    pub changes: Vec<Change>,
}

impl History {
    pub(super) fn see(&mut self, event: u32, within: bool, slot: &ActorSlot) {
        let (text, whole) = text_of(slot);
        if text == self.text {
            return;
        }
        let mut lines = layout::lines(&text);
        if !whole {
            lines.push(format!(
                "(the rest is over {STATE_BYTES_MAX} bytes and left out)"
            ));
        }
        self.text = text;
        self.become_lines(event, within, lines);
    }

    fn become_lines(&mut self, event: u32, within: bool, lines: Vec<String>) {
        let splices = splices(&self.lines, &lines);
        if !splices.is_empty() {
            self.changes.push(Change {
                event,
                within,
                splices,
            });
            self.lines = lines;
        }
    }
}

fn text_of(slot: &ActorSlot) -> (String, bool) {
    match &slot.cell {
        Some(cell) => bounded::debug(cell, STATE_BYTES_MAX),
        None => ("(it does not run)".into(), true),
    }
}

/// Bytes of an actor's state as text.
pub(super) fn weight(slot: &ActorSlot) -> usize {
    text_of(slot).0.len()
}

/// The same states without those of some events: what they changed is seen as a change
/// before the actor's next event that keeps its state.
pub(super) fn without(changes: Vec<Change>, keeps: impl Fn(u32) -> bool) -> Vec<Change> {
    let mut lines = Vec::new();
    let mut thin = History::default();
    for change in changes {
        if !keeps(change.event) {
            apply(&mut lines, change.splices);
        } else if change.within {
            thin.become_lines(change.event, false, lines.clone());
            apply(&mut lines, change.splices);
            thin.become_lines(change.event, true, lines.clone());
        } else {
            apply(&mut lines, change.splices);
            thin.become_lines(change.event, false, lines.clone());
        }
    }
    thin.changes
}

fn apply(lines: &mut Vec<String>, splices: Vec<Splice>) {
    for s in splices {
        lines.splice(s.at..s.at + s.delete, s.insert);
    }
}

/// What makes `new` of `old`.
pub(super) fn splices(old: &[String], new: &[String]) -> Vec<Splice> {
    let same = |(a, b): &(&String, &String)| a == b;
    let front = old.iter().zip(new).take_while(same).count();
    let (old, new) = (&old[front..], &new[front..]);
    let back = old.iter().rev().zip(new.iter().rev());
    let back = back.take_while(same).count();
    let (old, new) = (&old[..old.len() - back], &new[..new.len() - back]);
    if old.is_empty() && new.is_empty() {
        return Vec::new();
    }
    let splice = |at: usize, delete: usize, insert: &[String]| Splice {
        at: front + at,
        delete,
        insert: insert.to_vec(),
    };
    if old.is_empty() || new.is_empty() || old.len() + new.len() > COMPARED_LINES_MAX {
        return vec![splice(0, old.len(), new)];
    }
    let mut splices = Vec::new();
    for op in capture_diff_slices(Algorithm::Myers, old, new) {
        // By the time a splice is applied, what is before it is new already.
        let (_, from, to) = op.as_tag_tuple();
        if !matches!(op, DiffOp::Equal { .. }) {
            splices.push(splice(to.start, from.len(), &new[to]));
        }
    }
    splices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(old: &str, new: &str, count: usize) {
        let lines = |text: &str| -> Vec<String> { text.chars().map(String::from).collect() };
        let (old, new) = (lines(old), lines(new));
        let splices = splices(&old, &new);
        assert_eq!(splices.len(), count, "{splices:?}");
        let mut made = old;
        apply(&mut made, splices);
        assert_eq!(made, new);
    }

    #[test]
    fn splices_make_the_new_text_of_the_old() {
        check("", "abc", 1);
        check("abc", "", 1);
        check("abc", "abc", 0);
        check("abcdef", "abXdef", 1);
        check("abcdefgh", "aXbcdeghY", 3);
        check("aaa", "aaaa", 1);
    }

    #[test]
    fn what_states_are_left_the_actor_had() {
        let texts = ["ab", "abc", "xbc", "xbcd", "bcd", "bce"];
        let mut all = History::default();
        // Each event is seen before and after it.
        for event in 0..texts.len() as u32 - 1 {
            for (within, place) in [(false, event), (true, event + 1)] {
                let lines = texts[place as usize].chars().map(String::from).collect();
                all.become_lines(event, within, lines);
            }
        }
        let kept = [1, 4];
        let thin = without(all.changes, |event| kept.contains(&event));
        let mut lines = Vec::new();
        let mut seen = Vec::new();
        for change in thin {
            apply(&mut lines, change.splices);
            seen.push((change.event, change.within, lines.concat()));
        }
        let expected = [
            (1, false, "abc"),
            (1, true, "xbc"),
            (4, false, "bcd"),
            (4, true, "bce"),
        ];
        assert_eq!(seen, expected.map(|(e, w, text)| (e, w, text.to_owned())));
    }
}
