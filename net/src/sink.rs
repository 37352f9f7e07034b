//! Where the effects of this node's actors go.

use tidegate_kernel::{BlobCommand, Decision, DriverCommand, EngineOp, Note, Sink, Ticket};
use tidegate_protocol::{Address, Message};

use crate::{Hands, Router, notes};

/// The sink of one actor: messages to the router, work to its hands, notes to the log.
pub(crate) struct NodeSink {
    me: Address,
    router: Router,
    hands: Hands,
}

impl NodeSink {
    pub(crate) fn new(me: Address, router: Router, hands: Hands) -> Self {
        Self { me, router, hands }
    }

    fn missing(&self, what: &'static str) {
        tracing::error!(actor = %self.me, what, "the actor was given no such thing; its work is lost");
    }
}

impl Sink for NodeSink {
    fn send(&mut self, to: Address, body: Message) {
        self.router.send(self.me, to, body);
    }

    fn engine(&mut self, op: EngineOp) {
        match &mut self.hands.engine {
            Some(engine) => engine(op),
            None => self.missing("engine"),
        }
    }

    fn driver(&mut self, command: DriverCommand) {
        match &mut self.hands.driver {
            Some(driver) => driver(command),
            None => self.missing("instance driver"),
        }
    }

    fn blob(&mut self, command: BlobCommand) {
        match &mut self.hands.blob {
            Some(blob) => blob(command),
            None => self.missing("blob store"),
        }
    }

    fn resume(&mut self, _: Ticket, _: Decision) {
        self.missing("front");
    }

    fn note(&mut self, note: Note) {
        notes::log(self.me, &note);
    }
}
