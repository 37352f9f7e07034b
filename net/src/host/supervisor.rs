//! Begins the lives of a node's actors, and the next one after a panic.

use std::collections::BTreeMap;
use std::sync::Arc;

use ractor::{ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tidegate_kernel::{Backoff, Duration, Rng, Time};
use tokio::sync::oneshot;

use super::HostEnded;
use super::actor::Spawn;
use crate::{Clock, Registration};

/// Pause before the second life, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// A life that lasted this long ends a series of failures.
const LASTED: Duration = Duration::from_secs(60);

/// An actor that is looked after.
pub(super) struct Ward {
    recipe: Arc<dyn Spawn>,
    _place: Registration,
    backoff: Backoff,
    lives: u64,
    born: Time,
    /// Told when the first life has been tried.
    begun: Option<oneshot::Sender<()>>,
}

impl Ward {
    pub(super) fn new(
        recipe: Arc<dyn Spawn>,
        place: Registration,
        begun: oneshot::Sender<()>,
    ) -> Self {
        Self {
            recipe,
            _place: place,
            backoff: Backoff::new(PAUSE.0, PAUSE.1),
            lives: 0,
            born: Time::ZERO,
            begun: Some(begun),
        }
    }
}

/// What the supervisor is told.
pub(super) enum Order {
    /// Begin the next life of this actor.
    Spawn(Box<Ward>),
}

pub(super) async fn start(rng: Rng) -> Result<ActorRef<Order>, HostEnded> {
    ractor::Actor::spawn(None, Supervisor, rng)
        .await
        .map(|(supervisor, _)| supervisor)
        .map_err(|_| HostEnded)
}

struct Supervisor;

struct Wards {
    living: BTreeMap<ActorId, Box<Ward>>,
    rng: Rng,
    clock: Clock,
}

impl ractor::Actor for Supervisor {
    type Msg = Order;
    type State = Wards;
    type Arguments = Rng;

    async fn pre_start(&self, _: ActorRef<Order>, rng: Rng) -> Result<Wards, ActorProcessingErr> {
        Ok(Wards {
            living: BTreeMap::new(),
            rng,
            clock: Clock::start(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Order>,
        Order::Spawn(mut ward): Order,
        wards: &mut Wards,
    ) -> Result<(), ActorProcessingErr> {
        let life = ward.lives;
        ward.lives += 1;
        ward.born = wards.clock.mono();
        let recipe = Arc::clone(&ward.recipe);
        let spawned = recipe.spawn(life, myself.get_cell()).await;
        if let Some(begun) = ward.begun.take() {
            // Whoever asked for the actor need not wait for it.
            let _ = begun.send(());
        }
        match spawned {
            Ok(actor) => {
                wards.living.insert(actor.get_id(), ward);
            }
            Err(error) => wards.again(&myself, ward, &error),
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Order>,
        event: SupervisionEvent,
        wards: &mut Wards,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(actor, error) => {
                if let Some(ward) = wards.remove(&actor) {
                    wards.again(&myself, ward, &error);
                }
            }
            SupervisionEvent::ActorTerminated(actor, ..) => {
                wards.remove(&actor);
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl Wards {
    fn remove(&mut self, actor: &ActorCell) -> Option<Box<Ward>> {
        let ward = self.living.remove(&actor.get_id())?;
        ward.recipe.ended();
        Some(ward)
    }

    /// Logs the end of a life and begins the next one after a pause.
    fn again(
        &mut self,
        myself: &ActorRef<Order>,
        mut ward: Box<Ward>,
        error: &dyn std::fmt::Display,
    ) {
        if self.clock.mono().since(ward.born) >= LASTED {
            ward.backoff.reset();
        }
        let pause = ward.backoff.fail(&mut self.rng);
        tracing::error!(
            actor = %ward.recipe.address(),
            life = ward.lives,
            %error,
            pause_ms = pause.as_millis(),
            "actor failed; it is restarted after a pause, without what it had in memory"
        );
        // Dropped unsent when the supervisor ends first.
        myself.send_after(pause, move || Order::Spawn(ward));
    }
}
