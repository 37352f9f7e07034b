//! Who takes part: every node's name, address and place.
//!
//! Control owns it; every other node keeps a copy in memory and on disk, so that it finds
//! its peers also when it is restarted while control is down. Written whole to a new file,
//! which then takes the place of the old one.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message as _;
use tidegate_protocol::NodeId;
use tokio::sync::watch;

use super::proto::{DirectoryFile, NodeInfo};

/// Nodes of one mesh.
pub const NODES_MAX: usize = 4_096;
/// Bytes of a node's name, region or zone, and of the name of a role.
const LABEL_BYTES_MAX: usize = 63;
const ADDRESS_BYTES_MAX: usize = 261;
const ROLES_MAX: usize = 16;
const FILE_NAME: &str = "directory";

/// The nodes at one moment.
pub type Nodes = BTreeMap<NodeId, Arc<NodeInfo>>;

/// A node's copy of the directory. Copies of the handle see the same.
#[derive(Clone)]
pub struct Directory {
    nodes: Arc<watch::Sender<Arc<Nodes>>>,
    folder: Option<Arc<PathBuf>>,
}

impl Directory {
    /// Begins with what the folder holds, or empty. A file that does not decode is put
    /// aside: control gives the directory anew.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub(super) fn open(folder: Option<PathBuf>) -> io::Result<Self> {
        let nodes = match &folder {
            Some(folder) => {
                std::fs::create_dir_all(folder).map_err(|e| at(folder, &e))?;
                read(&folder.join(FILE_NAME))?
            }
            None => Nodes::new(),
        };
        Ok(Self {
            nodes: Arc::new(watch::Sender::new(Arc::new(nodes))),
            folder: folder.map(Arc::new),
        })
    }

    pub fn get(&self, node: NodeId) -> Option<Arc<NodeInfo>> {
        self.nodes.borrow().get(&node).cloned()
    }

    /// All nodes, as they are now.
    pub fn nodes(&self) -> Arc<Nodes> {
        Arc::clone(&self.nodes.borrow())
    }

    /// Waits until the nodes satisfy a condition, and returns them.
    pub async fn wait_for(&self, mut condition: impl FnMut(&Nodes) -> bool) -> Arc<Nodes> {
        let mut changes = self.subscribe();
        let nodes = match changes.wait_for(|nodes| condition(nodes)).await {
            Ok(nodes) => Some(Arc::clone(&nodes)),
            Err(_) => None,
        };
        // This handle keeps the sender alive, so it is never gone.
        match nodes {
            Some(nodes) => nodes,
            None => std::future::pending().await,
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Nodes>> {
        self.nodes.subscribe()
    }

    /// Replaces the nodes, on disk first.
    ///
    /// # Errors
    /// They could not be written; memory is as before.
    pub(super) async fn replace(&self, nodes: Nodes) -> io::Result<()> {
        let nodes = Arc::new(nodes);
        self.keep(&nodes).await?;
        self.nodes.send_replace(nodes);
        Ok(())
    }

    /// Replaces the nodes in memory, and on disk if possible.
    ///
    /// # Errors
    /// They could not be written; memory has them nevertheless.
    pub(super) async fn adopt(&self, nodes: Nodes) -> io::Result<()> {
        let nodes = Arc::new(nodes);
        self.nodes.send_replace(Arc::clone(&nodes));
        self.keep(&nodes).await
    }

    async fn keep(&self, nodes: &Arc<Nodes>) -> io::Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let (folder, nodes) = (Arc::clone(folder), Arc::clone(nodes));
        tokio::task::spawn_blocking(move || write(&folder, &nodes))
            .await
            .map_err(io::Error::other)?
    }
}

/// Checks what a node says of itself.
pub(super) fn check_node(node: &NodeInfo) -> Result<(), String> {
    check_name(&node.name)?;
    check_address(&node.address)?;
    let labels = node.roles.iter().chain([&node.region, &node.zone]);
    for label in labels {
        if label.len() > LABEL_BYTES_MAX {
            return Err(format!(
                "role, region or zone {label:?} is longer than {LABEL_BYTES_MAX} bytes"
            ));
        }
    }
    if node.roles.len() > ROLES_MAX {
        return Err(format!("a node has at most {ROLES_MAX} roles"));
    }
    Ok(())
}

