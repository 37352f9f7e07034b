//! `tidegate run metald`.
//!
//! Ending it leaves its instances running: a metald is replaced without touching them, and
//! the next one adopts what is still its own.

use tidegate_net::NodeBuilder;
use tidegate_net::mesh::Membership;
use tidegate_protocol::{Address, NodeId, Role};

use super::assemble::{self, HostPlace};
use super::gateway::partition_store;
use super::{asked_to_end, mesh_config, recorder};
use crate::cli::MetaldOptions;

pub(crate) async fn run(options: MetaldOptions) -> anyhow::Result<()> {
    let join = &options.join;
    let data = &join.node.data;
    let name = options
        .name
        .clone()
        .unwrap_or_else(|| format!("metald-{}-{}", join.region, options.zone));
    let mesh = mesh_config(
        &join.node,
        &name,
        Membership::Join(join.join.clone()),
        ("metald", &join.region, &options.zone),
    )?;
    let blobs = assemble::blob_store(data)?;
    let node = NodeBuilder::new(&name)
        .data_dir(data)
        .mesh(mesh)
        .recorder(recorder(&join.node.recording, 0)?)
        .start()
        .await?;
    let place = HostPlace {
        zone: &options.zone,
        capacity: options.capacity,
        store: partition_store(join),
        origin: Address::new(NodeId::of_name(&join.control), Role::Origin, 0),
        instance_ip: options.instance_ip,
    };
    let _driver = assemble::metald(&node, data, &place, &blobs).await?;
    println!(
        "{name} runs instances for region {}, zone {}",
        join.region, options.zone
    );
    asked_to_end().await?;
    node.shutdown().await;
    Ok(())
}
