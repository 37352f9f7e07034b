//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Deploys apps and answers for them: one program for operators and tenants.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the whole platform in this process, with a sample app that answers
    #[command(after_help = "Example:\n  tidegate dev --data ./tide --listen 127.0.0.1:8080")]
    Dev(DevOptions),
    /// Start one node of an installation
    Run {
        #[command(subcommand)]
        role: RunRole,
    },
    /// Deploy a folder: static files, or a program named in its tidegate.yml
    #[command(after_help = "Example:\n  tidegate deploy ./site\n  tidegate deploy ./api --json")]
    Deploy(DeployOptions),
    /// Show apps and their instances
    #[command(after_help = "Example:\n  tidegate ps\n  tidegate ps hello --json")]
    Ps(PsOptions),
    /// Show a project's versions
    #[command(after_help = "Example:\n  tidegate versions hello")]
    Versions(ProjectOptions),
    /// Send traffic back to an earlier version, and hold later deploys back
    #[command(after_help = "Example:\n  tidegate rollback hello\n  tidegate rollback hello --to 3")]
    Rollback(ActivateOptions),
    /// Send traffic to a version, and let later deploys go live again
    #[command(after_help = "Example:\n  tidegate promote hello --to 4")]
    Promote(ActivateOptions),
    /// Show what an app's instances print
    #[command(after_help = "Example:\n  tidegate logs hello -f")]
    Logs(LogsOptions),
    /// Remove a project with all of its versions
    #[command(after_help = "Example:\n  tidegate rm hello")]
    Rm(ProjectOptions),
    /// The app that `dev` deploys
    #[command(hide = true)]
    SampleApp,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunRole {
    /// Control: the API, the main store, the artifacts, the directory of nodes
    #[command(
        after_help = "Example:\n  tidegate run control --data ./control --token $TOKEN --mesh 127.0.0.1:7100 --api 127.0.0.1:7070"
    )]
    Control(ControlOptions),
    /// Gateway: answers HTTP in a region; the first of a region keeps its partition store
    #[command(
        after_help = "Example:\n  tidegate run gateway --region syd --join 127.0.0.1:7100 --token $TOKEN --data ./gw-syd --listen 127.0.0.1:8080 --hop 127.0.0.1:8180 --mesh 127.0.0.1:7101"
    )]
    Gateway(GatewayOptions),
    /// metald: runs instances on this host
    #[command(
        after_help = "Example:\n  tidegate run metald --region syd --zone a --join 127.0.0.1:7100 --token $TOKEN --data ./host-1 --mesh 127.0.0.1:7111"
    )]
    Metald(MetaldOptions),
}

#[derive(Debug, Args)]
pub(crate) struct DevOptions {
    /// Where everything is kept
    #[arg(long, env = "TIDEGATE_DATA", default_value = ".tidegate")]
    pub(crate) data: PathBuf,
    /// Where apps answer
    #[arg(long, env = "TIDEGATE_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where the API answers
    #[arg(long, env = "TIDEGATE_API_LISTEN", default_value = "127.0.0.1:7070")]
    pub(crate) api: SocketAddr,
    /// Apps answer under PROJECT.DOMAIN
    #[arg(long, env = "TIDEGATE_DOMAIN", default_value = "localhost")]
    pub(crate) domain: String,
    /// Gateway threads [default: one for each core]
    #[arg(long)]
    pub(crate) workers: Option<u16>,
    /// Deploy no sample app
    #[arg(long)]
    pub(crate) no_sample: bool,
    #[command(flatten)]
    pub(crate) recording: RecordOptions,
}

/// The flight recorder.
#[derive(Debug, Args)]
pub(crate) struct RecordOptions {
    /// Record what every actor is given, for `tidegate-sim replay DIR`
    #[arg(long, value_name = "DIR", env = "TIDEGATE_RECORD")]
    pub(crate) record: Option<PathBuf>,
    /// How much is kept of it: bytes, or a number with K, M or G
    #[arg(long, value_name = "BYTES", default_value = "256M", requires = "record", value_parser = record_bytes)]
    pub(crate) record_bytes: u64,
}

fn record_bytes(text: &str) -> Result<u64, String> {
    let (number, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "not a number of bytes, such as 256M".to_owned())?;
    let bytes = number.checked_mul(1 << shift);
    bytes
        .filter(|bytes| *bytes >= tidegate_net::RECORD_BYTES_MIN)
        .ok_or_else(|| "not between 16M and 16 EiB".to_owned())
}

