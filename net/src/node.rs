//! What a node is assembled from: a router, a host for its actors, and its part in the mesh.
//!
//! The binary decides which actors run where and with which configuration; this only puts
//! the parts together, in an order that loses nothing at the start and ends cleanly.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tidegate_kernel::{Actor, Called, Rng, Seed};
use tidegate_protocol::{Address, NodeId, Role};

use crate::mesh::{Mesh, MeshConfig, MeshError};
use crate::{
    AddressTaken, ApiClient, Clock, Front, Hands, Host, HostEnded, Hosted, Inbound, LocalCell,
    Recorder, Replies, Router, SpawnError, entropy,
};

/// Messages that may wait for one gateway thread.
pub const GATEWAY_MAIL_MAX: usize = 16_384;

/// Collects what a node needs to start.
#[derive(Debug)]
pub struct NodeBuilder {
    name: String,
    data_dir: Option<PathBuf>,
    seed: Option<Seed>,
    clock: Clock,
    mesh: Option<MeshConfig>,
    recorder: Option<Recorder>,
}

/// Why a node did not start.
#[derive(Debug)]
pub enum StartError {
    /// The system has no entropy.
    Entropy(std::io::Error),
    Host(HostEnded),
    Mesh(MeshError),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Entropy(error) => error.fmt(f),
            StartError::Host(error) => error.fmt(f),
            StartError::Mesh(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StartError {}

impl NodeBuilder {
    /// A node that stands alone. Its id follows from its name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            data_dir: None,
            seed: None,
            clock: Clock::process(),
            mesh: None,
            recorder: None,
        }
    }

    /// Where the node keeps what must survive a restart; the directory of the mesh is kept
    /// in `mesh` below it.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(path.into());
        self
    }

    /// A seed instead of the system's entropy, for tests.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// A clock of its own instead of the process's, for tests.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Takes part in a mesh. The node's name goes before that in `config`.
    #[must_use]
    pub fn mesh(mut self, config: MeshConfig) -> Self {
        self.mesh = Some(config);
        self
    }

    /// Records all actors.
    #[must_use]
    pub fn recorder(mut self, recorder: Option<Recorder>) -> Self {
        self.recorder = recorder;
        self
    }

    /// # Errors
    /// No entropy, or the mesh could not be started or joined.
    pub async fn start(self) -> Result<Node, StartError> {
        let seed = match self.seed {
            Some(seed) => seed,
            None => entropy::seed().map_err(StartError::Entropy)?,
        };
        let router = Router::new(NodeId::of_name(&self.name));
        let actors = seed.derive("actors");
        let host = Host::start(router.clone(), self.clock, actors, self.recorder.clone())
            .await
            .map_err(StartError::Host)?;
        let mesh = match self.mesh {
            None => None,
            Some(mut config) => {
                config.name.clone_from(&self.name);
                let below = self.data_dir.as_ref().map(|path| path.join("mesh"));
                config.data_dir = config.data_dir.or(below);
                let started = Mesh::start(config, router.clone(), seed.derive("mesh")).await;
                Some(started.map_err(StartError::Mesh)?)
            }
        };
        Ok(Node {
            name: self.name,
            data_dir: self.data_dir,
            seed,
            clock: self.clock,
            router,
            host,
            mesh,
            recorder: self.recorder,
        })
    }
}

/// A node that runs.
pub struct Node {
    name: String,
    data_dir: Option<PathBuf>,
    seed: Seed,
    clock: Clock,
    router: Router,
    host: Host,
    mesh: Option<Mesh>,
    recorder: Option<Recorder>,
}

impl Node {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn id(&self) -> NodeId {
        self.router.me()
    }

    /// The address of an actor on this node.
    pub fn address(&self, role: Role, index: u16) -> Address {
        Address::new(self.id(), role, index)
    }

    pub fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }

    pub fn clock(&self) -> Clock {
        self.clock
    }

    pub fn router(&self) -> &Router {
        &self.router
    }

    /// `None`: the node stands alone.
    pub fn mesh(&self) -> Option<&Mesh> {
        self.mesh.as_ref()
    }

    /// A sub-seed for something of this node that is no actor.
    pub fn seed(&self, label: &str) -> Seed {
        self.seed.derive("node").derive(label)
    }

    /// Starts an actor on a mailbox of its own; see [`Host::spawn`].
    ///
    /// # Errors
    /// The address is in use, or the node is shutting down.
    pub async fn spawn_actor<A: Actor + Serialize + Send + 'static>(
        &self,
        role: Role,
        index: u16,
        hands: impl Fn(&Replies) -> Hands + Send + Sync + 'static,
        make: impl Fn(Rng) -> A + Send + Sync + 'static,
    ) -> Result<Hosted, SpawnError> {
        let address = self.address(role, index);
        self.host.spawn(address, hands, make).await
    }

    /// What a gateway's worker thread needs. To be called by any thread; the returned value
    /// goes to the thread, which makes its [`LocalCell`] of it.
    ///
    /// # Errors
    /// The address is in use.
    pub fn gateway_seat(&self, index: u16) -> Result<GatewaySeat, AddressTaken> {
        let address = self.address(Role::Gateway, index);
        Ok(GatewaySeat {
            inbound: self.router.open(address, GATEWAY_MAIL_MAX)?,
            router: self.router.clone(),
            clock: self.clock,
            seed: self.seed.derive("actors"),
            recorder: self.recorder.clone(),
        })
    }

    /// A client of the actors of this node and of all others.
    ///
    /// # Errors
    /// All client addresses are in use.
    pub fn api_client(&self) -> Result<ApiClient, AddressTaken> {
        let first_id = self.seed.derive("api-client").rng().u64() >> 1;
        ApiClient::new(self.router.clone(), first_id)
    }

    /// Stops the actors, leaves the mesh, and ends the recordings. Gateways' threads are to
    /// be ended before.
    pub async fn shutdown(&self) {
        self.host.shutdown().await;
        if let Some(mesh) = &self.mesh {
            mesh.shutdown().await;
        }
        if let Some(recorder) = self.recorder.clone() {
            // It fails only where it panics, and that is logged there.
            let _ = tokio::task::spawn_blocking(move || recorder.finish()).await;
        }
    }
}

/// A gateway's place on its node, on the way to its worker thread.
pub struct GatewaySeat {
    inbound: Inbound,
    router: Router,
    clock: Clock,
    seed: Seed,
    recorder: Option<Recorder>,
}

impl GatewaySeat {
    pub fn address(&self) -> Address {
        self.inbound.address()
    }

    /// The cell for this thread's gateway, and the messages for [`LocalCell::run`].
    pub fn take<A: Called + Serialize, F: Front>(
        self,
        make: impl Fn(Rng) -> A + 'static,
        front: F,
    ) -> (LocalCell<A, F>, Inbound) {
        let address = self.address();
        let cell = LocalCell::new(
            address,
            make,
            front,
            self.router,
            self.clock,
            self.seed,
            self.recorder,
        );
        (cell, self.inbound)
    }
}
