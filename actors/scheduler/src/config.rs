//! Settings of a scheduler.

use serde::{Deserialize, Serialize};
use tidegate_kernel::Duration;
use tidegate_protocol::Address;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SchedulerConfig {
    pub me: Address,
    /// Partition store of the region.
    pub store: Address,
    /// A lease that has not changed for so long may be taken.
    pub lease_expiry: Duration,
    pub lease_renew_every: Duration,
    /// The holder stops acting when its last renewal was sent longer ago than this; shorter
    /// than `lease_expiry`.
    pub lease_trust: Duration,
    /// A commit without an answer is forgotten after this.
    pub commit_timeout: Duration,
    pub host_silence_max: Duration,
    /// A gateway node without a heartbeat for so long need not report its traffic.
    pub gateway_silence_max: Duration,
    /// A traffic report, or a demand, older than this is not trusted.
    pub report_age_max: Duration,
    pub demand_age_max: Duration,
    /// Beyond twice the version's own start timeout, before a slot that does not start is taken
    /// back.
    pub start_slack: Duration,
    /// Instances of a version that lost its route run on for so long.
    pub rollback_window: Duration,
    pub backoff_base: Duration,
    pub backoff_cap: Duration,
    /// An instance that ran for so long clears its version's failures.
    pub proven_after: Duration,
    /// Versions that may wait for a host.
    pub queue_max: usize,
}

impl SchedulerConfig {
    pub fn new(me: Address, store: Address) -> Self {
        let seconds = Duration::from_secs;
        Self {
            me,
            store,
            lease_expiry: seconds(10),
            lease_renew_every: seconds(3),
            lease_trust: seconds(9),
            commit_timeout: seconds(5),
            host_silence_max: seconds(30),
            gateway_silence_max: seconds(45),
            report_age_max: seconds(15),
            demand_age_max: seconds(10),
            start_slack: seconds(15),
            rollback_window: seconds(30 * 60),
            backoff_base: seconds(1),
            backoff_cap: seconds(60),
            proven_after: seconds(60),
            queue_max: 1_024,
        }
    }
}
