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

/// A heavy-tailed number with this mean: Pareto with the exponent 1.5, whose variance has no
/// bound; cut at a thousand times the mean.
pub fn pareto(rng: &mut Rng, mean: u64) -> u64 {
    // The smallest value of that distribution is a third of its mean.
    let least = mean as f64 / 3.0;
    let value = least * libm::pow(1.0 - rng.unit(), -2.0 / 3.0);
    value.min(mean as f64 * 1_000.0) as u64
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

    #[test]
    fn a_heavy_tail_has_its_mean_and_its_tail() {
        let mut rng = Seed(1).rng();
        let drawn: Vec<u64> = (0..1_000_000).map(|_| pareto(&mut rng, 1_000)).collect();
        let sum: u64 = drawn.iter().sum();
        assert!((900_000_000..1_050_000_000).contains(&sum), "{sum}");
        let large = drawn.iter().filter(|v| **v > 20_000).count();
        // P(X > 60·least) = 60^-1.5
        assert!((1_900..2_450).contains(&large), "{large}");
        assert!(drawn.iter().all(|v| *v >= 333));
    }
}
