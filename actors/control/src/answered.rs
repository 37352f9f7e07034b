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
