//! The far future: keys in buckets by the highest base-64 digit in which their
//! time differs from the wheel's base, the digit's value choosing the bucket
//! within its level.
//!
//! The earliest key is then always in the first occupied bucket of the lowest
//! occupied level, which two bitmaps find in two instructions. A bucket is split
//! into the levels below only while it holds more than [`BATCH_MAX`] keys, so a
//! sparse timer 30 s away is moved once, not once a level, and a dense burst is
//! divided until what remains is worth sorting.
//!
//! Invariant: every key's time is at least `base_ns`. Cost: a push is an append;
//! a key is copied once for each split it lives through, at most ten, usually one.

use crate::key::Key;

/// The size up to which a bucket is sorted rather than split. Measured flat from
/// 8 to 32, worse below.
pub(crate) const BATCH_MAX: usize = 32;

const DIGIT_BITS: u32 = 6;
const DIGITS: usize = 1 << DIGIT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;

/// Buckets that grew larger than this give their memory back when emptied;
/// otherwise one burst could leave its size behind in each of them in turn.
const BUCKET_KEPT_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Wheel {
    base_ns: u64,
    levels: u32,
    occupied: [u64; LEVELS],
    buckets: Vec<Vec<Key>>,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            base_ns: 0,
            levels: 0,
            occupied: [0; LEVELS],
            buckets: vec![Vec::new(); LEVELS * DIGITS],
        }
    }

    /// All keys, in no order.
    pub(crate) fn into_keys(self) -> impl Iterator<Item = Key> {
        self.buckets.into_iter().flatten()
    }

    #[inline]
    pub(crate) fn push(&mut self, key: Key) {
        let time_ns = key.time_ns();
        debug_assert!(time_ns >= self.base_ns);
        let differing = (time_ns ^ self.base_ns) | 1;
        let level = differing.ilog2() / DIGIT_BITS;
        let digit = (time_ns >> (level * DIGIT_BITS)) as usize % DIGITS;
        let level = level as usize;
        self.levels |= 1 << level;
        self.occupied[level] |= 1 << digit;
        self.buckets[level * DIGITS + digit].push(key);
    }

    /// Moves the earliest keys into `batch`, which must be empty, and returns the
    /// time of the latest of them. Every key left behind is later than that. The
    /// batch is not sorted. `None` when the wheel is empty.
    pub(crate) fn take_batch(&mut self, batch: &mut Vec<Key>) -> Option<u64> {
        debug_assert!(batch.is_empty());
        loop {
            let (level, bucket) = self.detach_first()?;
            if level == 0 || self.buckets[bucket].len() <= BATCH_MAX {
                std::mem::swap(batch, &mut self.buckets[bucket]);
                let last_ns = batch.iter().map(|key| key.time_ns()).max()?;
                self.base_ns = bucket_start(last_ns, level);
                return Some(last_ns);
            }
            self.split(level, bucket);
        }
    }

    /// Unmarks the first occupied bucket and returns its level and index.
    fn detach_first(&mut self) -> Option<(u32, usize)> {
        if self.levels == 0 {
            return None;
        }
        let level = self.levels.trailing_zeros();
        let digits = &mut self.occupied[level as usize];
        let digit = digits.trailing_zeros() as usize;
        *digits &= *digits - 1;
        if *digits == 0 {
            self.levels &= self.levels - 1;
        }
        Some((level, level as usize * DIGITS + digit))
    }

    fn split(&mut self, level: u32, bucket: usize) {
        let mut keys = std::mem::take(&mut self.buckets[bucket]);
        self.base_ns = bucket_start(keys[0].time_ns(), level);
        for &key in &keys {
            self.push(key);
        }
        if keys.capacity() <= BUCKET_KEPT_MAX {
            keys.clear();
            self.buckets[bucket] = keys;
        }
    }
}

/// The first instant of the bucket of `level` that holds `time_ns`.
fn bucket_start(time_ns: u64, level: u32) -> u64 {
    time_ns >> (level * DIGIT_BITS) << (level * DIGIT_BITS)
}
