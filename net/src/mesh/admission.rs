//! Whether control lets a node join.
//!
//! A name stands for one node. A restarted node keeps its name, with a new address if the
//! former process is gone; a second node under the name of a live one is refused, and so is
//! one whose name happens to have the id of another name.

use std::fmt;

use tidegate_protocol::NodeId;
use tonic::Status;

use super::directory::{NODES_MAX, Nodes, check_node};
use super::proto::NodeInfo;

/// A node that is joined now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    pub(super) incarnation: u64,
    pub(super) address: String,
}

/// Why a node may not join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotAdmitted {
    Malformed(String),
    ControlsName { name: String },
    SameId { name: String, other: String },
    InUse { name: String, address: String },
    Full,
}

/// Judges a request to join. `joined` is who is joined now under the id of the name.
pub(super) fn admit(
    nodes: &Nodes,
    control: NodeId,
    joined: Option<&Joined>,
    node: &NodeInfo,
    incarnation: u64,
) -> Result<(), NotAdmitted> {
    check_node(node).map_err(NotAdmitted::Malformed)?;
    let id = NodeId::of_name(&node.name);
    let name = || node.name.clone();
    match nodes.get(&id) {
        Some(known) if known.name != node.name => {
            let other = known.name.clone();
            return Err(NotAdmitted::SameId {
                name: name(),
                other,
            });
        }
        None if nodes.len() >= NODES_MAX => return Err(NotAdmitted::Full),
        _ if id == control => return Err(NotAdmitted::ControlsName { name: name() }),
        _ => {}
    }
    match joined {
        Some(other) if other.incarnation != incarnation && other.address != node.address => {
            let address = other.address.clone();
            Err(NotAdmitted::InUse {
                name: name(),
                address,
            })
        }
        _ => Ok(()),
    }
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAdmitted::Malformed(reason) => f.write_str(reason),
            NotAdmitted::ControlsName { name } => {
                write!(
                    f,
                    "{name:?} is control itself; give this node another --name"
                )
            }
            NotAdmitted::SameId { name, other } => write!(
                f,
                "the name {name:?} has the same id as the node {other:?}; give this node \
                 another --name"
            ),
            NotAdmitted::InUse { name, address } => write!(
                f,
                "the node {name:?} is running at {address}; stop it first, or give this node \
                 another --name"
            ),
            NotAdmitted::Full => write!(
                f,
                "the mesh has {NODES_MAX} nodes, as many as it may; remove one that is gone"
            ),
        }
    }
}

impl From<NotAdmitted> for Status {
    fn from(why: NotAdmitted) -> Status {
        let text = why.to_string();
        match why {
            NotAdmitted::Malformed(_) => Status::invalid_argument(text),
            NotAdmitted::Full => Status::resource_exhausted(text),
            NotAdmitted::ControlsName { .. }
            | NotAdmitted::SameId { .. }
            | NotAdmitted::InUse { .. } => Status::already_exists(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::directory::by_id;
    use std::sync::Arc;

    const CONTROL: NodeId = NodeId(1);

    fn node(name: &str, address: &str) -> NodeInfo {
        NodeInfo {
            name: name.into(),
            address: address.into(),
            ..NodeInfo::default()
        }
    }

    fn joined(incarnation: u64, address: &str) -> Joined {
        Joined {
            incarnation,
            address: address.into(),
        }
    }

    #[test]
    fn a_name_stands_for_one_live_node() {
        let nodes = by_id(vec![node("a", "h:1")]);
        let check = |joined: Option<Joined>, address: &str| {
            admit(&nodes, CONTROL, joined.as_ref(), &node("a", address), 5)
        };
        // Restarted: where it was, or elsewhere once the former process is gone.
        assert_eq!(check(Some(joined(4, "h:1")), "h:1"), Ok(()));
        assert_eq!(check(None, "h:2"), Ok(()));
        // The same process, which lost its connection.
        assert_eq!(check(Some(joined(5, "h:1")), "h:1"), Ok(()));
        let refused = Err(NotAdmitted::InUse {
            name: "a".into(),
            address: "h:1".into(),
        });
        assert_eq!(check(Some(joined(4, "h:1")), "h:2"), refused);
    }

    #[test]
    fn two_names_with_one_id_are_refused() {
        // No second name with this id is needed: the directory holds another under it.
        let id = NodeId::of_name("a");
        let nodes = Nodes::from([(id, Arc::new(node("b", "h:1")))]);
        let refused = NotAdmitted::SameId {
            name: "a".into(),
            other: "b".into(),
        };
        let got = admit(&nodes, CONTROL, None, &node("a", "h:2"), 5);
        assert_eq!(got, Err(refused));
    }

    #[test]
    fn nobody_else_is_control() {
        let control = NodeId::of_name("control");
        let nodes = by_id(vec![node("control", "h:1")]);
        let got = admit(&nodes, control, None, &node("control", "h:1"), 5);
        let name = "control".into();
        assert_eq!(got, Err(NotAdmitted::ControlsName { name }));
    }
}
