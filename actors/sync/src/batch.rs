//! A transaction that grows until it is full.
//!
//! What belongs together (a version and its slots) is added together or not at all. Once
//! something did not fit, nothing more is taken, so that an order of additions is also an
//! order of commits. Each write carries a precondition on the revision that the mirror shows.

use tidegate_kernel::Mirror;
use tidegate_protocol::{Key, Precondition, Record, Txn, Write, limits};

/// Bytes besides key and value of a write, and of a precondition besides its key.
const FRAME_BYTES: usize = 32;

#[derive(Debug)]
pub(crate) struct Batch<'a> {
    mirror: &'a Mirror,
    txn: Txn,
    bytes: usize,
    full: bool,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(mirror: &'a Mirror) -> Self {
        Self {
            mirror,
            txn: Txn::default(),
            bytes: 0,
            full: false,
        }
    }

    /// Requires that a key is unchanged without writing it.
    pub(crate) fn require(&mut self, key: &Key) {
        self.txn.preconditions.push(self.mirror.unchanged(key));
    }

    /// Adds writes that belong together; `None` deletes. Says whether they fitted.
    pub(crate) fn add(&mut self, writes: Vec<(Key, Option<Record>)>) -> bool {
        if self.full {
            return false;
        }
        let writes: Vec<(Precondition, Write)> = writes
            .into_iter()
            .map(|(key, record)| self.write(&key, record))
            .collect();
        let bytes: usize = writes.iter().map(bytes_of).sum();
        let ops = self.txn.preconditions.len() + self.txn.writes.len() + 2 * writes.len();
        if ops > limits::TXN_OPS_MAX || self.bytes + bytes > limits::TXN_BYTES_MAX {
            self.full = true;
            return false;
        }
        self.bytes += bytes;
        for (precondition, write) in writes {
            self.txn.preconditions.push(precondition);
            self.txn.writes.push(write);
        }
        true
    }

    pub(crate) fn put(&mut self, key: Key, record: Record) -> bool {
        self.add(vec![(key, Some(record))])
    }

    pub(crate) fn delete(&mut self, key: Key) -> bool {
        self.add(vec![(key, None)])
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// The transaction, if there is anything to write.
    pub(crate) fn finish(self) -> Option<Txn> {
        (!self.txn.writes.is_empty()).then_some(self.txn)
    }

    fn write(&self, key: &Key, record: Option<Record>) -> (Precondition, Write) {
        let write = Write {
            key: key.to_string(),
            value: record.map(|r| r.encode()),
        };
        (self.mirror.unchanged(key), write)
    }
}

fn bytes_of((precondition, write): &(Precondition, Write)) -> usize {
    let value = write.value.as_ref().map_or(0, |v| v.len());
    precondition.key.len() + write.key.len() + value + FRAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Seed;
    use tidegate_protocol::{Address, NodeId, Role, RouteRecord};

    fn mirror() -> Mirror {
        let store = Address::new(NodeId(1), Role::Store, 0);
        Mirror::new(store, &[], &mut Seed(1).rng())
    }

    fn route(length: usize) -> (Key, Option<Record>) {
        let record = RouteRecord {
            project: "p".repeat(length),
            ..RouteRecord::default()
        };
        (Key::Route("a".into()), Some(Record::Route(record)))
    }

    #[test]
    fn a_write_weighs_its_key_twice_its_value_and_its_frame() {
        let mirror = mirror();
        let batch = Batch::new(&mirror);
        let (key, record) = route(10);
        let length = record.as_ref().unwrap().encode().len();
        assert_eq!(bytes_of(&batch.write(&key, record)), 7 + 7 + length + 32);
        assert_eq!(bytes_of(&batch.write(&key, None)), 7 + 7 + 32);
    }

    #[test]
    fn so_many_writes_fit_each_with_its_precondition() {
        let mirror = mirror();
        let mut batch = Batch::new(&mirror);
        batch.require(&Key::Lease);
        for id in 1..limits::TXN_OPS_MAX as u64 / 2 {
            assert!(batch.delete(Key::Version(id)));
        }
        assert!(!batch.is_full());
        assert!(!batch.delete(Key::Version(500)) && batch.is_full());

        let mut batch = Batch::new(&mirror);
        for id in 1..=limits::TXN_OPS_MAX as u64 / 2 {
            assert!(batch.delete(Key::Version(id)));
        }
        assert!(!batch.delete(Key::Version(500)));
        let txn = batch.finish().unwrap();
        assert_eq!(txn.preconditions.len() + txn.writes.len(), 256);
    }

    #[test]
    fn so_many_bytes_fit() {
        let mirror = mirror();
        let weight = |length| {
            let (key, record) = route(length);
            bytes_of(&Batch::new(&mirror).write(&key, record))
        };
        // Lengths of the same number of digits in the encoding.
        let rest = limits::TXN_BYTES_MAX - weight(20_000);
        let exact = 20_000 + rest - weight(20_000);
        let fill = |length| {
            let mut batch = Batch::new(&mirror);
            assert!(batch.add(vec![route(20_000)]));
            (batch.add(vec![route(length)]), batch.is_full())
        };
        assert_eq!(fill(exact), (true, false));
        assert_eq!(fill(exact + 1), (false, true));
        assert_eq!(fill(exact + 7), (false, true));
    }
}
