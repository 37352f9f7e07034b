//! Nodes: which actors run where.

mod artifacts;
mod assemble;
pub(crate) mod control;
pub(crate) mod dev;
pub(crate) mod gateway;
pub(crate) mod metald;

use std::future::Future;

use anyhow::Context as _;
use tidegate_net::mesh::{Membership, MeshConfig, Token};
use tidegate_net::{Recorder, RecorderConfig};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{NodeOptions, RecordOptions};

/// Runs a node's main future on a runtime of its own, with logs on standard error.
pub(crate) fn block_on(main: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TIDEGATE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(main)
}

/// Returns when the process is asked to end.
async fn asked_to_end() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

fn mesh_config(
    options: &NodeOptions,
    name: &str,
    membership: Membership,
    (role, region, zone): (&str, &str, &str),
) -> anyhow::Result<MeshConfig> {
    let token = Token::new(&options.token).map_err(|error| anyhow::anyhow!("--token: {error}"))?;
    let mut config = MeshConfig::new(name, options.mesh, token, membership);
    config.advertise = options.advertise.clone();
    config.roles = vec![role.to_owned()];
    region.clone_into(&mut config.region);
    zone.clone_into(&mut config.zone);
    Ok(config)
}

/// Actors of a node beside its gateways.
const ACTORS_MAX: u64 = 8;

/// The flight recorder, if it is asked for.
fn recorder(options: &RecordOptions, workers: u16) -> anyhow::Result<Option<Recorder>> {
    let Some(dir) = &options.record else {
        return Ok(None);
    };
    let config = RecorderConfig {
        bytes_max: options.record_bytes,
        actors_max: ACTORS_MAX + u64::from(workers),
        build: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let recorder = Recorder::start(dir, config);
    recorder.map(Some).with_context(|| {
        format!(
            "cannot record into {}; name a folder that can be written to",
            dir.display()
        )
    })
}

/// One for each core.
fn workers(asked: Option<u16>) -> u16 {
    let cores = || std::thread::available_parallelism().map_or(1, |n| n.get());
    asked
        .unwrap_or_else(|| u16::try_from(cores()).unwrap_or(u16::MAX))
        .max(1)
}
