//! What a run says that never becomes an event: facts that actors note, and messages that
//! were lost before they were on their way.
//!
//! The world fills this only when somebody put it there; every other run pays one test of a
//! pointer on paths that are rare anyway.

use tidegate_kernel::Note;
use tidegate_protocol::{Address, Message};

/// Entries of each list that are kept; more are only counted.
const ENTRIES_MAX: usize = 1_000_000;

/// Why a message never arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The link was cut when it was sent.
    Cut,
    /// The link loses some.
    Chance,
    /// Nothing of its host's metald reaches the store.
    Mute,
    /// It did not survive encoding.
    Wire,
}

/// A message that was lost when it was sent.
#[derive(Debug)]
pub struct LostMessage {
    pub from: Address,
    pub to: Address,
    /// `None` when the wire took it.
    pub body: Option<Message>,
    pub why: Why,
}

#[derive(Debug, Default)]
pub struct Told {
    /// Number of the actor in the world, and what it noted.
    pub notes: Vec<(u32, Note)>,
    pub lost: Vec<LostMessage>,
    /// Entries that found no room.
    pub dropped: u64,
}

impl Told {
    pub(crate) fn note(&mut self, actor: u32, note: &Note) {
        if self.notes.len() < ENTRIES_MAX {
            self.notes.push((actor, note.clone()));
        } else {
            self.dropped += 1;
        }
    }

    pub(crate) fn lost(&mut self, from: Address, to: Address, body: Option<Message>, why: Why) {
        if self.lost.len() < ENTRIES_MAX {
            let lost = LostMessage {
                from,
                to,
                body,
                why,
            };
            self.lost.push(lost);
        } else {
            self.dropped += 1;
        }
    }
}

/// Reads a list that only grows, each entry once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cursors {
    notes: usize,
    lost: usize,
}

impl Cursors {
    /// What was told since the last call.
    pub(super) fn fresh<'a>(
        &mut self,
        told: Option<&'a Told>,
    ) -> (&'a [(u32, Note)], &'a [LostMessage]) {
        let Some(told) = told else {
            return (&[], &[]);
        };
        let fresh = (&told.notes[self.notes..], &told.lost[self.lost..]);
        self.notes = told.notes.len();
        self.lost = told.lost.len();
        fresh
    }
}
