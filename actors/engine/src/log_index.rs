//! When a change log forgets.
//!
//! The log keeps the last `limit` changes and forgets whole revisions, oldest first. This
//! index knows how many changes each revision has; the engine holds the changes themselves
//! and removes what it is told to. It costs 16 bytes for each revision that wrote something.

use std::collections::VecDeque;

/// Changes that a log keeps unless told otherwise.
pub const LOG_CHANGES_MAX: usize = 100_000;

/// The revisions in a change log.
#[derive(Clone, Debug)]
pub struct LogIndex {
    revisions: VecDeque<(u64, u32)>,
    changes: usize,
    limit: usize,
    floor: u64,
}

impl LogIndex {
    /// An empty log that has forgotten everything up to `floor`.
    pub fn new(limit: usize, floor: u64) -> Self {
        Self {
            revisions: VecDeque::new(),
            changes: 0,
            limit,
            floor,
        }
    }

    /// A later revision wrote this many changes.
    pub fn push(&mut self, revision: u64, changes: u32) {
        if changes > 0 {
            self.revisions.push_back((revision, changes));
            self.changes += changes as usize;
        }
    }

    /// Forgets the oldest revision, if the log is too long: its revision and changes.
    pub fn forget(&mut self) -> Option<(u64, u32)> {
        if self.changes <= self.limit {
            return None;
        }
        let (revision, changes) = self.revisions.pop_front()?;
        self.changes -= changes as usize;
        self.floor = revision;
        Some((revision, changes))
    }

    /// Everything up to this revision is forgotten.
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// Whether the log holds everything after a revision, `head` being the newest.
    pub fn reaches(&self, after_revision: u64, head: u64) -> bool {
        (self.floor..=head).contains(&after_revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_revisions_are_forgotten_oldest_first() {
        let mut log = LogIndex::new(3, 0);
        log.push(1, 2);
        log.push(2, 0);
        log.push(3, 1);
        assert_eq!(log.forget(), None);
        assert!(log.reaches(0, 3));
        log.push(4, 1);
        assert_eq!(log.forget(), Some((1, 2)));
        assert_eq!(log.forget(), None);
        assert!(!log.reaches(0, 4));
        assert!(log.reaches(1, 4));
        assert!(log.reaches(4, 4));
        assert!(!log.reaches(5, 4));
    }

    #[test]
    fn a_revision_larger_than_the_log_is_forgotten_at_once() {
        let mut log = LogIndex::new(3, 0);
        log.push(1, 4);
        assert_eq!(log.forget(), Some((1, 4)));
        assert_eq!(log.floor(), 1);
    }

    #[test]
    fn it_begins_at_its_floor_and_counts_what_it_keeps() {
        let mut log = LogIndex::new(5, 7);
        assert_eq!((log.floor(), log.forget()), (7, None));
        for revision in 8..=10 {
            log.push(revision, 3);
        }
        assert_eq!(log.forget(), Some((8, 3)));
        assert_eq!((log.forget(), log.floor()), (Some((9, 3)), 9));
        assert_eq!(log.forget(), None);
    }
}
