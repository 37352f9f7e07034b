//! Which host an instance goes to: a pure choice.
//!
//! Among the hosts that are live, active and not full: the zone with the fewest instances of
//! the version, in it the host with the smallest occupied share, and among equals the lowest
//! node id. When that zone has no room, its hosts are not among the candidates, so the next
//! zone follows by itself.

use std::collections::BTreeMap;

use tidegate_protocol::NodeId;

/// A host as a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub node: NodeId,
    pub zone: &'a str,
    /// Slots that name the host.
    pub occupied: u32,
    pub capacity: u32,
    /// Slots of the version that name the host.
    pub of_version: u32,
    /// Live and not draining.
    pub usable: bool,
}

/// The host for one more instance, or `None` when none has room.
pub fn choose_host(candidates: &[Candidate<'_>]) -> Option<NodeId> {
    let mut zones: BTreeMap<&str, u32> = BTreeMap::new();
    for candidate in candidates {
        *zones.entry(candidate.zone).or_default() += candidate.of_version;
    }
    candidates
        .iter()
        .filter(|c| c.usable && c.occupied < c.capacity)
        .min_by_key(|c| {
            let share = u64::from(c.occupied) * (1 << 20) / u64::from(c.capacity);
            (zones[c.zone], share, c.node)
        })
        .map(|c| c.node)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(node: u32, zone: &str, occupied: u32, of_version: u32) -> Candidate<'_> {
        Candidate {
            node: NodeId(node),
            zone,
            occupied,
            capacity: 10,
            of_version,
            usable: true,
        }
    }

    #[test]
    fn the_zone_with_the_fewest_instances_of_the_version_comes_first() {
        let hosts = [host(1, "a", 0, 1), host(2, "b", 9, 0), host(3, "a", 0, 0)];
        assert_eq!(choose_host(&hosts), Some(NodeId(2)));
    }

    #[test]
    fn inside_a_zone_the_least_loaded_share_wins() {
        let mut hosts = [host(1, "a", 2, 0), host(2, "a", 3, 0)];
        assert_eq!(choose_host(&hosts), Some(NodeId(1)));
        hosts[1].capacity = 100;
        assert_eq!(choose_host(&hosts), Some(NodeId(2)));
    }

    #[test]
    fn a_full_zone_gives_way_to_the_next() {
        let hosts = [host(1, "a", 10, 0), host(2, "b", 5, 3)];
        assert_eq!(choose_host(&hosts), Some(NodeId(2)));
    }

    #[test]
    fn unusable_and_full_hosts_are_never_chosen() {
        let mut hosts = [host(1, "a", 10, 0), host(2, "b", 0, 0)];
        hosts[1].usable = false;
        assert_eq!(choose_host(&hosts), None);
        hosts[0].capacity = 0;
        assert_eq!(choose_host(&hosts), None);
    }
}
