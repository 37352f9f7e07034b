//! What the engine's records look like on disk.
//!
//! Numbers are big-endian, so that the order of keys is the order of revisions. A change of
//! anything here is a new format.

/// Key of the one record of the `head` keyspace.
pub(crate) const HEAD: &[u8] = b"head";

/// Key of the change at a position of a revision.
pub(crate) fn log_key(revision: u64, position: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&revision.to_be_bytes());
    key[8..].copy_from_slice(&position.to_be_bytes());
    key
}

/// Value of a key, with the revision that wrote it.
pub(crate) fn encode_record(revision: u64, value: &[u8]) -> Vec<u8> {
    [&revision.to_be_bytes(), value].concat()
}

/// Revision and value of a key.
pub(crate) fn decode_record(record: &[u8]) -> Option<(u64, &[u8])> {
    let (revision, value) = record.split_first_chunk()?;
    Some((u64::from_be_bytes(*revision), value))
}

/// Revision of a change.
pub(crate) fn decode_log_key(key: &[u8]) -> Option<u64> {
    let key: &[u8; 12] = key.try_into().ok()?;
    key.first_chunk().map(|head| u64::from_be_bytes(*head))
}

/// The store's revision, and the one up to which its log has forgotten.
pub(crate) fn encode_head(revision: u64, floor: u64) -> [u8; 16] {
    let mut head = [0; 16];
    head[..8].copy_from_slice(&revision.to_be_bytes());
    head[8..].copy_from_slice(&floor.to_be_bytes());
    head
}

/// Inverse of [`encode_head`].
pub(crate) fn decode_head(bytes: &[u8]) -> Option<(u64, u64)> {
    let (revision, floor) = bytes.split_first_chunk()?;
    let floor: &[u8; 8] = floor.try_into().ok()?;
    Some((u64::from_be_bytes(*revision), u64::from_be_bytes(*floor)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        assert_eq!(
            decode_record(&encode_record(7, b"value")),
            Some((7, &b"value"[..]))
        );
        assert_eq!(
            decode_record(&encode_record(u64::MAX, b"")),
            Some((u64::MAX, &[][..]))
        );
        assert_eq!(decode_record(&[0; 7]), None);
        assert_eq!(decode_head(&encode_head(9, 4)), Some((9, 4)));
        assert_eq!(decode_head(&[0; 15]), None);
        assert_eq!(decode_log_key(&log_key(8, 3)), Some(8));
        assert_eq!(decode_log_key(&[0; 8]), None);
    }

    #[test]
    fn the_log_is_in_commit_order() {
        assert!(log_key(1, u32::MAX) < log_key(2, 0));
        assert!(log_key(255, 0) < log_key(256, 0));
    }
}
