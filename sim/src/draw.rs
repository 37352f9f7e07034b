//! Distributions that read the same on every platform: the logarithm comes from `libm`, not
//! from the system.

use tidegate_kernel::Rng;

/// An exponentially distributed number with this mean, at most 40 times the mean.
#[inline]
pub fn exponential(rng: &mut Rng, mean: u64) -> u64 {
    if mean == 0 {
        return 0;
    }
    (-libm::log(1.0 - rng.unit()) * mean as f64) as u64
}

/// A number drawn evenly from a range of a scenario.
pub fn between(rng: &mut Rng, range: [crate::scenario::Span; 2]) -> u64 {
    rng.between(range[0].nanos(), range[1].nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Seed;

    #[test]
    fn the_mean_is_the_mean() {
        let mut rng = Seed(1).rng();
        let sum: u64 = (0..100_000).map(|_| exponential(&mut rng, 1_000)).sum();
        assert!((98_000_000..102_000_000).contains(&sum), "{sum}");
        assert_eq!(exponential(&mut rng, 0), 0);
    }
}
