//! Where a piece of the change log ends, and which prefixes a snapshot walks.

use tidegate_protocol::FeedEntry;

use crate::Feed;

/// Bytes that an entry takes besides its key and value.
const ENTRY_OVERHEAD_BYTES: usize = 16;

/// Cuts the changes that follow some revision into a [`Feed`] of at most `bytes_max`, but
/// never inside a revision and never before the first. `head` is the engine's revision,
/// reached when `changes` ends.
pub fn cut_feed<E>(
    head: u64,
    bytes_max: usize,
    changes: impl Iterator<Item = Result<FeedEntry, E>>,
) -> Result<Feed, E> {
    let mut entries: Vec<FeedEntry> = Vec::new();
    let mut bytes = 0;
    // Where the revision that is being taken begins in `entries`.
    let mut begins = 0;
    let mut revision = 0;
    for change in changes {
        let entry = change?;
        if entry.revision != revision {
            revision = entry.revision;
            begins = entries.len();
        }
        bytes += weight(&entry);
        if bytes > bytes_max && begins > 0 {
            entries.truncate(begins);
            return Ok(Feed {
                entries,
                revision: revision - 1,
                gone: false,
            });
        }
        entries.push(entry);
    }
    Ok(Feed {
        entries,
        revision: head,
        gone: false,
    })
}

fn weight(entry: &FeedEntry) -> usize {
    let value = entry.value.as_ref().map_or(0, |value| value.len());
    entry.key.len() + value + ENTRY_OVERHEAD_BYTES
}

/// The prefixes in order, without those that another one covers: walking them one after the
/// other meets every key once, in order.
pub fn distinct_prefixes(prefixes: &[String]) -> Vec<&str> {
    let mut sorted: Vec<&str> = prefixes.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let mut distinct: Vec<&str> = Vec::new();
    for prefix in sorted {
        if !distinct.last().is_some_and(|last| prefix.starts_with(last)) {
            distinct.push(prefix);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(revision: u64, bytes: usize) -> FeedEntry {
        FeedEntry {
            key: "k".repeat(bytes - ENTRY_OVERHEAD_BYTES),
            value: None,
            revision,
        }
    }

    fn check(bytes_max: usize, revisions: &[u64], reached: u64) {
        let log = [entry(2, 20), entry(4, 20), entry(4, 20), entry(5, 20)];
        let feed = cut_feed(7, bytes_max, log.into_iter().map(Ok::<_, ()>)).unwrap();
        let got: Vec<u64> = feed.entries.iter().map(|e| e.revision).collect();
        assert_eq!((got.as_slice(), feed.revision), (revisions, reached));
    }

    #[test]
    fn a_feed_is_cut_between_revisions() {
        check(0, &[2], 3);
        check(20, &[2], 3);
        check(59, &[2], 3);
        check(60, &[2, 4, 4], 4);
        check(79, &[2, 4, 4], 4);
        check(80, &[2, 4, 4, 5], 7);
    }

    #[test]
    fn covered_prefixes_are_dropped() {
        let prefixes = ["b/", "a/x", "a/", "b/", "c"].map(String::from);
        assert_eq!(distinct_prefixes(&prefixes), ["a/", "b/", "c"]);
        assert_eq!(distinct_prefixes(&["a".into(), String::new()]), [""]);
        assert!(distinct_prefixes(&[]).is_empty());
    }
}
