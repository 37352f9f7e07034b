//! Randomness by labelled sub-seeds.
//!
//! One seed makes a whole run. Each user derives its own stream by name, so that a new draw
//! in one place shifts no other. The generator is xoshiro256++ (Blackman and Vigna, 2019),
//! whose output is the same on every platform.

use rand_core::{Rng as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

/// Where randomness comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seed(pub u64);

impl Seed {
    /// The sub-seed of a label: FNV-1a over the label from this seed, then the finaliser of
    /// SplitMix64, so that near labels give far seeds.
    pub fn derive(self, label: &str) -> Seed {
        let start = self.0 ^ 0xcbf2_9ce4_8422_2325;
        let hash = label.bytes().fold(start, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        Seed(mix(hash))
    }

    /// The sub-seed of a number, for members of a family.
    pub fn derive_index(self, index: u64) -> Seed {
        Seed(mix(self.0 ^ mix(index.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    pub fn rng(self) -> Rng {
        Rng(Xoshiro256PlusPlus::seed_from_u64(self.0))
    }
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A stream of random numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rng(Xoshiro256PlusPlus);

impl Rng {
    #[inline]
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..bound` (multiply-shift; the bias is below `bound / 2^64`). Zero for a
    /// bound of zero.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.u64()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into a slice of `len` elements; `None` when it is empty.
    #[inline]
    pub fn index(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.below(len as u64) as usize)
    }

    /// A number in `low..=high`.
    #[inline]
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below((high - low).saturating_add(1))
    }

    /// True `per_million` times in a million.
    #[inline]
    pub fn chance(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(per_million)
    }

    /// A number in `[0, 1)` with 53 random bits.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_of_a_seed_never_changes() {
        let mut rng = Seed(42).derive("gateway").rng();
        assert_eq!(
            [rng.u64(), rng.u64(), rng.u64()],
            [
                14_027_845_685_577_081_462,
                2_264_655_232_781_475_526,
                3_268_435_094_947_995_132
            ],
        );
    }

    #[test]
    fn labels_and_indices_give_separate_streams() {
        let seed = Seed(1);
        assert_ne!(seed.derive("a"), seed.derive("b"));
        assert_ne!(seed.derive_index(0), seed.derive_index(1));
        assert_ne!(seed.derive("a"), Seed(2).derive("a"));
    }

    #[test]
    fn draws_stay_in_range() {
        let mut rng = Seed(7).rng();
        for _ in 0..1_000 {
            assert!(rng.below(3) < 3);
            assert!((5..=9).contains(&rng.between(5, 9)));
            assert!((0.0..1.0).contains(&rng.unit()));
        }
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.index(0), None);
        assert_eq!(rng.between(4, 4), 4);
    }

    #[test]
    fn draws_reach_every_value_about_equally_often() {
        let mut rng = Seed(7).rng();
        let mut seen = [0; 3];
        let (mut chances, mut low, mut indices) = (0, 0, [0; 2]);
        for _ in 0..3_000 {
            seen[rng.below(3) as usize] += 1;
            chances += u32::from(rng.chance(250_000));
            low += u32::from(rng.unit() < 0.25);
            indices[rng.index(2).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| (800..1_200).contains(n)), "{seen:?}");
        assert!((600..900).contains(&chances), "{chances}");
        assert!((600..900).contains(&low), "{low}");
        assert!(indices.iter().all(|n| *n > 1_300), "{indices:?}");
        assert!(rng.chance(1_000_000) && !rng.chance(0));
    }

    #[test]
    fn the_streams_of_indices_never_change() {
        let drawn = [0, 1, u64::MAX].map(|index| Seed(42).derive_index(index).0);
        assert_eq!(
            drawn,
            [
                5_006_236_285_904_387_910,
                12_234_890_524_640_051_791,
                993_793_526_316_216_462
            ]
        );
    }
}
