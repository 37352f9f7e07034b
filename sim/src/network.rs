//! When a message arrives, and whether.
//!
//! Between two nodes messages keep their order unless reordering is on, because the mesh
//! runs over ordered connections. Within a node nothing is lost. Faults are counters and
//! sums on the directed link, so that overlapping ones add up and each ends by taking away
//! what it added. Delays use a fixed part and an exponential part.

use tidegate_kernel::{Rng, Seed};

use crate::clock::SimTime;
use crate::draw::exponential;
use crate::scenario;
use crate::topology::{NodeSet, Topology, members};

/// Delay inside one machine.
const LOCAL_NS: u64 = 15_000;
/// A lost segment of a connection is sent again after this (RFC 6298's minimum as Linux has
/// it), doubling; a connection that loses so many in a row counts as stuck.
const RESEND_NS: u64 = 200_000_000;
const RESENDS_MAX: u32 = 6;

/// Of the messages that arrive twice, how many come the second time up to this much later.
const LATE_PER_MILLION: u32 = 200_000;
const LATE_NS: u64 = 10_000_000_000;

/// What faults did to one directed link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkFault {
    cuts: u16,
    reordering: u16,
    loss: u32,
    duplication: u32,
    corruption: u32,
    delay_ns: u64,
}

/// One change to links, made at a fault's begin and taken back at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChange {
    Cut,
    Reorder,
    Lose(u32),
    Duplicate(u32),
    Corrupt(u32),
    Delay(u64),
}

#[derive(Clone, Copy, Debug)]
struct Link {
    fixed_ns: u64,
    last_arrival: SimTime,
    fault: LinkFault,
    /// How often its connections broke.
    resets: u32,
}

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Lost,
    Arrives(SimTime),
    /// It arrives a second time.
    Twice(SimTime, SimTime),
}

#[derive(Debug)]
pub struct Network {
    count: usize,
    links: Vec<Link>,
    jitter_ns: u64,
    loss: u32,
    duplication: u32,
    reordering: bool,
    rng: Rng,
}

impl Network {
    pub fn new(settings: &scenario::Network, topology: &Topology, seed: Seed) -> Self {
        let mut rng = seed.derive("distances").rng();
        let regions = topology.regions.len();
        // The control plane and the operator are a place of their own.
        let places = regions + 1;
        let [low, high] = settings.between_regions;
        let mut between = vec![0; places * places];
        for a in 0..places {
            for b in 0..a {
                let delay = rng.between(low.nanos(), high.nanos());
                between[a * places + b] = delay;
                between[b * places + a] = delay;
            }
        }
        let place = |i: usize| topology.nodes[i].region.unwrap_or(regions);
        let count = topology.nodes.len();
        let mut links = Vec::with_capacity(count * count);
        for a in 0..count {
            for b in 0..count {
                let fixed_ns = match (place(a), place(b)) {
                    _ if a == b => LOCAL_NS,
                    (p, q) if p == q => settings.within_region.nanos(),
                    (p, q) => between[p * places + q],
                };
                links.push(Link {
                    fixed_ns,
                    last_arrival: 0,
                    fault: LinkFault::default(),
                    resets: 0,
                });
            }
        }
        Self {
            count,
            links,
            jitter_ns: settings.jitter.nanos(),
            loss: settings.loss_per_million,
            duplication: settings.duplication_per_million,
            reordering: settings.reordering,
            rng: seed.derive("deliveries").rng(),
        }
    }

    /// Decides about a message between actors.
    #[inline]
    pub fn deliver(&mut self, at: SimTime, from: usize, to: usize) -> Fate {
        let delay = self.delay(from, to);
        let (loss, duplication) = (self.loss, self.duplication);
        let link = &mut self.links[from * self.count + to];
        let mut arrival = at + delay;
        if from == to {
            arrival = arrival.max(link.last_arrival);
            link.last_arrival = arrival;
            return Fate::Arrives(arrival);
        }
        if link.fault.cuts > 0 {
            return Fate::Lost;
        }
        let loss = loss + link.fault.loss;
        if loss > 0 && self.rng.chance(loss) {
            return Fate::Lost;
        }
        if !self.reordering && link.fault.reordering == 0 {
            arrival = arrival.max(link.last_arrival);
            link.last_arrival = arrival;
        } else {
            arrival += self.rng.below(2 * delay);
        }
        let duplication = duplication + link.fault.duplication;
        if duplication > 0 && self.rng.chance(duplication) {
            // Most come soon; some are sent again by whoever reconnects.
            let late = self.rng.chance(LATE_PER_MILLION);
            let within = if late { LATE_NS } else { 50 * delay };
            let again = arrival + self.rng.below(within);
            return Fate::Twice(arrival, again);
        }
        Fate::Arrives(arrival)
    }

    /// Time until the bytes of a connection arrive, with what has to be sent again; `None`
    /// when nothing gets through.
    #[inline]
    pub fn stream(&mut self, from: usize, to: usize) -> Option<u64> {
        let mut delay = self.delay(from, to);
        if from == to {
            return Some(delay);
        }
        let fault = self.links[from * self.count + to].fault;
        if fault.cuts > 0 || self.links[to * self.count + from].fault.cuts > 0 {
            return None;
        }
        let loss = self.loss + fault.loss;
        if loss > 0 {
            let mut resends = 0;
            while self.rng.chance(loss) {
                delay += RESEND_NS << resends;
                resends += 1;
                if resends >= RESENDS_MAX {
                    return None;
                }
            }
        }
        Some(delay)
    }

