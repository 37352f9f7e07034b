//! Carries messages between nodes, at most once.
//!
//! Two nodes that talk share one stream of envelopes, whichever of them dialled ([`link`]
//! says how they agree). A node dials another when it has something for it; only control is
//! linked to all the time, so that control can answer a node that it could not dial. A
//! bounded queue for each peer loses what does not fit, so a peer that stalls costs its
//! senders nothing but its own messages. Pings end a connection to a dead or paused peer.
//!
//! A node presents the mesh's token, says its name, and may then speak only for the actors
//! of its own node. Who takes part stands in the [`Directory`], which control owns and
//! [`join`] spreads.
//!
//! What must never happen here: waiting in [`Mesh::send`], trusting a length or an address
//! that came from outside, or deciding anything by the content of a message.

mod admission;
mod control;
mod counts;
mod dial;
mod directory;
mod join;
mod link;
mod peer;
mod proto;
mod service;
#[cfg(test)]
mod tests;
mod token;
mod transport;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use prost::Message as _;
use tidegate_kernel::{Duration, Rng, Seed};
use tidegate_protocol::{Address, Envelope, Message, NodeId, limits::ENVELOPE_BYTES_MAX};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Remote, Router};
use control::Control;
use counts::{Counters, count};
use peer::{Peer, Sent};

pub use counts::MeshCounts;
pub use directory::{Directory, NODES_MAX, Nodes};
pub use join::JoinRefused;
pub use link::{QUEUE_BYTES_MAX, QUEUE_MAX};
pub use proto::NodeInfo;
pub use token::{MalformedToken, Token};
pub use transport::{Bind, Bound, Dial, Io, Transport};

/// Bytes of one frame: an envelope and what is around it.
const FRAME_BYTES_MAX: usize = ENVELOPE_BYTES_MAX + 64;

/// Where the directory comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Membership {
    /// This node is control: it owns the directory.
    Control,
    /// It is asked of control at this "host:port".
    Join(String),
}

/// A node's part in the mesh.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// The node's name; its id follows from it.
    pub name: String,
    /// Where to listen. Port 0: any.
    pub listen: SocketAddr,
    /// "host:port" on which others reach this node; `None`: where it listens.
    pub advertise: Option<String>,
    /// What the node does, for operators and for those who look for it.
    pub roles: Vec<String>,
    pub region: String,
    pub zone: String,
    pub token: Token,
    pub membership: Membership,
    /// Where the directory is kept; `None`: in memory only.
    pub data_dir: Option<PathBuf>,
    pub transport: Transport,
}

impl MeshConfig {
    /// A node without a place or roles that keeps its directory in memory.
    pub fn new(
        name: impl Into<String>,
        listen: SocketAddr,
        token: Token,
        membership: Membership,
    ) -> Self {
        Self {
            name: name.into(),
            listen,
            advertise: None,
            roles: Vec::new(),
            region: String::new(),
            zone: String::new(),
            token,
            membership,
            data_dir: None,
            transport: Transport::tcp(),
        }
    }
}

/// Why a node does not take part in the mesh.
#[derive(Debug)]
pub enum MeshError {
    /// The configuration cannot work.
    Config(String),
    /// Listening failed, or the data directory is not usable.
    Io(std::io::Error),
    /// Control does not let the node join.
    Refused(JoinRefused),
}

impl std::fmt::Display for MeshError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MeshError::Config(reason) => f.write_str(reason),
            MeshError::Io(error) => error.fmt(f),
            MeshError::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for MeshError {}

impl From<std::io::Error> for MeshError {
    fn from(error: std::io::Error) -> Self {
        MeshError::Io(error)
    }
}

/// A node's part in the mesh. Ends with [`Mesh::shutdown`].
pub struct Mesh {
    inner: Arc<Inner>,
    address: SocketAddr,
    server: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    /// For tasks that must not keep the mesh alive while they wait.
    this: Weak<Inner>,
    me: NodeId,
    info: NodeInfo,
    incarnation: u64,
    token: Token,
    transport: Transport,
    router: Router,
    directory: Directory,
    control: Option<Control>,
    peers: ArcSwap<BTreeMap<NodeId, Arc<Peer>>>,
    /// Held while the table of peers is replaced.
    adding: Mutex<()>,
    seed: Seed,
    counters: Arc<Counters>,
    /// Everything ends when it is cancelled.
    root: CancellationToken,
    /// Where the mesh's tasks run, whatever thread sends.
    runtime: Handle,
}

