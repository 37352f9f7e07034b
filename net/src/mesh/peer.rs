//! Another node: its link if there is one, and what happens to envelopes while there is none.
//!
//! The first envelope makes this node dial; what is sent meanwhile waits, within bounds, and
//! is lost when the dial fails. After a failure there is a pause, which doubles while
//! failures go on, in which envelopes are lost at once: they would be stale when the peer
//! comes back, and their senders ask again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwapOption;
use tidegate_kernel::{Backoff, Duration, Rng};
use tidegate_protocol::{Envelope, NodeId};
use tokio::time::Instant;

use super::link::{Link, NotQueued, replaces};

/// Envelopes and encoded bytes that wait while a node is dialled.
const PENDING_MAX: usize = 1_024;
const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// First and longest pause after a failed dial.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A link that lasted this long ends a series of failures.
const LASTED: Duration = Duration::from_secs(5);

pub(super) struct Peer {
    pub(super) node: NodeId,
    link: ArcSwapOption<Link>,
    state: Mutex<State>,
}

struct State {
    dialling: bool,
    /// Always linked, also when there is nothing to send.
    kept: bool,
    not_before: Option<Instant>,
    backoff: Backoff,
    rng: Rng,
    pending: VecDeque<(Envelope, usize)>,
    pending_bytes: usize,
}

/// What became of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Queued,
    /// It waits, and the caller must dial.
    Dial,
    Full,
    Disconnected,
}

/// The peer has a link that is to be kept instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Superfluous;

impl Peer {
    pub(super) fn new(node: NodeId, rng: Rng) -> Self {
        Self {
            node,
            link: ArcSwapOption::empty(),
            state: Mutex::new(State {
                dialling: false,
                kept: false,
                not_before: None,
                backoff: Backoff::new(PAUSE.0, PAUSE.1),
                rng,
                pending: VecDeque::new(),
                pending_bytes: 0,
            }),
        }
    }

    pub(super) fn is_linked(&self) -> bool {
        self.link.load().is_some()
    }

    /// Sends an envelope of `bytes` encoded bytes, or lets it wait, or loses it.
    pub(super) fn send(&self, envelope: Envelope, bytes: usize, now: Instant) -> Sent {
        if let Some(link) = &*self.link.load() {
            return push(link, envelope, bytes);
        }
        let mut state = self.lock();
        // It may have come since.
        if let Some(link) = &*self.link.load() {
            return push(link, envelope, bytes);
        }
        let dial = !state.dialling;
        if dial && state.not_before.is_some_and(|at| now < at) {
            return Sent::Disconnected;
        }
        if state.pending.len() >= PENDING_MAX || state.pending_bytes >= PENDING_BYTES_MAX {
            return Sent::Full;
        }
        state.pending.push_back((envelope, bytes));
        state.pending_bytes += bytes;
        state.dialling = true;
        if dial { Sent::Dial } else { Sent::Queued }
    }

    /// The node is to be linked from now on, whether there is something to send or not.
    /// True when the caller must dial.
    pub(super) fn keep(&self) -> bool {
        let mut state = self.lock();
        state.kept = true;
        let dial = !state.dialling && !self.is_linked();
        state.dialling |= dial;
        dial
    }

    /// Makes `link` the peer's link and sends what waited. Returns the one that it replaces.
    pub(super) fn install(
        &self,
        me: NodeId,
        link: &Arc<Link>,
    ) -> Result<Option<Arc<Link>>, Superfluous> {
        let mut state = self.lock();
        if let Some(present) = &*self.link.load()
            && !replaces(present.facts, link.facts, me, self.node)
        {
            return Err(Superfluous);
        }
        if link.facts.dialler == me {
            state.dialling = false;
        }
        state.not_before = None;
        state.pending_bytes = 0;
        for (envelope, bytes) in state.pending.drain(..) {
            // A fresh queue is larger than what may wait.
            let _ = link.push(envelope, bytes);
        }
        Ok(self.link.swap(Some(Arc::clone(link))))
    }

