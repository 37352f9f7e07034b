//! Puts actors on a node, each with what it needs from the real world.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tidegate_artifact::{Origin, OriginConfig};
use tidegate_control::{Control, ControlConfig};
use tidegate_drivers::{Options as DriverOptions, ProcessDriver};
use tidegate_edge::{Edge, EdgeConfig};
use tidegate_front::{Front, FrontConfig};
use tidegate_gateway::{Gateway, GatewayConfig};
use tidegate_kernel::origin_of;
use tidegate_metald::{Metald, MetaldConfig};
use tidegate_net::{EngineTurns, Hands, Node, Replies, blob_thread};
use tidegate_protocol::{Address, NodeId, Role};
use tidegate_scheduler::{Scheduler, SchedulerConfig};
use tidegate_storage::{
    BlobStore, EngineThread, FjallEngine, FjallOptions, materialize, run_command,
};
use tidegate_store::{StoreActor, StoreConfig};
use tidegate_sync::{Sync, SyncConfig};

use super::artifacts::NodeArtifacts;

/// Requests that may wait for an engine: a store actor has one batch and few reads there.
const ENGINE_QUEUE_MAX: usize = 4_096;

pub(crate) fn blob_store(data: &Path) -> anyhow::Result<Arc<BlobStore>> {
    Ok(Arc::new(BlobStore::open(&data.join("blobs"))?))
}

/// A store actor over an embedded engine in `dir`. The engine has one thread for all lives
/// of the actor.
pub(crate) async fn store(node: &Node, index: u16, dir: &Path) -> anyhow::Result<()> {
    let engine = FjallEngine::open(dir, &FjallOptions::default())?;
    let me = node.address(Role::Store, index);
    let turns = EngineTurns::default();
    let answered = turns.clone();
    let thread = EngineThread::spawn(Box::new(engine), ENGINE_QUEUE_MAX, move |reply| {
        answered.reply(reply);
    })
    .context("a thread for the store's engine")?;
    let thread = Arc::new(thread);
    let hands = move |replies: &Replies| {
        let thread = Arc::clone(&thread);
        Hands::none().with_engine(turns.connect(replies, move |op| thread.submit(op)))
    };
    node.spawn_actor(Role::Store, index, hands, move |rng| {
        StoreActor::new(StoreConfig::new(me), rng)
    })
    .await?;
    Ok(())
}

/// Control, sync and the origin of artifacts.
pub(crate) async fn control(
    node: &Node,
    domain: &str,
    blobs: &Arc<BlobStore>,
) -> anyhow::Result<()> {
    let main_store = node.address(Role::Store, Address::MAIN_STORE);
    let sync = node.address(Role::Sync, 0);
    let config = ControlConfig::new(
        node.address(Role::Control, 0),
        main_store,
        sync,
        domain.to_owned(),
    );
    node.spawn_actor(
        Role::Control,
        0,
        |_| Hands::none(),
        move |rng| Control::new(config.clone(), rng),
    )
    .await?;
    let config = SyncConfig::new(sync, main_store);
    node.spawn_actor(
        Role::Sync,
        0,
        |_| Hands::none(),
        move |rng| Sync::new(config.clone(), rng),
    )
    .await?;
    origin(node, blobs).await
}

/// The origin of the artifacts that the node holds.
async fn origin(node: &Node, blobs: &Arc<BlobStore>) -> anyhow::Result<()> {
    let config = OriginConfig::new(origin_of(node.id()));
    node.spawn_actor(Role::Origin, 0, blob_hands(blobs), move |rng| {
        Origin::new(config.clone(), rng)
    })
    .await?;
    Ok(())
}

/// Where a gateway node is and what it works with.
pub(crate) struct GatewayPlace<'a> {
    pub(crate) region: &'a str,
    pub(crate) store: Address,
    /// Node of control and of the artifacts.
    pub(crate) control: NodeId,
    pub(crate) workers: u16,
    pub(crate) listen: std::net::SocketAddr,
    pub(crate) hop: Option<std::net::SocketAddr>,
    pub(crate) token: &'a str,
}

