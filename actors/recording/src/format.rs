//! The bytes of a segment.
//!
//! A segment begins with [`MAGIC`] and the number of the format, and goes on in frames:
//!
//! | bytes | hold |
//! |---|---|
//! | 4 | length of the payload, little endian |
//! | 1 | kind |
//! | 2 | checksum of the five bytes before |
//! | 4 | checksum of the payload |
//! | length | payload |
//!
//! The first frame is the [`Header`], the second the snapshot; then each input is followed
//! by the digest of what it led to. Checksums are the low bits of XXH3-64; payloads are
//! postcard, which is compact and whose bytes follow from the types alone. The length has a
//! checksum of its own, so that a damaged length is never taken for the end of a file that
//! was cut off.

use serde::{Deserialize, Serialize};
use tidegate_kernel::Now;
use tidegate_protocol::Address;
use xxhash_rust::xxh3::xxh3_64;

use crate::StepDigest;

/// How every segment begins.
pub const MAGIC: [u8; 8] = *b"\x89TGREC\r\n";
/// The number of this format.
pub const FORMAT: u16 = 1;
/// Where the first frame begins.
pub const FRAMES_AT: usize = MAGIC.len() + 2;
/// Bytes of a frame before its payload.
pub const FRAME_HEAD: usize = 11;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Header = 1,
    Snapshot = 2,
    /// Both clocks, and an event.
    Event = 3,
    /// Both clocks, and a direct call.
    Call = 4,
    /// A [`StepDigest`] of the input before.
    Outcome = 5,
    /// An [`End`]; nothing follows.
    End = 6,
}

impl Kind {
    const ALL: [Kind; 6] = [
        Kind::Header,
        Kind::Snapshot,
        Kind::Event,
        Kind::Call,
        Kind::Outcome,
        Kind::End,
    ];
}

/// Whose segment it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub actor: Address,
    /// The build that wrote it: another one may keep another state, or decide otherwise.
    pub build: String,
    /// Which life of the actor in its process, from 0.
    pub life: u64,
    /// Number of the segment in this life, from 0.
    pub segment: u64,
    /// Inputs of this life before the snapshot.
    pub inputs_before: u64,
    /// How many of these are in no segment, because the disk could not keep up.
    pub inputs_lost: u64,
    /// Milliseconds since 1970-01-01 UTC, by the clock of the actor's host.
    pub begun_unix_ms: u64,
}

/// Why a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    /// The next segment goes on.
    Continued,
    /// The actor was ended.
    Stopped,
    /// The actor panicked in the last input.
    Panicked,
    /// The disk could not keep up; some inputs after this are in no segment.
    Gap,
}

/// Why bytes are no recording, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Byte offset from the beginning of the file.
    pub offset: usize,
    pub reason: String,
    /// It is only too short: it was cut off before there was anything to replay.
    pub is_cut_off: bool,
}

impl Malformed {
    pub fn new(offset: usize, reason: impl Into<String>) -> Self {
        Self {
            offset,
            reason: reason.into(),
            is_cut_off: false,
        }
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for Malformed {}

/// Appends the beginning of a segment.
pub(crate) fn put_preamble(to: &mut Vec<u8>) {
    to.extend_from_slice(&MAGIC);
    to.extend_from_slice(&FORMAT.to_le_bytes());
}

/// Appends a frame whose payload `fill` appends.
pub(crate) fn put_frame(
    to: &mut Vec<u8>,
    kind: Kind,
    fill: impl FnOnce(&mut Vec<u8>) -> postcard::Result<()>,
) -> postcard::Result<()> {
    let begin = to.len();
    to.extend_from_slice(&[0; FRAME_HEAD]);
    fill(to)?;
    let (before, payload) = to.split_at_mut(begin + FRAME_HEAD);
    let length = u32::try_from(payload.len()).map_err(|_| postcard::Error::SerializeBufferFull)?;
    let head = &mut before[begin..];
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4] = kind as u8;
    let check = xxh3_64(&head[..5]) as u16;
    head[5..7].copy_from_slice(&check.to_le_bytes());
    head[7..].copy_from_slice(&(xxh3_64(payload) as u32).to_le_bytes());
    Ok(())
}

/// Appends what `value` is in postcard.
pub(crate) fn put<T: Serialize + ?Sized>(to: &mut Vec<u8>, value: &T) -> postcard::Result<()> {
    postcard::serialize_with_flavor(value, Tail(to))
}

/// A frame with this payload.
///
/// # Errors
/// The payload is longer than 4 GiB.
pub fn frame(kind: Kind, payload: &[u8]) -> postcard::Result<Vec<u8>> {
    let mut frame = Vec::new();
    put_frame(&mut frame, kind, |to| {
        to.extend_from_slice(payload);
        Ok(())
    })?;
    Ok(frame)
}

/// The frame that ends a segment, for whoever must end one in the writer's place.
pub fn end_frame(end: End) -> Vec<u8> {
    let mut frame = Vec::new();
    // An `End` is one byte; its serialisation cannot fail.
    let _ = put_frame(&mut frame, Kind::End, |to| put(to, &end));
    frame
}

/// Lets postcard append to bytes that are there already.
pub(crate) struct Tail<'a>(pub(crate) &'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Tail<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.push(data);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// One frame of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: Kind,
    pub(crate) offset: usize,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Where the next frame begins.
    pub(crate) fn end(&self) -> usize {
        self.offset + FRAME_HEAD + self.payload.len()
    }

