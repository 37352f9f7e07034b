//! One life of a slot on this host, and how it goes from state to state.
//!
//! Every transition is a method here: it changes the state, says so in a note, and tells
//! the driver what to do. What the slot allows, and what is written to it, is decided in
//! `converge`. A method that does not apply to the present state does nothing: a late or
//! repeated report is no news.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{CommitId, DriverCommand, Duration, Effect, Effects, Note, Now, Time};
use tidegate_protocol::{Digest, InstanceStatus, VersionSpec, limits};

use crate::{
    MetaldConfig,
    alarms::Deadline,
    health::{self, Probe},
    life::{Claim, Life},
    states::{
        Failed, Killing, Make, Provisioning, Remains, Running, Starting, State, Stop, Stopped,
        Stopping,
    },
};

/// Bytes of a reason that is told to others.
const REASON_BYTES_MAX: usize = 1024;

/// What every transition needs.
pub(crate) struct Turn<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a MetaldConfig,
    pub(crate) fx: &'a mut Effects,
}

/// A write to the slot whose effect the mirror does not show yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PendingCommit {
    pub(crate) id: CommitId,
    pub(crate) until: Time,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) life: Life,
    /// `None`: its version is gone.
    pub(crate) spec: Option<Arc<VersionSpec>>,
    pub(crate) claim: Claim,
    pub(crate) commit: Option<PendingCommit>,
    pub(crate) state: State,
    /// Its start failed once, and its artifact was looked at again.
    looked_again: bool,
}

impl Instance {
    /// A life that begins in `state`.
    pub(crate) fn begin(
        life: Life,
        spec: Option<Arc<VersionSpec>>,
        claim: Claim,
        state: State,
        reason: &str,
        turn: &mut Turn<'_>,
    ) -> Self {
        let mut instance = Instance {
            life,
            spec,
            claim,
            commit: None,
            looked_again: false,
            state: State::Stopped(Stopped),
        };
        instance.enter(state, reason, turn);
        instance
    }

    /// The artifact is here.
    pub(crate) fn on_artifact(&mut self, digest: Digest, turn: &mut Turn<'_>) {
        let (State::Provisioning(p), Some(spec)) = (&mut self.state, &self.spec) else {
            return;
        };
        if p.step != Make::Fetching(digest) {
            return;
        }
        p.step = Make::AtDriver;
        // How long its files were on their way is not the app's fault.
        if !self.looked_again {
            p.start_by = turn.now.mono + start_timeout(Some(spec));
        }
        turn.fx.push(Effect::Driver(DriverCommand::Start {
            instance: self.life.into(),
            spec: Box::new(VersionSpec::clone(spec)),
        }));
    }

    /// The driver could not make it, for the first time: the artifact to look at again. Blobs
    /// may have been damaged at rest, which a start finds out and a fetch mends.
    pub(crate) fn look_again(&mut self) -> Option<Digest> {
        let (State::Provisioning(p), Some(spec)) = (&mut self.state, &self.spec) else {
            return None;
        };
        if self.looked_again || p.step != Make::AtDriver {
            return None;
        }
        let digest = Digest::try_from(&spec.artifact).ok()?;
        self.looked_again = true;
        p.step = Make::Fetching(digest);
        Some(digest)
    }

    /// The driver has started it.
    pub(crate) fn on_started(&mut self, endpoint: String, turn: &mut Turn<'_>) {
        let State::Provisioning(Provisioning {
            start_by,
            step: Make::AtDriver,
        }) = self.state
        else {
            return;
        };
        let starting = Starting {
            start_by,
            endpoint,
            probe: Probe::Idle {
                next: turn.now.mono,
            },
            pause: turn.config.check_first,
        };
        self.enter(State::Starting(starting), "", turn);
        self.check_health(turn);
    }

    /// The driver has checked it.
    pub(crate) fn on_checked(&mut self, healthy: bool, turn: &mut Turn<'_>) {
        let every = turn.config.check_every;
        match &mut self.state {
            State::Starting(starting) if healthy => {
                let running = Running {
                    endpoint: std::mem::take(&mut starting.endpoint),
                    probe: Probe::Idle {
                        next: turn.now.mono + every,
                    },
                    failures: 0,
                };
                self.enter(State::Running(running), "", turn);
            }
            State::Running(running) if healthy => {
                running.failures = 0;
                running.probe = Probe::Idle {
                    next: turn.now.mono + every,
                };
            }
            // An unhealthy answer after its time has been counted by then.
            State::Starting(Starting { probe, .. }) | State::Running(Running { probe, .. })
                if probe.is_in_flight() =>
            {
                self.on_unhealthy(turn);
            }
            _ => {}
        }
    }

    fn on_unhealthy(&mut self, turn: &mut Turn<'_>) {
        match &mut self.state {
            State::Starting(starting) => {
                starting.probe = Probe::Idle {
                    next: turn.now.mono + starting.pause,
                };
                starting.pause = health::next_pause(turn.config, starting.pause);
            }
            State::Running(running) => {
                running.failures += 1;
                running.probe = Probe::Idle {
                    next: turn.now.mono + turn.config.check_every,
                };
                let failures = running.failures;
                if failures >= turn.config.check_failures_max {
                    self.fail(format!("failed {failures} health checks in a row"), turn);
                }
            }
            _ => {}
        }
    }

