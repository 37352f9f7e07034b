//! What every part of one driver shares.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use tidegate_protocol::Digest;
use tokio::sync::Semaphore;

use crate::data_dir::DataDir;
use crate::environment::Shared;
use crate::log::LogHandle;
use crate::port::Ports;
use crate::reporter::Reporter;

/// Lays an artifact out in a directory that does not exist yet, but whose parent does.
pub(crate) type Materialise = dyn Fn(&Digest, &Path) -> io::Result<()> + Send + Sync;

/// Held by every task and every blocking job, so that the data directory stays locked until
/// the last of them is done.
pub(crate) struct Context {
    pub data: std::sync::Arc<DataDir>,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    pub listen_ip: IpAddr,
    pub environment: Shared,
    pub materialise: Box<Materialise>,
    pub ports: Ports,
    pub reporter: Reporter,
    pub log: LogHandle,
    /// Starts that may copy and fork now.
    pub starts: Semaphore,
    /// Passes over `/proc` that may run now; more would only fight for the same locks.
    pub scans: Semaphore,
}
