//! One instance, from its start to the report of its end.
//!
//! A task of its own, told what is wanted through a value that only grows ([`Wishes`]) and
//! not through a queue: wishes are never lost, never pile up, and asking twice is asking once.
//! Checks coalesce the same way: one that is asked for while another runs gets its answer.
//!
//! The order at the end is the promise: first everything of it is dead, then its last output
//! is kept, then its directory is gone, and only then is the end reported, once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use rustix::process::Signal;
use tidegate_kernel::DriverReport;
use tidegate_protocol::{InstanceRef, VersionSpec};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::check::is_healthy;
use crate::context::Context;
use crate::ending::Ending;
use crate::launch::{launch, remove_traces};
use crate::leader::Leader;
use crate::port::Lease;
use crate::start_error::StartError;
use crate::sweep::{Seen, kill_all, kill_once, reap_all};

/// How firmly an instance is asked to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stop {
    #[default]
    No,
    Terminate,
    Kill,
}

/// All that was asked of an instance so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub stop: Stop,
    pub checks: u64,
    pub health_path: String,
    /// Starts after the first.
    pub starts_again: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Running(SocketAddr),
    Ended,
}

pub(crate) struct Life {
    pub context: Arc<Context>,
    pub instance: InstanceRef,
    pub wishes: watch::Receiver<Wishes>,
    pub phase: watch::Sender<Phase>,
}

type RunningCheck = Pin<Box<dyn Future<Output = bool> + Send>>;

impl Life {
    /// Starts it, and stays until its end. Returns how many further starts it answered.
    pub(crate) async fn start(self, spec: Box<VersionSpec>) -> u64 {
        match self.try_start(spec).await {
            Ok((leader, lease)) => {
                self.phase.send_replace(Phase::Running(lease.endpoint));
                self.report_started(lease.endpoint).await;
                self.live(leader, lease).await
            }
            Err(error) => {
                self.phase.send_replace(Phase::Ended);
                let answered = self.wishes.borrow().starts_again;
                let (instance, reason) = (self.instance, error.to_string());
                let report = DriverReport::StartFailed { instance, reason };
                self.context.reporter.send(report).await;
                answered
            }
        }
    }

    /// Stays with one that already runs until its end. Returns how many further starts it
    /// answered.
    pub(crate) async fn live(mut self, leader: Leader, lease: Lease) -> u64 {
        let mut done = Wishes::default();
        let mut check: Option<RunningCheck> = None;
        let mut killed = BTreeSet::new();
        loop {
            tokio::select! {
                biased;
                () = leader.ended() => break,
                changed = self.wishes.changed() => {
                    if changed.is_err() {
                        // The driver was dropped: the instance goes on without it.
                        return 0;
                    }
                    let wished = self.wishes.borrow_and_update().clone();
                    let victims = self.grant(&wished, &mut done, &leader, lease.endpoint).await;
                    killed.extend(victims);
                    if wished.checks > done.checks && check.is_none() {
                        let endpoint = lease.endpoint;
                        check = Some(Box::pin(async move {
                            is_healthy(endpoint, &wished.health_path).await
                        }));
                    }
                }
                healthy = async { check.as_mut().expect("guarded").await }, if check.is_some() => {
                    check = None;
                    done.checks = self.wishes.borrow().checks;
                    let instance = self.instance;
                    self.context.reporter.send(DriverReport::Checked { instance, healthy }).await;
                }
            }
        }
        self.end(Some(leader), killed).await;
        done.starts_again
    }

    /// Ends one whose own task broke.
    pub(crate) async fn end_broken(self) -> u64 {
        self.end(None, BTreeSet::new()).await;
        0
    }

