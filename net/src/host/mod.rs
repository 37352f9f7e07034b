//! Drives any actor of the core in the real world.
//!
//! One task owns the actor's cell and takes its mail one by one, so an actor never runs
//! twice at a time. A panic is a crash of that actor and of nothing else: whatever it had in
//! memory is gone, and after a pause it begins a new life with a new sub-seed, as it would
//! on a node that was restarted. That is the case which the actors are built for, so the
//! node goes on with the others; the pause doubles while an actor keeps failing.
//!
//! No names, groups or order of supervision of the runtime are used: they are process-wide,
//! and nothing may depend on them.

mod actor;
mod alarm;
mod supervisor;

use std::sync::Arc;

use ractor::ActorRef;
use serde::Serialize;
use tidegate_kernel::{Actor, DriverReport, Duration, Event, Rng, Seed};
use tidegate_protocol::Address;
use tokio::sync::oneshot;

use crate::mailbox::Mailbox;
use crate::{AddressTaken, Clock, Hands, Recorder, Replies, Router};

pub(crate) use alarm::Alarm;

/// Hosts the actors of one node.
#[derive(Clone)]
pub struct Host {
    supervisor: ActorRef<supervisor::Order>,
    router: Router,
    clock: Clock,
    seed: Seed,
    recorder: Option<Recorder>,
}

impl Host {
    /// Starts without actors. Each life of an actor derives its sub-seed from `seed`, its
    /// address and the number of the life. With a recorder, all actors are recorded.
    ///
    /// # Errors
    /// The runtime is shutting down.
    pub async fn start(
        router: Router,
        clock: Clock,
        seed: Seed,
        recorder: Option<Recorder>,
    ) -> Result<Self, HostEnded> {
        let rng = seed.derive("supervisor").rng();
        let supervisor = supervisor::start(rng).await?;
        Ok(Self {
            supervisor,
            router,
            clock,
            seed,
            recorder,
        })
    }

    /// Starts an actor, and starts it anew whenever it panics. `make` builds each life;
    /// `hands` connects each life to engine, driver and blob store, and runs before `make`.
    /// When this returns the actor takes messages (unless its first life failed at once).
    ///
    /// # Errors
    /// The address is taken, or the host has ended.
    pub async fn spawn<A: Actor + Serialize + Send + 'static>(
        &self,
        address: Address,
        hands: impl Fn(&Replies) -> Hands + Send + Sync + 'static,
        make: impl Fn(Rng) -> A + Send + Sync + 'static,
    ) -> Result<Hosted, SpawnError> {
        let mailbox = Arc::new(Mailbox::default());
        let registration = self
            .router
            .register(address, Arc::<Mailbox>::clone(&mailbox) as _)?;
        let recipe = actor::Recipe {
            address,
            make: Box::new(make),
            hands: Box::new(hands),
            seed: self.seed.derive(&address.to_string()),
            router: self.router.clone(),
            clock: self.clock,
            mailbox: Arc::clone(&mailbox),
            recorder: self.recorder.clone(),
        };
        let (begun_in, begun) = oneshot::channel();
        let ward = supervisor::Ward::new(Arc::new(recipe), registration, begun_in);
        self.supervisor
            .send_message(supervisor::Order::Spawn(Box::new(ward)))
            .map_err(|_| HostEnded)?;
        begun.await.map_err(|_| HostEnded)?;
        Ok(Hosted { address, mailbox })
    }

    /// Stops all actors, each after the event it is at, and returns when they have ended.
    /// What waits in their mailboxes is lost, as in a crash.
    pub async fn shutdown(&self) {
        // Only a runtime that is shutting down itself gives an error here.
        let _ = self.supervisor.stop_and_wait(None, Some(STOP_MAX)).await;
    }
}

/// The longest that [`Host::shutdown`] waits: a step is short, only blocked hands are not.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A hosted actor, for what happens to it outside of its own asking.
#[derive(Clone)]
pub struct Hosted {
    address: Address,
    mailbox: Arc<Mailbox>,
}

impl Hosted {
    pub fn address(&self) -> Address {
        self.address
    }

    /// Hands a report of the instance driver to the present life. Instances outlive the
    /// life that started them, so their reports belong to whoever is there.
    pub fn driver(&self, report: DriverReport) {
        self.mailbox.reply(Event::Driver(report));
    }
}

/// The host (or the whole runtime) has been shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostEnded;

impl std::fmt::Display for HostEnded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the node is shutting down and starts no more actors")
    }
}

impl std::error::Error for HostEnded {}

/// Why an actor was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnError {
    Taken(AddressTaken),
    Ended(HostEnded),
}

impl std::fmt::Display for SpawnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SpawnError::Taken(error) => error.fmt(f),
            SpawnError::Ended(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SpawnError {}

impl From<AddressTaken> for SpawnError {
    fn from(error: AddressTaken) -> Self {
        SpawnError::Taken(error)
    }
}

impl From<HostEnded> for SpawnError {
    fn from(error: HostEnded) -> Self {
        SpawnError::Ended(error)
    }
}
