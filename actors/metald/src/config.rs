//! The named settings of a metald.

use serde::{Deserialize, Serialize};
use tidegate_kernel::Duration;
use tidegate_protocol::{Address, HostState};

/// Settings of one [`crate::Metald`]; the defaults are those of `docs/flows.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaldConfig {
    /// Its own address; the node is the host that slots name.
    pub me: Address,
    /// Name of the host, for people.
    pub name: String,
    /// Failure domain, for the spreading of instances.
    pub zone: String,
    /// Instances that this host holds at once; what comes beyond is refused.
    pub capacity: u32,
    /// The region's partition store.
    pub store: Address,
    /// Where artifacts come from when no gateway node of the region gives them.
    pub origin: Address,
    /// What the host heartbeat says; only an `Active` host is given work.
    pub state: HostState,
    /// Between two heartbeats of the host.
    pub host_beat_every: Duration,
    /// After a heartbeat of the host that the store refused.
    pub host_beat_again: Duration,
    /// Between two heartbeats of its instances.
    pub instances_beat_every: Duration,
    /// A commit without an answer is forgotten after this, and decided anew.
    pub commit_timeout: Duration,
    /// A claim that only a message told of, and that a live mirror does not show for this
    /// long, is given up.
    pub confirm_within: Duration,
    /// The inventory is asked for again after this.
    pub inventory_every: Duration,
    /// First and longest pause between the health checks of a starting instance.
    pub check_first: Duration,
    pub check_longest: Duration,
    /// Between two health checks of a running instance.
    pub check_every: Duration,
    /// A health check without an answer counts as failed after this.
    pub check_timeout: Duration,
    /// Failed checks in a row that end a running instance.
    pub check_failures_max: u32,
    /// Between the slot's STOPPING and the instance's SIGTERM: gateways learn of it.
    pub lame_duck: Duration,
    /// A kill that nothing came of is repeated after this.
    pub kill_every: Duration,
    /// Grace for an instance whose version is no longer known.
    pub stranger_grace: Duration,
    /// Log reads at the driver at once; further ones are dropped.
    pub log_reads_max: usize,
    /// A log read that the driver does not answer is given up after this.
    pub log_read_timeout: Duration,
    /// Bytes of output in one answer.
    pub log_read_bytes_max: u32,
}

impl MetaldConfig {
    /// The defaults for a host.
    pub fn new(
        me: Address,
        name: impl Into<String>,
        zone: impl Into<String>,
        capacity: u32,
        store: Address,
        origin: Address,
    ) -> Self {
        Self {
            me,
            name: name.into(),
            zone: zone.into(),
            capacity,
            store,
            origin,
            state: HostState::Active,
            host_beat_every: Duration::from_secs(5),
            host_beat_again: Duration::from_secs(1),
            instances_beat_every: Duration::from_secs(10),
            commit_timeout: Duration::from_secs(5),
            confirm_within: Duration::from_secs(30),
            inventory_every: Duration::from_secs(5),
            check_first: Duration::from_millis(50),
            check_longest: Duration::from_millis(500),
            check_every: Duration::from_secs(10),
            check_timeout: Duration::from_secs(5),
            check_failures_max: 3,
            lame_duck: Duration::from_secs(2),
            kill_every: Duration::from_secs(5),
            stranger_grace: Duration::from_secs(10),
            log_reads_max: 64,
            log_read_timeout: Duration::from_secs(5),
            log_read_bytes_max: 256 * 1024,
        }
    }
}