    #[inline]
    fn delay(&mut self, from: usize, to: usize) -> u64 {
        let link = &self.links[from * self.count + to];
        let fixed = link.fixed_ns + link.fault.delay_ns;
        let jitter = if from == to { 3_000 } else { self.jitter_ns };
        fixed + exponential(&mut self.rng, jitter)
    }

    /// Delay without chance, one way.
    pub fn distance(&self, from: usize, to: usize) -> u64 {
        self.links[from * self.count + to].fixed_ns
    }

    /// Whether nothing gets from one node to the other now.
    #[inline]
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.links[from * self.count + to].fault.cuts > 0
    }

    /// Which connection a message from one node to another takes now: one that took an
    /// earlier connection does not arrive any more.
    #[inline]
    pub fn connection(&self, from: usize, to: usize) -> u32 {
        self.links[from * self.count + to].resets
    }

    /// Breaks every connection between the two sets.
    pub fn reset(&mut self, one: NodeSet, other: NodeSet) {
        for a in members(one) {
            for b in members(other & !one) {
                self.links[a * self.count + b].resets += 1;
                self.links[b * self.count + a].resets += 1;
            }
        }
    }

    /// Bytes changed on the way, per million messages.
    #[inline]
    pub fn corruption(&self, from: usize, to: usize) -> u32 {
        self.links[from * self.count + to].fault.corruption
    }

    /// Whether the link is as it was made.
    pub fn is_whole(&self, from: usize, to: usize) -> bool {
        self.links[from * self.count + to].fault == LinkFault::default()
    }

    /// Makes a change to every link from one set to the other, or takes it back. Links
    /// within either set stay as they are.
    pub fn change(&mut self, from: NodeSet, to: NodeSet, change: LinkChange, begin: bool) {
        for a in members(from) {
            for b in members(to & !from) {
                let fault = &mut self.links[a * self.count + b].fault;
                apply(fault, change, begin);
            }
        }
    }
}

fn apply(fault: &mut LinkFault, change: LinkChange, begin: bool) {
    let step16 = |value: &mut u16| {
        *value = if begin { *value + 1 } else { *value - 1 };
    };
    let step32 = |value: &mut u32, by: u32| {
        *value = if begin { *value + by } else { *value - by };
    };
    match change {
        LinkChange::Cut => step16(&mut fault.cuts),
        LinkChange::Reorder => step16(&mut fault.reordering),
        LinkChange::Lose(by) => step32(&mut fault.loss, by),
        LinkChange::Duplicate(by) => step32(&mut fault.duplication, by),
        LinkChange::Corrupt(by) => step32(&mut fault.corruption, by),
        LinkChange::Delay(by) => {
            fault.delay_ns = if begin {
                fault.delay_ns + by
            } else {
                fault.delay_ns - by
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{BUILTIN, Scenario};

    fn network() -> (Network, Topology) {
        let scenario = Scenario::parse("t", BUILTIN[0].text).unwrap();
        let topology = Topology::new(&scenario);
        (
            Network::new(&scenario.network, &topology, Seed(1)),
            topology,
        )
    }

    #[test]
    fn a_link_keeps_order_until_reordering_begins() {
        let (mut network, _) = network();
        let arrivals = |network: &mut Network| -> Vec<u64> {
            (0..200)
                .map(|i| match network.deliver(i, 2, 3) {
                    Fate::Arrives(at) => at,
                    fate => panic!("{fate:?}"),
                })
                .collect()
        };
        assert!(arrivals(&mut network).is_sorted());
        network.change(1 << 2, 1 << 3, LinkChange::Reorder, true);
        assert!(!arrivals(&mut network).is_sorted());
    }

    #[test]
    fn overlapping_cuts_end_one_by_one_and_one_way() {
        let (mut network, _) = network();
        for _ in 0..2 {
            network.change(1 << 2, 0b11000, LinkChange::Cut, true);
        }
        assert_eq!(network.deliver(0, 2, 3), Fate::Lost);
        assert!(matches!(network.deliver(0, 3, 2), Fate::Arrives(_)));
        assert_eq!(network.stream(3, 2), None);
        network.change(1 << 2, 0b11000, LinkChange::Cut, false);
        assert_eq!(network.deliver(0, 2, 3), Fate::Lost);
        network.change(1 << 2, 0b11000, LinkChange::Cut, false);
        assert!(matches!(network.deliver(0, 2, 3), Fate::Arrives(_)));
        assert!(network.is_whole(2, 3));
    }

    #[test]
    fn a_reset_breaks_both_directions_and_nothing_within_a_set() {
        let (mut network, _) = network();
        network.reset(0b0110, 0b1110);
        let connection = |from, to| network.connection(from, to);
        assert_eq!((connection(1, 3), connection(3, 1)), (1, 1));
        assert_eq!((connection(1, 2), connection(0, 3)), (0, 0));
    }

    #[test]
    fn loss_and_duplication_happen_about_as_often_as_asked() {
        let (mut network, _) = network();
        network.change(1 << 2, 1 << 3, LinkChange::Lose(300_000), true);
        network.change(1 << 2, 1 << 3, LinkChange::Duplicate(500_000), true);
        let fates: Vec<Fate> = (0..10_000).map(|i| network.deliver(i, 2, 3)).collect();
        let lost = fates.iter().filter(|f| **f == Fate::Lost).count();
        let twice = fates
            .iter()
            .filter(|f| matches!(f, Fate::Twice(..)))
            .count();
        assert!((2_700..3_300).contains(&lost), "{lost}");
        assert!((3_200..3_800).contains(&twice), "{twice}");
    }
}
