//! Gateways of other regions, and which of them a request hops to.

use core::net::SocketAddr;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Rng, Time};
use tidegate_protocol::{GatewayRecord, NodeId};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Peers {
    /// By region, then by node. Sync removes the ones that are silent.
    regions: BTreeMap<String, BTreeMap<NodeId, Peer>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Peer {
    endpoint: SocketAddr,
    refused_until: Time,
}

impl Peers {
    /// `None`: the peer is gone. A record whose endpoint does not parse counts as gone.
    pub(crate) fn set(&mut self, region: &str, node: NodeId, record: Option<&GatewayRecord>) {
        let endpoint = record.and_then(|r| r.hop_endpoint.parse().ok());
        match endpoint {
            Some(endpoint) => {
                self.regions.entry(region.to_owned()).or_default().insert(
                    node,
                    Peer {
                        endpoint,
                        refused_until: Time::ZERO,
                    },
                );
            }
            None => {
                if let Some(peers) = self.regions.get_mut(region) {
                    peers.remove(&node);
                }
            }
        }
    }

    pub(crate) fn refused(&mut self, node: NodeId, until: Time) {
        for peers in self.regions.values_mut() {
            if let Some(peer) = peers.get_mut(&node) {
                peer.refused_until = until;
            }
        }
    }

    /// A peer of the nearest region that may run the version: in the order in which the
    /// version names its regions, or by name when it names none.
    pub(crate) fn choose(
        &self,
        here: &str,
        named: &[String],
        now: Time,
        rng: &mut Rng,
    ) -> Option<(NodeId, SocketAddr)> {
        let mut any = |region: &str| {
            let able: Vec<_> = self
                .regions
                .get(region)?
                .iter()
                .filter(|(_, p)| p.refused_until <= now)
                .collect();
            let (node, peer) = able[rng.index(able.len())?];
            Some((*node, peer.endpoint))
        };
        if named.is_empty() {
            let mut all = self.regions.keys().filter(|r| *r != here);
            all.find_map(|r| any(r))
        } else {
            named.iter().filter(|r| *r != here).find_map(|r| any(r))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Seed;

    fn peers(known: &[(&str, u32)]) -> Peers {
        let mut peers = Peers::default();
        for (region, node) in known {
            let record = GatewayRecord {
                hop_endpoint: format!("127.0.0.1:{node}"),
                ..GatewayRecord::default()
            };
            peers.set(region, NodeId(*node), Some(&record));
        }
        peers
    }

    fn chosen(peers: &Peers, named: &[&str]) -> Option<u32> {
        let named: Vec<String> = named.iter().map(|r| (*r).to_owned()).collect();
        let mut rng = Seed(1).rng();
        peers
            .choose("syd", &named, Time(1), &mut rng)
            .map(|(node, _)| node.0)
    }

    #[test]
    fn the_order_of_the_version_decides() {
        let peers = peers(&[("syd", 1), ("mel", 2), ("sin", 3)]);
        assert_eq!(chosen(&peers, &["syd", "sin", "mel"]), Some(3));
        assert_eq!(chosen(&peers, &["tyo", "mel"]), Some(2));
        assert_eq!(chosen(&peers, &["syd"]), None);
        assert_eq!(chosen(&peers, &[]), Some(2));
    }

    #[test]
    fn refusing_and_vanished_peers_are_passed_over() {
        let mut peers = peers(&[("mel", 2), ("sin", 3)]);
        peers.refused(NodeId(2), Time(9));
        assert_eq!(chosen(&peers, &["mel", "sin"]), Some(3));
        peers.set("sin", NodeId(3), None);
        assert_eq!(chosen(&peers, &["mel", "sin"]), None);
    }
}
