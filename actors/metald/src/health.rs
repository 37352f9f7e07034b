//! When an instance is checked next.
//!
//! One check is in flight at a time, so that a slow instance is not buried under checks; one
//! that stays without an answer counts as failed.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Duration, Time};

use crate::{MetaldConfig, alarms::Deadline};

/// Where the checking of one instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Probe {
    /// The next check is due then.
    Idle { next: Time },
    /// A check is in flight, and counts as failed then.
    InFlight { until: Time },
}

impl Probe {
    pub(crate) fn deadline(self) -> Deadline {
        match self {
            Probe::Idle { next } => (next, "check the health"),
            Probe::InFlight { until } => (until, "a health check stays without an answer"),
        }
    }

    pub(crate) fn is_in_flight(self) -> bool {
        matches!(self, Probe::InFlight { .. })
    }
}

/// The pause after a pause, while an instance starts.
pub(crate) fn next_pause(config: &MetaldConfig, pause: Duration) -> Duration {
    pause.saturating_mul(2).min(config.check_longest)
}
