//! Who becomes active, and who no longer is.

use tidegate_kernel::{Effect, Note};
use tidegate_protocol::{Key, WakeOutcome, store_commit_reply::Outcome};

use super::bench::{Bench, commit_in};
use super::words::*;
use crate::SchedulerConfig;

fn elected(epoch: u64) -> Effect {
    Effect::Note(Note::Elected { epoch })
}

fn deposed(epoch: u64) -> Effect {
    Effect::Note(Note::Deposed { epoch })
}

/// A standby of a region whose lease the other scheduler holds under epoch 4.
fn standby() -> Bench {
    let mut bench = Bench::with(SchedulerConfig::new(ME, STORE));
    assert_eq!(bench.store(&[lease(OTHER, 4, 7), fence(OTHER, 4)]), []);
    bench
}

/// Active under epoch 1; the answers to its renewals are the test's business.
fn active() -> Bench {
    let mut bench = Bench::active(&[]);
    bench.renewals_are_up = false;
    bench
}

#[test]
fn the_first_candidate_takes_an_empty_store() {
    let mut bench = Bench::with(SchedulerConfig::new(ME, STORE));
    bench.feed_is_up = false;
    assert_eq!(bench.pass(60_000), [], "nothing is known yet");
    bench.feed_is_up = true;
    let campaign = bench.acts_within(3_000);
    let (id, txn_sent) = commit_in(&campaign);
    let records = [lease(ME, 1, 0), fence(ME, 1)];
    let expected = txn(&[(Key::LEASE, 0), (Key::FENCE, 0)], &records);
    assert_eq!(campaign, [commit(id, expected)]);
    let feed = bench.take(&txn_sent);
    let applied = Outcome::Applied(bench.revision);
    assert_eq!(bench.answer(id, applied), [elected(1)]);
    assert_eq!(bench.deliver(feed), [], "the feed tells nothing new");
    assert_eq!(bench.scheduler.active_epoch(), Some(1));
}

#[test]
fn a_conflict_is_answered_by_waiting_for_the_feed() {
    let mut bench = Bench::standby();
    let (id, _) = commit_in(&bench.pass(1_000));
    let conflict = Outcome::Conflict(Key::LEASE.into());
    assert_eq!(bench.answer(id, conflict), []);
    assert_eq!(bench.store(&[lease(OTHER, 1, 0), fence(OTHER, 1)]), []);
    assert_eq!(bench.pass(9_000), []);
    assert!(!bench.is_active());
}

#[test]
fn a_refused_campaign_is_tried_again() {
    let mut bench = Bench::standby();
    let (id, first) = commit_in(&bench.pass(1_000));
    assert_eq!(bench.answer(id, Outcome::Refused("disk full".into())), []);
    let (_, second) = commit_in(&bench.pass(1_000));
    assert_eq!(first, second);
}

/// Whether the store takes commits again is found out by trying, not by waiting for others.
#[test]
fn a_lease_expires_also_while_the_store_takes_no_commits() {
    let mut bench = standby();
    for refusals in 0..3 {
        assert_eq!(bench.pass(9_000), [], "after {refusals}");
        let (id, _) = commit_in(&bench.acts_within(2_000));
        assert_eq!(bench.answer(id, Outcome::Refused("disk full".into())), []);
    }
}

#[test]
fn an_election_whose_answer_is_lost_is_learnt_from_the_feed() {
    let mut bench = Bench::standby();
    let (id, txn) = commit_in(&bench.pass(1_000));
    let feed = bench.take(&txn);
    assert_eq!(bench.deliver(feed), [elected(1)]);
    let late = Outcome::Applied(bench.revision);
    assert_eq!(bench.answer(id, late), [], "the answer tells nothing new");
    assert_eq!(bench.live(60_000), []);
    assert!(bench.is_active());
}

#[test]
fn a_campaign_without_an_answer_is_forgotten_and_still_adopted_when_it_was_applied() {
    let mut bench = Bench::standby();
    let (id, txn) = commit_in(&bench.pass(0));
    assert_eq!(bench.pass(4_999), []);
    let feed = bench.take(&txn);
    bench.feed_is_up = false;
    let forgotten = bench.pass(1);
    assert_eq!(forgotten[0], Effect::Forget(id));
    assert_eq!(bench.deliver(feed), [elected(1)]);
}

#[test]
fn an_election_learnt_too_late_is_given_up_and_held_anew() {
    let mut bench = Bench::standby();
    bench.feed_is_up = false;
    let (_, txn) = commit_in(&bench.pass(0));
    let feed = bench.take(&txn);
    bench.now += 9_500;
    let effects = bench.deliver(feed);
    assert_eq!(effects, [elected(1)]);
    bench.feed_is_up = true;
    let effects = bench.pass(0);
    assert_eq!(effects[0], deposed(1));
    assert_eq!(bench.apply(&effects), [elected(2)]);
}

#[test]
fn the_active_one_renews_every_three_seconds_under_its_fence() {
    let mut bench = active();
    let elected_at = bench.now;
    let mut sent = Vec::new();
    for beat in 1..=4 {
        let renewal = bench.acts_within(3_000);
        sent.push(bench.now - elected_at);
        let (id, _) = commit_in(&renewal);
        let expected = txn(&[bench.fence()], &[lease(ME, 1, beat)]);
        assert_eq!(renewal, [commit(id, expected)]);
        assert_eq!(bench.apply(&renewal), []);
    }
    let gaps: Vec<u64> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(gaps, [3_000; 3]);
}

