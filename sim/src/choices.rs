//! Where a generated scenario gets its choices from: a seed, or the bytes of a fuzzer.
//!
//! A fuzzer changes a few bytes and watches what comes of it, so each choice takes the fewest
//! bytes that can express it, and bytes that ran out choose the lowest value: a shorter input
//! is a smaller scenario. A seed gives each choice evenly.

use tidegate_kernel::{Rng, Seed};

#[derive(Debug)]
pub struct Choices<'a>(Source<'a>);

#[derive(Debug)]
enum Source<'a> {
    Seed(Rng),
    Bytes(&'a [u8]),
}

impl<'a> Choices<'a> {
    pub fn seeded(seed: Seed) -> Self {
        Self(Source::Seed(seed.rng()))
    }

    pub fn of_bytes(bytes: &'a [u8]) -> Self {
        Self(Source::Bytes(bytes))
    }

    /// A number in `low..=high`; `low` when `high` is below it.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        let width = high.saturating_sub(low);
        match &mut self.0 {
            _ if width == 0 => low,
            Source::Seed(rng) => rng.between(low, high),
            Source::Bytes(bytes) => {
                let count = (u64::BITS - width.leading_zeros()).div_ceil(8) as usize;
                let (taken, rest) = bytes.split_at(count.min(bytes.len()));
                *bytes = rest;
                let value = taken.iter().fold(0, |v, b| v << 8 | u64::from(*b));
                low + width.checked_add(1).map_or(value, |n| value % n)
            }
        }
    }

    /// True `percent` times in a hundred; bytes that ran out say no.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.between(0, 99) >= 100 - percent.min(100)
    }

    /// An index into something of `len` elements, which are at least one.
    pub fn index(&mut self, len: usize) -> usize {
        self.between(0, (len as u64).saturating_sub(1)) as usize
    }

    /// One of these.
    ///
    /// # Panics
    /// When there is none.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())]
    }

    /// Those that are switched on, each with a chance of one half; at least one of many.
    pub fn half_of<T: Copy>(&mut self, all: &[T]) -> Vec<T> {
        let mut chosen: Vec<T> = all.iter().copied().filter(|_| self.percent(50)).collect();
        if chosen.is_empty() && !all.is_empty() {
            chosen.push(self.one_of(all));
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_choose_with_as_few_as_it_takes_and_then_the_lowest() {
        let mut choices = Choices::of_bytes(&[7, 1, 2, 250]);
        assert_eq!(choices.between(10, 14), 12);
        assert_eq!(choices.between(0, 1_000), 258);
        assert!(choices.percent(50));
        assert_eq!(choices.between(3, 9), 3);
        assert!(!choices.percent(99));
    }

    #[test]
    fn no_range_is_left_and_nothing_overflows() {
        for mut choices in [
            Choices::seeded(Seed(1)),
            Choices::of_bytes(&[255; 40]),
            Choices::of_bytes(&[]),
        ] {
            for (low, high) in [(0, 0), (5, 3), (0, u64::MAX), (u64::MAX - 1, u64::MAX)] {
                let value = choices.between(low, high);
                assert!(
                    (low..=high.max(low)).contains(&value),
                    "{low} {high}: {value}"
                );
            }
            assert!(!choices.half_of(&[1, 2, 3]).is_empty());
        }
    }
}
