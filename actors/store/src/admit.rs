//! What a message asks of the store, weighed before anything is done for it.

use serde::{Deserialize, Serialize};
use tidegate_protocol::{Txn, limits};

/// A transaction and what it holds of the queue's bytes.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Admitted {
    pub(crate) txn: Txn,
    /// Bytes of its keys and values.
    pub(crate) bytes: usize,
}

/// Prefixes that one subscription may name.
const PREFIXES_MAX: usize = 64;

/// Weighs a transaction. What it holds is judged by the engine.
pub(crate) fn admit(txn: Option<Txn>) -> Result<Admitted, String> {
    let txn = txn.ok_or("the commit carries no transaction; send one")?;
    let preconditions = txn.preconditions.iter().map(|p| p.key.len());
    let writes = txn
        .writes
        .iter()
        .map(|w| w.key.len() + w.value.as_ref().map_or(0, |value| value.len()));
    let bytes = preconditions.chain(writes).sum();
    Ok(Admitted { txn, bytes })
}

/// Sorts the prefixes of a subscription and drops those that another covers, so that each
/// key matches at most one.
pub(crate) fn prefixes(mut prefixes: Vec<String>) -> Result<Vec<String>, String> {
    if prefixes.is_empty() {
        return Err("a subscription names no prefix; name one, or \"\" for all keys".to_owned());
    }
    if prefixes.len() > PREFIXES_MAX {
        return Err(format!(
            "a subscription names {} prefixes; at most {PREFIXES_MAX} fit",
            prefixes.len()
        ));
    }
    if let Some(long) = prefixes.iter().find(|p| p.len() > limits::KEY_BYTES_MAX) {
        return Err(format!(
            "a prefix has {} bytes; at most {} fit",
            long.len(),
            limits::KEY_BYTES_MAX
        ));
    }
    prefixes.sort_unstable();
    prefixes.dedup_by(|next, kept| next.starts_with(kept.as_str()));
    Ok(prefixes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_protocol::{Precondition, Write};

    #[test]
    fn a_transaction_weighs_its_keys_and_values() {
        let txn = Txn {
            preconditions: vec![Precondition {
                key: "abc".into(),
                revision: 1,
            }],
            writes: vec![
                Write {
                    key: "k".into(),
                    value: Some(vec![0; 10].into()),
                },
                Write {
                    key: "gone".into(),
                    value: None,
                },
            ],
        };
        assert_eq!(admit(Some(txn)).map(|a| a.bytes), Ok(3 + 1 + 10 + 4));
        assert!(admit(None).is_err());
    }

    #[test]
    fn a_covered_prefix_is_dropped() {
        let given = |list: &[&str]| prefixes(list.iter().map(|p| (*p).to_owned()).collect());
        assert_eq!(
            given(&["slot/", "ack/12", "ack/1", "slot/", "ack/2"]),
            Ok(vec!["ack/1".into(), "ack/2".into(), "slot/".into()])
        );
        assert_eq!(given(&["slot/", ""]), Ok(vec![String::new()]));
        assert!(given(&[]).is_err());
        assert!(prefixes(vec!["p".into(); PREFIXES_MAX + 1]).is_err());
        assert!(prefixes(vec!["p".repeat(limits::KEY_BYTES_MAX + 1)]).is_err());
    }

    #[test]
    fn a_subscription_may_be_as_large_as_its_limits() {
        let many: Vec<String> = (0..PREFIXES_MAX).map(|n| format!("{n:02}/")).collect();
        assert_eq!(prefixes(many.clone()), Ok(many));
        assert!(prefixes(vec!["p".repeat(limits::KEY_BYTES_MAX)]).is_ok());
    }
}
