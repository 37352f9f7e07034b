//! Writes recordings while an actor runs.
//!
//! The writer stands between a host and its cell. It hands each input to its [`Out`] before
//! the actor gets it, so that an input that ends the process or never ends is on record, and
//! the digest of what was done afterwards. It begins a segment, with a snapshot, when the
//! present one is long enough that the snapshot is a small part of the whole.
//!
//! When the out has no room, the segment ends, inputs are counted as lost, and the next
//! segment begins as soon as the out is ready for one.

use serde::Serialize;
use tidegate_kernel::{Actor, Called, Cell, Event, Now, Sink};
use tidegate_protocol::Address;

use crate::digest::{Digesting, Done};
use crate::format::{self, End, Header, Kind, put, put_frame};

/// A segment goes on until its inputs take this many times the bytes of its snapshot.
const INPUTS_PER_SNAPSHOT: usize = 4;

/// Where recorded bytes go. Nothing here may wait.
pub trait Out {
    /// Whether [`Out::begin`] would take a segment now.
    fn is_ready(&self) -> bool;

    /// Begins a segment with these bytes. `inputs_lost` came since the former one.
    fn begin(&mut self, segment: Vec<u8>, inputs_lost: u64);

    /// Appends whole frames to the present segment; `false`: there is no room, and nothing
    /// was taken.
    fn append(&mut self, frames: &[u8]) -> bool;

    /// The actor cannot be recorded any more.
    fn give_up(&mut self, reason: &str);
}

/// How long segments are, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A segment with a small snapshot ends after this.
    pub segment_bytes: usize,
    /// Every segment ends after this. A state whose snapshot is larger is not recorded.
    pub segment_bytes_max: usize,
}

/// Who is recorded.
#[derive(Clone, Debug)]
pub struct Subject {
    pub actor: Address,
    pub build: String,
    pub life: u64,
}

/// Records one life of an actor. To be dropped when that ends: a drop in the middle of a
/// step, by a panic, ends the recording with the input that did it.
#[derive(Debug)]
pub struct Writer<O: Out> {
    out: O,
    subject: Subject,
    limits: Limits,
    /// Bytes of the present segment, and at how many it ends; `None`: there is none.
    open: Option<(usize, usize)>,
    has_given_up: bool,
    is_stepping: bool,
    segments: u64,
    inputs: u64,
    /// In no segment: in all, and since the last one.
    lost: (u64, u64),
    frame: Vec<u8>,
    done: Done,
}

impl<O: Out> Writer<O> {
    pub fn new(subject: Subject, limits: Limits, out: O) -> Self {
        Self {
            out,
            subject,
            limits,
            open: None,
            has_given_up: false,
            is_stepping: false,
            segments: 0,
            inputs: 0,
            lost: (0, 0),
            frame: Vec::new(),
            done: Done::default(),
        }
    }

    /// [`Cell::step`], recorded.
    pub fn step<A: Actor + Serialize>(
        &mut self,
        cell: &mut Cell<A>,
        now: Now,
        event: Event,
        sink: &mut impl Sink,
    ) {
        self.before(now, cell, Kind::Event, &event);
        let mut sink = Digesting {
            inner: sink,
            done: &mut self.done,
        };
        cell.step(now, event, &mut sink);
        self.after();
    }

    /// [`Cell::call`], recorded.
    #[inline]
    pub fn call<A: Called + Serialize>(
        &mut self,
        cell: &mut Cell<A>,
        now: Now,
        call: A::Call<'_>,
        sink: &mut impl Sink,
    ) -> A::Answer {
        self.before(now, cell, Kind::Call, &call);
        let mut sink = Digesting {
            inner: sink,
            done: &mut self.done,
        };
        let answer = cell.call(now, call, &mut sink);
        self.done.answer(&answer);
        self.after();
        answer
    }

    #[inline]
    fn before<A: Serialize, T: Serialize>(
        &mut self,
        now: Now,
        cell: &Cell<A>,
        kind: Kind,
        input: &T,
    ) {
        self.done.begin();
        if self.open.is_none_or(|(bytes, until)| bytes >= until)
            && !self.has_given_up
            && self.out.is_ready()
        {
            self.begin_segment(now, cell);
        }
        self.inputs += 1;
        self.is_stepping = true;
        self.append(|frame| {
            put_frame(frame, kind, |to| {
                put(to, &now)?;
                put(to, input)
            })
        });
        if self.open.is_none() {
            self.lost.0 += 1;
            self.lost.1 += 1;
        }
    }

    #[inline]
    fn after(&mut self) {
        self.is_stepping = false;
        let digest = self.done.digest();
        self.append(|frame| format::put_outcome(frame, digest));
    }

    /// Appends a frame to the present segment, if there is one, and ends it when that is
    /// impossible.
    #[inline]
    fn append(&mut self, make: impl FnOnce(&mut Vec<u8>) -> postcard::Result<()>) {
        let Some((bytes, _)) = &mut self.open else {
            return;
        };
        self.frame.clear();
        if make(&mut self.frame).is_ok() && self.out.append(&self.frame) {
            *bytes += self.frame.len();
        } else {
            self.open = None;
        }
    }

    fn begin_segment<A: Serialize>(&mut self, now: Now, cell: &Cell<A>) {
        self.end(End::Continued);
        let header = Header {
            actor: self.subject.actor,
            build: self.subject.build.clone(),
            life: self.subject.life,
            segment: self.segments,
            inputs_before: self.inputs,
            inputs_lost: self.lost.0,
            begun_unix_ms: now.wall.unix_ms,
        };
        let mut segment = Vec::new();
        format::put_preamble(&mut segment);
        let written = put_frame(&mut segment, Kind::Header, |to| put(to, &header))
            .and_then(|()| put_frame(&mut segment, Kind::Snapshot, |to| put(to, cell)));
        let bytes = segment.len();
        if let Err(error) = written {
            self.give_up(&format!("its state cannot be written: {error}"));
        } else if bytes >= self.limits.segment_bytes_max {
            self.give_up(&format!(
                "its state takes {bytes} bytes, and a segment may take {}",
                self.limits.segment_bytes_max
            ));
        } else {
            let until = (bytes * (1 + INPUTS_PER_SNAPSHOT))
                .max(self.limits.segment_bytes)
                .min(self.limits.segment_bytes_max);
            self.open = Some((bytes, until));
            self.segments += 1;
            self.out.begin(segment, self.lost.1);
            self.lost.1 = 0;
        }
    }

    /// Ends the recording, and gives back what has it.
    pub fn finish(&mut self) -> O
    where
        O: Default,
    {
        self.end(End::Stopped);
        self.has_given_up = true;
        std::mem::take(&mut self.out)
    }

    fn give_up(&mut self, reason: &str) {
        self.has_given_up = true;
        self.out.give_up(reason);
    }

    fn end(&mut self, end: End) {
        if self.open.is_some() {
            // Without room for it, the file looks cut off here, and is.
            self.out.append(&format::end_frame(end));
            self.open = None;
        }
    }
}

impl<O: Out> Drop for Writer<O> {
    fn drop(&mut self) {
        self.end(match self.is_stepping {
            true => End::Panicked,
            false => End::Stopped,
        });
    }
}
