//! Whether a transaction may be applied.
//!
//! A transaction is refused for its size before anything is looked up, then its
//! preconditions are compared with the revisions of their keys. Nothing here writes.

use tidegate_kernel::CommitOutcome;
use tidegate_protocol::Txn;
use tidegate_protocol::limits::{ENVELOPE_BYTES_MAX, KEY_BYTES_MAX, TXN_OPS_MAX, VALUE_BYTES_MAX};

/// Bytes of keys and values that one transaction may write. All entries of a revision travel
/// in one envelope; the other half of it is room for framing.
pub const TXN_BYTES_MAX: usize = ENVELOPE_BYTES_MAX / 2;

/// Why the transaction must not be applied, or `None`: apply it. `revision_of` gives the
/// revision of a key as the transaction sees it, 0 when it does not exist.
pub fn judge<E>(
    txn: &Txn,
    mut revision_of: impl FnMut(&str) -> Result<u64, E>,
) -> Result<Option<CommitOutcome>, E> {
    if let Some(reason) = too_large(txn) {
        return Ok(Some(CommitOutcome::Refused(reason)));
    }
    for precondition in &txn.preconditions {
        if revision_of(&precondition.key)? != precondition.revision {
            return Ok(Some(CommitOutcome::Conflict(precondition.key.clone())));
        }
    }
    Ok(None)
}

fn too_large(txn: &Txn) -> Option<String> {
    let ops = txn.preconditions.len() + txn.writes.len();
    if ops > TXN_OPS_MAX {
        return Some(format!(
            "the transaction has {ops} preconditions and writes; at most {TXN_OPS_MAX} are taken"
        ));
    }
    let read = txn.preconditions.iter().map(|p| &p.key);
    let written = txn.writes.iter().map(|w| &w.key);
    if let Some(reason) = read.chain(written).find_map(|key| bad_key(key)) {
        return Some(reason);
    }
    let mut bytes = 0;
    for write in &txn.writes {
        let length = write.value.as_ref().map_or(0, |value| value.len());
        if length > VALUE_BYTES_MAX {
            return Some(format!(
                "the value of `{}` has {length} bytes; at most {VALUE_BYTES_MAX} are taken",
                write.key
            ));
        }
        bytes += write.key.len() + length;
    }
    if bytes > TXN_BYTES_MAX {
        return Some(format!(
            "the transaction writes {bytes} bytes; at most {TXN_BYTES_MAX} are taken"
        ));
    }
    written_twice(txn).map(|key| format!("the transaction writes `{key}` twice"))
}

fn bad_key(key: &str) -> Option<String> {
    if key.is_empty() {
        return Some("a key of the transaction is empty".to_owned());
    }
    if key.len() > KEY_BYTES_MAX {
        let head: String = key.chars().take(32).collect();
        return Some(format!(
            "the key `{head}…` has {} bytes; at most {KEY_BYTES_MAX} are taken",
            key.len()
        ));
    }
    None
}

fn written_twice(txn: &Txn) -> Option<&str> {
    if txn.writes.len() < 2 {
        return None;
    }
    let mut keys: Vec<&str> = txn.writes.iter().map(|w| w.key.as_str()).collect();
    keys.sort_unstable();
    keys.windows(2).find(|w| w[0] == w[1]).map(|w| w[0])
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::{Bytes, Precondition, Write};

    use super::*;

    fn write(key: &str, bytes: usize) -> Write {
        Write {
            key: key.into(),
            value: Some(Bytes::from(vec![0; bytes])),
        }
    }

    fn check(writes: Vec<Write>, expected: Option<&str>) {
        let txn = Txn {
            preconditions: Vec::new(),
            writes,
        };
        let verdict = judge(&txn, |_| Ok::<_, ()>(0));
        assert_eq!(
            verdict,
            Ok(expected.map(|reason| CommitOutcome::Refused(reason.into())))
        );
    }

    #[test]
    fn limits_are_inclusive() {
        check(vec![write("k", VALUE_BYTES_MAX)], None);
        check(vec![write(&"k".repeat(KEY_BYTES_MAX), 1)], None);
        check(
            (0..TXN_OPS_MAX)
                .map(|i| write(&format!("k{i}"), 1))
                .collect(),
            None,
        );
    }

    #[test]
    fn what_is_too_large_is_named() {
        check(
            vec![write("k", VALUE_BYTES_MAX + 1)],
            Some("the value of `k` has 65537 bytes; at most 65536 are taken"),
        );
        check(
            vec![write(&"k".repeat(KEY_BYTES_MAX + 1), 1)],
            Some(&format!(
                "the key `{}…` has 513 bytes; at most 512 are taken",
                "k".repeat(32)
            )),
        );
        check(
            (0..=TXN_OPS_MAX)
                .map(|i| write(&format!("k{i}"), 1))
                .collect(),
            Some("the transaction has 257 preconditions and writes; at most 256 are taken"),
        );
        check(
            (0..9)
                .map(|i| write(&format!("k{i}"), VALUE_BYTES_MAX))
                .collect(),
            Some("the transaction writes 589842 bytes; at most 524288 are taken"),
        );
        check(
            vec![write("", 1)],
            Some("a key of the transaction is empty"),
        );
        check(
            vec![write("k", 1), write("l", 1), write("k", 1)],
            Some("the transaction writes `k` twice"),
        );
    }

    #[test]
    fn the_first_precondition_that_fails_is_named() {
        let expect = |key: &str, revision| Precondition {
            key: key.into(),
            revision,
        };
        let txn = Txn {
            preconditions: vec![expect("a", 7), expect("b", 1), expect("c", 2)],
            writes: Vec::new(),
        };
        assert_eq!(
            judge(&txn, |_| Ok::<_, ()>(7)),
            Ok(Some(CommitOutcome::Conflict("b".into())))
        );
    }

    #[test]
    fn the_bytes_of_all_writes_may_be_as_many_as_the_limit() {
        let value = TXN_BYTES_MAX / 16 - 3;
        let writes = |last| {
            (10..26)
                .map(|i| write(&format!("k{i}"), value + usize::from(last && i == 25)))
                .collect()
        };
        check(writes(false), None);
        check(
            writes(true),
            Some("the transaction writes 524289 bytes; at most 524288 are taken"),
        );
    }

    #[test]
    fn two_writes_of_one_key_are_refused() {
        check(
            vec![write("k", 1), write("k", 1)],
            Some("the transaction writes `k` twice"),
        );
    }
}
