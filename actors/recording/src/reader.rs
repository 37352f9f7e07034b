//! Reads recordings back.
//!
//! A file is checked whole before any of it is used: every frame's checksum, and that the
//! frames come in an order that a writer makes. A file that simply ends is one that was cut
//! off, by a crash or a full disk, and is good up to there; anything else that is not as it
//! should be is refused with its place.

use tidegate_kernel::{Event, Now};

use crate::StepDigest;
use crate::format::{
    self, End, FORMAT, FRAME_HEAD, FRAMES_AT, Frame, Header, Kind, MAGIC, Malformed,
};

/// One input of a recording.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Number of the input in the actor's life, from 1.
    pub number: u64,
    /// Where its frame begins.
    pub offset: usize,
    pub now: Now,
    /// What was done; `None`: the recording ends in this step.
    pub done: Option<StepDigest>,
    kind: Kind,
    input: &'a [u8],
}

/// What an actor was given.
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time is read, and used at once"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum Input<C> {
    Event(Event),
    Call(C),
}

impl<'a> Step<'a> {
    /// The input; `C` is what this actor can be called with.
    ///
    /// # Errors
    /// This build cannot read it.
    pub fn input<C: serde::Deserialize<'a>>(&self) -> Result<Input<C>, Malformed> {
        let at = self.offset + FRAME_HEAD;
        match self.kind {
            Kind::Call => format::value(self.input, at, self.kind).map(Input::Call),
            _ => format::value(self.input, at, self.kind).map(Input::Event),
        }
    }
}

/// A segment, checked.
#[derive(Debug)]
pub struct Recording<'a> {
    header: Header,
    snapshot: &'a [u8],
    snapshot_at: usize,
    steps: Vec<Step<'a>>,
    end: Option<End>,
    length: usize,
}

impl<'a> Recording<'a> {
    /// Checks the bytes of a file.
    ///
    /// # Errors
    /// They are no recording, one of another format, damaged, or cut off before the end of
    /// the snapshot.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        check_preamble(bytes)?;
        let first = expect(bytes, FRAMES_AT, Kind::Header)?;
        let header: Header = first.value()?;
        let second = expect(bytes, first.end(), Kind::Snapshot)?;
        let mut recording = Self {
            snapshot: second.payload,
            snapshot_at: second.offset + FRAME_HEAD,
            steps: Vec::new(),
            end: None,
            length: second.end(),
            header,
        };
        while recording.length < bytes.len() {
            if recording.end.is_some() {
                let reason = "there is more after the end of the recording";
                return Err(Malformed::new(recording.length, reason));
            }
            let Some(frame) = format::frame_at(bytes, recording.length)? else {
                break;
            };
            recording.take(&frame)?;
            recording.length = frame.end();
        }
        Ok(recording)
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The bytes of the state before the first step.
    pub fn snapshot(&self) -> &'a [u8] {
        self.snapshot
    }

    /// Where they are in the file.
    pub fn snapshot_at(&self) -> usize {
        self.snapshot_at
    }

    pub fn steps(&self) -> &[Step<'a>] {
        &self.steps
    }

    /// Why it ends; `None`: it was cut off at [`Recording::length`].
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// Bytes that are good.
    pub fn length(&self) -> usize {
        self.length
    }

    fn take(&mut self, frame: &Frame<'a>) -> Result<(), Malformed> {
        let is_in_step = self.steps.last().is_some_and(|step| step.done.is_none());
        match frame.kind {
            Kind::Event | Kind::Call if !is_in_step => {
                let (now, input) = frame.timed()?;
                self.steps.push(Step {
                    number: self.header.inputs_before + self.steps.len() as u64 + 1,
                    offset: frame.offset,
                    now,
                    done: None,
                    kind: frame.kind,
                    input,
                });
                Ok(())
            }
            Kind::Outcome if is_in_step => {
                let done = frame.value()?;
                if let Some(step) = self.steps.last_mut() {
                    step.done = Some(done);
                }
                Ok(())
            }
            Kind::End => {
                self.end = Some(frame.value()?);
                Ok(())
            }
            kind => Err(Malformed::new(
                frame.offset,
                format!("a {kind:?} frame where none can be"),
            )),
        }
    }
}

