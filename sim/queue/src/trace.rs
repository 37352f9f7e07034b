//! The trace hash: one number that two runs share exactly when they delivered the
//! same things in the same order.
//!
//! Construction. A fold of `N` words first becomes one word that does not depend
//! on the state, so the processor computes it beside everything else:
//!
//! ```text
//! content = N · PHI + Σ fold128((w[i] ^ K[i]) · (w[i+1] ^ K[i+1]))   i even
//!                   + w[N-1]                                        if N is odd
//! state   = rotl(state ^ content, 29) · CHAIN
//! ```
//!
//! where `fold128` is the exclusive or of the product's halves and `K[i]` the i-th
//! output of SplitMix64, so a word counts for its place as well as its value. The
//! chain step is a bijection of the state: two traces that differed once can meet
//! again only if later content cancels the difference, by chance once in 2^64.
//! [`TraceHash::value`] finishes with MurmurHash3's `fmix64`.
//!
//! Words, never memory: the value does not depend on the platform's byte order or
//! pointer width, with the one exception named at [`Hasher`]'s implementation.
//! Nothing here resists an adversary, who could aim at `K`; traces have none.
//!
//! Cost: one multiplication for each two words, and four or five cycles of latency
//! a fold.

use std::hash::Hasher;

use crate::mix::multiply_fold;

const PHI: u64 = 0x9e37_79b9_7f4a_7c15;
const CHAIN: u64 = 0xd134_2543_de82_ef95;
const CHAIN_ROTATION: u32 = 29;
const BLOCK_WORDS: usize = 8;
const WORD_BYTES: usize = size_of::<u64>();

/// A chained, order-sensitive 64-bit hash of all that was folded into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceHash {
    state: u64,
}

impl TraceHash {
    /// The hash of the empty trace.
    pub const fn new() -> Self {
        Self { state: PHI }
    }

    /// Folds one group of words in. `fold([a, b])` and `fold([a])` followed by
    /// `fold([b])` are different traces.
    #[inline]
    pub fn fold<const N: usize>(&mut self, words: [u64; N]) {
        let mut content = (N as u64).wrapping_mul(PHI);
        let (pairs, odd) = words.as_chunks::<2>();
        for (i, [a, b]) in pairs.iter().enumerate() {
            content = content.wrapping_add(multiply_fold(a ^ key(2 * i), b ^ key(2 * i + 1)));
        }
        for word in odd {
            content = content.wrapping_add(*word);
        }
        self.state = (self.state ^ content)
            .rotate_left(CHAIN_ROTATION)
            .wrapping_mul(CHAIN);
    }

    /// The hash of the trace so far. Folding may go on afterwards.
    #[inline]
    pub const fn value(&self) -> u64 {
        avalanche(self.state)
    }
}

impl Default for TraceHash {
    fn default() -> Self {
        Self::new()
    }
}

/// For content that derives `Hash`. Bytes are read as little-endian words and
/// every integer is widened to 64 bits, signed `isize` with its sign.
///
/// The standard library hashes a slice of integers wider than a byte as raw
/// memory, which this trait cannot see: such content hashes alike only on
/// platforms of one byte order (and, for `usize`, one width).
impl Hasher for TraceHash {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, tail) = bytes.as_chunks::<WORD_BYTES>();
        let (blocks, rest) = words.as_chunks::<BLOCK_WORDS>();
        for block in blocks {
            self.fold(block.map(u64::from_le_bytes));
        }
        for word in rest {
            self.fold([u64::from_le_bytes(*word)]);
        }
        // The length tells a padded tail from a longer one.
        let mut padded = [0; WORD_BYTES];
        padded[..tail.len()].copy_from_slice(tail);
        self.fold([u64::from_le_bytes(padded), bytes.len() as u64]);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.value()
    }

    #[inline]
    fn write_u8(&mut self, i: u8) {
        self.fold([i.into()]);
    }

    #[inline]
    fn write_u16(&mut self, i: u16) {
        self.fold([i.into()]);
    }

    #[inline]
    fn write_u32(&mut self, i: u32) {
        self.fold([i.into()]);
    }

    #[inline]
    fn write_u64(&mut self, i: u64) {
        self.fold([i]);
    }

    #[inline]
    fn write_u128(&mut self, i: u128) {
        self.fold([i as u64, (i >> 64) as u64]);
    }

    #[inline]
    fn write_usize(&mut self, i: usize) {
        self.fold([i as u64]);
    }

    #[inline]
    fn write_isize(&mut self, i: isize) {
        self.fold([i as u64]);
    }
}

/// The i-th output of SplitMix64 seeded with zero; a constant wherever `i` is one.
#[inline]
const fn key(i: usize) -> u64 {
    let mut x = PHI.wrapping_mul(i as u64 + 1);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[inline]
const fn avalanche(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}
