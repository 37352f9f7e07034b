//! What an actor held before and after an event, kept as what changed.
//!
//! An actor's state is its pretty Debug text. The page gets the first text of each actor and
//! then splices of lines, so that thousands of states cost little more than what differs
//! between them.

use similar::{Algorithm, DiffOp, capture_diff_slices};

use super::bounded;
use crate::cells::ActorSlot;

/// Largest text of one state; what is longer is cut, and says so.
const STATE_BYTES_MAX: usize = 192 * 1024;
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

/// The states of one actor.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    lines: Vec<String>,
    pub changes: Vec<Change>,
}

impl History {
    pub(super) fn see(&mut self, event: u32, within: bool, slot: &ActorSlot) {
        let lines = lines_of(slot);
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

fn lines_of(slot: &ActorSlot) -> Vec<String> {
    let Some(cell) = &slot.cell else {
        return vec!["(it does not run)".into()];
    };
    let (text, whole) = bounded::debug(cell, true, STATE_BYTES_MAX);
    let mut lines = bounded::folded(&text);
    if !whole {
        lines.push(format!(
            "(the rest is over {STATE_BYTES_MAX} bytes and left out)"
        ));
    }
    lines
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
        for s in splices {
            made.splice(s.at..s.at + s.delete, s.insert);
        }
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
}