impl Mesh {
    /// Listens, and joins unless this is control. A node whose control does not answer
    /// starts nevertheless, with the directory that it kept, and goes on asking.
    ///
    /// # Errors
    /// The configuration cannot work, the address is in use, the data directory is not
    /// usable, or control refuses the node.
    pub async fn start(config: MeshConfig, router: Router, seed: Seed) -> Result<Self, MeshError> {
        directory::check_name(&config.name).map_err(MeshError::Config)?;
        if router.me() != NodeId::of_name(&config.name) {
            let reason = format!("the router is not that of the node {:?}", config.name);
            return Err(MeshError::Config(reason));
        }
        let directory = Directory::open(config.data_dir.clone())?;
        let bound = (config.transport.bind)(config.listen).await.map_err(|e| {
            std::io::Error::new(e.kind(), format!("cannot listen on {}: {e}", config.listen))
        })?;
        let address = bound.address;
        let info = node_info(&config, address)?;
        let is_control = config.membership == Membership::Control;
        let inner = Arc::new_cyclic(|this| Inner {
            this: Weak::clone(this),
            me: router.me(),
            info,
            incarnation: seed.derive("incarnation").rng().u64(),
            token: config.token,
            transport: config.transport,
            router: router.clone(),
            directory,
            control: is_control.then(Control::default),
            peers: ArcSwap::default(),
            adding: Mutex::new(()),
            seed,
            counters: Arc::default(),
            root: CancellationToken::new(),
            runtime: Handle::current(),
        });
        if is_control {
            control::enter_itself(&inner).await?;
        }
        let server = tokio::spawn(service::serve(Arc::clone(&inner), bound));
        let mesh = Self {
            address,
            server: Mutex::new(Some(server)),
            inner,
        };
        router.set_remote(Weak::<Inner>::clone(&mesh.inner.this));
        if let Membership::Join(control) = config.membership
            && let Err(refused) = join::start(&mesh.inner, control).await
        {
            mesh.shutdown().await;
            return Err(MeshError::Refused(refused));
        }
        Ok(mesh)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    /// Is there a link to this node now?
    pub fn is_linked(&self, node: NodeId) -> bool {
        let peers = self.inner.peers.load();
        peers.get(&node).is_some_and(|peer| peer.is_linked())
    }

    pub fn counts(&self) -> MeshCounts {
        self.inner.counters.read()
    }

    /// Control only: takes a node that is gone for good out of the directory. False when
    /// this is not control, or the directory does not name the node, or the node is joined.
    ///
    /// # Errors
    /// The directory could not be written.
    pub async fn remove(&self, name: &str) -> std::io::Result<bool> {
        control::remove(&self.inner, name).await
    }

    /// Ends all connections and stops listening. What waits in queues is lost.
    pub async fn shutdown(&self) {
        self.inner.root.cancel();
        let server = lock(&self.server).take();
        if let Some(server) = server {
            // It ends with its connections, which are cut.
            let _ = tokio::time::timeout(SHUTDOWN_MAX, server).await;
        }
    }
}

/// The longest that [`Mesh::shutdown`] waits for connections to close.
const SHUTDOWN_MAX: Duration = Duration::from_secs(5);

impl Drop for Mesh {
    fn drop(&mut self) {
        self.inner.root.cancel();
    }
}

impl Remote for Inner {
    fn send(&self, from: Address, to: Address, body: Message) {
        let envelope = Envelope::new(from, to, body);
        let bytes = envelope.encoded_len();
        if bytes > ENVELOPE_BYTES_MAX {
            count(&self.counters.oversized);
            tracing::warn!(%from, %to, bytes, "a message is larger than {ENVELOPE_BYTES_MAX} bytes; it is lost");
            return;
        }
        let Some(peer) = self.find_peer(to.node) else {
            count(&self.counters.unknown_node);
            return;
        };
        match peer.send(envelope, bytes, Instant::now()) {
            Sent::Queued => {}
            Sent::Dial => self.runtime_dial(&peer),
            Sent::Full => count(&self.counters.full),
            Sent::Disconnected => count(&self.counters.disconnected),
        }
    }
}

impl Inner {
    /// The peer, if it has dialled or the directory names it.
    fn find_peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        if let Some(peer) = self.peers.load().get(&node) {
            return Some(Arc::clone(peer));
        }
        self.directory.get(node)?;
        self.add_peer(node)
    }

    /// The peer, new if need be; `None` when there are as many as may be.
    fn add_peer(&self, node: NodeId) -> Option<Arc<Peer>> {
        let _adding = lock(&self.adding);
        let present = self.peers.load();
        if let Some(peer) = present.get(&node) {
            return Some(Arc::clone(peer));
        }
        if present.len() >= NODES_MAX || node == self.me {
            return None;
        }
        let peer = Arc::new(Peer::new(node, self.rng("peer", node)));
        let mut peers = BTreeMap::clone(&present);
        peers.insert(node, Arc::clone(&peer));
        self.peers.store(Arc::new(peers));
        Some(peer)
    }

    fn rng(&self, label: &str, node: NodeId) -> Rng {
        let family = self.seed.derive(label);
        family.derive_index(u64::from(node.0)).rng()
    }
}

fn node_info(config: &MeshConfig, bound: SocketAddr) -> Result<NodeInfo, MeshError> {
    let address = match &config.advertise {
        Some(address) => address.clone(),
        None if bound.ip().is_unspecified() => {
            return Err(MeshError::Config(format!(
                "{bound} is every address of this machine; say with --advertise by which one \
                 the other nodes reach it"
            )));
        }
        None => bound.to_string(),
    };
    let info = NodeInfo {
        name: config.name.clone(),
        address,
        roles: config.roles.clone(),
        region: config.region.clone(),
        zone: config.zone.clone(),
    };
    directory::check_node(&info).map_err(MeshError::Config)?;
    Ok(info)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
