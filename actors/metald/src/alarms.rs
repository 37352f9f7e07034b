//! When something has to happen next.
//!
//! One deadline for each subject, kept in order, so that the earliest is at hand after every
//! event. Setting one costs two operations on ordered maps; setting it to what it is, one
//! lookup.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use tidegate_kernel::Time;

use crate::life::Life;

/// What a deadline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Subject {
    HostBeat,
    InstancesBeat,
    Inventory,
    Instance(Life),
    LogRead(u64),
}

/// A moment, and why it matters.
pub(crate) type Deadline = (Time, &'static str);

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Alarms {
    order: BTreeSet<(Time, Subject)>,
    #[serde(deserialize_with = "restore_deadlines")]
    by_subject: BTreeMap<Subject, Deadline>,
}

/// Restores a deadline from a snapshot.
pub(crate) fn restore_deadline<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Deadline>, D::Error> {
    let kept: Option<(Time, String)> = Deserialize::deserialize(from)?;
    Ok(kept.map(with_static_text))
}

fn restore_deadlines<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<Subject, Deadline>, D::Error> {
    let kept: BTreeMap<Subject, (Time, String)> = Deserialize::deserialize(from)?;
    let restored = kept.into_iter().map(|(s, d)| (s, with_static_text(d)));
    Ok(restored.collect())
}

/// A production actor has its reasons from the program's text and never gets here; a replay
/// restores a few short ones for each snapshot that it reads, and ends.
fn with_static_text((at, why): (Time, String)) -> Deadline {
    (at, why.leak())
}

impl Alarms {
    pub(crate) fn set(&mut self, subject: Subject, deadline: Option<Deadline>) {
        let known = self.by_subject.get(&subject).copied();
        if known == deadline {
            return;
        }
        if let Some((at, _)) = known {
            self.order.remove(&(at, subject));
        }
        match deadline {
            Some((at, why)) => {
                self.order.insert((at, subject));
                self.by_subject.insert(subject, (at, why));
            }
            None => {
                self.by_subject.remove(&subject);
            }
        }
    }

    pub(crate) fn get(&self, subject: Subject) -> Option<Deadline> {
        self.by_subject.get(&subject).copied()
    }

    pub(crate) fn first(&self) -> Option<Deadline> {
        let (_, subject) = self.order.first()?;
        self.get(*subject)
    }

    /// Takes all that have passed, in order.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Subject> {
        let passed = self.order.iter().take_while(|(at, _)| *at <= now);
        let subjects: Vec<Subject> = passed.map(|(_, subject)| *subject).collect();
        for subject in &subjects {
            self.set(*subject, None);
        }
        subjects
    }

    pub(crate) fn len(&self) -> usize {
        self.by_subject.len()
    }

    pub(crate) fn check(&self) {
        assert_eq!(self.order.len(), self.by_subject.len(), "one alarm each");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subject_has_one_alarm_and_the_first_is_at_hand() {
        let mut alarms = Alarms::default();
        assert_eq!((alarms.len(), alarms.first()), (0, None));
        alarms.set(Subject::HostBeat, Some((Time(5), "beat")));
        alarms.set(Subject::Inventory, Some((Time(3), "ask")));
        alarms.set(Subject::LogRead(1), Some((Time(9), "read")));
        alarms.set(Subject::HostBeat, Some((Time(7), "beat")));
        assert_eq!((alarms.len(), alarms.first()), (3, Some((Time(3), "ask"))));
        assert_eq!(alarms.get(Subject::HostBeat), Some((Time(7), "beat")));
        assert_eq!(alarms.due(Time(7)), [Subject::Inventory, Subject::HostBeat]);
        assert_eq!((alarms.len(), alarms.first()), (1, Some((Time(9), "read"))));
        alarms.set(Subject::LogRead(1), None);
        assert_eq!(alarms.len(), 0);
        alarms.check();
    }

    #[test]
    #[should_panic(expected = "one alarm each")]
    fn an_alarm_of_nobody_breaks_an_invariant() {
        let mut alarms = Alarms::default();
        alarms.order.insert((Time(1), Subject::HostBeat));
        alarms.check();
    }
}