/// What every node of an installation needs.
#[derive(Debug, Args)]
pub(crate) struct NodeOptions {
    /// Where the node keeps what must survive a restart
    #[arg(long, env = "TIDEGATE_DATA")]
    pub(crate) data: PathBuf,
    /// Where other nodes reach this one
    #[arg(long, env = "TIDEGATE_MESH")]
    pub(crate) mesh: SocketAddr,
    /// "host:port" that other nodes use instead, behind address translation
    #[arg(long)]
    pub(crate) advertise: Option<String>,
    /// The installation's secret: 16 characters or more
    #[arg(long, env = "TIDEGATE_TOKEN", hide_env_values = true)]
    pub(crate) token: String,
    #[command(flatten)]
    pub(crate) recording: RecordOptions,
}

#[derive(Debug, Args)]
pub(crate) struct JoinOptions {
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// "host:port" of control's mesh
    #[arg(long, env = "TIDEGATE_JOIN")]
    pub(crate) join: String,
    /// Name of control's node
    #[arg(long, default_value = "control")]
    pub(crate) control: String,
    /// Region in which this node is
    #[arg(long, env = "TIDEGATE_REGION")]
    pub(crate) region: String,
    /// Name of the node that keeps the region's partition store [default: gateway-REGION]
    #[arg(long)]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ControlOptions {
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Name of this node
    #[arg(long, default_value = "control")]
    pub(crate) name: String,
    /// Where the API answers
    #[arg(long, env = "TIDEGATE_API_LISTEN", default_value = "127.0.0.1:7070")]
    pub(crate) api: SocketAddr,
    /// Apps answer under PROJECT.DOMAIN
    #[arg(long, env = "TIDEGATE_DOMAIN", default_value = "localhost")]
    pub(crate) domain: String,
    /// Port of the gateways, to show addresses that open
    #[arg(long, default_value_t = 8080)]
    pub(crate) public_port: u16,
}

#[derive(Debug, Args)]
pub(crate) struct GatewayOptions {
    #[command(flatten)]
    pub(crate) join: JoinOptions,
    /// Name of this node [default: gateway-REGION]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Where apps answer
    #[arg(long, env = "TIDEGATE_LISTEN", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Where gateways of other regions send requests that they cannot serve
    #[arg(long)]
    pub(crate) hop: SocketAddr,
    /// Gateway threads [default: one for each core]
    #[arg(long)]
    pub(crate) workers: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct MetaldOptions {
    #[command(flatten)]
    pub(crate) join: JoinOptions,
    /// Name of this node [default: metald-REGION-ZONE]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Zone in which this host is; instances are spread over zones
    #[arg(long, env = "TIDEGATE_ZONE", default_value = "a")]
    pub(crate) zone: String,
    /// Address on which instances listen, for gateways to connect to
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) instance_ip: IpAddr,
    /// Instances that this host holds at once
    #[arg(long, default_value_t = 100)]
    pub(crate) capacity: u32,
}

/// Where the API is. Flags go before the environment, and that before what `dev` left.
#[derive(Debug, Args)]
pub(crate) struct ApiOptions {
    /// "http://host:port" of the API
    #[arg(long, env = "TIDEGATE_API")]
    pub(crate) api: Option<String>,
    /// The installation's secret
    #[arg(long, env = "TIDEGATE_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeployOptions {
    #[command(flatten)]
    pub(crate) api: ApiOptions,
    /// Folder to deploy
    pub(crate) dir: PathBuf,
    /// Project, instead of the one in tidegate.yml or the folder's name
    #[arg(long)]
    pub(crate) project: Option<String>,
    /// Return when the version is accepted, without waiting for it to take traffic
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PsOptions {
    #[command(flatten)]
    pub(crate) api: ApiOptions,
    /// Only this project
    pub(crate) project: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ProjectOptions {
    #[command(flatten)]
    pub(crate) api: ApiOptions,
    pub(crate) project: String,
}

#[derive(Debug, Args)]
pub(crate) struct ActivateOptions {
    #[command(flatten)]
    pub(crate) api: ApiOptions,
    pub(crate) project: String,
    /// Number of the version [default: the one before the active one]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) to: u32,
}

#[derive(Debug, Args)]
pub(crate) struct LogsOptions {
    #[command(flatten)]
    pub(crate) api: ApiOptions,
    pub(crate) project: String,
    /// Go on showing new lines
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Only this version [default: the newest ones and the active one]
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    pub(crate) version: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_recording_may_take_is_read() {
        assert_eq!(record_bytes("256M"), Ok(256 << 20));
        assert_eq!(record_bytes("2g"), Ok(2 << 30));
        assert_eq!(record_bytes("16777216"), Ok(16 << 20));
        for wrong in ["", "M", "15M", "1e9", "99999999999G", "-1", "256MiB"] {
            assert!(record_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
