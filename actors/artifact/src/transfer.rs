//! One blob on its way: a small window of chunks, appended in order.
//!
//! The first chunk tells the size; then up to a window of chunks is outstanding beyond what
//! was appended, so that what arrives early is bounded by the window. When nothing new has
//! come for a while, everything outstanding is asked for again. Whom to ask is not decided
//! here: bytes of a digest are the same everywhere, so a transfer goes on where another
//! source left it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Backoff, Duration, Now, Rng, Time};
use tidegate_protocol::{Bytes, limits};

/// Silence after which outstanding chunks are asked for again.
const RETRY: Duration = Duration::from_secs(2);
/// While the silence lasts, the next waits double from half of this on.
const RETRY_SECOND: Duration = Duration::from_secs(4);
const RETRY_MAX: Duration = Duration::from_secs(16);
/// Times in a row that nothing came before the transfer is given up.
const RETRIES_MAX: u32 = 4;
/// Chunks outstanding or held back.
const WINDOW: u64 = 4;
const CHUNK: u64 = limits::BLOB_CHUNK_BYTES as u64;

/// A piece of a blob to ask for: offset and bytes at most.
pub(crate) type Piece = (u64, u32);

/// What a chunk led to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes to append, in order, each with its offset.
    pub(crate) ready: Vec<(u64, Bytes)>,
    pub(crate) ask: Vec<Piece>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Transfer {
    total: Option<u64>,
    appended: u64,
    /// First byte that was not asked for yet.
    next: u64,
    outstanding: BTreeMap<u64, u32>,
    early: BTreeMap<u64, Bytes>,
    backoff: Backoff,
    retry_at: Time,
    finishing: bool,
}

impl Transfer {
    /// Begins; the piece is to be asked for.
    pub(crate) fn begin(now: Now) -> (Self, Piece) {
        let transfer = Self {
            total: None,
            appended: 0,
            next: CHUNK,
            outstanding: BTreeMap::from([(0, CHUNK as u32)]),
            early: BTreeMap::new(),
            backoff: Backoff::new(RETRY_SECOND, RETRY_MAX),
            retry_at: now.mono + RETRY,
            finishing: false,
        };
        (transfer, (0, CHUNK as u32))
    }

    /// When silence has lasted too long; `None` while nothing is outstanding.
    pub(crate) fn deadline(&self) -> Option<Time> {
        (!self.finishing).then_some(self.retry_at)
    }

