//! What the active scheduler writes to slots: claims, stops and reclaims.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{CommitId, Effect, Effects, Note, Now, Time};
use tidegate_protocol::{
    Address, Key, Message, NodeId, Provision, Record, Role, SlotRecord, SlotState, Stop, Txn,
    store_commit_reply::Outcome,
};

use crate::election::{Turn, write};
use crate::{Scheduler, choose_host};

/// A commit on one slot, from its sending until the mirror shows its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) commit: CommitId,
    pub(crate) until: Time,
    /// Host of a claim.
    pub(crate) claims: Option<NodeId>,
    pub(crate) answer: Answer,
    /// The mirror has shown a change of the slot since: the commit's own, or one that the
    /// commit has to conflict with.
    pub(crate) shown: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// None came, or the store refused to try.
    None,
    Applied(u64),
    Conflict,
}

impl Pending {
    /// Host of a claim that the mirror does not show and that may be applied.
    fn open_claim(&self) -> Option<NodeId> {
        self.claims
            .filter(|_| !self.shown && self.answer != Answer::Conflict)
    }
}

const fn metald_of(host: NodeId) -> Address {
    Address::new(host, Role::Metald, 0)
}

impl Scheduler {
    /// Claims a free slot of the version on the best host. `false`: no host has room, or no
    /// slot is free.
    pub(crate) fn claim(&mut self, now: Now, id: u64, fx: &mut Effects) -> bool {
        let Some(index) = self.free_slot(id) else {
            return false;
        };
        let claims = self
            .pending
            .iter()
            .filter_map(|((version, _), p)| Some((*version, p.open_claim()?)));
        let mut candidates = self
            .view
            .candidates(now, id, claims, &self.mirror, &self.config);
        let Some(mut host) = choose_host(&candidates) else {
            return false;
        };
        if fx.buggify("buggify: a scheduler places an instance elsewhere") {
            candidates.retain(|candidate| candidate.node != host);
            host = choose_host(&candidates).unwrap_or(host);
        }
        let Some(version) = self.view.versions.get(&id) else {
            return false;
        };
        let (Some(slot), Some(spec)) = (version.slots.get(&index), version.spec.clone()) else {
            return false;
        };
        let record = SlotRecord {
            epoch: slot.record.epoch + 1,
            state: SlotState::Starting.into(),
            host: host.0,
            endpoint: String::new(),
            ..slot.record.clone()
        };
        let Some((commit, record)) = self.commit_slot(now, record, Some(host), fx) else {
            return false;
        };
        fx.note(Note::Claimed {
            instance: record.instance(),
            host,
        });
        fx.send_after(
            commit,
            metald_of(host),
            Message::Provision(Provision {
                slot: Some(record),
                spec: Some(spec),
            }),
        );
        true
    }

    pub(crate) fn free_slot(&self, id: u64) -> Option<u32> {
        let version = self.view.versions.get(&id)?;
        version.spec.as_ref()?;
        version
            .slots
            .iter()
            .find(|(index, slot)| {
                slot.record.state() == SlotState::Free && !self.pending.contains_key(&(id, **index))
            })
            .map(|(index, _)| *index)
    }

    /// Claims of the version that the mirror does not show yet.
    pub(crate) fn claims_of(&self, id: u64) -> u32 {
        let claims = self.pending.range((id, 0)..=(id, u32::MAX));
        claims.filter(|(_, p)| p.open_claim().is_some()).count() as u32
    }

