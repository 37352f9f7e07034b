//! The named settings of sync, with the defaults of `docs/flows.md`.

use serde::{Deserialize, Serialize};
use tidegate_kernel::Duration;
use tidegate_protocol::Address;

use crate::deploy::Pace;
use crate::lane::Patience;

/// Settings of a sync actor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SyncConfig {
    pub me: Address,
    pub main_store: Address,
    /// How often every partition is compared in full.
    pub compare_every: Duration,
    /// How often deploys in progress and removals are looked at when nothing changes.
    pub tick: Duration,
    /// How often silence of gateways is looked for.
    pub liveness_tick: Duration,
    /// A commit without an answer is forgotten after this.
    pub commit_timeout: Duration,
    /// Delay after a refused or unanswered commit; doubles up to the cap.
    pub backoff_base: Duration,
    pub backoff_cap: Duration,
    /// A gateway whose beat did not change for this long is not live.
    pub gateway_silence: Duration,
    /// A region that was not reached yet is waited for by deploys this long.
    pub region_grace: Duration,
    /// A deploy that is not at every live edge by then has failed.
    pub distribute_timeout: Duration,
    /// A program without a healthy instance by then has failed; a longer start timeout of its
    /// own counts instead.
    pub prove_timeout: Duration,
    /// How often the scheduler is asked for the instance that proves a deploy.
    pub wake_every: Duration,
    /// Versions of a project that the main store records, besides those that are wanted.
    pub versions_recorded: usize,
}

impl SyncConfig {
    pub fn new(me: Address, main_store: Address) -> Self {
        Self {
            me,
            main_store,
            compare_every: Duration::from_secs(60),
            tick: Duration::from_secs(1),
            liveness_tick: Duration::from_secs(5),
            commit_timeout: Duration::from_secs(5),
            backoff_base: Duration::from_millis(200),
            backoff_cap: Duration::from_secs(10),
            gateway_silence: Duration::from_secs(45),
            region_grace: Duration::from_secs(15),
            distribute_timeout: Duration::from_secs(300),
            prove_timeout: Duration::from_secs(120),
            wake_every: Duration::from_secs(2),
            versions_recorded: 100,
        }
    }

    pub(crate) fn patience(&self) -> Patience {
        Patience {
            commit_timeout: self.commit_timeout,
            backoff_base: self.backoff_base,
            backoff_cap: self.backoff_cap,
        }
    }

    pub(crate) fn pace(&self) -> Pace {
        Pace {
            distribute_timeout: self.distribute_timeout,
            prove_timeout: self.prove_timeout,
            wake_every: self.wake_every,
            region_grace: self.region_grace,
        }
    }
}
