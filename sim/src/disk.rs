//! The disk under a store: an engine whose commits take time.
//!
//! The engine holds what is durable. A batch reaches it when its simulated fsync ends; at a
//! crash the batch at hand is torn: its first transactions, as many as are drawn, survive
//! unanswered, and the rest is gone.

use std::collections::VecDeque;

use tidegate_engine::{Engine as _, MemoryEngine, run_op};
use tidegate_kernel::{BatchOutcome, CommitOutcome, EngineOp, EngineReply, Rng};

use crate::draw;
use crate::scenario::Disks;

#[derive(Debug)]
pub struct Disk {
    pub engine: MemoryEngine,
    queue: VecDeque<EngineOp>,
    settings: Disks,
    /// How many times slower than it should be.
    pub times: u64,
    /// Faults that leave it no room.
    pub full: u32,
    rng: Rng,
}

/// Time of a read.
const READ_NS: u64 = 80_000;

impl Disk {
    pub fn new(settings: Disks, rng: Rng) -> Self {
        Self {
            engine: MemoryEngine::new(),
            queue: VecDeque::new(),
            settings,
            times: 1,
            full: 0,
            rng,
        }
    }

    /// Takes an operation; the time after which it is done, when it is the only one.
    pub fn push(&mut self, op: EngineOp) -> Option<u64> {
        self.queue.push_back(op);
        (self.queue.len() == 1).then(|| self.cost())
    }

    /// Operations that are not done, the first of them at hand.
    pub(crate) fn waiting(&self) -> &VecDeque<EngineOp> {
        &self.queue
    }

    /// The first operation is done: its answer, and the time until the next one is.
    ///
    /// An engine in memory cannot fail, so there always is an answer to an operation.
    pub fn complete(&mut self) -> (Option<EngineReply>, Option<u64>) {
        let reply = self.queue.pop_front().and_then(|op| self.run(op));
        let next = (!self.queue.is_empty()).then(|| self.cost());
        (reply, next)
    }

    fn run(&mut self, op: EngineOp) -> Option<EngineReply> {
        match op {
            EngineOp::Commit { batch, txns } if self.full > 0 => {
                // As `run_op` does with an engine that failed.
                let refused = CommitOutcome::Refused("no space left on the disk".into());
                let outcome = BatchOutcome {
                    outcomes: vec![refused; txns.len()],
                    changes: Vec::new(),
                    revision: self.engine.revision(),
                };
                Some(EngineReply::Committed { batch, outcome })
            }
            op => run_op(&mut self.engine, op).ok(),
        }
    }

    /// The machine stops: the answer that nobody gets, when something of the batch at hand
    /// survived.
    pub fn crash(&mut self) -> Option<EngineReply> {
        let at_hand = self.queue.pop_front();
        self.queue.clear();
        let Some(EngineOp::Commit { batch, mut txns }) = at_hand else {
            return None;
        };
        let kept = self.rng.between(0, txns.len() as u64) as usize;
        txns.truncate(kept);
        self.run(EngineOp::Commit { batch, txns })
    }

    fn cost(&mut self) -> u64 {
        let cost = match self.queue.front() {
            Some(EngineOp::Commit { .. }) => draw::between(&mut self.rng, self.settings.fsync),
            _ => READ_NS,
        };
        cost * self.times
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Seed;
    use tidegate_protocol::{Bytes, Txn, Write};

    fn commit(batch: u64, keys: &[&str]) -> EngineOp {
        let put = |key: &&str| Txn {
            preconditions: Vec::new(),
            writes: vec![Write {
                key: (*key).to_owned(),
                value: Some(Bytes::from_static(b"x")),
            }],
        };
        EngineOp::Commit {
            batch,
            txns: keys.iter().map(put).collect(),
        }
    }

    #[test]
    fn nothing_is_durable_before_its_fsync_ends() {
        let mut disk = Disk::new(Disks::default(), Seed(1).rng());
        assert!(disk.push(commit(1, &["a", "b"])).is_some());
        assert_eq!(disk.push(commit(2, &["c"])), None);
        assert_eq!(disk.engine.revision(), 0);
        let (reply, next) = disk.complete();
        assert!(matches!(
            reply,
            Some(EngineReply::Committed { batch: 1, .. })
        ));
        assert!(next.is_some());
        assert_eq!(disk.engine.revision(), 2);
    }

    #[test]
    fn a_full_disk_refuses_commits_and_loses_nothing() {
        let mut disk = Disk::new(Disks::default(), Seed(1).rng());
        for (full, revision) in [(0, 1), (1, 1), (0, 2)] {
            disk.full = full;
            disk.push(commit(1, &["a"]));
            let (reply, _) = disk.complete();
            let Some(EngineReply::Committed { outcome, .. }) = reply else {
                panic!("{reply:?}");
            };
            let refused = matches!(outcome.outcomes[0], CommitOutcome::Refused(_));
            assert_eq!(refused, full > 0);
            assert_eq!(
                (outcome.revision, disk.engine.revision()),
                (revision, revision)
            );
        }
    }

    #[test]
    fn a_crash_keeps_a_drawn_beginning_of_the_batch_at_hand_and_nothing_behind_it() {
        let mut kept = [0; 4];
        for seed in 0..200 {
            let mut disk = Disk::new(Disks::default(), Seed(seed).rng());
            disk.push(commit(1, &["a", "b", "c"]));
            disk.push(commit(2, &["d"]));
            disk.crash();
            kept[disk.engine.revision() as usize] += 1;
        }
        assert!(kept.iter().all(|count| *count > 20), "{kept:?}");
    }
}
