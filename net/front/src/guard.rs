//! Every admitted request ends at the gateway actor, whatever becomes of its task.

use std::rc::Rc;

use tidegate_kernel::{Decision, Outcome, Ticket};

use crate::worker::Worker;

/// Held from admission until the answer is whole. Dropped before, it says that the client
/// went away, which is the only way for a request's task to be dropped.
pub(crate) struct Guard {
    worker: Rc<Worker>,
    ticket: Option<Ticket>,
}

impl Guard {
    pub(crate) fn new(worker: &Rc<Worker>, ticket: Ticket) -> Self {
        Self {
            worker: Rc::clone(worker),
            ticket: Some(ticket),
        }
    }

    /// Ends the request.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.worker.finished(ticket, outcome);
        }
    }

    /// Reports a failed connection; the gateway says what next. The guard stays in charge
    /// unless the request was refused.
    pub(crate) fn connect_failed(&mut self) -> Option<Decision> {
        let ticket = self.ticket?;
        let next = self.worker.finished(ticket, Outcome::ConnectFailed);
        if !matches!(next, Some(ref decision) if !matches!(decision, Decision::Refuse(_))) {
            self.ticket = None;
        }
        next
    }

    /// Waits for the decision on a held request.
    pub(crate) async fn held(&mut self) -> Option<Decision> {
        let ticket = self.ticket?;
        let decision = self.worker.wait_for(ticket).await.ok();
        if matches!(decision, None | Some(Decision::Refuse(_))) {
            self.ticket = None;
        }
        decision
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.worker.stop_waiting(ticket);
        }
        self.end(Outcome::ClientGone);
    }
}
