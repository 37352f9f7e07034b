//! Waiting for an instance: the queue of each version, and the wakes that shorten it.
//!
//! All who wait for a version wait on one wake. Whoever cannot wait is refused at once, with
//! the time after which another try makes sense.

use tidegate_kernel::{Decision, Duration, Effect, Effects, Now, Refusal, Ticket};
use tidegate_protocol::{Message, Wake, WakeOutcome, WakeReply};

use crate::requests::Stage;
use crate::version::{Block, VersionIndex};
use crate::{Gateway, SWEEP};

/// How long an answer of the scheduler is acted on before it is asked again.
const BLOCK_MAX: Duration = Duration::from_secs(2);

impl Gateway {
    /// Puts a request at the end of its version's queue.
    pub(crate) fn hold(&mut self, now: Now, ticket: Ticket, fx: &mut Effects) -> Decision {
        let Some(request) = self.requests.get_mut(ticket) else {
            return Decision::Refuse(Refusal::Deadline);
        };
        let index = request.version;
        let version = self.table.version_mut(index);
        // Whoever was let in and waited is never told that there is no room.
        let is_new = request.stage == Stage::Arrived && request.tries == 0;
        if version.waiting.len() >= self.config.waiting_version_max
            || self.holds.len() >= self.config.waiting_max
            || is_new && fx.buggify("buggify: a gateway holds no request")
        {
            fx.mark("a full queue refused a request");
            let refusal = Refusal::QueueFull {
                retry_after: Duration::from_secs(1),
            };
            return self.refuse(now, ticket, refusal, fx);
        }
        if request.stage != Stage::Replaced {
            request.hold_until = request.deadline.min(now.mono + self.config.hold_max);
        }
        request.stage = Stage::Waiting;
        let deadline = request.hold_until;
        version.waiting.push_back(ticket);
        self.holds.insert((deadline, ticket));
        self.wake_if_due(now, index, fx);
        Decision::Hold { ticket, deadline }
    }

    /// Sends waiting requests to instances that can take them, first come first.
    pub(crate) fn dispatch(&mut self, now: Now, index: VersionIndex, fx: &mut Effects) {
        while let Some(&ticket) = self.table.version(index).waiting.front() {
            let Some(&mut request) = self.requests.get_mut(ticket) else {
                self.table.version_mut(index).waiting.pop_front();
                continue;
            };
            let Some(decision) = self.forward(now, ticket, request) else {
                return;
            };
            self.table.version_mut(index).waiting.pop_front();
            self.holds.remove(&(request.hold_until, ticket));
            fx.push(Effect::Resume { ticket, decision });
        }
    }

    /// Takes every waiting request out of the queue and places it anew: its version changed,
    /// or can no longer be had here. Whoever has to wait on keeps the deadline that the front
    /// was told.
    pub(crate) fn place_waiting_anew(
        &mut self,
        now: Now,
        from: VersionIndex,
        to: VersionIndex,
        fx: &mut Effects,
    ) {
        let waiting = std::mem::take(&mut self.table.version_mut(from).waiting);
        for &ticket in &waiting {
            if let Some(request) = self.requests.get_mut(ticket) {
                self.holds.remove(&(request.hold_until, ticket));
                request.stage = Stage::Replaced;
                request.version = to;
                self.table.version_mut(from).admitted -= 1;
                self.table.version_mut(to).admitted += 1;
            }
        }
        for ticket in waiting {
            match self.place(now, ticket, fx) {
                Decision::Hold { .. } => {}
                decision => fx.push(Effect::Resume { ticket, decision }),
            }
        }
    }

    pub(crate) fn on_wake_reply(&mut self, now: Now, reply: WakeReply, fx: &mut Effects) {
        let Some(index) = self.table.index_of(reply.version) else {
            return;
        };
        let outcome = reply.outcome();
        let version = self.table.version_mut(index);
        let until = now.mono + BLOCK_MAX.min(Duration::from_millis(reply.retry_after_ms));
        version.block = match outcome {
            WakeOutcome::NoCapacity => Block::NoCapacity {
                until: now.mono + BLOCK_MAX,
            },
            WakeOutcome::Failed => Block::Failed {
                until,
                reason: reply.reason,
            },
            _ => Block::None,
        };
        if version.block != Block::None && version.instances.is_empty() {
            self.place_waiting_anew(now, index, index, fx);
        }
    }

    pub(crate) fn give_up_expired(&mut self, now: Now, fx: &mut Effects) {
        while let Some(&(time, ticket)) = self.holds.first() {
            if time > now.mono {
                return;
            }
            let Some(&mut request) = self.requests.get_mut(ticket) else {
                self.holds.pop_first();
                continue;
            };
            let retry_after = Duration::from_secs(5);
            let refusal = if request.deadline <= now.mono {
                Refusal::Deadline
            } else if matches!(
                self.table.version(request.version).block,
                Block::NoCapacity { .. }
            ) {
                Refusal::NoCapacity { retry_after }
            } else {
                Refusal::HoldTimeout { retry_after }
            };
            fx.mark("a held request was given up");
            let decision = self.refuse(now, ticket, refusal, fx);
            fx.push(Effect::Resume { ticket, decision });
        }
    }

    /// Looks at everything that time alone can change.
    pub(crate) fn sweep(&mut self, now: Now, fx: &mut Effects) {
        self.sweep_at = now.mono + SWEEP;
        let indices: Vec<VersionIndex> = self.table.indices().collect();
        for index in indices {
            let version = self.table.version_mut(index);
            for instance in &mut version.instances {
                let heard = self.hosts.get(&instance.host).copied();
                instance.silent = heard.is_some_and(|heard| {
                    self.mirror.silence(now, heard) >= self.config.host_silence_max
                });
            }
            if !version.waiting.is_empty() {
                self.dispatch(now, index, fx);
                self.wake_if_due(now, index, fx);
            }
        }
    }

    /// Asks for instances: at the first wait, when demand has doubled, and every
    /// `wake_repeat` while anybody waits.
    pub(crate) fn wake_if_due(&mut self, now: Now, index: VersionIndex, fx: &mut Effects) {
        let version = self.table.version_mut(index);
        if version.waiting.is_empty() {
            return;
        }
        let wanted = version.wanted();
        let due = match version.wake_sent {
            None => true,
            Some(sent) => {
                now.mono.since(sent) >= self.config.wake_repeat
                    || wanted >= version.wake_wanted.saturating_mul(2)
            }
        };
        let Some(scheduler) = self.scheduler.filter(|_| due) else {
            return;
        };
        version.wake_sent = Some(now.mono);
        version.wake_wanted = wanted;
        fx.send(
            scheduler,
            Message::Wake(Wake {
                version: version.id,
                demand: version.admitted,
            }),
        );
    }
}
