//! Control's side of membership: who is joined now, and the directory that all share.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use tidegate_protocol::NodeId;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::admission::{Joined, admit};
use super::directory::{Nodes, check_node};
use super::proto::{DirectoryUpdate, JoinRequest, NodeInfo};
use super::transport::Connection;
use super::{Inner, lock};

/// What control knows besides the directory.
#[derive(Default)]
pub(super) struct Control {
    joined: Mutex<BTreeMap<NodeId, Present>>,
    /// Held while somebody is admitted, from the judgement to the written directory.
    turn: tokio::sync::Mutex<()>,
}

struct Present {
    joined: Joined,
    cut: CancellationToken,
}

/// What a joined node hears.
pub(super) type Updates = ReceiverStream<Result<DirectoryUpdate, Status>>;

/// Directory updates that wait for one node; each later one says all that has changed.
const UPDATES_MAX: usize = 2;

/// Control writes itself into the directory.
pub(super) async fn enter_itself(inner: &Inner) -> io::Result<()> {
    enter(inner, inner.info.clone()).await
}

/// Admits a node and tells it the directory as long as its connection lasts.
pub(super) async fn join(
    inner: &Arc<Inner>,
    connection: Connection,
    request: JoinRequest,
) -> Result<Updates, Status> {
    let Some(control) = &inner.control else {
        return Err(Status::failed_precondition(format!(
            "{:?} is not control; give --join the address of control",
            inner.info.name
        )));
    };
    let node = request.node.unwrap_or_default();
    let id = NodeId::of_name(&node.name);
    let joined = Joined {
        incarnation: request.incarnation,
        address: node.address.clone(),
    };
    let _turn = control.turn.lock().await;
    let present = lock(&control.joined).get(&id).map(|p| p.joined.clone());
    let nodes = inner.directory.nodes();
    if let Err(why) = admit(
        &nodes,
        inner.me,
        present.as_ref(),
        &node,
        joined.incarnation,
    ) {
        let address = &node.address;
        tracing::warn!(remote = connection.remote, address, reason = %why, "a node may not join");
        return Err(why.into());
    }
    tracing::info!(node = node.name, address = node.address, "joined");
    enter(inner, node)
        .await
        .map_err(|e| Status::unavailable(format!("control cannot write its directory: {e}")))?;
    let cut = connection.cut;
    let present = Present {
        joined,
        cut: cut.clone(),
    };
    if let Some(former) = lock(&control.joined).insert(id, present) {
        former.cut.cancel();
    }
    let (sender, updates) = mpsc::channel(UPDATES_MAX);
    tokio::spawn(tell(Arc::clone(inner), id, cut, sender));
    Ok(ReceiverStream::new(updates))
}

/// Takes a node that is not joined out of the directory.
pub(super) async fn remove(inner: &Inner, name: &str) -> io::Result<bool> {
    let Some(control) = &inner.control else {
        return Ok(false);
    };
    let id = NodeId::of_name(name);
    let _turn = control.turn.lock().await;
    let mut nodes = Nodes::clone(&inner.directory.nodes());
    let is_named = nodes.get(&id).is_some_and(|node| node.name == name);
    if !is_named || id == inner.me || lock(&control.joined).contains_key(&id) {
        return Ok(false);
    }
    nodes.remove(&id);
    inner.directory.replace(nodes).await?;
    Ok(true)
}

pub(super) async fn enter(inner: &Inner, node: NodeInfo) -> io::Result<()> {
    let id = NodeId::of_name(&node.name);
    let present = inner.directory.nodes();
    if present.get(&id).is_some_and(|known| **known == node) {
        return Ok(());
    }
    let mut nodes = Nodes::clone(&present);
    nodes.insert(id, Arc::new(node));
    inner.directory.replace(nodes).await
}

/// Sends the directory and its changes until the node is gone.
async fn tell(
    inner: Arc<Inner>,
    node: NodeId,
    cut: CancellationToken,
    updates: mpsc::Sender<Result<DirectoryUpdate, Status>>,
) {
    let mut changes = inner.directory.subscribe();
    let mut told: Option<Arc<Nodes>> = None;
    loop {
        let nodes = Arc::clone(&changes.borrow_and_update());
        let update = match &told {
            None => whole(&nodes),
            Some(told) => difference(told, &nodes),
        };
        let update = DirectoryUpdate {
            control: inner.info.name.clone(),
            ..update
        };
        if updates.send(Ok(update)).await.is_err() {
            break;
        }
        told = Some(nodes);
        let changed = tokio::select! {
            biased;
            () = updates.closed() => break,
            () = cut.cancelled() => break,
            changed = next_change(&mut changes) => changed,
        };
        if !changed {
            break;
        }
    }
    let Some(control) = &inner.control else {
        return;
    };
    // A later connection of the same node has a place of its own.
    cut.cancel();
    lock(&control.joined).retain(|id, present| *id != node || !present.cut.is_cancelled());
}

async fn next_change(changes: &mut watch::Receiver<Arc<Nodes>>) -> bool {
    changes.changed().await.is_ok()
}

fn whole(nodes: &Nodes) -> DirectoryUpdate {
    DirectoryUpdate {
        whole: true,
        nodes: nodes.values().map(|node| NodeInfo::clone(node)).collect(),
        ..DirectoryUpdate::default()
    }
}

fn difference(before: &Nodes, after: &Nodes) -> DirectoryUpdate {
    let is_new = |(id, node): &(&NodeId, &Arc<NodeInfo>)| {
        before
            .get(*id)
            .is_none_or(|known| !Arc::ptr_eq(known, node))
    };
    let nodes = after.iter().filter(is_new);
    let gone = before.iter().filter(|(id, _)| !after.contains_key(*id));
    DirectoryUpdate {
        nodes: nodes.map(|(_, node)| NodeInfo::clone(node)).collect(),
        removed: gone.map(|(_, node)| node.name.clone()).collect(),
        ..DirectoryUpdate::default()
    }
}

/// The directory after an update; what does not check is left out.
pub(super) fn updated(before: &Nodes, update: DirectoryUpdate) -> Nodes {
    let mut nodes = if update.whole {
        Nodes::new()
    } else {
        before.clone()
    };
    for name in &update.removed {
        nodes.remove(&NodeId::of_name(name));
    }
    for node in update.nodes {
        match check_node(&node) {
            Ok(()) => {
                nodes.insert(NodeId::of_name(&node.name), Arc::new(node));
            }
            Err(reason) => tracing::warn!(reason, "control names a node that cannot be"),
        }
    }
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mesh::directory::by_id;

    fn node(name: &str, address: &str) -> NodeInfo {
        NodeInfo {
            name: name.into(),
            address: address.into(),
            ..NodeInfo::default()
        }
    }

    #[test]
    fn updates_lead_from_one_directory_to_the_next() {
        let a = by_id(vec![node("a", "h:1"), node("b", "h:2"), node("c", "h:3")]);
        let mut b = a.clone();
        b.remove(&NodeId::of_name("a"));
        b.extend(by_id(vec![node("b", "h:9"), node("d", "h:4")]));
        let update = difference(&a, &b);
        assert_eq!((update.nodes.len(), update.removed.len()), (2, 1));
        assert_eq!(updated(&a, update), b);
        assert_eq!(updated(&a, whole(&b)), b);
    }

    #[test]
    fn a_node_that_cannot_be_is_left_out() {
        let update = whole(&by_id(vec![node("a", "h:1"), node("b", "nowhere")]));
        let nodes = updated(&Nodes::new(), update);
        assert_eq!(nodes.len(), 1);
    }
}
