//! Requests in flight: which may go next, and how each ends.
//!
//! A request waits (for the mirror, or for its turn), or its commit is under way. Writes of
//! one project take turns, and so do all writes that count (see `plan`): planned at the same
//! time they would only make each other fail. Nothing is taken as done or as failed without
//! proof: a commit that stays without an answer is proved or disproved by the view, because
//! either what it wrote is there, or something that it required has changed, or it may still
//! happen and is sent again unchanged.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use tidegate_kernel::{CommitId, Mirror, Time};
use tidegate_protocol::{ApiError, ApiReply, Key, Precondition};

use crate::answered::RequestName;
use crate::plan::{Fault, Plan, Witness, Write};
use crate::read::Read;
use crate::view::View;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Call {
    Read(Read),
    Write(Write),
}

/// A commit whose outcome is not known from its answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tried {
    preconditions: Vec<Precondition>,
    witness: Witness,
    reply: ApiReply,
    /// The store said that a precondition failed.
    conflict: bool,
}

/// What the view tells of a commit that was tried.
#[derive(Debug)]
pub(crate) enum Proof {
    Applied(ApiReply),
    /// It can no longer be applied.
    Void,
    /// It may still be applied.
    Open,
    /// It was refused for something that the view does not show yet.
    Behind,
}

impl Tried {
    pub(crate) fn new(plan: Plan, conflict: bool) -> Self {
        Self {
            preconditions: plan.txn.preconditions,
            witness: plan.witness,
            reply: plan.reply,
            conflict,
        }
    }

    pub(crate) fn proof(&self, view: &View, mirror: &Mirror) -> Proof {
        if self.witness.holds(view) {
            return Proof::Applied(self.reply.clone());
        }
        let changed = |p: &Precondition| {
            Key::parse(&p.key).is_ok_and(|key| mirror.revision_of(&key) != p.revision)
        };
        if self.preconditions.iter().any(changed) {
            Proof::Void
        } else if self.conflict {
            Proof::Behind
        } else {
            Proof::Open
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Stage {
    Waiting {
        tried: Option<Tried>,
    },
    Committing {
        commit: CommitId,
        sent: Time,
        plan: Box<Plan>,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) name: RequestName,
    pub(crate) call: Call,
    pub(crate) arrived_wall_ms: u64,
    pub(crate) deadline: Time,
    pub(crate) conflicts: u32,
    pub(crate) stage: Stage,
}

impl Request {
    /// Gives up waiting for the answer to its commit; what became of it is to be proved.
    pub(crate) fn retract(&mut self, conflict: bool) {
        let nothing = Stage::Waiting { tried: None };
        self.stage = match std::mem::replace(&mut self.stage, nothing) {
            Stage::Committing { plan, .. } => Stage::Waiting {
                tried: Some(Tried::new(*plan, conflict)),
            },
            waiting @ Stage::Waiting { .. } => waiting,
        };
    }

    /// What its client is told when its time is up.
    pub(crate) fn out_of_time(&self) -> Fault {
        let tried = !matches!(self.stage, Stage::Waiting { tried: None });
        let reason = if tried {
            "the main store did not answer in time and the outcome is unknown; repeat the \
             request with the same key"
        } else {
            "the main store did not answer in time; nothing was done, try again in some seconds"
        };
        Fault::new(ApiError::Unavailable, reason)
    }
}

/// Requests by order of arrival.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Requests {
    by_order: BTreeMap<u64, Request>,
    next: u64,
}

impl Requests {
    pub(crate) fn push(&mut self, request: Request) {
        self.by_order.insert(self.next, request);
        self.next += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.by_order.len()
    }

    /// Whether this very request is in flight already.
    pub(crate) fn holds(&self, name: RequestName, call: &Call) -> bool {
        self.by_order
            .values()
            .any(|r| r.name == name && r.call == *call)
    }

    pub(crate) fn get_mut(&mut self, order: u64) -> Option<&mut Request> {
        self.by_order.get_mut(&order)
    }

    pub(crate) fn remove(&mut self, order: u64) -> Option<Request> {
        self.by_order.remove(&order)
    }

    pub(crate) fn order_of(&self, commit: CommitId) -> Option<u64> {
        let committing =
            |r: &Request| matches!(&r.stage, Stage::Committing { commit: c, .. } if *c == commit);
        let (order, _) = self.by_order.iter().find(|(_, r)| committing(r))?;
        Some(*order)
    }

    /// The waiting requests that no earlier one bars, in order.
    pub(crate) fn ready(&self) -> Vec<u64> {
        let mut counting = false;
        let mut projects = BTreeSet::new();
        let mut ready = Vec::new();
        for (order, request) in &self.by_order {
            let waiting = matches!(request.stage, Stage::Waiting { .. });
            let free = match &request.call {
                Call::Read(_) => true,
                Call::Write(write) => {
                    let first = projects.insert(write.project());
                    let turn = first && !(write.counts() && counting);
                    counting |= write.counts();
                    turn
                }
            };
            if waiting && free {
                ready.push(*order);
            }
        }
        ready
    }

    /// Requests whose time is up.
    pub(crate) fn overdue(&self, now: Time) -> Vec<u64> {
        let overdue = self.by_order.iter().filter(|(_, r)| now >= r.deadline);
        overdue.map(|(order, _)| *order).collect()
    }

    /// Requests whose commit was sent at `sent` or before.
    pub(crate) fn unanswered(&self, late: impl Fn(Time) -> bool) -> Vec<u64> {
        let mut list = Vec::new();
        for (order, request) in &self.by_order {
            if matches!(request.stage, Stage::Committing { sent, .. } if late(sent)) {
                list.push(*order);
            }
        }
        list
    }

    /// When the first request, or the first commit, has waited long enough.
    pub(crate) fn next_deadline(
        &self,
        commit_timeout: tidegate_kernel::Duration,
    ) -> Option<(Time, &'static str)> {
        let requests = self.by_order.values();
        let deadlines = requests.flat_map(|r| {
            let commit = match r.stage {
                Stage::Committing { sent, .. } => Some((sent + commit_timeout, "forget a commit")),
                Stage::Waiting { .. } => None,
            };
            [Some((r.deadline, "end a request")), commit]
                .into_iter()
                .flatten()
        });
        deadlines.min_by_key(|(at, _)| *at)
    }

    /// Panics when two writes that bar each other are under way.
    pub(crate) fn check(&self) {
        let mut projects = BTreeSet::new();
        let mut counting = 0;
        for request in self.by_order.values() {
            if let (Call::Write(write), Stage::Committing { .. }) = (&request.call, &request.stage)
            {
                counting += u32::from(write.counts());
                assert!(
                    projects.insert(write.project()),
                    "two commits of one project are under way"
                );
            }
        }
        assert!(counting <= 1, "two counting commits are under way");
    }
}