fn check_preamble(bytes: &[u8]) -> Result<(), Malformed> {
    let known = bytes.len().min(MAGIC.len());
    if bytes[..known] != MAGIC[..known] {
        let reason = "this is no flight recording: it does not begin as one";
        return Err(Malformed::new(0, reason));
    }
    let Some(format) = bytes.get(MAGIC.len()..FRAMES_AT) else {
        return Err(too_short(bytes.len()));
    };
    let format = u16::from_le_bytes([format[0], format[1]]);
    if format != FORMAT {
        let reason = format!(
            "a recording of format {format}; this build reads format {FORMAT}: replay it with the build that wrote it"
        );
        return Err(Malformed::new(MAGIC.len(), reason));
    }
    Ok(())
}

fn expect(bytes: &[u8], offset: usize, kind: Kind) -> Result<Frame<'_>, Malformed> {
    match format::frame_at(bytes, offset)? {
        Some(frame) if frame.kind == kind => Ok(frame),
        Some(frame) => Err(Malformed::new(
            offset,
            format!("a {:?} frame instead of a {kind:?} frame", frame.kind),
        )),
        None => Err(too_short(bytes.len())),
    }
}

fn too_short(length: usize) -> Malformed {
    let reason =
        "the file was cut off before the end of its first snapshot; nothing can be replayed";
    Malformed {
        is_cut_off: true,
        ..Malformed::new(length, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{frame, put, put_frame, put_preamble};
    use tidegate_protocol::{Address, NodeId, Role};

    /// A header, a snapshot and then these frames.
    fn recording(frames: &[Vec<u8>]) -> Vec<u8> {
        let header = Header {
            actor: Address::new(NodeId(7), Role::Gateway, 3),
            build: "1.2.3".into(),
            life: 0,
            segment: 0,
            inputs_before: 5,
            inputs_lost: 0,
            begun_unix_ms: 0,
        };
        let mut bytes = Vec::new();
        put_preamble(&mut bytes);
        put_frame(&mut bytes, Kind::Header, |to| put(to, &header)).unwrap();
        bytes.extend(frame(Kind::Snapshot, b"state").unwrap());
        bytes.extend(frames.concat());
        bytes
    }

    fn event(input: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let fill = |to: &mut Vec<u8>| {
            put(to, &Now::at_ms(1))?;
            to.extend_from_slice(input);
            Ok(())
        };
        put_frame(&mut bytes, Kind::Event, fill).unwrap();
        bytes
    }

    fn outcome() -> Vec<u8> {
        let mut bytes = Vec::new();
        let done = StepDigest {
            effects: 1,
            hash: 2,
        };
        crate::format::put_outcome(&mut bytes, done).unwrap();
        bytes
    }

    #[test]
    fn the_snapshot_is_where_it_is_said_to_be() {
        let bytes = recording(&[]);
        let read = Recording::read(&bytes).unwrap();
        assert_eq!(read.snapshot(), b"state");
        assert_eq!(bytes[read.snapshot_at()..], *b"state");
        assert_eq!(read.length(), bytes.len());
    }

    #[test]
    fn an_input_that_cannot_be_read_is_named_at_its_bytes() {
        let bytes = recording(&[event(&[250])]);
        let read = Recording::read(&bytes).unwrap();
        let step = &read.steps()[0];
        assert_eq!((step.number, step.done), (6, None));
        let error = step.input::<()>().unwrap_err();
        assert_eq!(error.offset, step.offset + FRAME_HEAD);
    }

    #[test]
    fn frames_come_in_the_order_that_a_writer_makes() {
        let (event, outcome) = (event(&[0]), outcome());
        let whole = recording(&[event.clone(), outcome.clone(), event.clone()]);
        assert_eq!(Recording::read(&whole).unwrap().steps().len(), 2);
        for frames in [
            &[outcome.clone()][..],
            &[event.clone(), event.clone()],
            &[event, outcome.clone(), outcome],
        ] {
            let bytes = recording(frames);
            let error = Recording::read(&bytes).unwrap_err();
            assert!(error.reason.contains("where none can be"), "{error}");
        }
    }

    #[test]
    fn a_recording_begins_with_its_header() {
        let mut bytes = Vec::new();
        put_preamble(&mut bytes);
        bytes.extend(frame(Kind::Snapshot, b"").unwrap());
        let error = Recording::read(&bytes).unwrap_err();
        assert!(error.reason.contains("instead of"), "{error}");
        assert_eq!(error.offset, FRAMES_AT);
    }
}
