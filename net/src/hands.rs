//! What an actor's effects reach besides other actors: the engine of a store, the instance
//! driver of a host, the blob store of a node.
//!
//! Each is a closure that takes the work and returns at once; the answer comes back through
//! [`Replies`]. Answers belong to the life of the actor that asked: a restarted actor never
//! hears what its former life wanted to know, as after a crash of the whole node.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use tidegate_kernel::{BlobCommand, BlobReport, DriverCommand, EngineOp, EngineReply};

use crate::mailbox::Replies;

/// Takes work for a store's engine, to be carried out in order.
pub type EngineHandle = Box<dyn FnMut(EngineOp) + Send>;
/// Takes work for the instance driver.
pub type DriverHandle = Box<dyn FnMut(DriverCommand) + Send>;
/// Takes work for the blob store, to be carried out in order.
pub type BlobHandle = Box<dyn FnMut(BlobCommand) + Send>;

/// The handles of one actor. Work for a missing one is logged as an error and lost.
#[derive(Default)]
pub struct Hands {
    pub(crate) engine: Option<EngineHandle>,
    pub(crate) driver: Option<DriverHandle>,
    pub(crate) blob: Option<BlobHandle>,
}

impl Hands {
    /// For actors that only send messages.
    pub fn none() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn with_engine(mut self, engine: impl FnMut(EngineOp) + Send + 'static) -> Self {
        self.engine = Some(Box::new(engine));
        self
    }

    #[must_use]
    pub fn with_driver(mut self, driver: impl FnMut(DriverCommand) + Send + 'static) -> Self {
        self.driver = Some(Box::new(driver));
        self
    }

    #[must_use]
    pub fn with_blob(mut self, blob: impl FnMut(BlobCommand) + Send + 'static) -> Self {
        self.blob = Some(Box::new(blob));
        self
    }
}

/// Connects an engine that outlives its actor's lives (its files can be open only once) to
/// whichever life is asking.
///
/// The engine carries out its work in order and answers each request once, to one sink for
/// all; so the answers belong to the lives in the order in which they asked.
#[derive(Clone, Default)]
pub struct EngineTurns {
    asked: Arc<Mutex<VecDeque<Replies>>>,
}

impl EngineTurns {
    /// The engine, for one life. A request that `submit` does not take ends the life.
    pub fn connect<E: Display>(
        &self,
        replies: &Replies,
        submit: impl Fn(EngineOp) -> Result<(), E> + Send + 'static,
    ) -> EngineHandle {
        let (turns, replies) = (self.clone(), replies.clone());
        Box::new(move |op| {
            // Held while submitting, so that the turns are in the order of the requests.
            let mut asked = turns.lock();
            asked.push_back(replies.clone());
            if let Err(error) = submit(op) {
                asked.pop_back();
                replies.fail(error);
            }
        })
    }

    /// The engine has answered, or failed to, which ends the life that asked.
    pub fn reply<E: Display>(&self, reply: Result<EngineReply, E>) {
        let asker = self.lock().pop_front();
        match (asker, reply) {
            (Some(asker), Ok(reply)) => asker.engine(reply),
            (Some(asker), Err(error)) => asker.fail(error),
            (None, _) => tracing::error!("an engine answered what nobody asked; ignored"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Replies>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that carries out blob commands one after the other. It ends when the returned
/// handle is dropped and its work is done; the commands that wait are bounded by what the
/// actor has under way.
///
/// # Errors
/// The system has no thread to give.
pub fn blob_thread(
    replies: Replies,
    mut run: impl FnMut(BlobCommand) -> Option<BlobReport> + Send + 'static,
) -> std::io::Result<BlobHandle> {
    let (sender, commands) = mpsc::channel();
    std::thread::Builder::new()
        .name("tidegate-blob".into())
        .spawn(move || {
            for command in commands {
                if let Some(report) = run(command) {
                    replies.blob(report);
                }
            }
        })?;
    Ok(Box::new(move |command| {
        // The thread ends early only when `run` panicked. Failing here restarts the actor,
        // with a new thread.
        sender
            .send(command)
            .expect("the blob thread serves as long as its handle lives");
    }))
}
