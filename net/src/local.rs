//! Drives an actor that one thread owns and calls directly: a gateway on its worker thread.
//!
//! Request tasks of the thread call the actor as a function ([`LocalCell::call`]); one task
//! beside them ([`LocalCell::run`]) brings messages and timers. No lock, no hop, no task
//! switch lies between a request and its decision. A panic is a crash of the actor alone,
//! as in [`crate::Host`]: its front is told that every ticket is void, and after a pause a
//! new life begins.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use serde::Serialize;
use tidegate_kernel::{
    Actor, Backoff, BlobCommand, Called, Cell, Decision, DriverCommand, Duration, EngineOp, Event,
    Note, Now, Rng, Seed, Sink, Ticket, Time,
};
use tidegate_protocol::{Address, Message};
use tidegate_recording::Writer;
use tokio::sync::Notify;

use crate::host::Alarm;
use crate::recorder::{Recorder, Tape};
use crate::sink::NodeSink;
use crate::{Clock, Hands, Inbound, Router};

/// Pause before the second life, and the longest one.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// What holds the requests that wait for the actor. Its methods run inside a call of the
/// actor and must not call it; they wake whoever then does.
pub trait Front {
    /// A held request goes on.
    fn resume(&self, ticket: Ticket, decision: Decision);

    /// The actor has failed: no ticket that it gave is known any more.
    fn restarted(&self);
}

impl<F: Front + ?Sized> Front for Rc<F> {
    fn resume(&self, ticket: Ticket, decision: Decision) {
        F::resume(self, ticket, decision);
    }

    fn restarted(&self) {
        F::restarted(self);
    }
}

/// An actor, called directly by the tasks of one thread.
pub struct LocalCell<A, F> {
    address: Address,
    make: Box<dyn Fn(Rng) -> A>,
    front: F,
    seed: Seed,
    clock: Clock,
    recorder: Option<Recorder>,
    state: RefCell<State<A>>,
    /// The time to wake has moved, or the actor has failed.
    changed: Notify,
}

struct State<A> {
    /// None between two lives.
    living: Option<Living<A>>,
    sink: NodeSink,
    alarm: Alarm,
    wake_at: Option<Time>,
}

/// One life. Dropped when the actor panics, and what is recorded of it ends there.
struct Living<A> {
    cell: Cell<A>,
    recording: Option<Writer<Tape>>,
}

impl<A: Called + Serialize, F: Front> LocalCell<A, F> {
    /// An actor that begins its first life when [`LocalCell::run`] does.
    pub fn new(
        address: Address,
        make: impl Fn(Rng) -> A + 'static,
        front: F,
        router: Router,
        clock: Clock,
        seed: Seed,
        recorder: Option<Recorder>,
    ) -> Self {
        Self {
            address,
            make: Box::new(make),
            front,
            seed: seed.derive(&address.to_string()),
            clock,
            recorder,
            state: RefCell::new(State {
                living: None,
                sink: NodeSink::new(address, router, Hands::none()),
                alarm: Alarm::default(),
                wake_at: None,
            }),
            changed: Notify::new(),
        }
    }

    pub fn front(&self) -> &F {
        &self.front
    }

    /// Calls the actor and carries out its effects. `None`: it has failed (now, or shortly
    /// before) and its next life has not begun.
    #[inline]
    pub fn call(&self, call: A::Call<'_>) -> Option<A::Answer> {
        self.with(false, |living, now, sink| match &mut living.recording {
            Some(recording) => recording.call(&mut living.cell, now, call, sink),
            None => living.cell.call(now, call, sink),
        })
    }

    /// Brings the actor its messages and timers, for as long as the future is polled. To be
    /// run once.
    pub async fn run(&self, mut inbound: Inbound) {
        let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
        let mut pauses = self.seed.derive("pauses").rng();
        for life in 0.. {
            self.begin(life);
            while let Some(wake_at) = self.wake_at() {
                tokio::select! {
                    biased;
                    () = self.changed.notified() => {}
                    (from, body) = inbound.receive() => self.step(Event::Message { from, body }),
                    () = self.sleep(wake_at) => self.tick(),
                }
            }
            tokio::time::sleep(backoff.fail(&mut pauses)).await;
        }
    }