    /// The payload as a value, with nothing after it.
    pub(crate) fn value<T: Deserialize<'a>>(&self) -> Result<T, Malformed> {
        value(self.payload, self.offset + FRAME_HEAD, self.kind)
    }

    /// Both clocks, and what follows them.
    pub(crate) fn timed(&self) -> Result<(Now, &'a [u8]), Malformed> {
        let at = self.offset + FRAME_HEAD;
        postcard::take_from_bytes(self.payload)
            .map_err(|error| Malformed::new(at, format!("no time of an input: {error}")))
    }
}

pub(crate) fn value<'a, T: Deserialize<'a>>(
    payload: &'a [u8],
    at: usize,
    kind: Kind,
) -> Result<T, Malformed> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Malformed::new(
            at + payload.len() - rest.len(),
            format!("{} bytes too many in a {kind:?} frame", rest.len()),
        )),
        Err(error) => Err(Malformed::new(
            at,
            format!("a {kind:?} frame that this build cannot read: {error}"),
        )),
    }
}

/// The frame at an offset; `None`: the file was cut off there, before the frame was whole.
pub(crate) fn frame_at(bytes: &[u8], offset: usize) -> Result<Option<Frame<'_>>, Malformed> {
    let rest = &bytes[offset..];
    // A file system that lost power may leave zeros where the last bytes were to be.
    if rest.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let Some((head, rest)) = rest.split_at_checked(FRAME_HEAD) else {
        return Ok(None);
    };
    let check = u16::from_le_bytes([head[5], head[6]]);
    if check != xxh3_64(&head[..5]) as u16 {
        let reason = "the head of a frame is damaged: its checksum does not match";
        return Err(Malformed::new(offset, reason));
    }
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let Some(kind) = Kind::ALL.into_iter().find(|kind| *kind as u8 == head[4]) else {
        let reason = format!(
            "a frame of kind {}, which this build does not know",
            head[4]
        );
        return Err(Malformed::new(offset + 4, reason));
    };
    let Some(payload) = rest.get(..length) else {
        return Ok(None);
    };
    let check = u32::from_le_bytes([head[7], head[8], head[9], head[10]]);
    if check != xxh3_64(payload) as u32 {
        let reason = format!("a {kind:?} frame is damaged: its checksum does not match");
        return Err(Malformed::new(offset, reason));
    }
    Ok(Some(Frame {
        kind,
        offset,
        payload,
    }))
}

/// Appends the digest of a step.
pub(crate) fn put_outcome(to: &mut Vec<u8>, digest: StepDigest) -> postcard::Result<()> {
    put_frame(to, Kind::Outcome, |to| put(to, &digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_holds_its_payload_and_ends_where_the_next_begins() {
        let mut bytes = vec![9; 3];
        bytes.extend(frame(Kind::End, b"abc").unwrap());
        bytes.extend(frame(Kind::Outcome, b"").unwrap());
        let first = frame_at(&bytes, 3).unwrap().unwrap();
        assert_eq!((first.kind, first.payload), (Kind::End, &b"abc"[..]));
        let second = frame_at(&bytes, first.end()).unwrap().unwrap();
        assert_eq!((second.kind, second.payload), (Kind::Outcome, &b""[..]));
        assert_eq!(second.end(), bytes.len());
    }

    #[test]
    fn mistakes_are_named_at_their_place() {
        let place = |kind: &Frame<'_>| {
            let number = kind.value::<u8>().map_err(|error| error.offset);
            let time = kind.timed().map(drop).map_err(|error| error.offset);
            (number, time)
        };
        let at = |payload| Frame {
            kind: Kind::End,
            offset: 100,
            payload,
        };
        let begin = 100 + FRAME_HEAD;
        assert_eq!(place(&at(&[7])), (Ok(7), Err(begin)));
        assert_eq!(place(&at(&[7, 8, 9])), (Err(begin + 1), Ok(())));
        assert_eq!(place(&at(&[])), (Err(begin), Err(begin)));
    }

    #[test]
    fn a_kind_of_another_build_is_named_at_its_byte() {
        let mut bytes = vec![0; 5];
        bytes.extend(frame(Kind::End, b"").unwrap());
        bytes[5 + 4] = b'?';
        let check = xxh3_64(&bytes[5..10]) as u16;
        bytes[10..12].copy_from_slice(&check.to_le_bytes());
        let error = frame_at(&bytes, 5).unwrap_err();
        assert_eq!(error.offset, 9, "{error}");
    }
}
