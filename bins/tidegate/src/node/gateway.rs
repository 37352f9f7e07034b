//! `tidegate run gateway`.

use tidegate_net::NodeBuilder;
use tidegate_net::mesh::Membership;
use tidegate_protocol::{Address, NodeId, Role};

use super::assemble::{self, GatewayPlace};
use super::{asked_to_end, mesh_config, recorder, workers};
use crate::cli::{GatewayOptions, JoinOptions};

pub(crate) async fn run(options: GatewayOptions) -> anyhow::Result<()> {
    let join = &options.join;
    let data = &join.node.data;
    let name = options
        .name
        .clone()
        .unwrap_or_else(|| first_gateway(&join.region));
    let mesh = mesh_config(
        &join.node,
        &name,
        Membership::Join(join.join.clone()),
        ("gateway", &join.region, ""),
    )?;
    let blobs = assemble::blob_store(data)?;
    let node = NodeBuilder::new(&name)
        .data_dir(data)
        .mesh(mesh)
        .recorder(recorder(&join.node.recording, workers(options.workers))?)
        .start()
        .await?;
    let store = partition_store(join);
    if store.node == node.id() {
        assemble::store(&node, Address::PARTITION_STORE, &data.join("partition")).await?;
    }
    let place = GatewayPlace {
        region: &join.region,
        store,
        control: NodeId::of_name(&join.control),
        workers: workers(options.workers),
        listen: options.listen,
        hop: Some(options.hop),
        token: &join.node.token,
    };
    let front = assemble::gateway(&node, &place, &blobs).await?;
    println!(
        "{name} answers for region {} on http://{}",
        join.region,
        front.address()
    );
    asked_to_end().await?;
    tokio::task::spawn_blocking(move || front.shutdown()).await?;
    node.shutdown().await;
    Ok(())
}

/// The partition store of the region that a node joins.
pub(super) fn partition_store(join: &JoinOptions) -> Address {
    let keeper = join
        .store
        .clone()
        .unwrap_or_else(|| first_gateway(&join.region));
    Address::new(
        NodeId::of_name(&keeper),
        Role::Store,
        Address::PARTITION_STORE,
    )
}

fn first_gateway(region: &str) -> String {
    format!("gateway-{region}")
}
