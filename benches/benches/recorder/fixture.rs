//! A node whose gateways serve one app at one instance, with its store played by hand.

use std::net::SocketAddr;
use std::path::Path;

use tidegate_gateway::{Gateway, GatewayConfig};
use tidegate_kernel::{Rng, Seed};
use tidegate_net::{Inbound, Node, NodeBuilder, RECORD_BYTES_MIN, Recorder, RecorderConfig};
use tidegate_protocol::{
    AckRecord, Address, AppKind, Bytes, Digest, FeedEntry, Key, Message, NodeId, Record, Role,
    RouteRecord, SlotRecord, SlotState, StoreFeed, VersionSpec,
};

pub(crate) const HOST: &str = "app.test";

/// A node, recorded into `dir` if there is one.
pub(crate) async fn node(name: &str, dir: Option<&Path>) -> Node {
    let config = RecorderConfig {
        bytes_max: 4 * RECORD_BYTES_MIN,
        actors_max: 2,
        build: "bench".into(),
    };
    let recorder = dir.map(|dir| Recorder::start(dir, config).expect("a folder to record into"));
    let builder = NodeBuilder::new(name).seed(Seed(1)).recorder(recorder);
    builder.start().await.expect("a node")
}

fn store(node: &Node) -> Address {
    node.address(Role::Store, Address::PARTITION_STORE)
}

/// Where the gateway of the node subscribes.
pub(crate) fn open_store(node: &Node) -> Inbound {
    node.router().open(store(node), 100).expect("an address")
}

pub(crate) fn gateway(node: &Node) -> impl Fn(Address, Rng) -> Gateway + Clone + Send + 'static {
    let store = store(node);
    move |me, rng| Gateway::new(GatewayConfig::new(me, "syd", store), rng)
}

/// Answers the gateway's subscription with an app that runs at `endpoint`.
pub(crate) async fn feed(node: &Node, inbound: &mut Inbound, endpoint: SocketAddr) {
    let (gateway, message) = inbound.receive().await;
    let Message::StoreWatch(watch) = message else {
        unreachable!("a gateway subscribes first: {message:?}");
    };
    let entries = records(node.id(), endpoint)
        .iter()
        .map(|(key, record)| FeedEntry {
            key: key.to_string(),
            value: Some(record.encode()),
            revision: 1,
        })
        .collect();
    let feed = StoreFeed {
        session: watch.session,
        revision: 1,
        entries,
        ..StoreFeed::default()
    };
    node.router()
        .send(inbound.address(), gateway, Message::StoreFeed(feed));
}

fn records(node: NodeId, endpoint: SocketAddr) -> [(Key, Record); 4] {
    let (version, artifact) = (1, Bytes::from(Digest([1; 32])));
    let spec = VersionSpec {
        id: version,
        project: "app".into(),
        kind: AppKind::Program.into(),
        artifact: artifact.clone(),
        concurrency: 1_000,
        instances_max: 1,
        ..VersionSpec::default()
    };
    let route = RouteRecord {
        project: "app".into(),
        version,
        epoch: 1,
        hosts: vec![HOST.into()],
    };
    let slot = SlotRecord {
        version,
        index: 0,
        epoch: 1,
        state: SlotState::Running.into(),
        host: 9,
        endpoint: endpoint.to_string(),
        fence: 1,
    };
    let ack = AckRecord {
        node: node.0,
        version,
        artifact,
    };
    [
        (Key::Version(version), Record::Version(spec)),
        (Key::Ack { node, version }, Record::Ack(ack)),
        (Key::Route("app".into()), Record::Route(route)),
        (Key::Slot { version, index: 0 }, Record::Slot(slot)),
    ]
}
