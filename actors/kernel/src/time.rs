//! Time as an actor sees it: two clocks of its own host.

use serde::{Deserialize, Serialize};

/// Length of time, in nanoseconds.
pub use core::time::Duration;

/// Monotonic time of a host: nanoseconds since an arbitrary start. For leases and timeouts;
/// it means nothing on another host.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    pub const ZERO: Time = Time(0);

    /// Nanoseconds from `earlier` to `self`; zero when it is not earlier.
    pub fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Time {
    type Output = Time;

    fn add(self, d: Duration) -> Time {
        let nanos = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanos))
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}.{:06}s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000 / 1_000
        )
    }
}

/// Wall time of a host: milliseconds since 1970-01-01 UTC. For calendars and bills; it may
/// jump either way.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub struct WallTime {
    pub unix_ms: u64,
}

/// Both clocks, read once for an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    pub mono: Time,
    pub wall: WallTime,
}

impl Now {
    /// A moment for tests, milliseconds after the start of both clocks.
    pub fn at_ms(ms: u64) -> Now {
        Now {
            mono: Time(ms * 1_000_000),
            wall: WallTime { unix_ms: ms },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_forward_only() {
        let (early, late) = (Time(5), Time(12));
        assert_eq!(late.since(early), Duration::from_nanos(7));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early + Duration::from_nanos(7), late);
        assert_eq!(late + Duration::MAX, Time(u64::MAX));
    }
}
