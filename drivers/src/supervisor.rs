//! Which instances there are, and who carries out which command.
//!
//! One task owns the table and looks at commands one by one. It starts the lives and passes
//! wishes on; it waits for nothing but room for its own reports. When the last handle of the
//! driver is dropped it lets go of everything and kills nothing: the instances go on, and the
//! next driver of the data directory adopts them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_kernel::{DriverCommand, DriverInstance, DriverReport};
use tidegate_protocol::{InstanceRef, VersionSpec};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;

use crate::context::Context;
use crate::life::{Life, Phase, Stop, Wishes};
use crate::names::{Key, key};
use crate::recover::Adopted;
use crate::start_error::StartError;

/// How long a shutdown waits for killed instances; beyond it, the kernel keeps them.
const KILL_TIME_MAX: Duration = Duration::from_secs(15);

pub(crate) enum Request {
    Command(DriverCommand),
    Shutdown {
        grace: Duration,
        done: oneshot::Sender<()>,
    },
}

pub(crate) struct Supervisor {
    context: Arc<Context>,
    instances_max: usize,
    closing: watch::Sender<bool>,
    lives: BTreeMap<Key, Entry>,
    /// Each ends with the number of further starts that it answered.
    tasks: JoinSet<u64>,
}

struct Entry {
    instance: InstanceRef,
    wishes: watch::Sender<Wishes>,
    phase: watch::Receiver<Phase>,
    task: Id,
    /// Of the last further start, unless a stop came after it: should the life have ended
    /// before it could answer, a new one is started with this.
    start_again: Option<Box<VersionSpec>>,
}

impl Supervisor {
    pub(crate) fn new(
        context: Arc<Context>,
        instances_max: usize,
        closing: watch::Sender<bool>,
        adopted: Vec<Adopted>,
    ) -> Supervisor {
        let mut supervisor = Supervisor {
            context,
            instances_max,
            closing,
            lives: BTreeMap::new(),
            tasks: JoinSet::new(),
        };
        for Adopted {
            instance,
            endpoint,
            leader,
        } in adopted
        {
            let lease = supervisor.context.ports.adopt(endpoint);
            supervisor.begin(instance, Phase::Running(endpoint), |life| {
                life.live(leader, lease)
            });
        }
        supervisor
    }

    pub(crate) async fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.tasks.join_next_with_id() => self.forget(ended).await,
                request = requests.recv() => match request {
                    Some(Request::Command(command)) => self.carry_out(command).await,
                    Some(Request::Shutdown { grace, done }) => {
                        requests.close();
                        self.shut_down(grace).await;
                        // Whoever asked may have stopped waiting.
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
            }
        }
    }

    async fn carry_out(&mut self, command: DriverCommand) {
        match command {
            DriverCommand::Inventory => {
                let report = DriverReport::Inventory(self.inventory());
                self.context.reporter.send(report).await;
            }
            DriverCommand::Start { instance, spec } => self.start(instance, spec).await,
            DriverCommand::Check {
                instance,
                health_path,
            } => {
                let known = self.wish(instance, |wishes| {
                    wishes.checks += 1;
                    wishes.health_path = health_path;
                });
                if !known {
                    let healthy = false;
                    let report = DriverReport::Checked { instance, healthy };
                    self.context.reporter.send(report).await;
                }
            }
            DriverCommand::Terminate { instance } => self.stop(instance, Stop::Terminate),
            DriverCommand::Kill { instance } => self.stop(instance, Stop::Kill),
            DriverCommand::ReadLog {
                request,
                version,
                cursor,
                bytes_max,
            } => {
                let log = &self.context.log;
                log.read(request, version, cursor, bytes_max).await;
            }
        }
    }

    fn inventory(&self) -> Vec<DriverInstance> {
        self.lives
            .values()
            .filter_map(|entry| match *entry.phase.borrow() {
                Phase::Running(endpoint) => Some(DriverInstance {
                    instance: entry.instance,
                    endpoint: endpoint.to_string(),
                }),
                Phase::Starting | Phase::Ended => None,
            })
            .collect()
    }

    async fn start(&mut self, instance: InstanceRef, spec: Box<VersionSpec>) {
        if let Some(entry) = self.lives.get_mut(&key(instance)) {
            entry.wishes.send_modify(|wishes| wishes.starts_again += 1);
            entry.start_again = Some(spec);
            return;
        }
        if self.lives.len() >= self.instances_max {
            let instances_max = self.instances_max;
            self.refuse(instance, StartError::Full { instances_max })
                .await;
            return;
        }
        self.begin(instance, Phase::Starting, |life| life.start(spec));
    }

    fn stop(&mut self, instance: InstanceRef, stop: Stop) {
        // Unknown ones have ended, and that was reported.
        if let Some(entry) = self.lives.get_mut(&key(instance)) {
            entry.stop(stop);
        }
    }

    /// `false`: there is no such instance.
    fn wish(&self, instance: InstanceRef, change: impl FnOnce(&mut Wishes)) -> bool {
        let entry = self.lives.get(&key(instance));
        entry
            .map(|entry| entry.wishes.send_modify(change))
            .is_some()
    }

    fn begin<F>(&mut self, instance: InstanceRef, phase: Phase, live: impl FnOnce(Life) -> F)
    where
        F: Future<Output = u64> + Send + 'static,
    {
        let (wishes, wished) = watch::channel(Wishes::default());
        let (phase, phase_seen) = watch::channel(phase);
        let life = Life {
            context: Arc::clone(&self.context),
            instance,
            wishes: wished,
            phase,
        };
        let entry = Entry {
            instance,
            wishes,
            phase: phase_seen,
            task: self.tasks.spawn(live(life)).id(),
            start_again: None,
        };
        self.lives.insert(key(instance), entry);
    }

    async fn forget(&mut self, ended: Result<(Id, u64), JoinError>) {
        let (task, answered) = match &ended {
            Ok((task, answered)) => (*task, Ok(*answered)),
            Err(error) => (error.id(), Err(error)),
        };
        let mut entries = self.lives.values();
        let Some(instance) = entries.find(|entry| entry.task == task).map(|e| e.instance) else {
            return;
        };
        let Some(entry) = self.lives.remove(&key(instance)) else {
            return;
        };
        match answered {
            Err(error) => {
                tracing::error!(%instance, %error, "the task of an instance broke; it is ended");
                self.begin(instance, Phase::Ended, Life::end_broken);
            }
            Ok(answered) if entry.wishes.borrow().starts_again > answered => {
                match entry.start_again {
                    Some(spec) => self.start(instance, spec).await,
                    None => self.refuse(instance, StartError::Stopped).await,
                }
            }
            Ok(_) => {}
        }
    }

    async fn refuse(&self, instance: InstanceRef, error: StartError) {
        let reason = error.to_string();
        let report = DriverReport::StartFailed { instance, reason };
        self.context.reporter.send(report).await;
    }

    async fn shut_down(&mut self, grace: Duration) {
        self.closing.send_replace(true);
        for (stop, time) in [(Stop::Terminate, grace), (Stop::Kill, KILL_TIME_MAX)] {
            for entry in self.lives.values_mut() {
                entry.stop(stop);
            }
            if timeout(time, self.drain()).await.is_ok() {
                return;
            }
        }
        tracing::error!(
            left = self.tasks.len(),
            "instances are left that cannot be killed"
        );
    }

    async fn drain(&mut self) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.forget(ended).await;
        }
    }
}

impl Entry {
    fn stop(&mut self, stop: Stop) {
        self.start_again = None;
        self.wishes
            .send_modify(|wishes| wishes.stop = wishes.stop.max(stop));
    }
}
