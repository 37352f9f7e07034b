//! One hosted actor: its task, its mail and its sleep.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;

use ractor::concurrency::{spawn, timeout};
use ractor::{ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use serde::Serialize;
use tidegate_kernel::{Actor, Cell, Event, Rng, Seed, Time};
use tidegate_protocol::Address;
use tidegate_recording::Writer;
use tokio::sync::watch;

use super::Alarm;
use crate::mailbox::{Life, Mail, Mailbox};
use crate::recorder::{Recorder, Tape};
use crate::sink::NodeSink;
use crate::{Clock, Hands, Replies, Router};

/// How to make each life of an actor.
pub(super) struct Recipe<A> {
    pub(super) address: Address,
    pub(super) make: Box<dyn Fn(Rng) -> A + Send + Sync>,
    pub(super) hands: Box<dyn Fn(&Replies) -> Hands + Send + Sync>,
    /// Of the address; each life derives its own.
    pub(super) seed: Seed,
    pub(super) router: Router,
    pub(super) clock: Clock,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) recorder: Option<Recorder>,
}

type Starting<'a> = Pin<Box<dyn Future<Output = Result<ActorCell, SpawnErr>> + Send + 'a>>;

/// A recipe of whatever kind of actor.
pub(super) trait Spawn: Send + Sync {
    fn address(&self) -> Address;

    /// Begins life number `life` under the supervisor.
    fn spawn(self: Arc<Self>, life: u64, supervisor: ActorCell) -> Starting<'static>;

    /// The life has ended.
    fn ended(&self);
}

impl<A: Actor + Serialize + Send + 'static> Spawn for Recipe<A> {
    fn address(&self) -> Address {
        self.address
    }

    fn spawn(self: Arc<Self>, life: u64, supervisor: ActorCell) -> Starting<'static> {
        Box::pin(async move {
            let seed = self.seed.derive_index(life);
            let (task, begun) = (Task(PhantomData), (self, life, seed));
            let spawned = ractor::Actor::spawn_linked(None, task, begun, supervisor).await?;
            Ok(spawned.0.get_cell())
        })
    }

    fn ended(&self) {
        self.mailbox.end();
    }
}

/// The ractor actor around a cell.
struct Task<A>(PhantomData<fn() -> A>);

struct State<A> {
    cell: Cell<A>,
    /// Dropped with the cell, by a panic as well.
    recording: Option<Writer<Tape>>,
    sink: NodeSink,
    clock: Clock,
    life: Arc<Life>,
    alarm: Alarm,
    sleep: watch::Sender<Option<Time>>,
}

impl<A: Actor + Serialize + Send + 'static> ractor::Actor for Task<A> {
    type Msg = Mail;
    type State = State<A>;
    type Arguments = (Arc<Recipe<A>>, u64, Seed);

    async fn pre_start(
        &self,
        myself: ActorRef<Mail>,
        (recipe, life_number, seed): Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let life = Arc::new(Life::new(myself.clone()));
        let hands = (recipe.hands)(&Replies::new(Arc::clone(&life)));
        let (sleep, wanted) = watch::channel(None);
        spawn(ring(myself, recipe.clock, wanted));
        let cell = Cell::new((recipe.make)(seed.rng()));
        // What comes from now on waits until `post_start` has been.
        recipe.mailbox.begin(Arc::clone(&life));
        Ok(State {
            cell,
            recording: recipe
                .recorder
                .as_ref()
                .map(|recorder| recorder.writer(recipe.address, life_number)),
            sink: NodeSink::new(recipe.address, recipe.router.clone(), hands),
            clock: recipe.clock,
            life,
            alarm: Alarm::default(),
            sleep,
        })
    }

    async fn post_start(
        &self,
        _: ActorRef<Mail>,
        state: &mut State<A>,
    ) -> Result<(), ActorProcessingErr> {
        state.step(Event::Start);
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Mail>,
        mail: Mail,
        state: &mut State<A>,
    ) -> Result<(), ActorProcessingErr> {
        match mail {
            Mail::Message { from, body, bytes } => {
                state.life.taken(bytes);
                state.step(Event::Message { from, body });
            }
            Mail::Reply(event) => state.step(event),
            Mail::Tick => state.tick(),
            Mail::Fail(reason) => return Err(reason.into()),
        }
        Ok(())
    }
}

impl<A: Actor + Serialize> State<A> {
    fn step(&mut self, event: Event) {
        let was_timer = event == Event::Timer;
        let now = self.clock.now();
        match &mut self.recording {
            Some(recording) => recording.step(&mut self.cell, now, event, &mut self.sink),
            None => self.cell.step(now, event, &mut self.sink),
        }
        self.set_alarm(now.mono, was_timer);
    }

    fn tick(&mut self) {
        let now = self.clock.mono();
        if self.alarm.rang(now, self.deadline()) {
            self.step(Event::Timer);
        } else {
            self.set_alarm(now, false);
        }
    }

    fn set_alarm(&mut self, now: Time, was_timer: bool) {
        let deadline = self.deadline();
        if let Some(at) = self.alarm.after_event(now, deadline, was_timer) {
            self.sleep.send_replace(Some(at));
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.cell.next_deadline().map(|(at, _)| at)
    }
}

/// The actor's one sleep: rings at the time that was set last; ends with the actor.
async fn ring(actor: ActorRef<Mail>, clock: Clock, mut wanted: watch::Receiver<Option<Time>>) {
    loop {
        let at = *wanted.borrow_and_update();
        let set_anew = match at {
            None => wanted.changed().await,
            Some(at) => match timeout(clock.until(at), wanted.changed()).await {
                Ok(set_anew) => set_anew,
                Err(_) => {
                    if actor.send_message(Mail::Tick).is_err() {
                        return;
                    }
                    wanted.changed().await
                }
            },
        };
        if set_anew.is_err() {
            return;
        }
    }
}
