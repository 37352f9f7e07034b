//! The hot path's contract: what a front asks of a gateway actor, and what it is told.
//!
//! A front (hyper's request task, or a simulated client's arrival) calls the gateway
//! directly, without a mailbox. These are the types of that call.

use core::net::SocketAddr;

use serde::{Deserialize, Serialize};
use tidegate_protocol::{Digest, InstanceRef, NodeId};

use crate::{Duration, Time};

/// What a gateway needs to know of a request, parsed and checked by the front.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHead<'a> {
    /// Lower case, without a port.
    #[serde(borrow)]
    pub host: &'a str,
    /// It comes from the gateway of another region, which applied all policies.
    pub hopped: bool,
}

/// What a front asks of its gateway actor: data, like every input, so that it can be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FrontCall<'a> {
    /// A request has come: what is to be done with it?
    Decide(#[serde(borrow)] RequestHead<'a>),
    /// A request has ended, or could not be sent where it was to go.
    Finished { ticket: Ticket, outcome: Outcome },
}

/// One admitted request at one gateway actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Decision {
    /// Send it to an instance.
    Forward {
        ticket: Ticket,
        instance: InstanceRef,
        endpoint: SocketAddr,
        deadline: Time,
    },
    /// Keep the client waiting; an [`crate::Effect::Resume`] with this ticket will come by
    /// the deadline.
    Hold { ticket: Ticket, deadline: Time },
    /// Send it to the gateway of another region.
    Hop {
        ticket: Ticket,
        node: NodeId,
        endpoint: SocketAddr,
        deadline: Time,
    },
    /// Answer it from the artifact on this node.
    Static {
        ticket: Ticket,
        version: u64,
        artifact: Digest,
    },
    /// Answer it with an error; it holds nothing.
    Refuse(Refusal),
}

/// Why a request gets an error instead of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Refusal {
    /// No route has this host name.
    UnknownHost,
    /// The route is known, but no whole epoch of it is on this edge yet.
    NotHereYet { retry_after: Duration },
    /// As many requests wait as may wait.
    QueueFull { retry_after: Duration },
    /// It waited as long as it may, and no instance came.
    HoldTimeout { retry_after: Duration },
    /// No host of any region has room.
    NoCapacity { retry_after: Duration },
    /// The app does not start.
    StartFailed {
        reason: String,
        retry_after: Duration,
    },
    /// The connection to the instance or to the other region could not be made.
    Unreachable { retry_after: Duration },
    /// The instance broke the connection before the answer was whole.
    Broken,
    /// No answer within the deadline.
    Deadline,
    /// It hopped here and could only hop on.
    Loop,
}

impl Refusal {
    /// HTTP status code.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::UnknownHost => 404,
            Refusal::Broken => 502,
            Refusal::Deadline => 504,
            Refusal::Loop => 508,
            _ => 503,
        }
    }

    /// Value of `Retry-After`, whole seconds, at least one.
    pub fn retry_after_s(&self) -> Option<u64> {
        match self {
            Refusal::NotHereYet { retry_after }
            | Refusal::QueueFull { retry_after }
            | Refusal::HoldTimeout { retry_after }
            | Refusal::NoCapacity { retry_after }
            | Refusal::StartFailed { retry_after, .. }
            | Refusal::Unreachable { retry_after } => {
                Some(retry_after.as_millis().div_ceil(1000).max(1) as u64)
            }
            _ => None,
        }
    }

    /// One sentence for the client.
    pub fn text(&self) -> String {
        match self {
            Refusal::UnknownHost => "no app is deployed under this host name".into(),
            Refusal::NotHereYet { .. } => "the app is still on its way to this region".into(),
            Refusal::QueueFull { .. } => "too many requests are waiting for this app".into(),
            Refusal::HoldTimeout { .. } => "the app did not become ready in time".into(),
            Refusal::NoCapacity { .. } => "no host has room for this app right now".into(),
            Refusal::StartFailed { reason, .. } => format!("the app does not start: {reason}"),
            Refusal::Unreachable { .. } => "the app's instance could not be reached".into(),
            Refusal::Broken => "the app closed the connection before it had answered".into(),
            Refusal::Deadline => "the app did not answer in time".into(),
            Refusal::Loop => "two regions each think that the other one serves this app".into(),
        }
    }
}

/// How an admitted request ended, as its front saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The whole answer went to the client.
    Answered,
    /// No connection could be made: nothing was sent, so it may be tried elsewhere.
    ConnectFailed,
    /// The connection broke after the request was sent.
    Broken,
    /// The deadline passed.
    TimedOut,
    /// The client went away.
    ClientGone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_has_its_status_and_says_when_to_come_again() {
        let retry_after = Duration::from_millis(1_001);
        let reason = String::from("exit code 1");
        for (refusal, status, again, text) in [
            (Refusal::UnknownHost, 404, None, "no app is deployed"),
            (
                Refusal::NotHereYet { retry_after },
                503,
                Some(2),
                "on its way",
            ),
            (Refusal::QueueFull { retry_after }, 503, Some(2), "too many"),
            (
                Refusal::HoldTimeout { retry_after },
                503,
                Some(2),
                "in time",
            ),
            (Refusal::NoCapacity { retry_after }, 503, Some(2), "no host"),
            (
                Refusal::StartFailed {
                    reason,
                    retry_after,
                },
                503,
                Some(2),
                "does not start: exit code 1",
            ),
            (
                Refusal::Unreachable { retry_after },
                503,
                Some(2),
                "reached",
            ),
            (Refusal::Broken, 502, None, "closed the connection"),
            (Refusal::Deadline, 504, None, "answer in time"),
            (Refusal::Loop, 508, None, "two regions"),
        ] {
            assert_eq!(refusal.status(), status, "{refusal:?}");
            assert_eq!(refusal.retry_after_s(), again, "{refusal:?}");
            assert!(refusal.text().contains(text), "{}", refusal.text());
        }
        let at_once = Refusal::QueueFull {
            retry_after: Duration::ZERO,
        };
        assert_eq!(at_once.retry_after_s(), Some(1));
    }
}
