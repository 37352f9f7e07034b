//! The signs of life that a host writes.
//!
//! Blind writes: nobody else writes these keys, a lost one is followed by the next, and no
//! answer is waited for. Only when the store says that it refused the host's own is the next
//! one due soon: readers take a silent host for dead, and a store that is busy for half a
//! minute shall not make it look so. Readers time the change of `beat` by their own clocks;
//! it starts from the wall clock, so that a restarted host does not repeat the number of its
//! former life and look silent.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{CommitId, Effects, Now, Rng, Time};
use tidegate_protocol::{
    Bytes, HostRecord, InstanceStatus, InstancesRecord, Key, Record, StoreCommitReply, Txn, Write,
    limits,
};

use crate::MetaldConfig;

/// Bytes that one status takes at most: three varints and their tags (11 + 6 + 11), state
/// and health (2 + 2), and two length prefixes with tags (2 + 2).
const STATUS_BYTES_MAX: usize = 36;
/// Instances that fit one record; further ones are not named in it.
pub(crate) const STATUSES_MAX: usize = (limits::VALUE_BYTES_MAX - 64) / STATUS_BYTES_MAX;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    last: u64,
    /// The write of the last one that the host itself was in.
    host_commit: Option<CommitId>,
}

impl Heartbeat {
    pub(crate) fn start(&mut self, now: Now) {
        self.last = now.wall.unix_ms;
    }

    fn next(&mut self) -> u64 {
        self.last = self.last.saturating_add(1);
        self.last
    }

    /// Says that the host lives, and when to say so again.
    pub(crate) fn host(
        &mut self,
        now: Now,
        config: &MetaldConfig,
        rng: &mut Rng,
        fx: &mut Effects,
    ) -> Time {
        if fx.buggify("buggify: a host leaves a heartbeat out") {
            return now.mono + config.host_beat_again;
        }
        let record = Record::Host(HostRecord {
            node: config.me.node.0,
            name: config.name.clone(),
            zone: config.zone.clone(),
            state: config.state.into(),
            capacity: config.capacity,
            beat: self.next(),
        });
        let id = write_blind(config, &Key::Host(config.me.node), &record, rng, fx);
        self.host_commit = Some(id);
        now.mono + config.host_beat_every
    }

    /// When to say again that the host lives, if this tells that the store refused it.
    pub(crate) fn on_reply(
        &self,
        now: Now,
        config: &MetaldConfig,
        reply: &StoreCommitReply,
    ) -> Option<Time> {
        let refused = Some(CommitId(reply.id)) == self.host_commit && reply.is_refusal();
        refused.then(|| now.mono + config.host_beat_again)
    }

    pub(crate) fn instances(
        &mut self,
        config: &MetaldConfig,
        statuses: impl Iterator<Item = InstanceStatus>,
        rng: &mut Rng,
        fx: &mut Effects,
    ) {
        let record = Record::Instances(InstancesRecord {
            node: config.me.node.0,
            beat: self.next(),
            instances: statuses.take(STATUSES_MAX).collect(),
        });
        write_blind(config, &Key::Instances(config.me.node), &record, rng, fx);
    }
}

fn write_blind(
    config: &MetaldConfig,
    key: &Key,
    record: &Record,
    rng: &mut Rng,
    fx: &mut Effects,
) -> CommitId {
    let value: Bytes = record.encode();
    let txn = Txn {
        preconditions: Vec::new(),
        writes: vec![Write {
            key: key.to_string(),
            value: Some(value),
        }],
    };
    let id = CommitId(rng.u64());
    fx.commit(id, config.store, txn);
    id
}