    /// Looks at one version: what is lost is taken back, what nobody may or does use is
    /// stopped.
    pub(crate) fn look_at_version(&mut self, now: Now, id: u64, fx: &mut Effects) {
        if self.election.term().is_none() {
            return;
        }
        let Some(version) = self.view.versions.get(&id) else {
            return;
        };
        let sleepy = version.spec.is_none() || self.is_idle(now, id);
        let due: Vec<(SlotRecord, Option<&'static str>)> = version
            .slots
            .iter()
            .rev()
            .filter(|(index, slot)| {
                slot.record.state() != SlotState::Free && !self.pending.contains_key(&(id, **index))
            })
            .filter_map(|(_, slot)| {
                let lost = self.lost(now, id, &slot.record, slot.since);
                let stops = sleepy && slot.record.state() != SlotState::Stopping;
                (lost.is_some() || stops).then(|| (slot.record.clone(), lost))
            })
            .collect();
        for (slot, lost) in due {
            match lost {
                Some(reason) => self.reclaim(now, &slot, reason, fx),
                None => self.stop(now, &slot, fx),
            }
        }
        self.forgive(now, id);
    }

    /// A new active scheduler repeats what the former one may have died before saying.
    pub(crate) fn repeat_orders(&mut self, fx: &mut Effects) {
        for id in &self.view.awake {
            let Some(version) = self.view.versions.get(id) else {
                continue;
            };
            for slot in version.slots.values() {
                let record = &slot.record;
                let to = metald_of(NodeId(record.host));
                match (record.state(), &version.spec) {
                    (SlotState::Starting, Some(spec)) => fx.send(
                        to,
                        Message::Provision(Provision {
                            slot: Some(record.clone()),
                            spec: Some(spec.clone()),
                        }),
                    ),
                    (SlotState::Stopping, _) => fx.send(
                        to,
                        Message::Stop(Stop {
                            instance: Some(record.instance()),
                        }),
                    ),
                    _ => {}
                }
            }
        }
    }

    pub(crate) fn on_slot_reply(
        &mut self,
        id: CommitId,
        outcome: Option<Outcome>,
        fx: &mut Effects,
    ) -> Turn {
        let Some(key) = self
            .pending
            .iter()
            .find(|(_, p)| p.commit == id)
            .map(|(key, _)| *key)
        else {
            return Turn::None;
        };
        match outcome {
            Some(Outcome::Applied(revision)) => {
                self.answer(key, Answer::Applied(revision));
                Turn::None
            }
            Some(Outcome::Conflict(conflict)) if conflict == Key::FENCE => {
                fx.mark("a deposed scheduler's claim was refused");
                self.election.depose(fx)
            }
            Some(Outcome::Conflict(_)) => {
                fx.mark("a claim lost a race");
                self.answer(key, Answer::Conflict);
                Turn::None
            }
            // The entry stays until its time is up: the store is in trouble, and trying
            // again at once would not help it.
            Some(Outcome::Refused(_)) | None => Turn::None,
        }
    }

    fn answer(&mut self, key: (u64, u32), answer: Answer) {
        if let Some(pending) = self.pending.get_mut(&key) {
            pending.answer = answer;
        }
        self.settle_pending();
    }

    /// Drops pending commits whose result the mirror shows.
    pub(crate) fn settle_pending(&mut self) {
        let revision = self.mirror.revision();
        self.pending.retain(|_, p| match p.answer {
            Answer::None => true,
            Answer::Applied(applied) => applied > revision,
            Answer::Conflict => !p.shown,
        });
    }

    pub(crate) fn expire_pending(&mut self, now: Now, fx: &mut Effects) {
        self.pending.retain(|_, p| {
            let keep = p.until > now.mono;
            if !keep {
                fx.push(Effect::Forget(p.commit));
            }
            keep
        });
    }

    /// Why a slot has to be taken back, if it has to.
    fn lost(&self, now: Now, id: u64, slot: &SlotRecord, since: Time) -> Option<&'static str> {
        let host = NodeId(slot.host);
        if self
            .view
            .is_silent(now, host, since, &self.mirror, &self.config)
        {
            return Some("its host is silent");
        }
        let start_timeout_ms = self
            .view
            .versions
            .get(&id)
            .and_then(|v| v.spec.as_ref())
            .map_or(0, |s| s.start_timeout_ms);
        // The host gives its artifact as long as its start.
        let limit =
            tidegate_kernel::Duration::from_millis(2 * start_timeout_ms) + self.config.start_slack;
        let late = slot.state() == SlotState::Starting && self.mirror.silence(now, since) >= limit;
        late.then_some("it did not start in time")
    }

