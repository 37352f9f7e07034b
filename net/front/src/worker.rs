//! One worker thread: its gateway actor, called directly by the requests of this thread.
//!
//! Nothing here is shared with another thread but the router, so a request takes no lock.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tidegate_gateway::Gateway;
use tidegate_kernel::{Decision, Duration, FrontCall, Outcome, Refusal, RequestHead, Ticket};
use tidegate_net::{Clock, LocalCell};
use tokio::sync::oneshot;

use crate::FrontConfig;
use crate::site::Sites;
use crate::upstream::Pool;

pub(crate) struct Worker {
    pub(crate) config: Rc<FrontConfig>,
    pub(crate) pool: Pool,
    pub(crate) sites: Sites,
    clock: Clock,
    gateway: Rc<LocalCell<Gateway, Rc<Waiting>>>,
    waiting: Rc<Waiting>,
}

/// Held requests, and who waits for the decision on each.
#[derive(Default)]
pub(crate) struct Waiting(RefCell<BTreeMap<Ticket, oneshot::Sender<Decision>>>);

impl tidegate_net::Front for Waiting {
    fn resume(&self, ticket: Ticket, decision: Decision) {
        if let Some(waiting) = self.0.borrow_mut().remove(&ticket) {
            // A receiver that is gone has ended its request by its guard.
            let _ = waiting.send(decision);
        }
    }

    /// Without a sender, those who wait hear that their wait is over.
    fn restarted(&self) {
        self.0.borrow_mut().clear();
    }
}

impl Worker {
    pub(crate) fn new(
        gateway: Rc<LocalCell<Gateway, Rc<Waiting>>>,
        clock: Clock,
        config: Rc<FrontConfig>,
    ) -> Rc<Self> {
        Rc::new(Self {
            pool: Pool::default(),
            sites: Sites::new(config.artifacts.clone()),
            config,
            clock,
            waiting: Rc::clone(gateway.front()),
            gateway,
        })
    }

    /// Asks the gateway what to do with a request.
    pub(crate) fn decide(&self, head: &RequestHead<'_>) -> Decision {
        let decided = self.gateway.call(FrontCall::Decide(*head)).flatten();
        decided.unwrap_or(Decision::Refuse(Refusal::NotHereYet {
            retry_after: Duration::from_secs(1),
        }))
    }

    /// Tells the gateway how a request ended; it may name another place to try.
    pub(crate) fn finished(&self, ticket: Ticket, outcome: Outcome) -> Option<Decision> {
        self.gateway.call(FrontCall::Finished { ticket, outcome })?
    }

    /// The decision that a held request will get.
    pub(crate) fn wait_for(&self, ticket: Ticket) -> oneshot::Receiver<Decision> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.0.borrow_mut().insert(ticket, sender);
        receiver
    }

    pub(crate) fn stop_waiting(&self, ticket: Ticket) {
        self.waiting.0.borrow_mut().remove(&ticket);
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }
}
