//! Requests that sync answers: control passes them on and brings the reply back.
//!
//! Ids of two clients may be equal, so each request travels under an id of control's own. It
//! is repeated until it is answered or its time is up; reading twice changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Duration, Effects, Rng, Time};
use tidegate_protocol::{Address, ApiReply, ApiRequest, ListInstances, Message, api_request};

use crate::answered::RequestName;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Forwards {
    sync: Address,
    retry: Duration,
    next: u64,
    pending: BTreeMap<u64, Forward>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Forward {
    name: RequestName,
    call: ListInstances,
    ask_at: Time,
    deadline: Time,
}

impl Forwards {
    pub(crate) fn new(sync: Address, retry: Duration, rng: &mut Rng) -> Self {
        Self {
            sync,
            retry,
            next: rng.u64(),
            pending: BTreeMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn push(
        &mut self,
        now: Time,
        name: RequestName,
        call: ListInstances,
        deadline: Time,
        fx: &mut Effects,
    ) {
        if self
            .pending
            .values()
            .any(|f| f.name == name && f.call == call)
        {
            return;
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        let forward = Forward {
            name,
            call,
            ask_at: now,
            deadline,
        };
        self.pending.insert(id, forward);
        self.ask_again(now, fx);
    }

    /// The client for whom this reply is, and the reply as it knows it.
    pub(crate) fn on_reply(
        &mut self,
        from: Address,
        reply: ApiReply,
    ) -> Option<(Address, ApiReply)> {
        if from != self.sync {
            return None;
        }
        let forward = self.pending.remove(&reply.id)?;
        let (client, id) = forward.name;
        Some((client, ApiReply { id, ..reply }))
    }

    /// Those whose time is up.
    pub(crate) fn take_overdue(&mut self, now: Time) -> Vec<RequestName> {
        let overdue = self.pending.extract_if(.., |_, f| now >= f.deadline);
        overdue.map(|(_, f)| f.name).collect()
    }

    pub(crate) fn ask_again(&mut self, now: Time, fx: &mut Effects) {
        for (id, forward) in &mut self.pending {
            if now >= forward.ask_at {
                forward.ask_at = now + self.retry;
                let call = api_request::Call::ListInstances(forward.call.clone());
                let request = ApiRequest {
                    id: *id,
                    call: Some(call),
                };
                fx.send(self.sync, Message::ApiRequest(request));
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<(Time, &'static str)> {
        let pending = self.pending.values();
        let next = pending.map(|f| f.ask_at.min(f.deadline)).min()?;
        Some((next, "ask sync again"))
    }
}
