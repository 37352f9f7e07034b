//! When an actor's timer must ring.
//!
//! The one pending sleep of an actor is set anew only when the actor wants to be woken
//! earlier than it will be; a sleep that turns out too early is set again. So an actor whose
//! deadline moves away with every event costs nothing here.

use tidegate_kernel::{Duration, Time};

/// An actor that wants its timer again at once, right after its timer, is made to wait this
/// long: it would keep a core busy.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Decides when the sleep is set.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    set: Option<Time>,
}

impl Alarm {
    /// The sleep has ended. True when the deadline has really come.
    pub(crate) fn rang(&mut self, now: Time, deadline: Option<Time>) -> bool {
        self.set = None;
        deadline.is_some_and(|deadline| deadline <= now)
    }

    /// The actor has taken an event. Returns the time to which the sleep is to be set now,
    /// or `None` when it can stay as it is.
    pub(crate) fn after_event(
        &mut self,
        now: Time,
        deadline: Option<Time>,
        was_timer: bool,
    ) -> Option<Time> {
        let mut wanted = deadline?;
        if was_timer {
            wanted = wanted.max(now + AT_ONCE);
        }
        if self.set.is_some_and(|set| set <= wanted) {
            return None;
        }
        self.set = Some(wanted);
        self.set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Time {
        Time(ms * 1_000_000)
    }

    #[test]
    fn only_an_earlier_deadline_sets_the_sleep_anew() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.after_event(ms(0), None, false), None);
        assert_eq!(alarm.after_event(ms(0), Some(ms(9)), false), Some(ms(9)));
        assert_eq!(alarm.after_event(ms(1), Some(ms(20)), false), None);
        assert_eq!(alarm.after_event(ms(2), Some(ms(5)), false), Some(ms(5)));
    }

    #[test]
    fn a_sleep_that_ends_early_is_set_again() {
        let mut alarm = Alarm::default();
        alarm.after_event(ms(0), Some(ms(9)), false);
        assert!(!alarm.rang(ms(9), Some(ms(20))));
        assert_eq!(alarm.after_event(ms(9), Some(ms(20)), false), Some(ms(20)));
        assert!(alarm.rang(ms(20), Some(ms(20))));
        assert!(!Alarm::default().rang(ms(20), None));
    }

    #[test]
    fn a_deadline_in_the_past_after_a_timer_waits_a_little() {
        let mut alarm = Alarm::default();
        assert_eq!(alarm.after_event(ms(9), Some(ms(3)), false), Some(ms(3)));
        assert!(alarm.rang(ms(9), Some(ms(3))));
        assert_eq!(alarm.after_event(ms(9), Some(ms(3)), true), Some(ms(10)));
    }
}
