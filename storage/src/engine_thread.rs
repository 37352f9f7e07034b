//! A thread of its own for an engine.
//!
//! Requests are carried out in the order in which they were submitted, and each is answered
//! through one sink. The queue is bounded and never waited for: a store actor has one batch
//! at its engine and a bounded number of readers, so a full queue is an error of the caller.
//! Dropping the handle carries out what is queued and then joins.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};

use tidegate_engine::{Engine, StorageError, run_op};
use tidegate_kernel::{EngineOp, EngineReply};

/// A request was not taken; it comes back.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("the queue of the store's engine is full; wait for replies before asking more")]
    Full(EngineOp),
    #[error("the store's engine has stopped; its process has to be started anew")]
    Stopped(EngineOp),
}

/// Owns an engine and the thread that works it.
#[derive(Debug)]
pub struct EngineThread {
    queue: Option<SyncSender<EngineOp>>,
    thread: Option<JoinHandle<()>>,
}

impl EngineThread {
    /// Starts the thread. `on_reply` is called on it, once for each request; an error means
    /// that a read failed and that the store actor has to be started anew (a commit that
    /// fails is answered with refusals instead).
    pub fn spawn(
        engine: Box<dyn Engine + Send>,
        queue_max: usize,
        on_reply: impl FnMut(Result<EngineReply, StorageError>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, requests) = sync_channel(queue_max);
        let thread = Builder::new()
            .name("tidegate-engine".to_owned())
            .spawn(move || serve(engine, &requests, on_reply))?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
        })
    }

    /// Queues a request, without waiting.
    pub fn submit(&self, op: EngineOp) -> Result<(), SubmitError> {
        let Some(queue) = &self.queue else {
            return Err(SubmitError::Stopped(op));
        };
        queue.try_send(op).map_err(|error| match error {
            TrySendError::Full(op) => SubmitError::Full(op),
            TrySendError::Disconnected(op) => SubmitError::Stopped(op),
        })
    }
}

impl Drop for EngineThread {
    fn drop(&mut self) {
        self.queue = None;
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(_)) = ended {
            tracing::error!("the thread of the store's engine panicked");
        }
    }
}

fn serve(
    mut engine: Box<dyn Engine + Send>,
    requests: &Receiver<EngineOp>,
    mut on_reply: impl FnMut(Result<EngineReply, StorageError>),
) {
    while let Ok(op) = requests.recv() {
        let reply = run_op(engine.as_mut(), op);
        if let Err(error) = &reply {
            tracing::error!(%error, "the store cannot read");
        }
        on_reply(reply);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tidegate_engine::MemoryEngine;
    use tidegate_kernel::{BatchOutcome, CommitOutcome};
    use tidegate_protocol::Txn;

    use super::*;

    fn commit(batch: u64) -> EngineOp {
        EngineOp::Commit {
            batch,
            txns: vec![Txn::default()],
        }
    }

    fn committed(batch: u64) -> Result<EngineReply, StorageError> {
        Ok(EngineReply::Committed {
            batch,
            outcome: BatchOutcome {
                outcomes: vec![CommitOutcome::Applied(batch)],
                changes: Vec::new(),
                revision: batch,
            },
        })
    }

    #[test]
    fn replies_come_in_order_and_drop_carries_out_what_is_queued() {
        let (replies, received) = channel();
        let thread = EngineThread::spawn(Box::new(MemoryEngine::new()), 8, move |reply| {
            replies.send(reply).unwrap();
        })
        .unwrap();
        for batch in 1..=5 {
            thread.submit(commit(batch)).unwrap();
        }
        drop(thread);
        let expected: Vec<_> = (1..=5).map(committed).collect();
        assert_eq!(received.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_full_queue_gives_the_request_back() {
        let (go, wait) = channel::<()>();
        let (busy, is_busy) = channel();
        let thread = EngineThread::spawn(Box::new(MemoryEngine::new()), 1, move |_| {
            busy.send(()).unwrap();
            wait.recv().ok();
        })
        .unwrap();
        thread.submit(commit(1)).unwrap();
        is_busy.recv().unwrap();
        thread.submit(commit(2)).unwrap();
        match thread.submit(commit(3)) {
            Err(SubmitError::Full(op)) => assert_eq!(op, commit(3)),
            other => panic!("{other:?}"),
        }
        drop(go);
        drop(thread);
    }
}
