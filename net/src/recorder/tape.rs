//! What is between an actor's thread and the disk's.
//!
//! Frames go through a ring of bytes; what is large (snapshots, parts of blobs) goes beside
//! it, with the place at which it belongs. Both are bounded.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use rtrb::{Consumer, Producer, RingBuffer};
use tidegate_protocol::Address;
use tidegate_recording::Out;

/// Bytes that may wait in the ring. At 60 bytes for each half of a request, a gateway thread
/// fills this in a hundred milliseconds at 80,000 requests a second.
const RING_BYTES: usize = 1 << 20;
/// What is longer goes beside the ring.
const LARGE: usize = RING_BYTES / 16;
/// Bytes that may wait beside the ring. A segment may begin while there are none.
const BESIDE_BYTES_MAX: usize = 16 << 20;

/// What both ends know.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Bytes that wait beside the ring.
    beside: AtomicUsize,
    /// Nothing can be written for now.
    pub(super) is_resting: AtomicBool,
    /// The present segment has lost its file.
    pub(super) is_broken: AtomicBool,
}

/// Something large, and the number of ring bytes before it.
#[derive(Debug)]
pub(super) struct Piece {
    at: u64,
    pub(super) bytes: Vec<u8>,
    /// It begins a segment, so many inputs after the end of the former one.
    pub(super) begins_after: Option<u64>,
}

/// The actor's end.
#[derive(Debug)]
pub(crate) struct Tape {
    actor: Address,
    ring: Producer<u8>,
    pieces: mpsc::Sender<Piece>,
    shared: Arc<Shared>,
    passed: u64,
}

/// The disk's end.
#[derive(Debug)]
pub(super) struct Reel {
    pub(super) actor: Address,
    ring: Consumer<u8>,
    pieces: mpsc::Receiver<Piece>,
    known: VecDeque<Piece>,
    pub(super) shared: Arc<Shared>,
    passed: u64,
}

/// A tape and its reel.
pub(super) fn new(actor: Address) -> (Tape, Reel) {
    let (producer, consumer) = RingBuffer::new(RING_BYTES);
    let (sender, receiver) = mpsc::channel();
    let shared = Arc::<Shared>::default();
    let tape = Tape {
        actor,
        ring: producer,
        pieces: sender,
        shared: Arc::clone(&shared),
        passed: 0,
    };
    let reel = Reel {
        actor,
        ring: consumer,
        pieces: receiver,
        known: VecDeque::new(),
        shared,
        passed: 0,
    };
    (tape, reel)
}

impl Tape {
    fn put_beside(&mut self, bytes: Vec<u8>, begins_after: Option<u64>) -> bool {
        self.shared.beside.fetch_add(bytes.len(), Ordering::Relaxed);
        let at = self.passed;
        let piece = Piece {
            at,
            bytes,
            begins_after,
        };
        self.pieces.send(piece).is_ok()
    }
}

impl Out for Tape {
    fn is_ready(&self) -> bool {
        !self.shared.is_resting.load(Ordering::Relaxed)
            && !self.ring.is_abandoned()
            && self.shared.beside.load(Ordering::Relaxed) == 0
            && self.ring.slots() >= RING_BYTES / 2
    }

    fn begin(&mut self, segment: Vec<u8>, inputs_lost: u64) {
        self.shared.is_broken.store(false, Ordering::Relaxed);
        self.put_beside(segment, Some(inputs_lost));
    }

    #[inline]
    fn append(&mut self, frames: &[u8]) -> bool {
        if self.shared.is_broken.load(Ordering::Relaxed) {
            return false;
        }
        if frames.len() <= LARGE {
            let taken = self.ring.push_entire_slice(frames).is_ok();
            self.passed += if taken { frames.len() as u64 } else { 0 };
            return taken;
        }
        let waiting = self.shared.beside.load(Ordering::Relaxed);
        waiting + frames.len() <= BESIDE_BYTES_MAX && self.put_beside(frames.to_vec(), None)
    }

    fn give_up(&mut self, reason: &str) {
        tracing::warn!(actor = %self.actor, reason, "the actor is recorded no more; give --record-bytes more");
    }
}

impl Reel {
    /// Whether the tape is gone; what it put there before may still be to be taken.
    pub(super) fn is_abandoned(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// Hands over what is there, in order: bytes of the ring to `frames`, all else to
    /// `piece`.
    pub(super) fn take<T>(
        &mut self,
        to: &mut T,
        mut frames: impl FnMut(&mut T, &[u8]),
        mut piece: impl FnMut(&mut T, Piece),
    ) {
        loop {
            // A piece was sent before the bytes after it, so whatever belongs before any of
            // these bytes is found after they have been seen.
            let there = self.ring.slots();
            self.known.extend(self.pieces.try_iter());
            let before = self.known.front().map_or(u64::MAX, |p| p.at - self.passed);
            let count = usize::try_from(before).map_or(there, |before| there.min(before));
            if count > 0
                && let Ok(chunk) = self.ring.read_chunk(count)
            {
                let (first, second) = chunk.as_slices();
                frames(to, first);
                frames(to, second);
                chunk.commit_all();
                self.passed += count as u64;
            } else if self.known.front().is_some_and(|p| p.at == self.passed)
                && let Some(next) = self.known.pop_front()
            {
                let length = next.bytes.len();
                piece(to, next);
                self.shared.beside.fetch_sub(length, Ordering::Relaxed);
            } else {
                return;
            }
        }
    }
}
