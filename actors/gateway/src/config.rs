//! Settings of a gateway actor.

use serde::{Deserialize, Serialize};
use tidegate_kernel::Duration;
use tidegate_protocol::Address;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GatewayConfig {
    pub me: Address,
    pub region: String,
    /// Partition store of the region.
    pub store: Address,
    /// From arrival to the end of the answer.
    pub request_deadline: Duration,
    /// Longest wait for an instance.
    pub hold_max: Duration,
    /// Requests that may wait for one version, and for all together.
    pub waiting_version_max: usize,
    pub waiting_max: usize,
    /// A wake is asked for again after this, while anybody waits.
    pub wake_repeat: Duration,
    pub traffic_report_every: Duration,
    /// A host without a heartbeat for so long gets no traffic.
    pub host_silence_max: Duration,
    /// An instance that refused a connection is left alone for so long.
    pub refused_for: Duration,
    /// Instances, or regions, that one request is offered to.
    pub tries_max: u8,
}

impl GatewayConfig {
    pub fn new(me: Address, region: &str, store: Address) -> Self {
        Self {
            me,
            region: region.to_owned(),
            store,
            request_deadline: Duration::from_secs(60),
            hold_max: Duration::from_secs(30),
            waiting_version_max: 1_024,
            waiting_max: 16_384,
            wake_repeat: Duration::from_secs(1),
            traffic_report_every: Duration::from_secs(5),
            host_silence_max: Duration::from_secs(30),
            refused_for: Duration::from_secs(2),
            tries_max: 4,
        }
    }
}
