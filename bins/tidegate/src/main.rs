//! `tidegate`: one program for operators and tenants.
//!
//! Wiring and arguments only. `dev` and `run` start nodes; everything else is a client of
//! the API.

mod cli;
mod context;
mod node;
mod sample;
mod tenant;

use clap::Parser;
use cli::{Cli, Command, RunRole};

/// Gives memory back after a load spike, which glibc's allocator does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Dev(options) => node::block_on(node::dev::run(options)),
        Command::Run { role } => node::block_on(async {
            match role {
                RunRole::Control(options) => node::control::run(options).await,
                RunRole::Gateway(options) => node::gateway::run(options).await,
                RunRole::Metald(options) => node::metald::run(options).await,
            }
        }),
        Command::Deploy(options) => tenant::deploy::run(&options),
        Command::Ps(options) => tenant::show::instances(&options),
        Command::Versions(options) => tenant::show::versions(&options),
        Command::Rollback(options) => tenant::change::activate(&options, true),
        Command::Promote(options) => tenant::change::activate(&options, false),
        Command::Rm(options) => tenant::change::remove(&options),
        Command::Logs(options) => tenant::logs::run(&options),
        Command::SampleApp => node::block_on(sample::serve()),
    }
}
