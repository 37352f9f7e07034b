//! Whom to ask for a blob, and in which order.
//!
//! The origin on the control node has what anybody has; peers are other nodes that hold
//! artifacts, and may lack one. Each blob gets a route of a few sources, begun at random
//! among the peers, so that nodes that fetch together do not ask the same one. Who was
//! silent lately goes behind all others: a dead source costs one wait, not one for each
//! blob. Nobody is passed over for good, since silence ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Duration, Now, Rng, Time};
use tidegate_protocol::Address;

/// Sources on the route of one blob, the origin among them.
const ROUTE_MAX: usize = 4;
/// How long a source that was silent is asked after all others.
const AVOIDED_FOR: Duration = Duration::from_secs(60);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sources {
    origin: Address,
    origin_first: bool,
    peers: BTreeSet<Address>,
    /// Those that were silent, and until when they are avoided.
    silent: BTreeMap<Address, Time>,
}

impl Sources {
    pub(crate) fn new(origin: Address, origin_first: bool) -> Self {
        Self {
            origin,
            origin_first,
            peers: BTreeSet::new(),
            silent: BTreeMap::new(),
        }
    }

    /// Adds a peer; the origin is no peer beside itself.
    pub(crate) fn add(&mut self, peer: Address) {
        if peer != self.origin {
            self.peers.insert(peer);
        }
    }

    pub(crate) fn remove(&mut self, peer: Address) {
        if self.peers.remove(&peer) {
            self.silent.remove(&peer);
        }
    }

    pub(crate) fn contains(&self, source: Address) -> bool {
        source == self.origin || self.peers.contains(&source)
    }

    /// A source did not answer in time.
    pub(crate) fn on_silence(&mut self, now: Now, source: Address) {
        if self.contains(source) {
            self.silent.insert(source, now.mono + AVOIDED_FOR);
        }
    }

    /// A source answered.
    pub(crate) fn on_answer(&mut self, source: Address) {
        self.silent.remove(&source);
    }

    /// The sources to ask for a blob.
    pub(crate) fn route(&self, now: Now, rng: &mut Rng) -> Route {
        let is_avoided = |source: &Address| {
            let until = self.silent.get(source);
            until.is_some_and(|until| *until > now.mono)
        };
        let first = match self.peers.len() {
            0 | 1 => 0,
            peers => rng.index(peers).unwrap_or(0),
        };
        let (before, from) = (self.peers.iter().take(first), self.peers.iter().skip(first));
        let mut order: Vec<Address> = from.chain(before).copied().collect();
        order.sort_by_key(is_avoided);
        order.truncate(ROUTE_MAX - 1);
        let at = if self.origin_first { 0 } else { order.len() };
        order.insert(at, self.origin);
        order.sort_by_key(is_avoided);
        Route {
            unasked: order.len() - 1,
            order: order.into(),
        }
    }

    pub(crate) fn check(&self) {
        assert!(!self.peers.contains(&self.origin));
        assert!(self.silent.len() <= self.peers.len() + 1);
    }
}

/// The sources of one blob: the one that is asked, those that were not asked yet, those
/// that were and stayed silent.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Route {
    order: VecDeque<Address>,
    unasked: usize,
}

impl Route {
    /// Who is asked; `None` when nobody is left.
    pub(crate) fn current(&self) -> Option<Address> {
        self.order.front().copied()
    }

    pub(crate) fn contains(&self, source: Address) -> bool {
        self.order.contains(&source)
    }

    /// Leaves the current source for later; whether the next one was not asked before.
    pub(crate) fn postpone(&mut self) -> bool {
        if !self.order.is_empty() {
            self.order.rotate_left(1);
        }
        self.next_is_unasked()
    }

    /// Leaves the current source for good: it lacks the blob, or has another.
    pub(crate) fn discard(&mut self) {
        self.order.pop_front();
        self.next_is_unasked();
    }