    fn check_health(&mut self, turn: &mut Turn<'_>) {
        let (State::Starting(Starting { probe, .. }) | State::Running(Running { probe, .. })) =
            &mut self.state
        else {
            return;
        };
        *probe = Probe::InFlight {
            until: turn.now.mono + turn.config.check_timeout,
        };
        let spec = self.spec.as_ref();
        turn.fx.push(Effect::Driver(DriverCommand::Check {
            instance: self.life.into(),
            health_path: spec.map(|s| s.health_path.clone()).unwrap_or_default(),
        }));
    }

    /// Its slot says that it has to stop.
    pub(crate) fn stop(&mut self, reason: &str, turn: &mut Turn<'_>) {
        match &self.state {
            State::Provisioning(p) => match p.step {
                Make::Fetching(_) => self.enter(State::Stopped(Stopped), reason, turn),
                Make::AtDriver => self.kill(reason, turn),
            },
            // It never took a request: nobody has to be told.
            State::Starting(_) => self.terminate(reason, turn),
            State::Running(_) => {
                let step = Stop::LameDuck {
                    until: turn.now.mono + turn.config.lame_duck,
                };
                self.enter(State::Stopping(Stopping { step }), reason, turn);
            }
            State::Stopping(_) | State::Stopped(_) | State::Failed(_) => {}
        }
    }

    /// Its slot is no longer its own: gateways know, nothing is waited for.
    pub(crate) fn end(&mut self, reason: &str, turn: &mut Turn<'_>) {
        match &self.state {
            State::Running(_)
            | State::Stopping(Stopping {
                step: Stop::LameDuck { .. },
            }) => self.terminate(reason, turn),
            _ => self.stop(reason, turn),
        }
    }

    /// It cannot be, or cannot stay.
    pub(crate) fn fail(&mut self, reason: String, turn: &mut Turn<'_>) {
        let step = match &self.state {
            State::Provisioning(Provisioning {
                step: Make::Fetching(_),
                ..
            }) => Remains::Gone {
                report: Some(String::new()),
            },
            state if state.is_wanted() => Remains::Killing(first_kill(turn)),
            _ => return,
        };
        let is_alive = matches!(step, Remains::Killing(_));
        self.enter_failed(reason, step, turn);
        if is_alive {
            self.send_kill(turn);
        }
    }

    /// The driver says that nothing of it is left, or that it could not be made.
    pub(crate) fn on_gone(&mut self, reason: &str, log_tail: &str, turn: &mut Turn<'_>) {
        let gone = || Remains::Gone {
            report: Some(tail(log_tail, limits::LOG_TAIL_BYTES_MAX).to_owned()),
        };
        let reason = match &mut self.state {
            State::Provisioning(Provisioning {
                step: Make::AtDriver,
                ..
            }) => format!("could not be started: {reason}"),
            State::Starting(_) => format!("ended before it was healthy: {reason}"),
            State::Running(_) => format!("ended: {reason}"),
            State::Stopping(_) => {
                return self.enter(State::Stopped(Stopped), reason, turn);
            }
            State::Failed(failed) if matches!(failed.step, Remains::Killing(_)) => {
                failed.step = gone();
                return;
            }
            _ => return,
        };
        self.enter_failed(reason, gone(), turn);
    }

    /// Its deadline has passed.
    pub(crate) fn on_time(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now.mono;
        match &self.state {
            State::Provisioning(p) if p.start_by <= now => {
                if p.step == Make::AtDriver {
                    return self.fail_late("it did not start", turn);
                }
                let timeout = start_timeout(self.spec.as_deref()).as_millis();
                let reason = format!("its artifact did not arrive within {timeout} ms");
                self.fail_before_start(reason, turn);
            }
            State::Starting(s) if s.start_by <= now => {
                self.fail_late("it did not become healthy", turn);
            }
            State::Starting(Starting { probe, .. }) | State::Running(Running { probe, .. })
                if probe.deadline().0 <= now =>
            {
                if probe.is_in_flight() {
                    self.on_unhealthy(turn);
                } else {
                    self.check_health(turn);
                }
            }
            State::Stopping(stopping) => match stopping.step {
                Stop::LameDuck { until } if until <= now => self.terminate("", turn),
                Stop::Terminating { kill_at } if kill_at <= now => self.kill("", turn),
                Stop::Killing(_) => self.kill_again(turn),
                _ => {}
            },
            State::Failed(_) => self.kill_again(turn),
            _ => {}
        }
    }

    /// The inventory, asked for after a repeated kill, does not list it.
    pub(crate) fn on_missing(&mut self, turn: &mut Turn<'_>) {
        if self.state.killing().is_some_and(|k| k.is_repeated) {
            self.on_gone("nothing of it is left", "", turn);
        }
    }

    /// As [`Self::fail`], when this host could not get as far as running it.
    pub(crate) fn fail_before_start(&mut self, reason: String, turn: &mut Turn<'_>) {
        self.fail(reason, turn);
        if let State::Failed(failed) = &mut self.state {
            failed.before_start = true;
        }
    }

