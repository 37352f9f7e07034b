//! Which machines there are: computed from the scenario alone, never drawn.

use tidegate_protocol::NodeId;

use crate::scenario::{Pick, Scenario, Target};

/// What a machine is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Control plane: control, sync, the main store, the origin of artifacts.
    Control,
    /// The operator's own machine; nothing of the platform runs on it.
    Operator,
    /// A region's partition store.
    Store,
    /// Gateways, the edge, an origin of the edge's artifacts, a scheduler.
    Gateway,
    Host,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    pub id: NodeId,
    pub name: String,
    pub kind: NodeKind,
    /// Index into the scenario's regions.
    pub region: Option<usize>,
    /// Counts the machines of a kind in a region from 0.
    pub ordinal: u32,
    pub zone: String,
}

/// All machines, in the order of their ids, which count from 1.
#[derive(Clone, Debug)]
pub struct Topology {
    pub nodes: Vec<NodeInfo>,
    pub regions: Vec<String>,
}

/// A set of machines: bit `i` stands for `nodes[i]`.
pub type NodeSet = u128;

impl Topology {
    pub const CONTROL: usize = 0;
    pub const OPERATOR: usize = 1;

    pub fn new(scenario: &Scenario) -> Self {
        let t = &scenario.topology;
        let mut made = Self {
            nodes: Vec::new(),
            regions: t.regions.get_ref().clone(),
        };
        made.add("control".into(), NodeKind::Control, None, 0, "");
        made.add("operator".into(), NodeKind::Operator, None, 0, "");
        for (r, region) in t.regions.get_ref().iter().enumerate() {
            made.add(format!("store-{region}"), NodeKind::Store, Some(r), 0, "");
            for n in 0..*t.gateways.get_ref() {
                made.add(
                    format!("gw-{region}-{n}"),
                    NodeKind::Gateway,
                    Some(r),
                    n,
                    "",
                );
            }
            for n in 0..*t.hosts.get_ref() {
                let zone = format!(
                    "{region}-{}",
                    (b'a' + (n % t.zones.get_ref()) as u8) as char
                );
                made.add(
                    format!("host-{region}-{n}"),
                    NodeKind::Host,
                    Some(r),
                    n,
                    &zone,
                );
            }
        }
        made
    }

    fn add(
        &mut self,
        name: String,
        kind: NodeKind,
        region: Option<usize>,
        ordinal: u32,
        zone: &str,
    ) {
        self.nodes.push(NodeInfo {
            id: NodeId(self.nodes.len() as u32 + 1),
            name,
            kind,
            region,
            ordinal,
            zone: zone.to_owned(),
        });
    }

    /// Place of a node id in [`Self::nodes`].
    #[inline]
    pub fn index(&self, id: NodeId) -> Option<usize> {
        let index = id.0.checked_sub(1)? as usize;
        (index < self.nodes.len()).then_some(index)
    }

    pub fn region_index(&self, name: &str) -> Option<usize> {
        self.regions.iter().position(|r| r == name)
    }

    /// The machines of a kind in a region, in order.
    pub fn of(&self, region: usize, kind: NodeKind) -> impl Iterator<Item = usize> + '_ {
        self.nodes
            .iter()
            .enumerate()
            .filter(move |(_, n)| n.region == Some(region) && n.kind == kind)
            .map(|(i, _)| i)
    }

    /// Everything of a kind, everywhere.
    pub fn all_of(&self, kind: NodeKind) -> impl Iterator<Item = usize> + '_ {
        self.nodes
            .iter()
            .enumerate()
            .filter(move |(_, n)| n.kind == kind)
            .map(|(i, _)| i)
    }

    /// How a scenario file names one machine. The operator's own is never struck, and has no
    /// name: it counts as control.
    pub fn target_of(&self, node: usize) -> Target {
        let node = &self.nodes[node];
        let region = node.region.map(|r| Pick::Named(self.regions[r].clone()));
        match (node.kind, region) {
            (NodeKind::Store, Some(region)) => Target::Store(region),
            (NodeKind::Gateway, Some(region)) => Target::Gateways(region, Some(node.ordinal)),
            (NodeKind::Host, Some(region)) => Target::Hosts(region, Some(node.ordinal)),
            _ => Target::Control,
        }
    }

    /// The machines that a settled target stands for; empty for those that only a running
    /// world can name.
    pub fn select(&self, target: &Target) -> NodeSet {
        let region = |p: &Pick| p.name().and_then(|n| self.region_index(n));
        let fits = |node: &NodeInfo| match target {
            Target::Control => node.kind == NodeKind::Control,
            Target::Region(p) => node.region.is_some() && node.region == region(p),
            Target::Store(p) => node.kind == NodeKind::Store && node.region == region(p),
            Target::Gateways(p, n) => {
                node.kind == NodeKind::Gateway
                    && node.region == region(p)
                    && n.is_none_or(|n| n == node.ordinal)
            }
            Target::Hosts(p, n) => {
                node.kind == NodeKind::Host
                    && node.region == region(p)
                    && n.is_none_or(|n| n == node.ordinal)
            }
            Target::Zone(p, letter) => {
                node.region.is_some()
                    && node.region == region(p)
                    && node.zone.ends_with(&format!("-{letter}"))
            }
            Target::Rest
            | Target::AnyGateway(_)
            | Target::AnyHost(_)
            | Target::ActiveScheduler(_) => false,
        };
        self.nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| fits(n))
            .fold(0, |set, (i, _)| set | 1 << i)
    }
}

/// The members of a set, in order.
pub fn members(set: NodeSet) -> impl Iterator<Item = usize> {
    (0..NodeSet::BITS as usize).filter(move |i| set >> i & 1 == 1)
}
