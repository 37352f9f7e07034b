//! The six states of an instance, one struct for each: what is known in it, and when it has
//! to end.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Duration, Time};
use tidegate_protocol::{Digest, InstanceState};

use crate::{alarms::Deadline, health::Probe};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Provisioning(Provisioning),
    Starting(Starting),
    Running(Running),
    Stopping(Stopping),
    Stopped(Stopped),
    Failed(Failed),
}

/// Its artifact is fetched, then the driver makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Provisioning {
    /// Its artifact has to be here by then; from there on, it has to be healthy by then.
    pub(crate) start_by: Time,
    pub(crate) step: Make,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Make {
    /// The driver knows nothing of it yet.
    Fetching(Digest),
    /// The driver was told to start it.
    AtDriver,
}

/// It was started, and is not healthy yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Starting {
    pub(crate) start_by: Time,
    pub(crate) endpoint: String,
    pub(crate) probe: Probe,
    /// Before the next check.
    pub(crate) pause: Duration,
}

/// It was healthy, and has not failed too often since.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) endpoint: String,
    pub(crate) probe: Probe,
    /// Failed checks in a row.
    pub(crate) failures: u32,
}

/// It is being ended, because nobody wants it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stopping {
    pub(crate) step: Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stop {
    /// It still answers, until the gateways know.
    LameDuck { until: Time },
    /// It was asked to end.
    Terminating { kill_at: Time },
    /// It was killed.
    Killing(Killing),
}

/// It was told to end at once, and the driver has not said that it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Killing {
    pub(crate) again_at: Time,
    /// Not for the first time: the inventory was asked for after it.
    pub(crate) is_repeated: bool,
}

/// Nothing of it is left; its slot may have to be freed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stopped;

/// It failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) reason: String,
    /// The host could not get as far as running it.
    pub(crate) before_start: bool,
    pub(crate) step: Remains,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Remains {
    /// It was killed, and its end is waited for.
    Killing(Killing),
    /// Nothing of it is left but, until it is reported, its last output.
    Gone { report: Option<String> },
}

impl Killing {
    fn deadline(self) -> Deadline {
        (self.again_at, "kill again")
    }
}

impl State {
    pub(crate) fn kind(&self) -> InstanceState {
        match self {
            State::Provisioning(_) => InstanceState::Provisioning,
            State::Starting(_) => InstanceState::Starting,
            State::Running(_) => InstanceState::Running,
            State::Stopping(_) => InstanceState::Stopping,
            State::Stopped(_) => InstanceState::Stopped,
            State::Failed(_) => InstanceState::Failed,
        }
    }

    /// Nothing of it is left on this host.
    pub(crate) fn is_gone(&self) -> bool {
        match self {
            State::Stopped(_) => true,
            State::Failed(failed) => matches!(failed.step, Remains::Gone { .. }),
            _ => false,
        }
    }

    /// It is meant to go on: neither being ended nor ended.
    pub(crate) fn is_wanted(&self) -> bool {
        matches!(
            self,
            State::Provisioning(_) | State::Starting(_) | State::Running(_)
        )
    }

    /// The artifact that it waits for.
    pub(crate) fn fetching(&self) -> Option<Digest> {
        match self {
            State::Provisioning(Provisioning {
                step: Make::Fetching(digest),
                ..
            }) => Some(*digest),
            _ => None,
        }
    }

    /// The kill that its end is waited for.
    pub(crate) fn killing(&mut self) -> Option<&mut Killing> {
        match self {
            State::Stopping(Stopping {
                step: Stop::Killing(killing),
            })
            | State::Failed(Failed {
                step: Remains::Killing(killing),
                ..
            }) => Some(killing),
            _ => None,
        }
    }

    pub(crate) fn is_healthy(&self) -> bool {
        matches!(self, State::Running(running) if running.failures == 0)
    }

    /// When it has to go on by itself; `None` only when nothing of it is left.
    pub(crate) fn deadline(&self) -> Option<Deadline> {
        Some(match self {
            State::Provisioning(p) => (p.start_by, "an instance does not start in time"),
            State::Starting(s) => s
                .probe
                .deadline()
                .min((s.start_by, "an instance does not become healthy in time")),
            State::Running(r) => r.probe.deadline(),
            State::Stopping(s) => match s.step {
                Stop::LameDuck { until } => (until, "the lame-duck time ends"),
                Stop::Terminating { kill_at } => (kill_at, "the stop grace ends"),
                Stop::Killing(killing) => killing.deadline(),
            },
            State::Failed(Failed {
                step: Remains::Killing(killing),
                ..
            }) => killing.deadline(),
            State::Stopped(_) | State::Failed(_) => return None,
        })
    }
}
