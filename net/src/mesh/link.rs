//! One connection between two nodes, and which of several is kept.
//!
//! Either node may dial. When both do at once there are two connections for a moment, and
//! both ends must keep the same one: the one that the node with the lower id dialled. A
//! connection to a former process of the peer gives way to any to its present one, and a
//! connection gives way to a later one of the same dialler, who would not have dialled if
//! the former still served.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures_core::Stream;
use tidegate_protocol::{Envelope, NodeId};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::counts::{Counters, count};
use super::proto::{Frame, Hello, frame::Kind};

/// Envelopes that may wait for one peer.
pub const QUEUE_MAX: usize = 16_384;
/// Encoded bytes of the envelopes that may wait for one peer.
pub const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What decides between two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) dialler: NodeId,
    /// Of the peer's process.
    pub(super) incarnation: u64,
}

/// Whether a connection that is offered replaces the present one.
pub(super) fn replaces(present: Facts, offered: Facts, a: NodeId, b: NodeId) -> bool {
    offered.incarnation != present.incarnation
        || offered.dialler == present.dialler
        || offered.dialler == a.min(b)
}

/// A connection to a peer.
pub(super) struct Link {
    pub(super) facts: Facts,
    pub(super) since: Instant,
    /// Cancelling it ends the connection.
    pub(super) cut: CancellationToken,
    queue: Queue,
}

impl Link {
    pub(super) fn new(facts: Facts, cut: CancellationToken, queue: Queue) -> Arc<Self> {
        Arc::new(Self {
            facts,
            since: Instant::now(),
            cut,
            queue,
        })
    }

    /// Queues an envelope of `bytes` encoded bytes. Never waits.
    pub(super) fn push(&self, envelope: Envelope, bytes: usize) -> Result<(), NotQueued> {
        self.queue.push(envelope, bytes)
    }
}

/// What waits to be sent on a connection.
pub(super) struct Queue {
    sender: mpsc::Sender<(Envelope, usize)>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// Why an envelope was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotQueued {
    Full,
    Closed,
}

impl Queue {
    /// A queue, and the stream that sends a greeting and then what is queued.
    pub(super) fn new(hello: Hello, counters: Arc<Counters>) -> (Self, Outgoing) {
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let outgoing = Outgoing {
            hello: Some(hello),
            queue: receiver,
            waiting_bytes: Arc::clone(&waiting_bytes),
            counters,
        };
        let queue = Self {
            sender,
            waiting_bytes,
        };
        (queue, outgoing)
    }

    fn push(&self, envelope: Envelope, bytes: usize) -> Result<(), NotQueued> {
        let before = self.waiting_bytes.fetch_add(bytes, Relaxed);
        let queued = if before >= QUEUE_BYTES_MAX {
            Err(NotQueued::Full)
        } else {
            self.sender
                .try_send((envelope, bytes))
                .map_err(|error| match error {
                    mpsc::error::TrySendError::Full(_) => NotQueued::Full,
                    mpsc::error::TrySendError::Closed(_) => NotQueued::Closed,
                })
        };
        if queued.is_err() {
            self.waiting_bytes.fetch_sub(bytes, Relaxed);
        }
        queued
    }
}

/// What a connection sends: the greeting, then what is queued.
pub(super) struct Outgoing {
    hello: Option<Hello>,
    queue: mpsc::Receiver<(Envelope, usize)>,
    waiting_bytes: Arc<AtomicUsize>,
    counters: Arc<Counters>,
}

impl Stream for Outgoing {
    type Item = Frame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(Kind::Hello(hello).into()));
        }
        let next = std::task::ready!(self.queue.poll_recv(cx));
        Poll::Ready(next.map(|(envelope, bytes)| {
            self.waiting_bytes.fetch_sub(bytes, Relaxed);
            count(&self.counters.sent);
            Kind::Envelope(envelope).into()
        }))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.queue.close();
        while self.queue.try_recv().is_ok() {
            count(&self.counters.disconnected);
        }
    }
}

impl From<Kind> for Frame {
    fn from(kind: Kind) -> Self {
        Frame { kind: Some(kind) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::{Address, Message, Probe, Role};

    const LOW: NodeId = NodeId(1);
    const HIGH: NodeId = NodeId(2);

    fn facts(dialler: NodeId, incarnation: u64) -> Facts {
        Facts {
            dialler,
            incarnation,
        }
    }

    #[test]
    fn of_two_at_once_the_lower_nodes_stays() {
        let (low, high) = (facts(LOW, 9), facts(HIGH, 9));
        assert!(replaces(high, low, LOW, HIGH));
        assert!(replaces(high, low, HIGH, LOW));
        assert!(!replaces(low, high, LOW, HIGH));
        assert!(!replaces(low, high, HIGH, LOW));
    }

    #[test]
    fn a_redial_and_a_restart_replace() {
        assert!(replaces(facts(HIGH, 9), facts(HIGH, 9), LOW, HIGH));
        assert!(replaces(facts(LOW, 8), facts(HIGH, 9), LOW, HIGH));
    }

    fn envelope(payload: usize) -> Envelope {
        let at = |node| Address::new(node, Role::Client, 0);
        let body = Probe {
            sequence: 0,
            payload: vec![0; payload].into(),
        };
        Envelope::new(at(LOW), at(HIGH), Message::Probe(body))
    }

    #[test]
    fn a_queue_holds_so_many_envelopes_and_so_many_bytes() {
        let queue = || Queue::new(Hello::default(), Arc::default());
        let (many, _outgoing) = queue();
        for _ in 0..QUEUE_MAX {
            assert_eq!(many.push(envelope(0), 10), Ok(()));
        }
        assert_eq!(many.push(envelope(0), 10), Err(NotQueued::Full));

        let (large, outgoing) = queue();
        assert_eq!(large.push(envelope(9), QUEUE_BYTES_MAX), Ok(()));
        assert_eq!(large.push(envelope(9), 9), Err(NotQueued::Full));
        let counters = Arc::clone(&outgoing.counters);
        drop(outgoing);
        assert_eq!(counters.read().disconnected, 1);
    }
}
