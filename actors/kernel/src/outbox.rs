//! Persist-before-send, in one place for both worlds.
//!
//! An actor may say that a message leaves only after a commit. The outbox keeps such
//! messages until the store's answer: applied releases them in order, anything else drops
//! them. A crash drops them with the actor. The number that waits is bounded; an actor that
//! exceeds the bound loses the message, as it could on the network.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_protocol::{Address, Message, store_commit_reply::Outcome};

use crate::{CommitId, Event, Load, Note};

/// Messages that may wait for commits in one actor.
const WAITING_MAX: usize = 65_536;

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Outbox {
    waiting: BTreeMap<CommitId, Vec<(Address, Message)>>,
    count: usize,
}

impl Outbox {
    /// Keeps a message until the commit is applied.
    pub fn hold(&mut self, commit: CommitId, to: Address, body: Message) -> Result<(), Note> {
        if self.count >= WAITING_MAX {
            return Err(Note::Full { queue: "outbox" });
        }
        self.count += 1;
        self.waiting.entry(commit).or_default().push((to, body));
        Ok(())
    }

    /// Drops what waits for a commit.
    pub fn forget(&mut self, commit: CommitId) {
        self.count -= self.waiting.remove(&commit).map_or(0, |held| held.len());
    }

    /// Reads an event before the actor does: the messages that it releases.
    pub fn on_event(&mut self, event: &Event) -> Vec<(Address, Message)> {
        let Event::Message {
            body: Message::StoreCommitReply(reply),
            ..
        } = event
        else {
            return Vec::new();
        };
        let held = self.waiting.remove(&CommitId(reply.id)).unwrap_or_default();
        self.count -= held.len();
        match reply.outcome {
            Some(Outcome::Applied(_)) => held,
            _ => Vec::new(),
        }
    }

    /// Messages that wait.
    pub fn load(&self) -> Load {
        let waiting = self.waiting.values().map(Vec::len).sum();
        Load::new("outbox", waiting, WAITING_MAX)
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::{NodeId, Probe, Role, StoreCommitReply};

    const STORE: Address = Address::new(NodeId(1), Role::Store, 0);
    const PEER: Address = Address::new(NodeId(2), Role::Metald, 0);

    fn probe(sequence: u64) -> Message {
        Message::Probe(Probe {
            sequence,
            ..Probe::default()
        })
    }

    fn reply(id: u64, outcome: Option<Outcome>) -> Event {
        Event::Message {
            from: STORE,
            body: Message::StoreCommitReply(StoreCommitReply { id, outcome }),
        }
    }

    fn holding(id: u64) -> Outbox {
        let mut outbox = Outbox::default();
        for sequence in 1..=2 {
            outbox.hold(CommitId(id), PEER, probe(sequence)).unwrap();
        }
        outbox
    }

    #[test]
    fn an_applied_commit_releases_in_order() {
        let mut outbox = holding(5);
        assert_eq!(outbox.on_event(&reply(4, Some(Outcome::Applied(9)))), []);
        assert_eq!(
            outbox.on_event(&reply(5, Some(Outcome::Applied(9)))),
            [(PEER, probe(1)), (PEER, probe(2))]
        );
        assert!(outbox.is_empty());
        assert_eq!(outbox.count, 0);
    }

    #[test]
    fn any_other_answer_drops() {
        for outcome in [
            None,
            Some(Outcome::Conflict("k".into())),
            Some(Outcome::Refused("full".into())),
        ] {
            let mut outbox = holding(5);
            assert_eq!(outbox.on_event(&reply(5, outcome)), []);
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn forgetting_drops() {
        let mut outbox = holding(5);
        assert!(!outbox.is_empty());
        outbox.forget(CommitId(5));
        assert_eq!(outbox.on_event(&reply(5, Some(Outcome::Applied(1)))), []);
        assert_eq!(outbox.count, 0);
    }
}
