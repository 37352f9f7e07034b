//! The way into a hosted actor, through all its lives.
//!
//! The mailboxes of the runtime are unbounded, so they are bounded here: messages, which may
//! be lost, are refused beyond a number and a weight of waiting ones. Replies of engine,
//! driver and blob store are never refused: the actor asked for each of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use ractor::ActorRef;
use tidegate_kernel::{BlobReport, DriverReport, EngineReply, Event};
use tidegate_protocol::{Address, Message};

use crate::router::{Endpoint, Undelivered};

/// Messages that may wait in one mailbox.
pub const MAIL_MAX: usize = 16_384;
/// Encoded bytes of the messages that may wait in one mailbox.
pub const MAIL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a hosted actor's task receives.
pub(crate) enum Mail {
    Message {
        from: Address,
        body: Message,
        bytes: usize,
    },
    /// Engine, driver or blob store answered.
    Reply(Event),
    /// The time that was last set has come.
    Tick,
    /// What serves the actor failed; this life ends.
    Fail(String),
}

/// The router's endpoint of a hosted actor.
#[derive(Default)]
pub(crate) struct Mailbox {
    life: ArcSwapOption<Life>,
}

impl Mailbox {
    /// From now on everything goes to this life.
    pub(crate) fn begin(&self, life: Arc<Life>) {
        self.life.store(Some(life));
    }

    /// Nobody is there until the next life begins.
    pub(crate) fn end(&self) {
        self.life.store(None);
    }

    /// Hands a reply to whichever life is the present one.
    pub(crate) fn reply(&self, event: Event) {
        if let Some(life) = &*self.life.load() {
            life.reply(event);
        }
    }
}

impl Endpoint for Mailbox {
    fn deliver(&self, from: Address, body: Message) -> Result<(), Undelivered> {
        let life = self.life.load();
        let life = life.as_ref().ok_or(Undelivered::Gone)?;
        life.post(from, body)
    }
}

/// One life of an actor, as seen from outside.
pub(crate) struct Life {
    actor: ActorRef<Mail>,
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
}

impl Life {
    pub(crate) fn new(actor: ActorRef<Mail>) -> Self {
        Self {
            actor,
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
        }
    }

    /// The actor has taken a message out of its mailbox.
    pub(crate) fn taken(&self, bytes: usize) {
        self.waiting.fetch_sub(1, Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Relaxed);
    }

    fn post(&self, from: Address, body: Message) -> Result<(), Undelivered> {
        let bytes = body.encoded_len();
        let waiting = self.waiting.fetch_add(1, Relaxed);
        let waiting_bytes = self.waiting_bytes.fetch_add(bytes, Relaxed);
        if waiting >= MAIL_MAX || waiting_bytes >= MAIL_BYTES_MAX {
            self.taken(bytes);
            return Err(Undelivered::Full);
        }
        let mail = Mail::Message { from, body, bytes };
        self.actor.send_message(mail).map_err(|_| Undelivered::Gone)
    }

    fn reply(&self, event: Event) {
        // An actor that has ended asks for nothing any more.
        let _ = self.actor.send_message(Mail::Reply(event));
    }
}

/// Takes the answers for one life of an actor.
#[derive(Clone)]
pub struct Replies {
    life: Arc<Life>,
}

impl Replies {
    pub(crate) fn new(life: Arc<Life>) -> Self {
        Self { life }
    }

    pub fn engine(&self, reply: EngineReply) {
        self.life.reply(Event::Engine(reply));
    }

    pub fn driver(&self, report: DriverReport) {
        self.life.reply(Event::Driver(report));
    }

    pub fn blob(&self, report: BlobReport) {
        self.life.reply(Event::Blob(report));
    }

    /// What serves the actor has failed it: this life ends, and the next one begins with
    /// fresh hands. `reason` is logged.
    pub fn fail(&self, reason: impl std::fmt::Display) {
        // An actor that has ended needs no other end.
        let _ = self.life.actor.send_message(Mail::Fail(reason.to_string()));
    }
}