#[test]
fn trust_ends_nine_seconds_after_the_last_applied_renewal_was_sent() {
    let mut bench = active();
    let renewal = bench.acts_within(3_000);
    let sent = bench.now;
    bench.now += 700;
    bench.apply(&renewal);
    let unanswered = bench.pass(sent + 8_999 - bench.now);
    assert!(bench.is_active() && !unanswered.contains(&deposed(1)));
    assert!(bench.pass(1).contains(&deposed(1)));
    assert_eq!(
        bench.wake(GATEWAY, 7, 1),
        [told(GATEWAY, 7, WakeOutcome::NotActive)]
    );
}

#[test]
fn a_renewal_whose_answer_is_lost_counts_when_the_feed_shows_it() {
    let mut bench = active();
    for _ in 0..10 {
        let renewal = bench.acts_within(3_000);
        let (_, txn) = commit_in(&renewal);
        let feed = bench.take(&txn);
        assert_eq!(bench.deliver(feed), []);
    }
    assert!(bench.is_active());
}

#[test]
fn a_process_that_stood_still_steps_back_before_it_answers() {
    let mut bench = active();
    bench.now += 20_000;
    assert_eq!(
        bench.wake(GATEWAY, 7, 1),
        [deposed(1), told(GATEWAY, 7, WakeOutcome::NotActive)]
    );
}

#[test]
fn a_renewal_refused_by_the_fence_deposes_at_once() {
    let mut bench = active();
    let (id, _) = commit_in(&bench.pass(1_000));
    let conflict = Outcome::Conflict(Key::FENCE.into());
    assert_eq!(bench.answer(id, conflict), [deposed(1)]);
}

#[test]
fn a_renewal_that_the_store_does_not_try_is_repeated() {
    let mut bench = active();
    let (id, _) = commit_in(&bench.pass(1_000));
    assert_eq!(bench.answer(id, Outcome::Refused("full".into())), []);
    assert_eq!(commit_in(&bench.pass(3_000)).1.writes.len(), 1);
    assert!(bench.is_active());
}

#[test]
fn the_fence_of_another_in_the_feed_deposes() {
    let mut bench = active();
    let effects = bench.store(&[lease(OTHER, 2, 0), fence(OTHER, 2)]);
    assert_eq!(effects, [deposed(1)]);
    assert_eq!(bench.pass(9_900), []);
}

#[test]
fn a_standby_takes_a_lease_that_does_not_change_for_ten_seconds() {
    let mut bench = standby();
    assert_eq!(bench.pass(8_000), []);
    assert_eq!(bench.store(&[lease(OTHER, 4, 8)]), [], "a renewal");
    assert_eq!(bench.pass(9_900), []);
    let campaign = bench.pass(1_100);
    let (id, _) = commit_in(&campaign);
    let seen = [(Key::LEASE, 2), (Key::FENCE, 1)];
    let expected = txn(&seen, &[lease(ME, 5, 0), fence(ME, 5)]);
    assert_eq!(campaign, [commit(id, expected)]);
    assert_eq!(bench.apply(&campaign), [elected(5)]);
}

#[test]
fn a_standby_that_cannot_hear_the_store_takes_nothing() {
    let mut bench = standby();
    bench.feed_is_up = false;
    let mut effects = bench.pass(11_900);
    // The lease looked old before the store's own silence was noticed.
    if let [Effect::Commit { id, .. }] = effects[..] {
        effects = bench.pass(5_000);
        assert_eq!(effects, [Effect::Forget(id)]);
    }
    assert_eq!(bench.pass(120_000), []);
    bench.feed_is_up = true;
    assert_eq!(bench.pass(9_900), [], "counted from when it hears again");
    assert_eq!(commit_in(&bench.pass(2_100)).1.writes.len(), 2);
}

#[test]
fn the_lease_of_a_former_life_is_taken_back_at_once() {
    let mut bench = Bench::with(SchedulerConfig::new(ME, STORE));
    bench.store(&[lease(ME, 4, 7), fence(ME, 4)]);
    let campaign = bench.pass(0);
    let (id, _) = commit_in(&campaign);
    let seen = [(Key::LEASE, 1), (Key::FENCE, 1)];
    let expected = txn(&seen, &[lease(ME, 5, 0), fence(ME, 5)]);
    assert_eq!(campaign, [commit(id, expected)]);
}

#[test]
fn the_office_of_a_former_life_is_not_adopted() {
    let mut bench = Bench::with(SchedulerConfig::new(ME, STORE));
    assert_eq!(bench.store(&[lease(ME, 1, 0), fence(ME, 1)]), []);
    assert!(!bench.is_active());
}

#[test]
fn of_two_candidates_the_store_elects_one() {
    let mut one = Bench::standby();
    let mut two = Bench::with(SchedulerConfig::new(OTHER, STORE));
    two.feed(&[]);
    let first = one.pass(0);
    let (id, _) = commit_in(&two.pass(0));
    assert_eq!(one.apply(&first), [elected(1)]);
    let conflict = Outcome::Conflict(Key::LEASE.into());
    assert_eq!(two.answer(id, conflict), []);
    assert_eq!(two.store(&[lease(ME, 1, 0), fence(ME, 1)]), []);
    assert_eq!((one.is_active(), two.is_active()), (true, false));
}
