//! Who is the active scheduler of the region.
//!
//! The lease is a record that its holder keeps changing; a candidate that has not seen it
//! change for `lease_expiry` takes it. No clock is compared with another: each side measures
//! with its own. It counts also while the store takes no commits: the campaign is what finds
//! out when it does again. What makes it safe is not the lease but the fence: an election writes the
//! fence record, every slot commit names the fence's revision, and so the store refuses
//! whoever was elected before. The lease only keeps the peace.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{CommitId, Duration, Effects, Mirror, Note, Now, Time};
use tidegate_protocol::{
    Address, FenceRecord, Holder, Key, LeaseRecord, Precondition, Record, Txn, Write,
    store_commit_reply::Outcome,
};

use crate::SchedulerConfig;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Standby,
    Campaigning {
        commit: CommitId,
        epoch: u64,
        sent: Time,
    },
    Active(Term),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Term {
    pub(crate) epoch: u64,
    /// Revision of the fence record that this election wrote.
    pub(crate) fence_revision: u64,
    /// When the last applied renewal was sent.
    renewed: Time,
    beat: u64,
    renewing: Option<(CommitId, Time)>,
    renew_at: Time,
}

impl Term {
    /// The precondition that nobody was elected since.
    pub(crate) fn fence(&self) -> Precondition {
        Precondition {
            key: Key::FENCE.to_owned(),
            revision: self.fence_revision,
        }
    }
}

/// How often a standby looks whether it may campaign.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Election {
    me: Address,
    pub(crate) state: State,
    lease: Option<LeaseRecord>,
    fence: Option<FenceRecord>,
    /// When the lease was last seen to change.
    lease_seen: Time,
    /// As a standby: when to look at the lease again.
    look_at: Time,
    /// Epoch of the last campaign of this life, whose answer may still come by the feed.
    campaigned: Option<(u64, Time)>,
}

/// What an input meant for the office.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    None,
    Elected,
    Deposed,
}

impl Election {
    pub(crate) fn new(me: Address) -> Self {
        Self {
            me,
            state: State::Standby,
            lease: None,
            fence: None,
            lease_seen: Time::ZERO,
            look_at: Time::ZERO,
            campaigned: None,
        }
    }

    pub(crate) fn term(&self) -> Option<&Term> {
        match &self.state {
            State::Active(term) => Some(term),
            _ => None,
        }
    }

    pub(crate) fn on_lease(&mut self, now: Now, lease: Option<LeaseRecord>) {
        self.lease_seen = now.mono;
        self.lease = lease;
        // The feed proves the last renewal even when its answer is lost.
        if let (State::Active(term), Some(lease)) = (&mut self.state, &self.lease)
            && (lease.epoch, lease.beat) == (term.epoch, term.beat)
            && let Some((_, sent)) = term.renewing.take()
        {
            term.renewed = sent;
        }
    }

    pub(crate) fn on_fence(
        &mut self,
        fence: Option<FenceRecord>,
        revision: u64,
        fx: &mut Effects,
    ) -> Turn {
        let epoch = fence.as_ref().map_or(0, |f| f.epoch);
        let mine = fence.as_ref().and_then(|f| f.holder) == Some(self.holder());
        self.fence = fence;
        match (&self.state, self.campaigned) {
            (State::Active(term), _) if epoch != term.epoch => self.depose(fx),
            (State::Active(_), _) => Turn::None,
            (_, Some((campaigned, sent))) if mine && campaigned == epoch => {
                self.take_office(epoch, revision, sent, fx)
            }
            _ => Turn::None,
        }
    }

    /// Takes the answer to a campaign or a renewal. `None`: it was neither.
    pub(crate) fn on_reply(
        &mut self,
        id: CommitId,
        outcome: Option<&Outcome>,
        now: Now,
        fx: &mut Effects,
    ) -> Option<Turn> {
        match &mut self.state {
            State::Campaigning {
                commit,
                epoch,
                sent,
            } if *commit == id => {
                let (epoch, sent) = (*epoch, *sent);
                Some(match outcome {
                    Some(Outcome::Applied(revision)) => {
                        self.take_office(epoch, *revision, sent, fx)
                    }
                    _ => {
                        self.state = State::Standby;
                        self.lease_seen = now.mono;
                        Turn::None
                    }
                })
            }
            State::Active(term) => {
                let (_, sent) = term.renewing.take_if(|(commit, _)| *commit == id)?;
                match outcome {
                    Some(Outcome::Applied(_)) => term.renewed = sent,
                    // It names nothing but the fence: somebody was elected since.
                    Some(Outcome::Conflict(_)) => return Some(self.depose(fx)),
                    _ => {}
                }
                Some(Turn::None)
            }
            _ => None,
        }
    }

    /// Steps back when the last renewal is too old to be trusted. Asked before anything is
    /// decided, since a process that stood still meets its messages before its timers.
    pub(crate) fn lapse(&mut self, now: Now, config: &SchedulerConfig, fx: &mut Effects) -> Turn {
        match &self.state {
            State::Active(term) if now.mono.since(term.renewed) >= config.lease_trust => {
                self.depose(fx)
            }
            _ => Turn::None,
        }
    }