    fn fail_late(&mut self, what: &str, turn: &mut Turn<'_>) {
        let timeout = start_timeout(self.spec.as_deref()).as_millis();
        self.fail(format!("{what} within {timeout} ms"), turn);
    }

    fn terminate(&mut self, reason: &str, turn: &mut Turn<'_>) {
        let grace = stop_grace(self.spec.as_deref(), turn.config);
        let step = Stop::Terminating {
            kill_at: turn.now.mono + grace,
        };
        self.go_on_stopping(step, reason, turn);
        turn.fx.push(Effect::Driver(DriverCommand::Terminate {
            instance: self.life.into(),
        }));
    }

    fn kill(&mut self, reason: &str, turn: &mut Turn<'_>) {
        self.go_on_stopping(Stop::Killing(first_kill(turn)), reason, turn);
        self.send_kill(turn);
    }

    /// Its end is overdue: perhaps the kill had no effect, perhaps it has ended unseen.
    fn kill_again(&mut self, turn: &mut Turn<'_>) {
        let Some(killing) = self.state.killing() else {
            return;
        };
        if killing.again_at > turn.now.mono {
            return;
        }
        killing.again_at = turn.now.mono + turn.config.kill_every;
        killing.is_repeated = true;
        self.send_kill(turn);
        turn.fx.push(Effect::Driver(DriverCommand::Inventory));
    }

    fn send_kill(&self, turn: &mut Turn<'_>) {
        turn.fx.push(Effect::Driver(DriverCommand::Kill {
            instance: self.life.into(),
        }));
    }

    /// Enters STOPPING, or takes a further step in it, which is no transition to tell of.
    fn go_on_stopping(&mut self, step: Stop, reason: &str, turn: &mut Turn<'_>) {
        match &mut self.state {
            State::Stopping(stopping) => stopping.step = step,
            _ => self.enter(State::Stopping(Stopping { step }), reason, turn),
        }
    }

    fn enter_failed(&mut self, reason: String, step: Remains, turn: &mut Turn<'_>) {
        let reason = head(&reason, REASON_BYTES_MAX).to_owned();
        let note = reason.clone();
        let failed = Failed {
            reason,
            before_start: false,
            step,
        };
        self.enter(State::Failed(failed), &note, turn);
    }

    fn enter(&mut self, state: State, reason: &str, turn: &mut Turn<'_>) {
        self.state = state;
        turn.fx.note(Note::Instance {
            instance: self.life.into(),
            state: self.state.kind(),
            reason: reason.to_owned(),
        });
    }

    /// The reason and the last output of a failure that nobody has been told of.
    /// Reason, last output, and whether its program was never run.
    pub(crate) fn take_report(&mut self) -> Option<(String, String, bool)> {
        let State::Failed(failed) = &mut self.state else {
            return None;
        };
        let Remains::Gone { report } = &mut failed.step else {
            return None;
        };
        Some((failed.reason.clone(), report.take()?, failed.before_start))
    }

    pub(crate) fn status(&self) -> InstanceStatus {
        InstanceStatus {
            instance: Some(self.life.into()),
            state: self.state.kind().into(),
            healthy: self.state.is_healthy(),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Deadline> {
        let commit = self.commit.map(|c| (c.until, "a slot commit stays open"));
        let claim = match self.claim {
            Claim::Announced { look_at, .. } => Some((look_at, "a claim stays unconfirmed")),
            Claim::Seen | Claim::GivenUp => None,
        };
        [self.state.deadline(), commit, claim]
            .into_iter()
            .flatten()
            .min()
    }
}

fn first_kill(turn: &Turn<'_>) -> Killing {
    Killing {
        again_at: turn.now.mono + turn.config.kill_every,
        is_repeated: false,
    }
}

/// From the claim to the first healthy answer.
pub(crate) fn start_timeout(spec: Option<&VersionSpec>) -> Duration {
    Duration::from_millis(spec.map_or(0, |s| s.start_timeout_ms))
}

/// From SIGTERM to SIGKILL.
pub(crate) fn stop_grace(spec: Option<&VersionSpec>, config: &MetaldConfig) -> Duration {
    spec.map_or(config.stranger_grace, |s| {
        Duration::from_millis(s.stop_grace_ms.min(limits::STOP_GRACE_MS_MAX))
    })
}

/// The first `bytes_max` bytes of a text, or a few less to keep its characters whole.
fn head(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// The last `bytes_max` bytes of a text, or a few less to keep its characters whole.
fn tail(text: &str, bytes_max: usize) -> &str {
    let start = text.ceil_char_boundary(text.len().saturating_sub(bytes_max));
    &text[start..]
}

#[cfg(test)]
mod unit {
    use super::{head, tail};

    #[test]
    fn a_tail_keeps_whole_characters() {
        assert_eq!(tail("abc", 5), "abc");
        assert_eq!(tail("abcdef", 3), "def");
        assert_eq!(tail("aéb", 2), "b");
        assert_eq!(head("aéb", 2), "a");
        assert_eq!(head("ab", 5), "ab");
    }
}
