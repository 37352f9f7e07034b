//! Who a message is from and whom it is for.

use serde::{Deserialize, Serialize};

use crate::WireAddress;

/// A machine (or process) that takes part. Given by the operator's name for it in
/// production, by the topology in simulation; 0 is nobody.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The id of a node's name: FNV-1a, folded away from 0. Two names with one id are
    /// refused when the second joins.
    pub const fn of_name(name: &str) -> Self {
        let bytes = name.as_bytes();
        let mut hash: u32 = 0x811c_9dc5;
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
            i += 1;
        }
        Self(if hash == 0 { 1 } else { hash })
    }
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// What an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum Role {
    Control = 1,
    Sync = 2,
    Scheduler = 3,
    Gateway = 4,
    Edge = 5,
    Metald = 6,
    /// A store: the main one beside control, a partition store in each region.
    Store = 7,
    /// Serves the artifacts' blobs to edges and hosts.
    Origin = 8,
    /// Outside the platform: the API front, an operator, a test.
    Client = 9,
}

impl Role {
    pub const ALL: [Role; 9] = [
        Role::Control,
        Role::Sync,
        Role::Scheduler,
        Role::Gateway,
        Role::Edge,
        Role::Metald,
        Role::Store,
        Role::Origin,
        Role::Client,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Role::Control => "control",
            Role::Sync => "sync",
            Role::Scheduler => "scheduler",
            Role::Gateway => "gateway",
            Role::Edge => "edge",
            Role::Metald => "metald",
            Role::Store => "store",
            Role::Origin => "origin",
            Role::Client => "client",
        }
    }
}

/// One actor. A node may run several of a role (a gateway actor for each worker thread, the
/// main store and a partition store); `index` tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    pub node: NodeId,
    pub role: Role,
    pub index: u16,
}

impl Address {
    /// `index` of the main store, where a node runs it beside a partition store.
    pub const MAIN_STORE: u16 = 0;
    /// `index` of a partition store.
    pub const PARTITION_STORE: u16 = 1;

    pub const fn new(node: NodeId, role: Role, index: u16) -> Self {
        Self { node, role, index }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}.{}", self.node, self.role.name(), self.index)
    }
}

impl From<Address> for WireAddress {
    fn from(a: Address) -> Self {
        WireAddress {
            node: a.node.0,
            role: a.role as u32,
            index: u32::from(a.index),
        }
    }
}

/// An address of a role or an index that this build does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownAddress;

impl TryFrom<WireAddress> for Address {
    type Error = UnknownAddress;

    fn try_from(a: WireAddress) -> Result<Self, UnknownAddress> {
        let role = Role::ALL
            .into_iter()
            .find(|r| *r as u32 == a.role)
            .ok_or(UnknownAddress)?;
        let index = u16::try_from(a.index).map_err(|_| UnknownAddress)?;
        Ok(Address::new(NodeId(a.node), role, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_wire() {
        for role in Role::ALL {
            let a = Address::new(NodeId(7), role, 3);
            assert_eq!(Address::try_from(WireAddress::from(a)), Ok(a));
        }
    }

    #[test]
    fn an_unknown_role_or_index_is_refused() {
        let wire = |role, index| WireAddress {
            node: 1,
            role,
            index,
        };
        assert_eq!(Address::try_from(wire(0, 0)), Err(UnknownAddress));
        assert_eq!(Address::try_from(wire(1, 1 << 16)), Err(UnknownAddress));
    }
}
