//! How entries are cut into messages.

use tidegate_protocol::FeedEntry;

/// Tags, lengths and the revision of an encoded entry, at most.
const ENTRY_OVERHEAD_BYTES: usize = 24;

/// Cuts a snapshot into parts of at most `bytes_max`, or of one entry. At least one part.
pub(crate) fn by_bytes(entries: Vec<FeedEntry>, bytes_max: usize) -> Vec<Vec<FeedEntry>> {
    cut(entries, bytes_max, |_, _| true)
}

/// Cuts changes in commit order into messages of at most `bytes_max`, or of one commit. At
/// least one message.
pub(crate) fn by_commit(entries: Vec<FeedEntry>, bytes_max: usize) -> Vec<Vec<FeedEntry>> {
    cut(entries, bytes_max, |before, after| {
        before.revision != after.revision
    })
}

fn cut(
    entries: Vec<FeedEntry>,
    bytes_max: usize,
    may_part: impl Fn(&FeedEntry, &FeedEntry) -> bool,
) -> Vec<Vec<FeedEntry>> {
    if entries.iter().map(size).sum::<usize>() <= bytes_max {
        return vec![entries];
    }
    // Entries that have to stay together go into a message together.
    let mut groups: Vec<Vec<FeedEntry>> = Vec::new();
    for entry in entries {
        match groups.last_mut() {
            Some(group) if group.last().is_some_and(|last| !may_part(last, &entry)) => {
                group.push(entry);
            }
            _ => groups.push(vec![entry]),
        }
    }
    let mut messages: Vec<Vec<FeedEntry>> = Vec::new();
    let mut filled = 0;
    for group in groups {
        let bytes: usize = group.iter().map(size).sum();
        match messages.last_mut() {
            Some(message) if filled + bytes <= bytes_max => {
                filled += bytes;
                message.extend(group);
            }
            _ => {
                filled = bytes;
                messages.push(group);
            }
        }
    }
    messages
}

fn size(entry: &FeedEntry) -> usize {
    let value = entry.value.as_ref().map_or(0, |value| value.len());
    entry.key.len() + value + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries of 100 bytes each, at the given revisions.
    fn entries(revisions: &[u64]) -> Vec<FeedEntry> {
        revisions
            .iter()
            .map(|&revision| FeedEntry {
                key: "k".into(),
                value: Some(vec![0; 100 - 1 - ENTRY_OVERHEAD_BYTES].into()),
                revision,
            })
            .collect()
    }

    fn revisions(messages: Vec<Vec<FeedEntry>>) -> Vec<Vec<u64>> {
        messages
            .into_iter()
            .map(|m| m.into_iter().map(|e| e.revision).collect())
            .collect()
    }

    #[test]
    fn a_commit_is_never_split() {
        let check = |given: &[u64], expected: Vec<Vec<u64>>| {
            assert_eq!(revisions(by_commit(entries(given), 250)), expected);
        };
        check(&[], vec![vec![]]);
        check(&[1, 2], vec![vec![1, 2]]);
        check(&[1, 2, 3, 4, 5], vec![vec![1, 2], vec![3, 4], vec![5]]);
        check(&[1, 2, 2, 3], vec![vec![1], vec![2, 2], vec![3]]);
        check(&[1, 1, 1, 1, 2], vec![vec![1, 1, 1, 1], vec![2]]);
    }

    #[test]
    fn a_snapshot_is_split_anywhere() {
        assert_eq!(
            revisions(by_bytes(entries(&[1, 1, 1, 7, 2]), 250)),
            [vec![1, 1], vec![1, 7], vec![2]]
        );
        assert_eq!(revisions(by_bytes(entries(&[]), 250)), [vec![0; 0]]);
        assert_eq!(revisions(by_bytes(entries(&[1, 2]), 1)), [[1], [2]]);
    }

    #[test]
    fn a_message_is_filled_up_to_its_bytes() {
        let filled = by_bytes(entries(&[1, 2, 3, 4, 5, 6, 7]), 350);
        assert_eq!(revisions(filled), [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
    }

    #[test]
    fn an_entry_weighs_its_key_its_value_and_their_frame() {
        let entry = |value: Option<Vec<u8>>| FeedEntry {
            key: "abc".into(),
            value: value.map(Into::into),
            revision: 1,
        };
        assert_eq!(size(&entry(Some(vec![0; 10]))), 3 + 10 + 24);
        assert_eq!(size(&entry(None)), 3 + 24);
    }
}