    fn next_is_unasked(&mut self) -> bool {
        let is_unasked = self.unasked > 0;
        self.unasked = self.unasked.saturating_sub(1);
        is_unasked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Seed;
    use tidegate_protocol::{NodeId, Role};

    fn source(node: u32) -> Address {
        Address::new(NodeId(node), Role::Origin, 0)
    }

    /// The origin is node 0.
    fn sources(origin_first: bool, peers: &[u32]) -> Sources {
        let mut sources = Sources::new(source(0), origin_first);
        for peer in peers {
            sources.add(source(*peer));
        }
        sources
    }

    fn order(sources: &Sources, ms: u64, rng: &mut Rng) -> Vec<u32> {
        sources.check();
        let mut route = sources.route(Now::at_ms(ms), rng);
        let mut order = Vec::new();
        while let Some(source) = route.current() {
            order.push(source.node.0);
            route.discard();
        }
        order
    }

    #[test]
    fn the_origin_has_its_place_and_peers_take_turns() {
        let mut rng = Seed(1).rng();
        for (origin_first, peers, expected) in [
            (true, &[][..], vec![vec![0]]),
            (true, &[0], vec![vec![0]]),
            (true, &[1], vec![vec![0, 1]]),
            (false, &[1], vec![vec![1, 0]]),
            (true, &[1, 2], vec![vec![0, 1, 2], vec![0, 2, 1]]),
            (false, &[1, 2], vec![vec![1, 2, 0], vec![2, 1, 0]]),
        ] {
            let sources = sources(origin_first, peers);
            let mut seen: Vec<_> = (0..50).map(|_| order(&sources, 0, &mut rng)).collect();
            seen.sort();
            seen.dedup();
            assert_eq!(seen, expected);
        }
    }

    #[test]
    fn a_route_is_short_and_never_without_the_origin() {
        let mut rng = Seed(1).rng();
        let mut sources = sources(false, &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        sources.on_silence(Now::at_ms(0), source(0));
        let mut asked = BTreeSet::new();
        for _ in 0..100 {
            let order = order(&sources, 0, &mut rng);
            assert_eq!((order.len(), order[3]), (4, 0));
            asked.extend(order);
        }
        assert_eq!(asked.len(), 10, "everybody has a turn");
    }

    #[test]
    fn who_was_silent_is_asked_last_until_it_answers_or_a_minute_has_passed() {
        let mut rng = Seed(1).rng();
        let mut sources = sources(false, &[1]);
        sources.on_silence(Now::at_ms(0), source(1));
        assert_eq!(order(&sources, 59_999, &mut rng), [0, 1]);
        assert_eq!(order(&sources, 60_000, &mut rng), [1, 0]);
        sources.on_silence(Now::at_ms(0), source(0));
        assert_eq!(order(&sources, 0, &mut rng), [1, 0], "all alike");
        sources.on_answer(source(0));
        assert_eq!(order(&sources, 0, &mut rng), [0, 1]);
        sources.remove(source(1));
        sources.add(source(1));
        assert_eq!(order(&sources, 0, &mut rng), [1, 0], "a new life");
    }

    #[test]
    fn a_route_asks_everybody_once_before_anybody_twice() {
        let route = |nodes: [u32; 3]| Route {
            order: nodes.map(source).into(),
            unasked: 2,
        };
        let mut silent = route([1, 2, 3]);
        let mut asked = vec![];
        for _ in 0..4 {
            let is_new = silent.postpone();
            asked.push((silent.current().unwrap().node.0, is_new));
        }
        assert_eq!(asked, [(2, true), (3, true), (1, false), (2, false)]);

        let mut mixed = route([1, 2, 3]);
        mixed.postpone();
        mixed.discard();
        assert_eq!(mixed.current(), Some(source(3)));
        assert!(!mixed.postpone(), "1 was asked");
        assert!(mixed.contains(source(1)) && !mixed.contains(source(2)));
        mixed.discard();
        mixed.discard();
        assert_eq!(mixed.current(), None);
        assert!(!mixed.postpone());
    }

    #[test]
    fn a_stranger_is_no_source_and_its_silence_is_not_kept() {
        let mut sources = sources(true, &[1]);
        assert!(sources.contains(source(0)) && sources.contains(source(1)));
        assert!(!sources.contains(source(2)));
        sources.on_silence(Now::at_ms(0), source(2));
        assert!(sources.silent.is_empty());
    }

    #[test]
    #[should_panic(expected = "contains")]
    fn an_origin_that_is_its_own_peer_breaks_an_invariant() {
        let mut sources = sources(true, &[]);
        sources.peers.insert(source(0));
        sources.check();
    }
}
