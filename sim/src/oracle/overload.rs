//! Guarantee 11: every queue, retry and buffer is bounded; overload is refused early, with
//! Retry-After; and after a spike as much is served as before it.
//!
//! Four views. What a gateway decides: a 503 says when to come again, and a full queue
//! refuses at once instead of letting a client wait for nothing. What it sends: one request
//! goes to so many instances and no more, whatever fails. What actors hold: the real lengths
//! of their queues beside their limits. And what clients get: of the requests of a stream
//! that had a spike, as large a part is answered in useful time well after the spike as
//! before it. An answer that comes when nobody waits for it any more is no goodput, so an
//! overload that feeds on its own retries and queues is found although every request ends.

use tidegate_kernel::{Load, Refusal};

use super::Findings;
use crate::clock::SimTime;
use crate::scenario::Traffic;

/// Longest Retry-After: the longest backoff of the platform.
const RETRY_AFTER_S_MAX: u64 = 60;
/// Instances, or other regions, to which one gateway sends one request.
const SENDS_MAX: u8 = 4;
/// An answer later than this is of no use.
const USEFUL_NS: u64 = 5_000_000_000;
/// Length of the windows that are compared, at most.
const WINDOW_NS: u64 = 60_000_000_000;
/// After the end of the last spike, when recovery is judged at the earliest.
const RECOVERY_NS: u64 = 20_000_000_000;
/// Requests in a window below which chance decides too much.
const JUDGED_MIN: u64 = 200;
/// Of what was served before the spike, how much must be served after it, in percent.
const RECOVERED_PERCENT: u64 = 90;

/// Requests of one window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Window {
    from: SimTime,
    until: SimTime,
    sent: u64,
    useful: u64,
}

impl Window {
    fn new(from: SimTime, until: SimTime) -> Self {
        Self {
            from,
            until,
            ..Self::default()
        }
    }

    fn has(&self, at: SimTime) -> bool {
        (self.from..self.until).contains(&at)
    }
}

/// Equally long windows before the first spike of a stream and after all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recovery {
    before: Window,
    after: Window,
}

/// `None`: there is no spike, or no time to compare.
fn recovery(traffic: &Traffic, well_from: SimTime, duration: SimTime) -> Option<Recovery> {
    let begins = |s: &crate::scenario::Spike| s.at.get_ref().nanos();
    let until = traffic.until.as_ref();
    let until = until.map_or(duration, |u| u.get_ref().nanos());
    let first = traffic.spikes.iter().map(begins).min()?;
    let last = traffic.spikes.iter().map(|s| begins(s) + s.length.nanos());
    let calm = (last.max()? + RECOVERY_NS).max(well_from);
    let warm_up = (first.saturating_sub(traffic.from.get_ref().nanos())) / 4;
    let begin = first.saturating_sub(WINDOW_NS);
    let begin = begin.max(traffic.from.get_ref().nanos() + warm_up);
    let end = until.min(duration.saturating_sub(2 * USEFUL_NS));
    let length = first.checked_sub(begin)?.min(end.checked_sub(calm)?);
    (length > 0).then(|| Recovery {
        before: Window::new(first - length, first),
        after: Window::new(calm, calm + length),
    })
}

#[derive(Debug, Default)]
pub struct Overload {
    /// By stream of clients.
    recoveries: Vec<Option<Recovery>>,
    pub checks: u64,
}

impl Overload {
    /// One more stream of clients, of this traffic.
    pub fn stream(&mut self, traffic: &Traffic, well_from: SimTime, duration: SimTime) {
        self.recoveries.push(recovery(traffic, well_from, duration));
    }

    #[inline]
    fn windows(&mut self, stream: u32, at: SimTime) -> impl Iterator<Item = &mut Window> {
        let recovery = self.recoveries.get_mut(stream as usize);
        recovery
            .and_then(Option::as_mut)
            .into_iter()
            .flat_map(|r| [&mut r.before, &mut r.after])
            .filter(move |window| window.has(at))
    }

    /// A client of a stream sends.
    #[inline]
    pub fn sent(&mut self, stream: u32, at: SimTime) {
        for window in self.windows(stream, at) {
            window.sent += 1;
        }
    }

    /// A client that sent at `at` is served at `now`.
    #[inline]
    pub fn served(&mut self, stream: u32, at: SimTime, now: SimTime) {
        if now - at > USEFUL_NS {
            return;
        }
        for window in self.windows(stream, at) {
            window.useful += 1;
        }
    }

    /// A gateway refuses a request. `held`: it let it wait before.
    pub fn refused(
        &mut self,
        host: &str,
        refusal: &Refusal,
        held_ns: u64,
        findings: &mut Findings,
    ) {
        self.checks += 1;
        if refusal.status() == 503 {
            let told = refusal.retry_after_s();
            if !told.is_some_and(|s| (1..=RETRY_AFTER_S_MAX).contains(&s)) {
                findings.violated(
                    11,
                    format!(
                        "a request for {host} was refused ({refusal:?}) with Retry-After {told:?}"
                    ),
                );
            }
        }
        if matches!(refusal, Refusal::QueueFull { .. }) && held_ns > 0 {
            findings.violated(
                11,
                format!(
                    "a request for {host} was refused for a full queue after a wait of {} ms",
                    held_ns / 1_000_000
                ),
            );
        }
    }

