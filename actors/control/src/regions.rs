//! How a region becomes known: its edges say hello until control has stored it.
//!
//! A hello that is already stored is welcomed at once; a new region, or one whose store
//! moved, is committed first and the welcome leaves after the commit. Nothing is repeated
//! here: an edge says hello again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{CommitId, Duration, Effects, Load, Mirror, Note, Rng, Time};
use tidegate_protocol::{
    Address, Key, Message, Record, RegionHello, RegionRecord, RegionWelcome, Txn, Write,
};

use crate::validate;
use crate::view::View;

/// Regions that are being stored at one time.
const STORING_MAX: usize = 64;

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Regions {
    storing: BTreeMap<CommitId, (String, Time)>,
}

/// What hellos are judged by.
pub(crate) struct Known<'a> {
    pub(crate) view: &'a View,
    pub(crate) mirror: &'a Mirror,
    pub(crate) regions_max: usize,
}

impl Regions {
    pub(crate) fn on_hello(
        &mut self,
        now: Time,
        from: Address,
        hello: RegionHello,
        known: &Known<'_>,
        rng: &mut Rng,
        fx: &mut Effects,
    ) {
        if let Err(what) = validate::region_hello(&hello) {
            return fx.note(Note::Malformed { what });
        }
        let welcome = Message::RegionWelcome(RegionWelcome {
            region: hello.region.clone(),
        });
        let stored = known.view.regions.get(&hello.region);
        if stored.is_some_and(|r| r.store_node == hello.store_node) {
            return fx.send(from, welcome);
        }
        if self.storing.values().any(|(name, _)| *name == hello.region) {
            return;
        }
        let regions = known.view.regions.len() + self.storing.len();
        if self.storing.len() >= STORING_MAX || (stored.is_none() && regions >= known.regions_max) {
            return fx.note(Note::Full { queue: "regions" });
        }
        let key = Key::Region(hello.region.clone());
        let record = RegionRecord {
            name: hello.region.clone(),
            store_node: hello.store_node,
        };
        let txn = Txn {
            preconditions: vec![known.mirror.unchanged(&key)],
            writes: vec![Write {
                key: key.to_string(),
                value: Some(Record::Region(record).encode()),
            }],
        };
        let commit = CommitId(rng.u64());
        fx.commit(commit, known.mirror.store(), txn);
        fx.send_after(commit, from, welcome);
        self.storing.insert(commit, (hello.region, now));
    }

    pub(crate) fn load(&self) -> Load {
        Load::new("regions being stored", self.storing.len(), STORING_MAX)
    }

    /// Whether the answered commit was one of a region.
    pub(crate) fn on_answer(&mut self, commit: CommitId) -> bool {
        self.storing.remove(&commit).is_some()
    }

    pub(crate) fn forget_late(&mut self, now: Time, timeout: Duration, fx: &mut Effects) {
        self.storing.retain(|commit, (_, sent)| {
            let late = now >= *sent + timeout;
            if late {
                fx.push(tidegate_kernel::Effect::Forget(*commit));
            }
            !late
        });
    }

    pub(crate) fn next_deadline(&self, timeout: Duration) -> Option<Time> {
        self.storing.values().map(|(_, sent)| *sent + timeout).min()
    }
}