    fn reclaim(&mut self, now: Now, slot: &SlotRecord, reason: &'static str, fx: &mut Effects) {
        let record = SlotRecord {
            epoch: slot.epoch + 1,
            state: SlotState::Free.into(),
            host: 0,
            endpoint: String::new(),
            ..slot.clone()
        };
        if self.commit_slot(now, record, None, fx).is_some() {
            fx.note(Note::Reclaimed {
                instance: slot.instance(),
                host: NodeId(slot.host),
                reason,
            });
        }
    }

    fn stop(&mut self, now: Now, slot: &SlotRecord, fx: &mut Effects) {
        let record = SlotRecord {
            state: SlotState::Stopping.into(),
            ..slot.clone()
        };
        if let Some((commit, record)) = self.commit_slot(now, record, None, fx) {
            fx.send_after(
                commit,
                metald_of(NodeId(record.host)),
                Message::Stop(Stop {
                    instance: Some(record.instance()),
                }),
            );
        }
    }

    /// Whether nobody has used the version for its idle time, as far as every live gateway
    /// knows.
    fn is_idle(&self, now: Now, id: u64) -> bool {
        let Some(version) = self.view.versions.get(&id) else {
            return false;
        };
        let Some(spec) = &version.spec else {
            return false;
        };
        let millis = tidegate_kernel::Duration::from_millis;
        let running = || {
            let running = |s: &&crate::view::Slot| s.record.state() == SlotState::Running;
            version.slots.values().filter(running)
        };
        let Some(youngest) = running().map(|s| s.since).max() else {
            return false;
        };
        let unused_since = version
            .last_busy
            .max(youngest)
            .max(self.traffic_known_since);
        spec.idle_ms > 0
            && now.mono.since(unused_since) >= millis(spec.idle_ms)
            && now.mono.since(youngest) >= millis(spec.lifetime_min_ms)
            && version.count(SlotState::Starting) + self.claims_of(id) == 0
            && !version.may_be_rolled_back_to(now.mono, self.config.rollback_window)
            && self.view.traffic_is_known(now, &self.mirror, &self.config)
    }

    /// Forgets failures once an instance has run for a while.
    fn forgive(&mut self, now: Now, id: u64) {
        let Some(version) = self.view.versions.get_mut(&id) else {
            return;
        };
        let Some(failed_at) = version.failure.as_ref().map(|f| f.at) else {
            return;
        };
        // What ran before the last failure has not kept others from failing.
        let proven = version.slots.values().any(|s| {
            s.record.state() == SlotState::Running
                && now.mono.since(s.since.max(failed_at)) >= self.config.proven_after
        });
        if proven {
            version.backoff.reset();
            version.failure = None;
        }
    }

    /// Commits a slot under this term's fence, against the slot as mirrored.
    fn commit_slot(
        &mut self,
        now: Now,
        record: SlotRecord,
        claims: Option<NodeId>,
        fx: &mut Effects,
    ) -> Option<(CommitId, SlotRecord)> {
        let term = self.election.term()?;
        let key = Key::Slot {
            version: record.version,
            index: record.index,
        };
        let record = SlotRecord {
            fence: term.epoch,
            ..record
        };
        let txn = Txn {
            preconditions: vec![term.fence(), self.mirror.unchanged(&key)],
            writes: vec![write(&key, &Record::Slot(record.clone()))],
        };
        let commit = self.next_id();
        self.pending.insert(
            (record.version, record.index),
            Pending {
                commit,
                until: now.mono + self.config.commit_timeout,
                claims,
                answer: Answer::None,
                shown: false,
            },
        );
        fx.commit(commit, self.config.store, txn);
        Some((commit, record))
    }
}
