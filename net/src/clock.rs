//! The two clocks of a node.
//!
//! Monotonic time counts from the start of the process; wall time is the system's. Both are
//! read once for an event. The monotonic clock is the runtime's, so that a paused runtime
//! (tests, turmoil) sees the same time everywhere.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_kernel::{Duration, Now, Time, WallTime};
use tokio::time::Instant;

/// Reads both clocks. A copy reads the same ones.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock of its own, whose monotonic time starts now.
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The clock that all of this process shares; its monotonic time starts at first use.
    pub fn process() -> Self {
        static PROCESS: OnceLock<Clock> = OnceLock::new();
        *PROCESS.get_or_init(Clock::start)
    }

    pub fn now(&self) -> Now {
        Now {
            mono: self.mono(),
            wall: WallTime { unix_ms: unix_ms() },
        }
    }

    /// Nanoseconds since the clock's start; 584 years fit.
    pub fn mono(&self) -> Time {
        Time::ZERO + self.start.elapsed()
    }

    /// How long until `deadline`; zero when it has passed.
    pub fn until(&self, deadline: Time) -> Duration {
        deadline.since(self.mono())
    }
}

/// A wall clock set before 1970 reads as 1970.
fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_as_far_as_it_was_set() {
        let clock = Clock::start();
        let deadline = clock.now().mono + Duration::from_secs(5);
        assert_eq!(clock.until(deadline), Duration::from_secs(5));
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(clock.until(deadline), Duration::ZERO);
        assert_eq!(clock.mono(), Time(7_000_000_000));
    }
}
