//! The one commit of acks that may be under way.
//!
//! The next one is decided from a mirror that shows what became of the last: after an
//! applied commit when the mirror has reached its revision, after a conflict when the
//! mirror has moved, and in any case after a while.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{CommitId, Duration, Effect, Effects, Now, Time};
use tidegate_protocol::{StoreCommitReply, store_commit_reply::Outcome};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) enum Acks {
    #[default]
    Idle,
    /// The store was asked; forgotten at `until`.
    Asked { id: CommitId, until: Time },
    /// The mirror has to reach a revision first; not waited for beyond `until`.
    Settling { revision: u64, until: Time },
}

impl Acks {
    /// Whether a commit may be decided now.
    pub(crate) fn may_write(&mut self, now: Now, mirror_revision: u64) -> bool {
        if let Acks::Settling { revision, until } = *self
            && (mirror_revision >= revision || now.mono >= until)
        {
            *self = Acks::Idle;
        }
        matches!(self, Acks::Idle)
    }

    pub(crate) fn asked(&mut self, id: CommitId, until: Time) {
        *self = Acks::Asked { id, until };
    }

    pub(crate) fn on_reply(
        &mut self,
        now: Now,
        reply: &StoreCommitReply,
        mirror_revision: u64,
        patience: Duration,
    ) {
        let Acks::Asked { id, .. } = *self else {
            return;
        };
        if id != CommitId(reply.id) {
            return;
        }
        let revision = match reply.outcome {
            Some(Outcome::Applied(revision)) => revision,
            Some(Outcome::Conflict(_)) => mirror_revision + 1,
            Some(Outcome::Refused(_)) | None => u64::MAX,
        };
        let until = now.mono + patience;
        *self = Acks::Settling { revision, until };
    }

    pub(crate) fn on_timer(&mut self, now: Now, fx: &mut Effects) {
        if let Acks::Asked { id, until } = *self
            && now.mono >= until
        {
            fx.push(Effect::Forget(id));
            *self = Acks::Idle;
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<(Time, &'static str)> {
        match *self {
            Acks::Idle => None,
            Acks::Asked { until, .. } => Some((until, "acks without an answer")),
            Acks::Settling { until, .. } => Some((until, "acks to be decided anew")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Duration;

    #[test]
    fn it_names_when_it_has_waited_long_enough() {
        let mut acks = Acks::Idle;
        assert_eq!(acks.next_deadline(), None);
        let until = Now::at_ms(5_000).mono;
        acks.asked(CommitId(7), until);
        let waits = Some((until, "acks without an answer"));
        assert_eq!(acks.next_deadline(), waits);
        let reply = StoreCommitReply {
            id: 7,
            outcome: Some(Outcome::Applied(9)),
        };
        acks.on_reply(Now::at_ms(1_000), &reply, 3, Duration::from_secs(2));
        let until = Now::at_ms(3_000).mono;
        let settles = Some((until, "acks to be decided anew"));
        assert_eq!(acks.next_deadline(), settles);
    }
}