    /// Every byte was handed out to be appended, and the blob store has the word.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing
    }

    /// Takes a chunk that was asked for. One that nobody waits for, or of another size of
    /// the blob, changes nothing.
    pub(crate) fn on_data(&mut self, now: Now, offset: u64, total: u64, data: Bytes) -> Taken {
        let other_size = self.total.is_some_and(|known| known != total) || offset > total;
        let Some(&length) = self.outstanding.get(&offset).filter(|_| !other_size) else {
            return Taken::default();
        };
        let wanted = u64::from(length).min(total - offset);
        let came = wanted.min(data.len() as u64);
        if came == 0 && wanted > 0 {
            return Taken::default();
        }
        self.outstanding.remove(&offset);
        self.total = Some(total);
        self.backoff.reset();
        self.retry_at = now.mono + RETRY;
        self.early.insert(offset, data.slice(..came as usize));
        let ready = self.ready(total);
        let mut ask = Vec::new();
        if came < wanted {
            // It came short: the rest is outstanding still.
            ask.push((offset + came, (wanted - came) as u32));
        }
        while self.next < total.min(self.appended + WINDOW * CHUNK) {
            let length = CHUNK.min(total - self.next);
            ask.push((self.next, length as u32));
            self.next += length;
        }
        self.outstanding.extend(ask.iter().copied());
        Taken { ready, ask }
    }

    fn ready(&mut self, total: u64) -> Vec<(u64, Bytes)> {
        let mut ready = Vec::new();
        while let Some(data) = self.early.remove(&self.appended) {
            let at = self.appended;
            self.appended += data.len() as u64;
            ready.push((at, data));
            if self.appended == total {
                self.finishing = true;
                break;
            }
        }
        ready
    }

    /// Another source takes over: everything outstanding, to be asked of it.
    pub(crate) fn on_other_source(&mut self, now: Now) -> Vec<Piece> {
        self.retry_at = now.mono + RETRY;
        self.outstanding()
    }

    /// Nothing came until the deadline: everything outstanding, to be asked for again, or
    /// `None` when it is time to give up.
    pub(crate) fn on_silence(&mut self, now: Now, rng: &mut Rng) -> Option<Vec<Piece>> {
        let wait = self.backoff.fail(rng);
        if self.backoff.failures() > RETRIES_MAX {
            return None;
        }
        self.retry_at = now.mono + wait;
        Some(self.outstanding())
    }

    fn outstanding(&self) -> Vec<Piece> {
        self.outstanding.iter().map(|(o, l)| (*o, *l)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Seed;

    const C: u64 = CHUNK;

    fn bytes(length: u64) -> Bytes {
        vec![1; length as usize].into()
    }

    /// Delivers a chunk; returns (offset, length) of what is appended, and what is asked for.
    fn take(
        t: &mut Transfer,
        offset: u64,
        total: u64,
        length: u64,
    ) -> (Vec<(u64, u64)>, Vec<Piece>) {
        let taken = t.on_data(Now::at_ms(0), offset, total, bytes(length));
        let ready = taken.ready.into_iter().map(|(o, d)| (o, d.len() as u64));
        (ready.collect(), taken.ask)
    }

    fn begin() -> Transfer {
        let (transfer, piece) = Transfer::begin(Now::at_ms(0));
        assert_eq!(piece, (0, C as u32));
        transfer
    }

    #[test]
    fn a_small_blob_and_an_empty_one_come_in_one_chunk() {
        for length in [0, 1, C] {
            let mut t = begin();
            assert_eq!(take(&mut t, 0, length, length), (vec![(0, length)], vec![]));
            assert!(t.is_finishing());
            assert_eq!(t.deadline(), None);
        }
    }

    #[test]
    fn chunks_are_asked_for_by_a_window_and_appended_in_order() {
        let mut t = begin();
        let total = 6 * C + 5;
        let (c, full) = (C, C as u32);
        assert_eq!(
            take(&mut t, 0, total, c),
            (
                vec![(0, c)],
                vec![(c, full), (2 * c, full), (3 * c, full), (4 * c, full)]
            )
        );
        // Early ones wait, and move no window.
        assert_eq!(take(&mut t, 2 * c, total, c), (vec![], vec![]));
        assert_eq!(take(&mut t, 3 * c, total, c), (vec![], vec![]));
        assert_eq!(
            take(&mut t, c, total, c),
            (
                vec![(c, c), (2 * c, c), (3 * c, c)],
                vec![(5 * c, full), (6 * c, 5)]
            )
        );
        take(&mut t, 5 * c, total, c);
        take(&mut t, 6 * c, total, 5);
        assert!(!t.is_finishing());
        assert_eq!(
            take(&mut t, 4 * c, total, c).0,
            [(4 * c, c), (5 * c, c), (6 * c, 5)]
        );
        assert!(t.is_finishing());
    }

    #[test]
    fn the_rest_of_a_short_chunk_is_asked_for() {
        let mut t = begin();
        assert_eq!(take(&mut t, 0, 100, 60), (vec![(0, 60)], vec![(60, 40)]));
        assert_eq!(take(&mut t, 60, 100, 40), (vec![(60, 40)], vec![]));
        assert!(t.is_finishing());
    }

    #[test]
    fn what_nobody_waits_for_changes_nothing() {
        let mut t = begin();
        take(&mut t, 0, 2 * C, C);
        for (offset, total, length) in [(0, 2 * C, C), (7, 2 * C, 1), (C, C + 1, 1), (C, 2 * C, 0)]
        {
            assert_eq!(take(&mut t, offset, total, length), (vec![], vec![]));
        }
        assert_eq!(take(&mut t, C, 2 * C, C + 99), (vec![(C, C)], vec![]));
    }

    #[test]
    fn silence_asks_again_and_at_last_gives_up() {
        let mut rng = Seed(1).rng();
        let mut t = begin();
        take(&mut t, 0, 3 * C, C);
        take(&mut t, C, 3 * C, C);
        assert_eq!(t.deadline(), Some(Now::at_ms(2_000).mono));
        let mut waited = Vec::new();
        while let Some(pieces) = t.on_silence(Now::at_ms(0), &mut rng) {
            assert_eq!(pieces, [(2 * C, C as u32)]);
            waited.push(t.deadline().unwrap().0 / 1_000_000_000);
        }
        assert_eq!(waited.len(), 4);
        assert!(waited.is_sorted() && waited[0] >= 2, "{waited:?}");
    }

    #[test]
    fn another_source_is_asked_for_what_is_left_and_has_its_own_time() {
        let mut t = begin();
        take(&mut t, 0, 3 * C, C);
        take(&mut t, C, 3 * C, C);
        assert_eq!(t.on_other_source(Now::at_ms(1_500)), [(2 * C, C as u32)]);
        assert_eq!(t.deadline(), Some(Now::at_ms(3_500).mono));
    }
}