/// Scheduler, edge, origin, and the front with its gateways. A node that is control as well
/// has its origin already.
pub(crate) async fn gateway(
    node: &Node,
    place: &GatewayPlace<'_>,
    blobs: &Arc<BlobStore>,
) -> anyhow::Result<Front> {
    let config = SchedulerConfig::new(node.address(Role::Scheduler, 0), place.store);
    node.spawn_actor(
        Role::Scheduler,
        0,
        |_| Hands::none(),
        move |rng| Scheduler::new(config.clone(), rng),
    )
    .await?;
    let artifacts = Arc::new(NodeArtifacts(Arc::clone(blobs)));
    let (store, region) = (place.store, place.region.to_owned());
    let front = Front::start(
        node,
        place.workers,
        place.listen,
        place.hop,
        FrontConfig::new(artifacts, place.token),
        move |me, rng| Gateway::new(GatewayConfig::new(me, &region, store), rng),
    )?;
    let hop = front.hop_address().unwrap_or(front.address());
    let mut config = EdgeConfig::new(
        node.address(Role::Edge, 0),
        node.name(),
        place.region,
        place.store,
        Address::new(place.control, Role::Control, 0),
        origin_of(place.control),
        hop.to_string(),
    );
    config.gateway_actors = u32::from(place.workers);
    node.spawn_actor(Role::Edge, 0, blob_hands(blobs), move |rng| {
        Edge::new(config.clone(), rng)
    })
    .await?;
    if place.control != node.id() {
        origin(node, blobs).await?;
    }
    Ok(front)
}

/// Where a host is and what it offers.
pub(crate) struct HostPlace<'a> {
    pub(crate) zone: &'a str,
    pub(crate) capacity: u32,
    pub(crate) store: Address,
    /// Of control; the origins of the region's gateway nodes are asked before it.
    pub(crate) origin: Address,
    pub(crate) instance_ip: IpAddr,
}

/// metald with a driver that runs instances as processes.
pub(crate) async fn metald(
    node: &Node,
    data: &Path,
    place: &HostPlace<'_>,
    blobs: &Arc<BlobStore>,
) -> anyhow::Result<ProcessDriver> {
    let from = Arc::clone(blobs);
    let materialise = move |digest: &tidegate_protocol::Digest, target: &Path| {
        materialize(&from, *digest, target)
            .map(drop)
            .map_err(io::Error::other)
    };
    let mut options = DriverOptions::default();
    options.instances_max = options.instances_max.max(place.capacity as usize * 2);
    let dir = data.join("instances");
    let (driver, mut reports) = ProcessDriver::open(&dir, place.instance_ip, materialise, options)
        .await
        .context("the instance driver")?;
    let config = MetaldConfig::new(
        node.address(Role::Metald, 0),
        node.name(),
        place.zone,
        place.capacity,
        place.store,
        place.origin,
    );
    let (hand, blobs) = (driver.clone(), Arc::clone(blobs));
    let hands = move |replies: &Replies| {
        let driver = hand.clone();
        blob_hands(&blobs)(replies).with_driver(move |command| {
            if let Err(error) = driver.command(command) {
                tracing::error!(%error, "a command to the instance driver was lost");
            }
        })
    };
    let hosted = node
        .spawn_actor(Role::Metald, 0, hands, move |rng| {
            Metald::new(config.clone(), rng)
        })
        .await?;
    tokio::spawn(async move {
        while let Some(report) = reports.recv().await {
            hosted.driver(report);
        }
    });
    Ok(driver)
}

/// Hands with the node's blob store, on a thread for each life.
fn blob_hands(
    blobs: &Arc<BlobStore>,
) -> impl Fn(&Replies) -> Hands + Send + std::marker::Sync + 'static {
    let blobs = Arc::clone(blobs);
    move |replies: &Replies| {
        let blobs = Arc::clone(&blobs);
        match blob_thread(replies.clone(), move |command| run_command(&blobs, command)) {
            Ok(hand) => Hands::none().with_blob(hand),
            Err(error) => {
                replies.fail(format!("no thread for the blob store: {error}"));
                Hands::none()
            }
        }
    }
}
