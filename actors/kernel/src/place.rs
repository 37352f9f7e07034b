//! Actors that are found by their node alone, so that nobody has to look them up.

use tidegate_protocol::{Address, NodeId, Role};

/// The origin of artifacts on a node: on the control node, and on every gateway node.
pub const fn origin_of(node: NodeId) -> Address {
    Address::new(node, Role::Origin, 0)
}