    /// A gateway sends a request for the `sends`th time.
    #[inline]
    pub fn sends(&mut self, host: &str, sends: u8, findings: &mut Findings) {
        self.checks += 1;
        if sends > SENDS_MAX {
            findings.violated(
                11,
                format!("one gateway sent a request for {host} {sends} times"),
            );
        }
    }

    /// How full an actor's queues are.
    pub fn loaded(&mut self, actor: &str, loads: &[Load], findings: &mut Findings) {
        self.checks += loads.len() as u64;
        for load in loads.iter().filter(|load| load.is_over()) {
            let Load {
                queue,
                length,
                limit,
            } = load;
            findings.violated(
                11,
                format!("{actor} holds {length} {queue}, and may hold {limit}"),
            );
        }
    }

    /// Judged at the end. `excused`: the app of the stream is poisoned or removed.
    pub fn recovered(&mut self, stream: u32, host: &str, excused: bool, findings: &mut Findings) {
        let Some(Some(Recovery { before, after })) = self.recoveries.get(stream as usize) else {
            return;
        };
        if excused || before.sent.min(after.sent) < JUDGED_MIN {
            return;
        }
        self.checks += 1;
        // useful/sent after ≥ 90 % of useful/sent before, without fractions.
        let now = u128::from(after.useful) * u128::from(before.sent) * 100;
        let then =
            u128::from(before.useful) * u128::from(after.sent) * u128::from(RECOVERED_PERCENT);
        if now < then {
            findings.violated(
                11,
                format!(
                    "{host} answered {} of {} requests in time before the spike, and {} of {} long after it",
                    before.useful, before.sent, after.useful, after.sent
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Builtin, Scenario};
    use tidegate_kernel::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn oracle() -> (Overload, Findings) {
        let text = Builtin::find("flash-crowd").unwrap().text;
        let scenario = Scenario::parse("t", text).unwrap();
        let mut oracle = Overload::default();
        oracle.stream(&scenario.traffic[0], 210 * SECOND, 300 * SECOND);
        (oracle, Findings::default())
    }

    #[test]
    fn the_windows_are_equal_and_around_the_spike() {
        let (oracle, _) = oracle();
        let Recovery { before, after } = oracle.recoveries[0].unwrap();
        assert_eq!((before.from, before.until), (50 * SECOND, 80 * SECOND));
        assert_eq!((after.from, after.until), (210 * SECOND, 240 * SECOND));
    }

    #[test]
    fn goodput_that_does_not_come_back_is_found() {
        for (useful_until, late, excused, expected) in [
            (1_000, 0, false, 0),
            (905, 0, false, 0),
            (895, 0, false, 1),
            (895, 0, true, 0),
            (1_000, USEFUL_NS + 1, false, 1),
        ] {
            let (mut oracle, mut findings) = oracle();
            for i in 0..1_000 {
                for (at, served) in [(60 * SECOND, true), (220 * SECOND, i < useful_until)] {
                    oracle.sent(0, at);
                    if served {
                        let late = if at > 100 * SECOND { late } else { 0 };
                        oracle.served(0, at, at + late);
                    }
                }
            }
            oracle.recovered(0, "shop", excused, &mut findings);
            assert_eq!(findings.count(11), expected, "{useful_until} {late}");
        }
    }

    #[test]
    fn too_few_requests_prove_nothing() {
        let (mut oracle, mut findings) = oracle();
        for _ in 0..JUDGED_MIN - 1 {
            oracle.sent(0, 60 * SECOND);
            oracle.served(0, 60 * SECOND, 60 * SECOND);
            oracle.sent(0, 220 * SECOND);
        }
        oracle.recovered(0, "shop", false, &mut findings);
        assert_eq!((findings.count(11), oracle.checks), (0, 0));
    }

    #[test]
    fn late_and_silent_refusals_are_found() {
        let full = Refusal::QueueFull {
            retry_after: Duration::from_secs(1),
        };
        let slow = Refusal::NoCapacity {
            retry_after: Duration::from_secs(3_600),
        };
        for (refusal, held, expected) in [
            (&full, 0, 0),
            (&full, 1, 1),
            (&slow, 0, 1),
            (&Refusal::UnknownHost, 0, 0),
            (&Refusal::Deadline, 5, 0),
        ] {
            let (mut oracle, mut findings) = oracle();
            oracle.refused("shop", refusal, held, &mut findings);
            assert_eq!(findings.count(11), expected, "{refusal:?}");
        }
    }

    #[test]
    fn full_queues_and_endless_retries_are_found() {
        let (mut oracle, mut findings) = oracle();
        oracle.sends("shop", SENDS_MAX, &mut findings);
        oracle.loaded("gw", &[Load::new("waits", 4, 4)], &mut findings);
        assert_eq!(findings.count(11), 0);
        oracle.sends("shop", SENDS_MAX + 1, &mut findings);
        oracle.loaded("gw", &[Load::new("waits", 5, 4)], &mut findings);
        assert_eq!(findings.count(11), 2);
    }
}
