//! `tidegate dev`: the whole platform in one process.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tidegate_api::model::PublicUrls;
use tidegate_api::{Api, client::Client};
use tidegate_front::Front;
use tidegate_net::{Node, NodeBuilder};
use tidegate_protocol::{Address, Role};

use super::assemble::{self, GatewayPlace, HostPlace};
use super::{asked_to_end, control, recorder, workers};
use crate::cli::DevOptions;
use crate::context;
use crate::tenant::deploy;

const NAME: &str = "dev";
const REGION: &str = "local";
const STOP_GRACE: Duration = Duration::from_secs(5);

pub(crate) async fn run(options: DevOptions) -> anyhow::Result<()> {
    std::fs::create_dir_all(&options.data)
        .with_context(|| format!("cannot make the data directory {}", options.data.display()))?;
    let data = options
        .data
        .canonicalize()
        .with_context(|| format!("the data directory {}", options.data.display()))?;
    let token = context::token_in(&data.join("token"))?;
    let listener = control::listen(options.api).await?;
    let api_url = format!("http://{}", listener.local_addr()?);

    let blobs = assemble::blob_store(&data)?;
    let node = NodeBuilder::new(NAME)
        .data_dir(&data)
        .recorder(recorder(&options.recording, workers(options.workers))?)
        .start()
        .await?;
    assemble::store(&node, Address::MAIN_STORE, &data.join("main")).await?;
    assemble::store(&node, Address::PARTITION_STORE, &data.join("partition")).await?;
    assemble::control(&node, &options.domain, &blobs).await?;
    let host = HostPlace {
        zone: "a",
        capacity: 200,
        store: node.address(Role::Store, Address::PARTITION_STORE),
        origin: node.address(Role::Origin, 0),
        instance_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let driver = assemble::metald(&node, &data, &host, &blobs).await?;
    let place = GatewayPlace {
        region: REGION,
        store: host.store,
        control: node.id(),
        workers: workers(options.workers),
        listen: options.listen,
        hop: None,
        token: &token,
    };
    let front = assemble::gateway(&node, &place, &blobs).await?;
    let metald = node.address(Role::Metald, 0);
    let api = Api {
        client: Arc::new(node.api_client()?),
        control: node.address(Role::Control, 0),
        blobs,
        hosts: Arc::new(move || vec![metald]),
        token: token.as_str().into(),
        urls: PublicUrls {
            port: front.address().port(),
        },
    };
    let served = tokio::spawn(tidegate_api::serve(listener, api));
    context::remember(&api_url, &token)?;
    println!(
        "Tidegate runs. Its API is {api_url}, its data is in {}.",
        data.display()
    );
    let sample = async {
        if options.no_sample {
            return Ok(());
        }
        let exe = std::env::current_exe().context("where this program is")?;
        let client = Client::new(&api_url, &token);
        tokio::task::spawn_blocking(move || deploy_sample(&client, &exe)).await?
    };
    let until_end = async {
        if let Err(error) = sample.await {
            eprintln!("the sample app is not deployed: {error:#}");
        }
        println!("Ready. Deploy with `tidegate deploy DIR`; Ctrl-C ends.");
        anyhow::Ok(())
    };
    tokio::select! {
        asked = asked_to_end() => asked?,
        done = async { until_end.await?; std::future::pending::<anyhow::Result<()>>().await } => done?,
    }
    served.abort();
    end(front, driver, &node).await
}

async fn end(
    front: Front,
    driver: tidegate_drivers::ProcessDriver,
    node: &Node,
) -> anyhow::Result<()> {
    eprintln!("Ending: requests finish, instances stop.");
    tokio::task::spawn_blocking(move || front.shutdown()).await?;
    // The actors end first: an instance that stops now is no failure of its app.
    node.shutdown().await;
    driver.shutdown(STOP_GRACE).await;
    Ok(())
}

/// Deploys the sample app, unless it runs already.
fn deploy_sample(client: &Client, exe: &Path) -> anyhow::Result<()> {
    let command = vec![exe.display().to_string(), "sample-app".to_owned()];
    let project = wait_until_answered(|| client.projects())?
        .into_iter()
        .find(|p| p.name == deploy::SAMPLE_PROJECT);
    let urls = match project {
        Some(project) => {
            let active = client
                .versions(&project.name)?
                .into_iter()
                .find(|v| v.active);
            if active.is_none_or(|v| v.command != command) && !project.latched {
                deploy::sample(client, command)?;
            }
            project.urls
        }
        None => deploy::sample(client, command)?,
    };
    for url in urls {
        println!("The sample app answers at {url}");
    }
    Ok(())
}

/// The actors need a moment to load their stores.
fn wait_until_answered<T, E: std::fmt::Display>(
    mut ask: impl FnMut() -> Result<T, E>,
) -> anyhow::Result<T> {
    let mut last = String::new();
    for _ in 0..100 {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(error) => last = error.to_string(),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("control does not answer: {last}")
}
