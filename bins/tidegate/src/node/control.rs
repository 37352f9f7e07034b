//! `tidegate run control`.

use std::sync::Arc;

use anyhow::Context as _;
use tidegate_api::model::PublicUrls;
use tidegate_api::{Api, HostsFn};
use tidegate_net::mesh::Membership;
use tidegate_net::{Node, NodeBuilder};
use tidegate_protocol::{Address, NodeId, Role};
use tokio::net::TcpListener;

use super::{asked_to_end, assemble, mesh_config, recorder};
use crate::cli::ControlOptions;

pub(crate) async fn run(options: ControlOptions) -> anyhow::Result<()> {
    let data = &options.node.data;
    let mesh = mesh_config(
        &options.node,
        &options.name,
        Membership::Control,
        ("control", "", ""),
    )?;
    let blobs = assemble::blob_store(data)?;
    let listener = listen(options.api).await?;
    let node = NodeBuilder::new(&options.name)
        .data_dir(data)
        .mesh(mesh)
        .recorder(recorder(&options.node.recording, 0)?)
        .start()
        .await?;
    let node = Arc::new(node);
    assemble::store(&node, Address::MAIN_STORE, &data.join("main")).await?;
    assemble::control(&node, &options.domain, &blobs).await?;
    let api = Api {
        client: Arc::new(node.api_client()?),
        control: node.address(Role::Control, 0),
        blobs,
        hosts: hosts_of(&node),
        token: options.node.token.as_str().into(),
        urls: PublicUrls {
            port: options.public_port,
        },
    };
    println!(
        "control runs; its API is http://{}, its mesh is {}",
        listener.local_addr()?,
        options.node.mesh
    );
    tokio::select! {
        served = tidegate_api::serve(listener, api) => served.context("the API")?,
        asked = asked_to_end() => asked?,
    }
    node.shutdown().await;
    Ok(())
}

pub(super) async fn listen(address: std::net::SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} for the API; choose another --api, or end what uses it")
    })
}

/// The metald of every host in the directory.
fn hosts_of(node: &Arc<Node>) -> HostsFn {
    let node = Arc::clone(node);
    Arc::new(move || {
        let Some(mesh) = node.mesh() else {
            return Vec::new();
        };
        let nodes = mesh.directory().nodes();
        let hosts = nodes
            .values()
            .filter(|info| info.roles.iter().any(|role| role == "metald"));
        hosts
            .map(|info| Address::new(NodeId::of_name(&info.name), Role::Metald, 0))
            .collect()
    })
}