    async fn try_start(&self, spec: Box<VersionSpec>) -> Result<(Leader, Lease), StartError> {
        let mut wishes = self.wishes.clone();
        let stopped = wishes.wait_for(|wished| wished.stop > Stop::No);
        let _turn = tokio::select! {
            biased;
            _ = stopped => return Err(StartError::Stopped),
            turn = self.context.starts.acquire() => turn.map_err(|_| StartError::Broken)?,
        };
        let ip = self.context.listen_ip;
        let no_port = |source| StartError::NoPort { ip, source };
        let lease = self.context.ports.lease(ip).map_err(no_port)?;
        match self.make(spec, lease.endpoint).await {
            Ok(leader) => Ok((leader, lease)),
            Err(error) => {
                self.clear(None, BTreeSet::new()).await;
                Err(error)
            }
        }
    }

    async fn make(
        &self,
        spec: Box<VersionSpec>,
        endpoint: SocketAddr,
    ) -> Result<Leader, StartError> {
        let (context, instance) = (Arc::clone(&self.context), self.instance);
        let output = context.log.begin(instance).await.map_err(|source| {
            let path = context.data.logs();
            StartError::Files { path, source }
        })?;
        let wishes = self.wishes.clone();
        let job = move || {
            let is_stopped = || wishes.borrow().stop > Stop::No;
            launch(&context, instance, &spec, endpoint, output, is_stopped)
        };
        let handle = spawn_blocking(job)
            .await
            .map_err(|_| StartError::Broken)??;
        Leader::watch(handle).map_err(|source| StartError::Watch { source })
    }

    /// Returns whom it killed.
    async fn grant(
        &self,
        wished: &Wishes,
        done: &mut Wishes,
        leader: &Leader,
        endpoint: SocketAddr,
    ) -> BTreeSet<Seen> {
        if wished.starts_again > done.starts_again {
            done.starts_again = wished.starts_again;
            self.report_started(endpoint).await;
        }
        if wished.stop <= done.stop {
            return BTreeSet::new();
        }
        done.stop = wished.stop;
        if wished.stop == Stop::Terminate {
            leader.signal_group(Signal::TERM);
            return BTreeSet::new();
        }
        // Descendants that wiped their environment and left the group can be told by their
        // parents only, so they are looked for while those still live.
        let killed = kill_once(&self.context, self.instance, Some(leader.group())).await;
        leader.signal_group(Signal::KILL);
        killed
    }

    async fn end(&self, leader: Option<Leader>, killed: BTreeSet<Seen>) {
        self.phase.send_replace(Phase::Ended);
        let (ending, left, log_tail) = self.clear(leader, killed).await;
        let reason = match left {
            0 => ending.to_string(),
            _ => format!("{ending}; {left} of its processes cannot be killed, see the host's log"),
        };
        let instance = self.instance;
        let report = DriverReport::Exited {
            instance,
            reason,
            log_tail,
        };
        self.context.reporter.send(report).await;
    }

    /// Leaves nothing of it, and tells how it ended, how many processes would not die, and
    /// its last output.
    async fn clear(
        &self,
        leader: Option<Leader>,
        mut killed: BTreeSet<Seen>,
    ) -> (Ending, usize, String) {
        let (context, instance) = (Arc::clone(&self.context), self.instance);
        if let Some(leader) = &leader {
            leader.signal_group(Signal::KILL);
        }
        let group = || leader.as_ref().map(Leader::group);
        let left = kill_all(&context, instance, group, &mut killed).await;
        if left > 0 {
            tracing::error!(%instance, left, "processes of an ended instance cannot be killed");
        }
        // Reaped only now, because until then the number of its group stays its own, and
        // before the others, because it may be among them and only the first is told how.
        let ending = leader.map_or(Ending::Unknown, |leader| leader.reap());
        reap_all(&killed);
        let log_tail = context.log.finish(instance).await;
        // Broken only by a panic, and then the next life of the platform tidies up.
        let _ = spawn_blocking(move || remove_traces(&context, instance)).await;
        (ending, left, log_tail)
    }

    async fn report_started(&self, endpoint: SocketAddr) {
        let report = DriverReport::Started {
            instance: self.instance,
            endpoint: endpoint.to_string(),
        };
        self.context.reporter.send(report).await;
    }
}