    /// Campaigns, ends a campaign, or renews, when it is time.
    pub(crate) fn on_timer(
        &mut self,
        now: Now,
        config: &SchedulerConfig,
        mirror: &Mirror,
        next_id: impl FnOnce() -> CommitId,
        fx: &mut Effects,
    ) {
        match &mut self.state {
            State::Standby => {
                if now.mono < self.look_at {
                    return;
                }
                self.look_at = now.mono + LOOK_EVERY;
                if self.may_campaign(now, config, mirror) {
                    self.campaign(now, config, mirror, next_id(), fx);
                }
            }
            State::Campaigning { commit, sent, .. } => {
                if now.mono.since(*sent) >= config.commit_timeout {
                    fx.push(tidegate_kernel::Effect::Forget(*commit));
                    self.state = State::Standby;
                    self.lease_seen = now.mono;
                }
            }
            State::Active(term) => {
                if now.mono >= term.renew_at {
                    if fx.buggify("buggify: a scheduler skips a renewal") {
                        term.renew_at = now.mono + config.lease_renew_every;
                        return;
                    }
                    let commit = next_id();
                    self.renew(now, config, commit, fx);
                }
            }
        }
    }

    pub(crate) fn next_deadline(&self, config: &SchedulerConfig) -> (Time, &'static str) {
        match &self.state {
            State::Standby => (self.look_at, "look at the lease"),
            State::Campaigning { sent, .. } => (*sent + config.commit_timeout, "end the campaign"),
            State::Active(term) => (
                term.renew_at.min(term.renewed + config.lease_trust),
                "renew the lease",
            ),
        }
    }

    fn holder(&self) -> Holder {
        Holder {
            node: self.me.node.0,
            index: u32::from(self.me.index),
        }
    }

    /// A lease of this address that this life does not hold: its holder is dead.
    fn lease_is_mine(&self) -> bool {
        self.lease.as_ref().and_then(|l| l.holder) == Some(self.holder())
    }

    fn may_campaign(&self, now: Now, config: &SchedulerConfig, mirror: &Mirror) -> bool {
        if !mirror.is_live(now) {
            return false;
        }
        let free = self.lease.is_none() || self.lease_is_mine();
        free || mirror.unseen(now, self.lease_seen) >= config.lease_expiry
    }

    fn campaign(
        &mut self,
        now: Now,
        config: &SchedulerConfig,
        mirror: &Mirror,
        commit: CommitId,
        fx: &mut Effects,
    ) {
        let epoch = self.fence.as_ref().map_or(0, |f| f.epoch) + 1;
        let holder = Some(self.holder());
        let lease = Record::Lease(LeaseRecord {
            holder,
            epoch,
            beat: 0,
        });
        let fence = Record::Fence(FenceRecord { holder, epoch });
        let txn = Txn {
            preconditions: vec![mirror.unchanged(&Key::Lease), mirror.unchanged(&Key::Fence)],
            writes: vec![write(&Key::Lease, &lease), write(&Key::Fence, &fence)],
        };
        fx.commit(commit, config.store, txn);
        self.campaigned = Some((epoch, now.mono));
        self.state = State::Campaigning {
            commit,
            epoch,
            sent: now.mono,
        };
    }

    fn renew(&mut self, now: Now, config: &SchedulerConfig, commit: CommitId, fx: &mut Effects) {
        let holder = Some(self.holder());
        let State::Active(term) = &mut self.state else {
            return;
        };
        term.beat += 1;
        term.renew_at = now.mono + config.lease_renew_every;
        term.renewing = Some((commit, now.mono));
        let lease = Record::Lease(LeaseRecord {
            holder,
            epoch: term.epoch,
            beat: term.beat,
        });
        let txn = Txn {
            preconditions: vec![term.fence()],
            writes: vec![write(&Key::Lease, &lease)],
        };
        fx.commit(commit, config.store, txn);
    }

    fn take_office(
        &mut self,
        epoch: u64,
        fence_revision: u64,
        sent: Time,
        fx: &mut Effects,
    ) -> Turn {
        self.state = State::Active(Term {
            epoch,
            fence_revision,
            renewed: sent,
            beat: 0,
            renewing: None,
            renew_at: sent + Duration::from_secs(1),
        });
        fx.note(Note::Elected { epoch });
        Turn::Elected
    }

    pub(crate) fn depose(&mut self, fx: &mut Effects) -> Turn {
        if let State::Active(term) = &self.state {
            fx.note(Note::Deposed { epoch: term.epoch });
        }
        self.state = State::Standby;
        self.campaigned = None;
        Turn::Deposed
    }
}

pub(crate) fn write(key: &Key, record: &Record) -> Write {
    Write {
        key: key.to_string(),
        value: Some(record.encode()),
    }
}