    /// A dial of this node has failed. Returns how many envelopes were lost with it, and
    /// when the caller must dial again, if at all.
    pub(super) fn dial_failed(&self, now: Instant) -> (usize, Option<Instant>) {
        let mut state = self.lock();
        state.dialling = false;
        if self.is_linked() {
            return (0, None);
        }
        let lost = state.pending.len();
        state.pending.clear();
        state.pending_bytes = 0;
        (lost, state.pause(now))
    }

    /// A link has ended. Returns when the caller must dial again, if at all.
    pub(super) fn link_ended(&self, link: &Arc<Link>, now: Instant) -> Option<Instant> {
        let mut state = self.lock();
        let present = self.link.load();
        if !present.as_ref().is_some_and(|p| Arc::ptr_eq(p, link)) {
            return None;
        }
        self.link.store(None);
        if now.duration_since(link.since) >= LASTED {
            state.backoff.reset();
        }
        if state.dialling {
            return None;
        }
        state.pause(now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pause(&mut self, now: Instant) -> Option<Instant> {
        let at = now + self.backoff.fail(&mut self.rng);
        self.not_before = Some(at);
        self.kept.then_some(at)
    }
}

fn push(link: &Link, envelope: Envelope, bytes: usize) -> Sent {
    match link.push(envelope, bytes) {
        Ok(()) => Sent::Queued,
        Err(NotQueued::Full) => Sent::Full,
        Err(NotQueued::Closed) => Sent::Disconnected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::link::{Facts, Outgoing, Queue};
    use crate::mesh::proto::Hello;
    use tidegate_kernel::Seed;
    use tokio_util::sync::CancellationToken;

    const ME: NodeId = NodeId(1);
    const PEER: NodeId = NodeId(2);

    fn peer() -> Peer {
        Peer::new(PEER, Seed(1).rng())
    }

    fn send(peer: &Peer, now: Instant) -> Sent {
        peer.send(Envelope::default(), 10, now)
    }

    fn link(dialler: NodeId) -> (Arc<Link>, Outgoing) {
        let facts = Facts {
            dialler,
            incarnation: 9,
        };
        let (queue, outgoing) = Queue::new(Hello::default(), Arc::default());
        (Link::new(facts, CancellationToken::new(), queue), outgoing)
    }

    #[tokio::test]
    async fn the_first_envelope_dials_and_a_failure_makes_a_pause() {
        let (peer, now) = (peer(), Instant::now());
        assert_eq!(send(&peer, now), Sent::Dial);
        assert_eq!(send(&peer, now), Sent::Queued);
        assert_eq!(peer.dial_failed(now), (2, None));
        assert_eq!(send(&peer, now), Sent::Disconnected);
        assert_eq!(send(&peer, now + PAUSE.0), Sent::Dial);
    }

    #[tokio::test]
    async fn what_waits_while_dialling_is_bounded() {
        let (peer, now) = (peer(), Instant::now());
        let large = PENDING_BYTES_MAX;
        assert_eq!(peer.send(Envelope::default(), large, now), Sent::Dial);
        assert_eq!(send(&peer, now), Sent::Full);
    }

    #[tokio::test]
    async fn a_kept_peer_is_dialled_again_without_an_envelope() {
        let (peer, now) = (peer(), Instant::now());
        assert!(peer.keep());
        assert!(!peer.keep());
        let (lost, again) = peer.dial_failed(now);
        assert_eq!(lost, 0);
        assert!(again.is_some_and(|at| at > now && at <= now + PAUSE.0));
    }

    #[tokio::test]
    async fn of_two_links_one_is_installed() {
        let (peer, now) = (peer(), Instant::now());
        let ((theirs, _a), (ours, _b)) = (link(PEER), link(ME));
        assert_eq!(send(&peer, now), Sent::Dial);
        assert!(peer.install(ME, &theirs).is_ok_and(|old| old.is_none()));
        let replaced = peer.install(ME, &ours).unwrap().unwrap();
        assert!(Arc::ptr_eq(&replaced, &theirs));
        assert!(peer.install(ME, &theirs).is_err());
        // The end of the one that was replaced changes nothing.
        assert_eq!(peer.link_ended(&theirs, now), None);
        assert!(peer.is_linked());
        assert_eq!(peer.link_ended(&ours, now), None);
        assert!(!peer.is_linked());
    }
}
