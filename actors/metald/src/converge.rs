//! Brings the host to what the slots say.
//!
//! The only place where a slot's record meets what runs of it: `converge` looks at one slot,
//! settles every life of it, and begins a life when the slot asks for one and nothing is in
//! its place. It is run again after anything that could change the answer, so no single
//! message has to arrive. Slots are written with the revision that the mirror shows, one
//! commit at a time for each life; what became of a commit is seen in the mirror.

use std::sync::Arc;

use tidegate_kernel::{CommitId, Effect, Effects, Now, Time};
use tidegate_protocol::{
    Digest, InstanceFailed, Key, Message, Record, SlotRecord, SlotState, Txn, VersionSpec, Write,
};

use crate::{
    Metald,
    alarms::Subject,
    instance::{self, Instance, PendingCommit, Turn},
    life::{Claim, Life, Place, Standing, standing},
    states::{Failed, Make, Provisioning, Remains, State, Stopped},
};

impl Metald {
    /// Settles every life of a slot, and begins the one that it asks for.
    pub(crate) fn converge(&mut self, now: Now, place: Place, fx: &mut Effects) {
        if !self.is_serving() {
            return;
        }
        for life in self.lives_of(place) {
            self.settle(now, life, fx);
        }
        if self.lives_of(place).is_empty() {
            self.open(now, place, fx);
        }
    }

    /// Tells a life what its slot says, and the slot what became of the life. An artifact
    /// that nobody waits for after is not fetched on.
    pub(crate) fn settle(&mut self, now: Now, life: Life, fx: &mut Effects) {
        let instance = self.instances.get(&life);
        let spec = instance.and_then(|i| i.spec.clone());
        self.settle_slot(now, life, fx);
        if let Some(digest) = spec.and_then(|s| Digest::try_from(&s.artifact).ok())
            && self.fetcher.wants(&digest)
            && self.waiting_for(digest).is_empty()
        {
            self.fetcher.forget(now, &digest, fx);
        }
    }

    fn settle_slot(&mut self, now: Now, life: Life, fx: &mut Effects) {
        let Some(instance) = self.instances.get_mut(&life) else {
            return;
        };
        let me = self.config.me.node;
        let slot = self.region.slot(life.place);
        if slot.is_some_and(|s| s.epoch == life.epoch && s.host == me.0) {
            instance.claim = Claim::Seen;
        }
        let standing = standing(me, slot, life.epoch, instance.claim);
        let turn = &mut Turn {
            now,
            config: &self.config,
            fx,
        };
        match standing {
            Standing::Superseded => instance.end("its slot is no longer its own", turn),
            Standing::Stopping => instance.stop("its slot is stopping", turn),
            Standing::Unclear | Standing::Starting | Standing::Running => {}
        }
        if standing == Standing::Superseded && instance.state.is_gone() {
            self.instances.remove(&life);
            self.alarms.set(Subject::Instance(life), None);
            return;
        }
        if let Some((reason, log_tail, before_start)) = instance.take_report()
            && let Some(scheduler) = self.region.scheduler()
        {
            let failed = InstanceFailed {
                instance: Some(life.into()),
                reason,
                log_tail,
                before_start,
            };
            fx.send(scheduler, Message::InstanceFailed(failed));
        }
        if instance.commit.is_none()
            && let Some(record) = slot.and_then(|s| wanted_record(&instance.state, standing, s))
        {
            let key = life.place.key();
            let id = CommitId(self.rng.u64());
            let txn = Txn {
                preconditions: vec![self.mirror.unchanged(&key)],
                writes: vec![write(&key, record)],
            };
            fx.commit(id, self.config.store, txn);
            instance.commit = Some(PendingCommit {
                id,
                until: now.mono + self.config.commit_timeout,
            });
        }
        let deadline = instance.deadline();
        self.alarms.set(Subject::Instance(life), deadline);
    }

