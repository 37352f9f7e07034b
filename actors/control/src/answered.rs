//! Replies to writes that were carried out lately.
//!
//! The network may deliver a request twice, and a client that heard nothing repeats it. Most
//! writes are harmless to repeat; a rollback to "the version before" is not, nor a deploy
//! without an idempotency key. So the last replies are kept for as long as a repetition is
//! likely, and a repetition gets the same one. A client must not use an id for two requests
//! within that time. Control forgets them when it crashes: beyond that, only an idempotency
//! key or a version number makes a request safe to repeat.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Duration, Load, Time};
use tidegate_protocol::{Address, ApiReply};

use crate::plan::Write;

/// How long a reply is kept, and how many.
const KEPT_FOR: Duration = Duration::from_secs(60);
const KEPT_MAX: usize = 256;

/// A request as its client knows it.
pub(crate) type RequestName = (Address, u64);

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Answered {
    replies: BTreeMap<RequestName, (Write, ApiReply)>,
    order: VecDeque<(Time, RequestName)>,
}

impl Answered {
    pub(crate) fn remember(&mut self, now: Time, name: RequestName, write: Write, reply: ApiReply) {
        self.forget_old(now);
        if self.order.len() >= KEPT_MAX {
            self.forget_first();
        }
        self.order.retain(|(_, other)| *other != name);
        self.order.push_back((now, name));
        self.replies.insert(name, (write, reply));
    }

    /// The reply to a request that is the same as an earlier one.
    pub(crate) fn repeated(
        &mut self,
        now: Time,
        name: RequestName,
        write: &Write,
    ) -> Option<ApiReply> {
        self.forget_old(now);
        let (earlier, reply) = self.replies.get(&name)?;
        (earlier == write).then(|| reply.clone())
    }

    pub(crate) fn load(&self) -> Load {
        Load::new("replies kept", self.replies.len(), KEPT_MAX)
    }

    fn forget_old(&mut self, now: Time) {
        while self
            .order
            .front()
            .is_some_and(|(at, _)| now.since(*at) >= KEPT_FOR)
        {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, name)) = self.order.pop_front() {
            self.replies.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Now;
    use tidegate_protocol::{NodeId, Role};

    fn name(id: u64) -> RequestName {
        (Address::new(NodeId(1), Role::Client, 0), id)
    }

    fn write() -> Write {
        Write::Remove {
            project: "hello".into(),
        }
    }

    fn remember(answered: &mut Answered, seconds: u64, id: u64) {
        let now = Now::at_ms(seconds * 1_000).mono;
        answered.remember(now, name(id), write(), ApiReply::default());
    }

    fn is_kept(answered: &mut Answered, seconds: u64, id: u64) -> bool {
        let now = Now::at_ms(seconds * 1_000).mono;
        answered.repeated(now, name(id), &write()).is_some()
    }

    #[test]
    fn each_reply_is_kept_for_a_minute_from_its_last_giving() {
        let mut answered = Answered::default();
        for (seconds, id) in [(0, 1), (0, 2), (30, 1), (59, 3)] {
            remember(&mut answered, seconds, id);
        }
        assert!(is_kept(&mut answered, 59, 2));
        assert!(!is_kept(&mut answered, 60, 2));
        assert!(is_kept(&mut answered, 89, 1));
        assert!(!is_kept(&mut answered, 90, 1));
        assert!(is_kept(&mut answered, 118, 3));
        assert_eq!(answered.load().length, 1);
    }

    #[test]
    fn the_oldest_reply_gives_way_to_one_too_many() {
        let mut answered = Answered::default();
        for id in 0..=KEPT_MAX as u64 {
            remember(&mut answered, 0, id);
        }
        assert_eq!(answered.load().length, KEPT_MAX);
        assert!(!is_kept(&mut answered, 0, 0));
        assert!(is_kept(&mut answered, 0, 1));
    }
}
