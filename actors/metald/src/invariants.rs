//! What must hold after every event.

use std::collections::BTreeMap;

use crate::{
    Metald,
    alarms::Subject,
    life::{Place, Standing, standing},
    recovery::Phase,
};

impl Metald {
    /// Panics when metald contradicts itself.
    pub(crate) fn check_invariants(&self) {
        self.alarms.check();
        self.fetcher.check();
        let mut wanted: BTreeMap<Place, u32> = BTreeMap::new();
        for (life, instance) in &self.instances {
            assert_eq!(*life, instance.life, "an instance is kept under its life");
            if instance.state.is_wanted() {
                *wanted.entry(life.place).or_default() += 1;
            }
            if let Some(digest) = instance.state.fetching() {
                assert!(
                    self.fetcher.wants(&digest),
                    "{life:?} waits for an artifact that nobody fetches"
                );
            }
            if !instance.state.is_gone() {
                assert!(
                    instance.state.deadline().is_some(),
                    "{life:?} waits without a deadline"
                );
            } else if instance.commit.is_none() {
                let slot = self.region.slot(life.place);
                let me = self.config.me.node;
                let standing = standing(me, slot, life.epoch, instance.claim);
                assert_eq!(
                    standing,
                    Standing::Unclear,
                    "{life:?} is gone and nobody frees its slot"
                );
            }
            assert_eq!(
                self.alarms.get(Subject::Instance(*life)),
                instance.deadline(),
                "{life:?} is woken when it has to be"
            );
        }
        assert!(
            wanted.values().all(|n| *n == 1),
            "at most one instance of a slot: {wanted:?}"
        );
        self.check_phase();
    }

    fn check_phase(&self) {
        let has = |subject| self.alarms.get(subject).is_some();
        match &self.phase {
            Phase::Recovering { inventory } => {
                assert!(self.instances.is_empty(), "nothing runs before recovery");
                // Before the first event nothing has been asked.
                let is_started = has(Subject::HostBeat);
                let is_asked = has(Subject::Inventory);
                assert!(
                    !is_started || inventory.is_some() != is_asked,
                    "the inventory is known or asked for"
                );
            }
            Phase::Serving => assert!(has(Subject::HostBeat) && has(Subject::InstancesBeat)),
        }
        assert!(self.logs.len() <= self.config.log_reads_max);
        let beats = 3;
        assert!(self.alarms.len() <= self.instances.len() + self.logs.len() + beats);
    }
}