    fn begin(&self, life: u64) {
        let seed = self.seed.derive_index(life);
        match catch_unwind(AssertUnwindSafe(|| (self.make)(seed.rng()))) {
            Ok(actor) => {
                let mut state = self.state.borrow_mut();
                let recorder = self.recorder.as_ref();
                state.living = Some(Living {
                    cell: Cell::new(actor),
                    recording: recorder.map(|recorder| recorder.writer(self.address, life)),
                });
                state.alarm = Alarm::default();
                state.wake_at = None;
                drop(state);
                self.step(Event::Start);
            }
            Err(_) => self.failed(),
        }
    }

    /// When to wake, if ever; the outer `None`: the actor has failed.
    fn wake_at(&self) -> Option<Option<Time>> {
        let state = self.state.borrow();
        state.living.is_some().then_some(state.wake_at)
    }

    async fn sleep(&self, until: Option<Time>) {
        match until {
            Some(at) => tokio::time::sleep(self.clock.until(at)).await,
            None => std::future::pending().await,
        }
    }

    fn step(&self, event: Event) {
        let was_timer = event == Event::Timer;
        self.with(was_timer, |living, now, sink| match &mut living.recording {
            Some(recording) => recording.step(&mut living.cell, now, event, sink),
            None => living.cell.step(now, event, sink),
        });
    }

    fn tick(&self) {
        let mut state = self.state.borrow_mut();
        let now = self.clock.mono();
        state.wake_at = None;
        let deadline = state.living.as_ref().and_then(deadline);
        if state.alarm.rang(now, deadline) {
            drop(state);
            self.step(Event::Timer);
        } else {
            state.wake_at = state.alarm.after_event(now, deadline, false);
        }
    }

    fn with<R>(
        &self,
        was_timer: bool,
        f: impl FnOnce(&mut Living<A>, Now, &mut LocalSink<'_, F>) -> R,
    ) -> Option<R> {
        let mut state = self.state.borrow_mut();
        let State {
            living: slot,
            sink,
            alarm,
            wake_at,
        } = &mut *state;
        let living = slot.as_mut()?;
        let now = self.clock.now();
        let mut sink = LocalSink {
            node: sink,
            front: &self.front,
        };
        match catch_unwind(AssertUnwindSafe(|| f(living, now, &mut sink))) {
            Ok(result) => {
                if let Some(at) = alarm.after_event(now.mono, deadline(living), was_timer) {
                    *wake_at = Some(at);
                    self.changed.notify_one();
                }
                Some(result)
            }
            Err(_) => {
                *slot = None;
                drop(state);
                self.failed();
                None
            }
        }
    }

    fn failed(&self) {
        tracing::error!(
            actor = %self.address,
            "actor failed; it is restarted after a pause, without what it had in memory"
        );
        self.front.restarted();
        self.changed.notify_one();
    }
}

fn deadline<A: Actor>(living: &Living<A>) -> Option<Time> {
    living.cell.next_deadline().map(|(at, _)| at)
}

/// The node's sink, with a front for held requests.
struct LocalSink<'a, F> {
    node: &'a mut NodeSink,
    front: &'a F,
}

impl<F: Front> Sink for LocalSink<'_, F> {
    fn send(&mut self, to: Address, body: Message) {
        self.node.send(to, body);
    }

    fn engine(&mut self, op: EngineOp) {
        self.node.engine(op);
    }

    fn driver(&mut self, command: DriverCommand) {
        self.node.driver(command);
    }

    fn blob(&mut self, command: BlobCommand) {
        self.node.blob(command);
    }

    fn resume(&mut self, ticket: Ticket, decision: Decision) {
        self.front.resume(ticket, decision);
    }

    fn note(&mut self, note: Note) {
        self.node.note(note);
    }
}