    /// Does something to an instance, and settles it after.
    pub(crate) fn act(
        &mut self,
        now: Now,
        life: Life,
        fx: &mut Effects,
        act: impl FnOnce(&mut Instance, &mut Turn<'_>),
    ) {
        let Some(instance) = self.instances.get_mut(&life) else {
            return;
        };
        let config = &self.config;
        act(instance, &mut Turn { now, config, fx });
        self.converge(now, life.place, fx);
    }

    /// Begins the life that a slot asks for. Nothing is in its place.
    fn open(&mut self, now: Now, place: Place, fx: &mut Effects) {
        let Some(slot) = self.region.slot(place) else {
            return;
        };
        if slot.host != self.config.me.node.0 {
            return;
        }
        let life = Life {
            place,
            epoch: slot.epoch,
        };
        let spec = self.region.version(place.version);
        let over = match (slot.state(), &spec) {
            (SlotState::Starting, Some(spec)) => {
                let spec = Arc::clone(spec);
                return self.provision(now, life, spec, Claim::Seen, fx);
            }
            (SlotState::Starting, None) => "its version is gone",
            (SlotState::Running, _) => "it was lost in a restart of the host",
            (SlotState::Stopping, _) => "nothing is left to stop",
            (SlotState::Free | SlotState::Unspecified, _) => return,
        };
        self.begin(
            now,
            life,
            spec,
            Claim::Seen,
            State::Stopped(Stopped),
            over,
            fx,
        );
    }

    /// Begins to make an instance, or refuses it.
    pub(crate) fn provision(
        &mut self,
        now: Now,
        life: Life,
        spec: Arc<VersionSpec>,
        claim: Claim,
        fx: &mut Effects,
    ) {
        let held = self.instances.values().filter(|i| !i.state.is_gone());
        let is_full = held.count() >= self.config.capacity as usize;
        let artifact = if is_full {
            Err("host is full".to_owned())
        } else {
            Digest::try_from(&spec.artifact).map_err(|e| format!("its artifact has no name: {e}"))
        };
        let start_by = now.mono + instance::start_timeout(Some(&spec));
        let (state, reason) = match &artifact {
            Ok(digest) => {
                let step = Make::Fetching(*digest);
                (State::Provisioning(Provisioning { start_by, step }), "")
            }
            Err(reason) => {
                let step = Remains::Gone {
                    report: Some(String::new()),
                };
                let reason_owned = reason.clone();
                let failed = Failed {
                    reason: reason_owned,
                    before_start: is_full,
                    step,
                };
                (State::Failed(failed), reason.as_str())
            }
        };
        self.begin(now, life, Some(spec), claim, state, reason, fx);
        if let Ok(digest) = artifact {
            self.fetch(now, life, digest, fx);
        }
    }

    /// Brings a life the artifact that it waits for.
    pub(crate) fn fetch(&mut self, now: Now, life: Life, digest: Digest, fx: &mut Effects) {
        if !self.fetcher.want(now, digest, fx) {
            let reason = "too many artifacts are being fetched".to_owned();
            self.act(now, life, fx, |i, turn| i.fail_before_start(reason, turn));
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "each is one fact of the new life"
    )]
    pub(crate) fn begin(
        &mut self,
        now: Now,
        life: Life,
        spec: Option<Arc<VersionSpec>>,
        claim: Claim,
        state: State,
        reason: &str,
        fx: &mut Effects,
    ) {
        let config = &self.config;
        let turn = &mut Turn { now, config, fx };
        let instance = Instance::begin(life, spec, claim, state, reason, turn);
        self.instances.insert(life, instance);
        self.settle(now, life, fx);
    }

    /// The deadline of a life has passed.
    pub(crate) fn on_instance_time(&mut self, now: Now, life: Life, fx: &mut Effects) {
        let Some(instance) = self.instances.get_mut(&life) else {
            return;
        };
        if let Some(commit) = instance.commit
            && commit.until <= now.mono
        {
            instance.commit = None;
            fx.push(Effect::Forget(commit.id));
        }
        if let Claim::Announced { since, look_at } = instance.claim
            && look_at <= now.mono
        {
            let unseen = self.mirror.unseen(now, since);
            instance.claim = match self.config.confirm_within.checked_sub(unseen) {
                Some(left) if !left.is_zero() => Claim::Announced {
                    since,
                    look_at: now.mono + left,
                },
                _ => Claim::GivenUp,
            };
        }
        self.act(now, life, fx, Instance::on_time);
    }

    /// A slot changed: what was being written to it has either become this change or can no
    /// longer be written.
    pub(crate) fn on_slot_change(&mut self, place: Place) {
        for (_, instance) in self.instances.range_mut(span(place)) {
            instance.commit = None;
        }
    }

    pub(crate) fn lives_of(&self, place: Place) -> Vec<Life> {
        self.instances.range(span(place)).map(|(l, _)| *l).collect()
    }
}

fn span(place: Place) -> std::ops::RangeInclusive<Life> {
    let life = |epoch| Life { place, epoch };
    life(0)..=life(u64::MAX)
}

/// What the slot should say, when it is this life's to write and says something else.
fn wanted_record(state: &State, standing: Standing, slot: &SlotRecord) -> Option<SlotRecord> {
    let is_own = matches!(
        standing,
        Standing::Starting | Standing::Running | Standing::Stopping
    );
    match state {
        state if is_own && state.is_gone() => Some(SlotRecord {
            state: SlotState::Free.into(),
            host: 0,
            endpoint: String::new(),
            ..slot.clone()
        }),
        State::Running(running)
            if standing == Standing::Starting
                || standing == Standing::Running && slot.endpoint != running.endpoint =>
        {
            Some(SlotRecord {
                state: SlotState::Running.into(),
                endpoint: running.endpoint.clone(),
                ..slot.clone()
            })
        }
        _ => None,
    }
}

fn write(key: &Key, record: SlotRecord) -> Write {
    Write {
        key: key.to_string(),
        value: Some(Record::Slot(record).encode()),
    }
}

/// A claim that only a message told of.
pub(crate) fn announced(now: Now, confirm_within: std::time::Duration) -> Claim {
    let since: Time = now.mono;
    Claim::Announced {
        since,
        look_at: since + confirm_within,
    }
}
