//! A reader's place in a version's log.
//!
//! Seventeen bytes that are opaque to everyone else: a format number, the log's identity and
//! a position in it. The identity tells a log from one that had to be begun anew, and from
//! those of other hosts and versions. Cursors come back from outside, so any bytes at all are
//! safe to parse, and those that mean nothing mean "the last lines".

use tidegate_protocol::Bytes;

const FORMAT: u8 = 1;
const BYTES: usize = 17;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// Identity of the log; 0: there was none yet, so whatever comes is new.
    pub log: u64,
    pub position: u64,
}

impl Cursor {
    /// Before the first line of a log that does not exist yet.
    pub(crate) const BEFORE_ANYTHING: Cursor = Cursor {
        log: 0,
        position: 0,
    };

    pub(crate) fn encode(self) -> Bytes {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.push(FORMAT);
        bytes.extend(self.log.to_be_bytes());
        bytes.extend(self.position.to_be_bytes());
        Bytes::from(bytes)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Cursor> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| bytes[at..at + 8].try_into().map(u64::from_be_bytes).ok();
        (bytes[0] == FORMAT).then_some(Cursor {
            log: number(1)?,
            position: number(9)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_refuses_the_rest() {
        let cursor = Cursor {
            log: u64::MAX - 5,
            position: 77,
        };
        assert_eq!(Cursor::parse(&cursor.encode()), Some(cursor));
        assert_eq!(Cursor::parse(b""), None);
        assert_eq!(Cursor::parse(b"seventeen bytes!!"), None);
        assert_eq!(Cursor::parse(&[1; 18]), None);
    }
}
