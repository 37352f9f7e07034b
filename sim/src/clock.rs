//! The two clocks of one simulated machine.
//!
//! A machine's monotonic clock runs at its own rate from an arbitrary start; its wall clock
//! runs at the same rate and may jump. Only whole numbers are used, so that a clock reads
//! the same on every platform.

use tidegate_kernel::{Now, Rng, Time, WallTime};

/// Nanoseconds since the beginning of the simulation. Nobody inside the world can read it.
pub type SimTime = u64;

/// 2026-01-01 00:00 UTC: what a right wall clock shows at the beginning.
const EPOCH_UNIX_MS: i64 = 1_767_225_600_000;
const MILLION: i64 = 1_000_000;

#[derive(Clone, Debug)]
pub struct NodeClock {
    /// Where the present rate began: true time, and what the monotonic clock showed.
    base: SimTime,
    mono_base: u64,
    /// Parts per million by which it runs fast (or slow).
    ppm: i64,
    own_ppm: i64,
    /// Wall clock: what it showed at `base`, in nanoseconds since 1970, jumps included.
    wall_base_ns: i64,
}

impl NodeClock {
    /// A clock that is wrong by up to the given offset and rate, either way.
    pub fn drawn(rng: &mut Rng, offset_ns: u64, drift_ppm: u32) -> Self {
        let offset = rng.between(0, 2 * offset_ns) as i64 - offset_ns as i64;
        let ppm = rng.between(0, 2 * u64::from(drift_ppm)) as i64 - i64::from(drift_ppm);
        Self {
            base: 0,
            mono_base: rng.between(0, 1 << 40),
            ppm,
            own_ppm: ppm,
            wall_base_ns: EPOCH_UNIX_MS * MILLION + offset,
        }
    }

    /// Both clocks at a moment of true time.
    #[inline]
    pub fn now(&self, at: SimTime) -> Now {
        let elapsed = self.elapsed(at);
        Now {
            mono: Time(self.mono_base + elapsed),
            wall: WallTime {
                unix_ms: ((self.wall_base_ns + elapsed as i64) / MILLION).max(0) as u64,
            },
        }
    }

    #[inline]
    fn elapsed(&self, at: SimTime) -> u64 {
        let real = at.saturating_sub(self.base) as i64;
        (real + drift(real, self.ppm)) as u64
    }

    /// The first moment of true time at which the monotonic clock shows at least `mono`;
    /// not before `at`.
    pub fn when(&self, mono: Time, at: SimTime) -> SimTime {
        let ahead = mono.0.saturating_sub(self.now(at).mono.0);
        if ahead == 0 {
            return at;
        }
        let ahead = ahead.min(1 << 60) as i64;
        // Each step falls short of the answer by the square of the rate's error.
        let mut guess = at + (ahead - drift(ahead, self.ppm)).max(1) as u64;
        loop {
            let shown = self.now(guess).mono.0;
            if shown >= mono.0 {
                return guess;
            }
            let missing = (mono.0 - shown) as i64;
            guess += (missing - drift(missing, self.ppm)).max(1) as u64;
        }
    }

    /// Runs fast by so much more than by its nature.
    pub fn set_extra_ppm(&mut self, at: SimTime, extra: i64) {
        let elapsed = self.elapsed(at);
        self.mono_base += elapsed;
        self.wall_base_ns += elapsed as i64;
        self.base = at;
        self.ppm = self.own_ppm + extra;
    }

    /// The wall clock jumps.
    pub fn jump(&mut self, by_ns: i64) {
        self.wall_base_ns += by_ns;
    }

    /// The machine was started anew: its monotonic clock begins somewhere else.
    pub fn reboot(&mut self, at: SimTime, rng: &mut Rng) {
        self.set_extra_ppm(at, 0);
        self.mono_base = rng.between(0, 1 << 40);
    }
}

/// `real · ppm / 10^6`, for spans of up to 2^63 nanoseconds.
#[inline]
fn drift(real: i64, ppm: i64) -> i64 {
    if ppm == 0 {
        return 0;
    }
    real / MILLION * ppm + real % MILLION * ppm / MILLION
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Seed;

    #[test]
    fn a_timer_is_never_early_and_late_by_at_most_a_microsecond() {
        let mut rng = Seed(1).rng();
        for ppm in [0, 1, 100, 10_000] {
            for _ in 0..200 {
                let mut clock = NodeClock::drawn(&mut rng, 1_000_000, ppm);
                let at = rng.between(0, 1 << 42);
                clock.set_extra_ppm(at / 2, 500);
                let due = Time(clock.now(at).mono.0 + rng.between(0, 1 << 38));
                let when = clock.when(due, at);
                assert!(clock.now(when).mono >= due);
                let late = clock.now(when).mono.0 - due.0;
                assert!(late < 1_000 || when == at, "{late} ns late at {ppm} ppm");
            }
        }
    }

    #[test]
    fn a_change_of_rate_moves_neither_clock() {
        let mut clock = NodeClock::drawn(&mut Seed(2).rng(), 0, 100);
        let before = clock.now(77_000_000_000);
        clock.set_extra_ppm(77_000_000_000, 50_000);
        assert_eq!(clock.now(77_000_000_000), before);
    }

    #[test]
    fn a_jump_moves_the_wall_clock_only() {
        let mut clock = NodeClock::drawn(&mut Seed(3).rng(), 0, 0);
        let before = clock.now(5_000_000_000);
        clock.jump(-30_000 * MILLION);
        let after = clock.now(5_000_000_000);
        assert_eq!(after.mono, before.mono);
        assert_eq!(after.wall.unix_ms + 30_000, before.wall.unix_ms);
    }
}
