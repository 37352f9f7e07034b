//! One worker thread: its gateway actor, called directly by the requests of this thread.
//!
//! Nothing here is shared with another thread but the router, so a request takes no lock.
//! The actor's timer and its messages run as two tasks beside the requests.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tidegate_gateway::Gateway;
use tidegate_kernel::{
    BlobCommand, Cell as ActorCell, Decision, DriverCommand, EngineOp, Event, Note, Outcome,
    RequestHead, Sink, Ticket, Time,
};
use tidegate_net::{Clock, Inbound, Router, notes};
use tidegate_protocol::{Address, Message};
use tokio::sync::{Notify, oneshot};

use crate::FrontConfig;
use crate::site::Sites;
use crate::upstream::Pool;

pub(crate) struct Worker {
    pub(crate) config: Rc<FrontConfig>,
    pub(crate) pool: Pool,
    pub(crate) sites: Sites,
    clock: Clock,
    gateway: RefCell<ActorCell<Gateway>>,
    sink: RefCell<FrontSink>,
    /// Deadline for which the timer task is set.
    armed: Cell<Option<Time>>,
    rearm: Notify,
}

struct FrontSink {
    me: Address,
    router: Router,
    waiting: BTreeMap<Ticket, oneshot::Sender<Decision>>,
}

impl Worker {
    pub(crate) fn new(
        me: Address,
        gateway: Gateway,
        router: Router,
        config: Rc<FrontConfig>,
    ) -> Rc<Self> {
        Rc::new(Self {
            pool: Pool::default(),
            sites: Sites::new(config.artifacts.clone()),
            config,
            clock: Clock::process(),
            gateway: RefCell::new(ActorCell::new(gateway)),
            sink: RefCell::new(FrontSink {
                me,
                router,
                waiting: BTreeMap::new(),
            }),
            armed: Cell::new(None),
            rearm: Notify::new(),
        })
    }

    /// Starts the actor and serves its timer and its messages, forever.
    pub(crate) async fn run(&self, mut inbound: Inbound) {
        self.step(Event::Start);
        loop {
            let deadline = self.gateway.borrow().next_deadline().map(|(time, _)| time);
            self.armed.set(deadline);
            let timer = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep(self.clock.until(deadline)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                (from, body) = inbound.receive() => self.step(Event::Message { from, body }),
                () = self.rearm.notified() => {}
                () = timer => self.step(Event::Timer),
            }
        }
    }

    /// Asks the gateway what to do with a request.
    pub(crate) fn decide(&self, head: &RequestHead<'_>) -> Decision {
        self.call(|gateway, now, fx| gateway.decide(now, head, fx))
    }

    /// Tells the gateway how a request ended; it may name another place to try.
    pub(crate) fn finished(&self, ticket: Ticket, outcome: Outcome) -> Option<Decision> {
        self.call(|gateway, now, fx| gateway.finished(now, ticket, outcome, fx))
    }

    /// The decision that a held request will get.
    pub(crate) fn wait_for(&self, ticket: Ticket) -> oneshot::Receiver<Decision> {
        let (sender, receiver) = oneshot::channel();
        self.sink.borrow_mut().waiting.insert(ticket, sender);
        receiver
    }

    pub(crate) fn stop_waiting(&self, ticket: Ticket) {
        self.sink.borrow_mut().waiting.remove(&ticket);
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    fn step(&self, event: Event) {
        let now = self.clock.now();
        let mut sink = self.sink.borrow_mut();
        self.gateway.borrow_mut().step(now, event, &mut *sink);
    }

    fn call<R>(
        &self,
        f: impl FnOnce(&mut Gateway, tidegate_kernel::Now, &mut tidegate_kernel::Effects) -> R,
    ) -> R {
        let now = self.clock.now();
        let mut gateway = self.gateway.borrow_mut();
        let result = gateway.call(now, &mut *self.sink.borrow_mut(), f);
        let next = gateway.next_deadline().map(|(time, _)| time);
        if let Some(next) = next
            && self.armed.get().is_none_or(|armed| next < armed)
        {
            self.armed.set(Some(next));
            self.rearm.notify_one();
        }
        result
    }
}

impl FrontSink {
    fn foreign(&self, what: &'static str) {
        tracing::error!(actor = %self.me, what, "a gateway asked for what no gateway has");
    }
}

impl Sink for FrontSink {
    fn send(&mut self, to: Address, body: Message) {
        self.router.send(self.me, to, body);
    }

    fn engine(&mut self, _: EngineOp) {
        self.foreign("engine");
    }

    fn driver(&mut self, _: DriverCommand) {
        self.foreign("driver");
    }

    fn blob(&mut self, _: BlobCommand) {
        self.foreign("blob store");
    }

    fn resume(&mut self, ticket: Ticket, decision: Decision) {
        if let Some(waiting) = self.waiting.remove(&ticket) {
            // A receiver that is gone has ended its request by its guard.
            let _ = waiting.send(decision);
        }
    }

    fn note(&mut self, note: Note) {
        notes::log(self.me, &note);
    }
}
