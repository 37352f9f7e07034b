//! How a store actor's request becomes a call of its engine, in both worlds.

use tidegate_kernel::{BatchOutcome, CommitOutcome, EngineOp, EngineReply};

use crate::{Engine, StorageError};

/// Carries out one request.
///
/// A commit that fails is answered: every transaction of it is refused with the reason. A
/// read that fails has no answer that would not be taken for the content of the store, so it
/// is an error, and the store actor must be started anew.
pub fn run_op(engine: &mut dyn Engine, op: EngineOp) -> Result<EngineReply, StorageError> {
    match op {
        EngineOp::Commit { batch, txns } => {
            let outcome = match engine.commit(&txns) {
                Ok(outcome) => outcome,
                Err(error) => BatchOutcome {
                    outcomes: vec![CommitOutcome::Refused(error.to_string()); txns.len()],
                    changes: Vec::new(),
                    revision: engine.revision(),
                },
            };
            Ok(EngineReply::Committed { batch, outcome })
        }
        EngineOp::Feed {
            request,
            after_revision,
            bytes_max,
        } => {
            let feed = engine.feed(after_revision, bytes_max)?;
            Ok(EngineReply::Feed {
                request,
                after_revision,
                revision: feed.revision,
                entries: feed.entries,
                gone: feed.gone,
            })
        }
        EngineOp::Snapshot { request, prefixes } => {
            let (revision, entries) = engine.snapshot(&prefixes)?;
            Ok(EngineReply::Snapshot {
                request,
                revision,
                entries,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::{Bytes, FeedEntry, Precondition, Txn, Write};

    use super::*;
    use crate::MemoryEngine;

    fn put(key: &str, value: &'static str, revision: u64) -> Txn {
        Txn {
            preconditions: vec![Precondition {
                key: key.into(),
                revision,
            }],
            writes: vec![Write {
                key: key.into(),
                value: Some(Bytes::from(value)),
            }],
        }
    }

    fn entry(key: &str, value: &'static str, revision: u64) -> FeedEntry {
        FeedEntry {
            key: key.into(),
            value: Some(Bytes::from(value)),
            revision,
        }
    }

    #[test]
    fn a_later_transaction_of_a_batch_sees_an_earlier_one() {
        let mut engine = MemoryEngine::new();
        let op = EngineOp::Commit {
            batch: 9,
            txns: vec![put("a", "1", 0), put("a", "2", 0), put("a", "3", 1)],
        };
        let outcome = BatchOutcome {
            outcomes: vec![
                CommitOutcome::Applied(1),
                CommitOutcome::Conflict("a".into()),
                CommitOutcome::Applied(2),
            ],
            changes: vec![entry("a", "1", 1), entry("a", "3", 2)],
            revision: 2,
        };
        assert_eq!(
            run_op(&mut engine, op),
            Ok(EngineReply::Committed { batch: 9, outcome })
        );
    }

    #[test]
    fn feeds_and_snapshots_answer_their_request() {
        let mut engine = MemoryEngine::new();
        engine
            .commit(&[put("a", "1", 0), put("b", "2", 0), put("a", "3", 1)])
            .unwrap();
        let feed = EngineOp::Feed {
            request: 4,
            after_revision: 1,
            bytes_max: usize::MAX,
        };
        assert_eq!(
            run_op(&mut engine, feed),
            Ok(EngineReply::Feed {
                request: 4,
                after_revision: 1,
                revision: 3,
                entries: vec![entry("b", "2", 2), entry("a", "3", 3)],
                gone: false,
            })
        );
        let snapshot = EngineOp::Snapshot {
            request: 5,
            prefixes: vec!["a".into()],
        };
        assert_eq!(
            run_op(&mut engine, snapshot),
            Ok(EngineReply::Snapshot {
                request: 5,
                revision: 3,
                entries: vec![entry("a", "3", 3)],
            })
        );
    }

    #[test]
    fn a_failing_commit_is_refused_and_a_failing_read_is_an_error() {
        struct Full;
        let error = || StorageError::Full {
            place: "store".into(),
            detail: "test".into(),
        };
        impl Full {
            fn error<T>() -> Result<T, StorageError> {
                Err(StorageError::Full {
                    place: "store".into(),
                    detail: "test".into(),
                })
            }
        }
        impl Engine for Full {
            fn read(&self, _: &str) -> Result<Option<(Bytes, u64)>, StorageError> {
                Self::error()
            }
            fn range(&self, _: &str, _: &str, _: usize) -> Result<Vec<FeedEntry>, StorageError> {
                Self::error()
            }
            fn commit(&mut self, _: &[Txn]) -> Result<BatchOutcome, StorageError> {
                Self::error()
            }
            fn feed(&self, _: u64, _: usize) -> Result<crate::Feed, StorageError> {
                Self::error()
            }
            fn snapshot(&self, _: &[String]) -> Result<(u64, Vec<FeedEntry>), StorageError> {
                Self::error()
            }
            fn revision(&self) -> u64 {
                6
            }
        }
        let op = EngineOp::Commit {
            batch: 1,
            txns: vec![put("a", "1", 0), put("b", "1", 0)],
        };
        let reason = "no space left for store (test); free some and try again";
        assert_eq!(
            run_op(&mut Full, op),
            Ok(EngineReply::Committed {
                batch: 1,
                outcome: BatchOutcome {
                    outcomes: vec![CommitOutcome::Refused(reason.into()); 2],
                    changes: Vec::new(),
                    revision: 6,
                },
            })
        );
        let snapshot = EngineOp::Snapshot {
            request: 1,
            prefixes: Vec::new(),
        };
        assert_eq!(run_op(&mut Full, snapshot), Err(error()));
    }
}
