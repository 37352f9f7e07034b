//! Group commit: one batch at the engine, everything else waits for it.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Bounded, Effects, EngineOp, Load, Note};
use tidegate_protocol::{Address, Txn};

use crate::{StoreConfig, admit::Admitted};

/// What one reads whose commit finds no room.
const FULL: &str = "too many commits wait for the engine; try again later";

/// Who is owed an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Waiter {
    pub(crate) from: Address,
    pub(crate) id: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Waiting {
    waiter: Waiter,
    admitted: Admitted,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Commits {
    waiting: Bounded<Waiting>,
    waiting_bytes: usize,
    at_engine: Option<(u64, Vec<Waiter>)>,
    next_batch: u64,
}

impl Commits {
    /// Batches are numbered from `first_batch`, drawn at random so that an answer to a
    /// former life is not taken for one of this.
    pub(crate) fn new(waiting_max: usize, first_batch: u64) -> Self {
        Self {
            waiting: Bounded::new(waiting_max),
            waiting_bytes: 0,
            at_engine: None,
            next_batch: first_batch,
        }
    }

    /// Queues a commit, or tells why not.
    pub(crate) fn enqueue(
        &mut self,
        waiter: Waiter,
        admitted: Admitted,
        config: &StoreConfig,
        fx: &mut Effects,
    ) -> Result<(), String> {
        if fx.buggify("buggify: a store refuses a commit") {
            return Err(FULL.to_owned());
        }
        let bytes = admitted.bytes;
        let fits = self.waiting_bytes + bytes <= config.waiting_bytes_max;
        let queued = fits && self.waiting.push(Waiting { waiter, admitted }).is_ok();
        if queued {
            self.waiting_bytes += bytes;
            return Ok(());
        }
        fx.note(Note::Full { queue: "commits" });
        Err(FULL.to_owned())
    }

    /// Takes the next batch out of the queue, when none is at the engine.
    pub(crate) fn start_batch(
        &mut self,
        config: &StoreConfig,
        fx: &mut Effects,
    ) -> Option<EngineOp> {
        if self.at_engine.is_some() || self.waiting.is_empty() {
            return None;
        }
        let txns_max = if fx.buggify("buggify: a store commits one by one") {
            1
        } else {
            config.batch_txns_max.max(1)
        };
        let size = self.waiting.len().min(txns_max);
        let mut txns: Vec<Txn> = Vec::with_capacity(size);
        let mut waiters = Vec::with_capacity(size);
        let mut bytes = 0;
        while txns.len() < size {
            let fits = self.waiting.front().is_some_and(|next| {
                txns.is_empty() || bytes + next.admitted.bytes <= config.batch_bytes_max
            });
            let Some(next) = fits.then(|| self.waiting.pop()).flatten() else {
                break;
            };
            bytes += next.admitted.bytes;
            txns.push(next.admitted.txn);
            waiters.push(next.waiter);
        }
        self.waiting_bytes -= bytes;
        let batch = self.next_batch;
        self.next_batch = batch.wrapping_add(1);
        self.at_engine = Some((batch, waiters));
        Some(EngineOp::Commit { batch, txns })
    }

    /// Who waits for a batch that the engine answered; `None` when it is not the one that
    /// was sent.
    pub(crate) fn finish(&mut self, batch: u64) -> Option<Vec<Waiter>> {
        let (_, waiters) = self.at_engine.take_if(|(sent, _)| *sent == batch)?;
        Some(waiters)
    }

    pub(crate) fn load(&self, config: &StoreConfig) -> [Load; 3] {
        let at_engine = self.at_engine.as_ref();
        let at_engine = at_engine.map_or(0, |(_, waiters)| waiters.len());
        [
            Load::new("commits", self.waiting.len(), config.waiting_max),
            Load::new(
                "bytes of commits",
                self.waiting_bytes,
                config.waiting_bytes_max,
            ),
            Load::new("commits at the engine", at_engine, config.batch_txns_max),
        ]
    }

    pub(crate) fn check(&self, config: &StoreConfig) {
        assert!(
            self.at_engine.is_some() || self.waiting.is_empty(),
            "commits wait while the engine is idle"
        );
        assert!(self.waiting_bytes <= config.waiting_bytes_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::{NodeId, Role};

    const ME: Address = Address::new(NodeId(1), Role::Store, 0);

    /// Three commits of four bytes wait; two go into a batch.
    fn waiting() -> (Commits, StoreConfig) {
        let config = StoreConfig {
            batch_txns_max: 2,
            ..StoreConfig::new(ME)
        };
        let mut commits = Commits::new(config.waiting_max, 9);
        for id in 1..=3 {
            let waiter = Waiter { from: ME, id };
            let admitted = Admitted {
                txn: Txn::default(),
                bytes: 4,
            };
            let mut fx = Effects::new();
            assert_eq!(commits.enqueue(waiter, admitted, &config, &mut fx), Ok(()));
        }
        (commits, config)
    }

    fn lengths(commits: &Commits, config: &StoreConfig) -> [usize; 3] {
        commits.load(config).map(|load| load.length)
    }

    #[test]
    fn a_batch_takes_as_many_as_fit_and_their_bytes_out_of_the_queue() {
        let (mut commits, config) = waiting();
        let mut fx = Effects::new();
        assert_eq!(lengths(&commits, &config), [3, 12, 0]);
        let Some(EngineOp::Commit { batch: 9, txns }) = commits.start_batch(&config, &mut fx)
        else {
            panic!("no batch");
        };
        assert_eq!(txns.len(), 2);
        assert_eq!(lengths(&commits, &config), [1, 4, 2]);
        assert_eq!(commits.start_batch(&config, &mut fx), None, "one at a time");
        assert_eq!(commits.finish(8), None);
        assert_eq!(commits.finish(9).map(|w| w.len()), Some(2));
        assert!(commits.start_batch(&config, &mut fx).is_some());
        assert_eq!(lengths(&commits, &config), [0, 0, 1]);
    }

    #[test]
    #[should_panic(expected = "the engine is idle")]
    fn an_idle_engine_while_commits_wait_breaks_an_invariant() {
        let (commits, config) = waiting();
        commits.check(&config);
    }
}
