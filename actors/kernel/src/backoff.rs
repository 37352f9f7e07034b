//! Exponential backoff with jitter.

use serde::{Deserialize, Serialize};

use crate::{Duration, Rng};

/// Delays that double from `base` to `cap`; each is drawn from its upper half, so that
/// clients that failed together do not return together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            failures: 0,
        }
    }

    /// Counts a failure and returns how long to wait before the next try.
    pub fn fail(&mut self, rng: &mut Rng) -> Duration {
        let full = self
            .base
            .saturating_mul(1 << self.failures.min(20))
            .min(self.cap);
        self.failures = self.failures.saturating_add(1);
        let nanos = u64::try_from(full.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(rng.between(nanos / 2, nanos))
    }

    pub fn reset(&mut self) {
        self.failures = 0;
    }

    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    #[test]
    fn delays_double_up_to_the_cap() {
        let mut rng = Seed(1).rng();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        for full in [1, 2, 4, 5, 5] {
            let delay = backoff.fail(&mut rng);
            assert!(delay <= Duration::from_secs(full));
            assert!(delay >= Duration::from_secs(full) / 2);
        }
        backoff.reset();
        assert!(backoff.fail(&mut rng) <= Duration::from_secs(1));
    }

    #[test]
    fn failures_are_counted_since_the_last_reset() {
        let mut rng = Seed(1).rng();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        assert_eq!(backoff.failures(), 0);
        backoff.fail(&mut rng);
        backoff.fail(&mut rng);
        assert_eq!(backoff.failures(), 2);
        backoff.reset();
        assert_eq!(backoff.failures(), 0);
    }
}
