//! One commit at a time to one store.
//!
//! A lane is busy from the commit until the mirror shows what it wrote, so that nothing is
//! decided from a copy that is known to be old. A conflict means that the copy was old: the
//! next decision waits until it has changed. A refusal, or silence, waits longer each time.

use serde::{Deserialize, Serialize};
use tidegate_kernel::{Backoff, CommitId, Duration, Effect, Effects, Mirror, Now, Rng, Time};
use tidegate_protocol::{Key, Precondition, Txn, store_commit_reply::Outcome};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lane {
    state: State,
    backoff: Backoff,
}

#[derive(Debug, Serialize, Deserialize)]
enum State {
    Free,
    Asked {
        commit: CommitId,
        sent: Time,
        preconditions: Vec<Precondition>,
    },
    /// Applied, and the mirror has to follow.
    Settling {
        revision: u64,
        until: Time,
    },
    Resting {
        until: Time,
    },
}

/// How patient a lane is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the answer to a commit, and then for the mirror.
    pub(crate) commit_timeout: Duration,
    pub(crate) backoff_base: Duration,
    pub(crate) backoff_cap: Duration,
}

impl Lane {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            state: State::Free,
            backoff: Backoff::new(patience.backoff_base, patience.backoff_cap),
        }
    }

    /// Whether the next decision may be made.
    pub(crate) fn is_free(&self, now: Now, mirror: &Mirror) -> bool {
        match &self.state {
            State::Free => true,
            State::Asked { .. } => false,
            State::Settling { revision, until } => {
                mirror.revision() >= *revision || now.mono >= *until
            }
            State::Resting { until } => now.mono >= *until,
        }
    }

    pub(crate) fn commit(
        &mut self,
        now: Now,
        mirror: &Mirror,
        txn: Txn,
        rng: &mut Rng,
        fx: &mut Effects,
    ) {
        let commit = CommitId(rng.u64());
        self.state = State::Asked {
            commit,
            sent: now.mono,
            preconditions: txn.preconditions.clone(),
        };
        fx.commit(commit, mirror.store(), txn);
    }

    /// Takes an answer; says whether it was the one that this lane waits for.
    pub(crate) fn on_answer(
        &mut self,
        now: Now,
        answered: CommitId,
        outcome: &Outcome,
        context: (&Mirror, Patience, &mut Rng),
    ) -> bool {
        let (mirror, patience, rng) = context;
        let State::Asked {
            commit,
            preconditions,
            ..
        } = &self.state
        else {
            return false;
        };
        if *commit != answered {
            return false;
        }
        let overtaken = preconditions
            .iter()
            .any(|p| Key::parse(&p.key).is_ok_and(|key| mirror.revision_of(&key) != p.revision));
        self.state = match outcome {
            Outcome::Applied(revision) => {
                self.backoff.reset();
                State::Settling {
                    revision: *revision,
                    until: now.mono + patience.commit_timeout,
                }
            }
            Outcome::Conflict(_) if overtaken => State::Free,
            Outcome::Conflict(_) | Outcome::Refused(_) => self.rest(now, rng),
        };
        true
    }

    /// Forgets a commit that stays without an answer; says whether there was one.
    pub(crate) fn on_time(
        &mut self,
        now: Now,
        patience: Patience,
        rng: &mut Rng,
        fx: &mut Effects,
    ) -> bool {
        match self.state {
            State::Asked { commit, sent, .. } if now.mono >= sent + patience.commit_timeout => {
                fx.push(Effect::Forget(commit));
                self.state = self.rest(now, rng);
                true
            }
            _ => false,
        }
    }

    /// Gives up whatever is under way, because nothing depends on it any more.
    pub(crate) fn abandon(&mut self, fx: &mut Effects) {
        if let State::Asked { commit, .. } = self.state {
            fx.push(Effect::Forget(commit));
        }
        self.state = State::Free;
    }

    /// When it gives up waiting. A deadline that has passed is not named again.
    pub(crate) fn next_deadline(
        &self,
        patience: Patience,
        last: Time,
    ) -> Option<(Time, &'static str)> {
        let deadline = match self.state {
            State::Free => None,
            State::Asked { sent, .. } => Some((sent + patience.commit_timeout, "forget a commit")),
            State::Settling { until, .. } => Some((until, "decide from the mirror as it is")),
            State::Resting { until } => Some((until, "try a commit again")),
        };
        deadline.filter(|(at, _)| *at > last)
    }

    fn rest(&mut self, now: Now, rng: &mut Rng) -> State {
        State::Resting {
            until: now.mono + self.backoff.fail(rng),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_kernel::Seed;
    use tidegate_protocol::{Address, NodeId, Role};

    const PATIENCE: Patience = Patience {
        commit_timeout: Duration::from_secs(5),
        backoff_base: Duration::from_millis(200),
        backoff_cap: Duration::from_secs(10),
    };

    struct Bench {
        lane: Lane,
        mirror: Mirror,
        rng: Rng,
        fx: Effects,
        commit: CommitId,
    }

    /// A commit went out at second 1.
    fn asked() -> Bench {
        let mut rng = Seed(1).rng();
        let store = Address::new(NodeId(1), Role::Store, 0);
        let mirror = Mirror::new(store, &[], &mut rng);
        let (mut lane, mut fx) = (Lane::new(PATIENCE), Effects::new());
        lane.commit(at(1_000), &mirror, Txn::default(), &mut rng, &mut fx);
        let [Effect::Commit { id, .. }] = fx.take()[..] else {
            panic!("no commit");
        };
        Bench {
            lane,
            mirror,
            rng,
            fx,
            commit: id,
        }
    }

    fn at(ms: u64) -> Now {
        Now::at_ms(ms)
    }

    impl Bench {
        fn is_free(&self, ms: u64) -> bool {
            self.lane.is_free(at(ms), &self.mirror)
        }

        fn deadline(&self, last_ms: u64) -> Option<(u64, &'static str)> {
            let deadline = self.lane.next_deadline(PATIENCE, at(last_ms).mono);
            deadline.map(|(at, why)| (at.0 / 1_000_000, why))
        }

        fn answer(&mut self, outcome: &Outcome) -> bool {
            let context = (&self.mirror, PATIENCE, &mut self.rng);
            let commit = self.commit;
            self.lane.on_answer(at(1_000), commit, outcome, context)
        }
    }

    #[test]
    fn what_is_abandoned_is_forgotten_once() {
        let mut b = asked();
        assert!(!b.is_free(100_000));
        assert_eq!(b.deadline(0), Some((6_000, "forget a commit")));
        b.lane.abandon(&mut b.fx);
        assert_eq!(b.fx.take(), [Effect::Forget(b.commit)]);
        assert!(b.is_free(1_000));
        b.lane.abandon(&mut b.fx);
        assert_eq!((b.fx.take(), b.deadline(0)), (vec![], None));
    }

    #[test]
    fn a_commit_without_an_answer_is_forgotten_in_time() {
        let mut b = asked();
        let mut late = |ms| b.lane.on_time(at(ms), PATIENCE, &mut b.rng, &mut b.fx);
        assert!(!late(5_999));
        assert!(late(6_000));
        assert_eq!(b.fx.take(), [Effect::Forget(b.commit)]);
        assert!(!b.answer(&Outcome::Applied(1)), "too late");
    }

    #[test]
    fn what_was_applied_is_waited_for_in_the_mirror_and_not_for_ever() {
        let mut b = asked();
        assert!(b.answer(&Outcome::Applied(5)));
        assert!(!b.is_free(5_999) && b.is_free(6_000));
        let why = "decide from the mirror as it is";
        assert_eq!(b.deadline(5_999), Some((6_000, why)));
        assert_eq!(b.deadline(6_000), None, "named once");
    }

    #[test]
    fn a_refusal_rests() {
        let mut b = asked();
        assert!(b.answer(&Outcome::Refused("full".into())));
        assert!(!b.is_free(1_099) && b.is_free(1_200));
        let (until, why) = b.deadline(1_000).unwrap();
        assert!((1_100..=1_200).contains(&until), "{until}");
        assert_eq!(why, "try a commit again");
    }
}