/// A node's name: letters, digits, `-`, `_` and `.`.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if name.is_empty() || name.len() > LABEL_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(format!(
            "{name:?} is no node name: 1 to {LABEL_BYTES_MAX} letters, digits, `-`, `_` and `.`"
        ));
    }
    Ok(())
}

/// "host:port" that others can connect to.
pub(super) fn check_address(address: &str) -> Result<(), String> {
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty() && !host.contains(['/', '@', ' ']))
        .and_then(|(_, port)| port.parse::<u16>().ok());
    if address.len() > ADDRESS_BYTES_MAX || port.is_none_or(|port| port == 0) {
        return Err(format!(
            "{address:?} is no address that others can reach; give \"host:port\""
        ));
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Nodes> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Nodes::new()),
        bytes => bytes.map_err(|e| at(path, &e))?,
    };
    let decoded = DirectoryFile::decode(bytes.as_slice())
        .map_err(|e| e.to_string())
        .and_then(|file| {
            file.nodes.iter().try_for_each(check_node)?;
            Ok(file.nodes)
        });
    match decoded {
        Ok(nodes) => Ok(by_id(nodes)),
        Err(error) => {
            let aside = path.with_extension("damaged");
            std::fs::rename(path, &aside).map_err(|e| at(path, &e))?;
            tracing::warn!(
                path = %path.display(),
                aside = %aside.display(),
                error,
                "the kept directory of nodes is damaged; it is put aside and asked of control"
            );
            Ok(Nodes::new())
        }
    }
}

fn write(folder: &Path, nodes: &Nodes) -> io::Result<()> {
    let file = DirectoryFile {
        nodes: nodes.values().map(|node| NodeInfo::clone(node)).collect(),
    };
    let (path, fresh) = (folder.join(FILE_NAME), folder.join("directory.new"));
    let written = || {
        let mut out = std::fs::File::create(&fresh)?;
        out.write_all(&file.encode_to_vec())?;
        out.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        std::fs::File::open(folder)?.sync_all()
    };
    written().map_err(|e| at(&path, &e))
}

pub(super) fn by_id(nodes: Vec<NodeInfo>) -> Nodes {
    let keyed = |node: NodeInfo| (NodeId::of_name(&node.name), Arc::new(node));
    nodes.into_iter().map(keyed).collect()
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeInfo {
        NodeInfo {
            name: name.into(),
            address: "10.0.0.1:4600".into(),
            roles: vec!["gateway".into()],
            region: "syd".into(),
            zone: "a".into(),
        }
    }

    #[tokio::test]
    async fn the_directory_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Directory::open(Some(folder.path().into())).unwrap();
        let nodes = by_id(vec![node("a"), node("b")]);
        open().replace(nodes.clone()).await.unwrap();
        assert_eq!(*open().nodes(), nodes);
    }

    #[test]
    fn a_damaged_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        std::fs::write(&path, b"\x0a\xffnot a directory").unwrap();
        let directory = Directory::open(Some(folder.path().into())).unwrap();
        assert!(directory.nodes().is_empty());
        assert!(!path.exists());
        assert!(folder.path().join("directory.damaged").exists());
    }

    #[test]
    fn what_a_node_says_of_itself_is_checked() {
        assert_eq!(check_node(&node("host-1.syd_a")), Ok(()));
        for name in ["", "a/b", "ä", &"x".repeat(64)] {
            assert!(check_node(&node(name)).is_err(), "{name}");
        }
        for address in ["", "host", ":1", "host:0", "host:99999", "http://host:1"] {
            let node = NodeInfo {
                address: address.into(),
                ..node("a")
            };
            assert!(check_node(&node).is_err(), "{address}");
        }
    }
}
