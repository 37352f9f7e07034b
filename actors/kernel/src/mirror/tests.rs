use super::*;
use crate::{Effect, Seed};
use tidegate_protocol::{NodeId, Role, RouteRecord};

const STORE: Address = Address::new(NodeId(1), Role::Store, 1);

struct Bench {
    mirror: Mirror,
    fx: Effects,
    ms: u64,
}

fn bench() -> Bench {
    let mirror = Mirror::new(STORE, &["route/"], &mut Seed(1).rng());
    let fx = Effects::new();
    Bench { mirror, fx, ms: 0 }
}

impl Bench {
    /// Delivers a message; returns what changed (key, exists, revision) and the revisions
    /// that the mirror asked from.
    fn feed(&mut self, mut feed: StoreFeed) -> (Vec<(String, bool, u64)>, Vec<u64>) {
        feed.session = self.mirror.session;
        let now = Now::at_ms(self.ms);
        let changes = self.mirror.on_feed(now, STORE, feed, &mut self.fx);
        let changes = changes
            .into_iter()
            .map(|c| (c.key.to_string(), c.record.is_some(), c.revision))
            .collect();
        (changes, self.asked())
    }

    fn timer(&mut self, ms: u64) -> Vec<u64> {
        self.ms = ms;
        self.mirror.on_timer(Now::at_ms(ms), &mut self.fx);
        self.asked()
    }

    fn asked(&mut self) -> Vec<u64> {
        let asked = self.fx.take().into_iter().map(|effect| match effect {
            Effect::Send {
                to: STORE,
                body: Message::StoreWatch(watch),
                after: None,
            } => watch.after_revision,
            other => panic!("{other:?}"),
        });
        asked.collect()
    }
}

fn put(project: &str, revision: u64) -> FeedEntry {
    let record = Record::Route(RouteRecord {
        project: project.to_owned(),
        ..RouteRecord::default()
    });
    FeedEntry {
        key: format!("route/{project}"),
        value: Some(record.encode()),
        revision,
    }
}

fn changes(after_revision: u64, revision: u64, entries: Vec<FeedEntry>) -> StoreFeed {
    StoreFeed {
        after_revision,
        revision,
        entries,
        ..StoreFeed::default()
    }
}

fn snapshot(revision: u64, part: u32, last: bool, entries: Vec<FeedEntry>) -> StoreFeed {
    StoreFeed {
        revision,
        reset: true,
        part,
        last,
        entries,
        ..StoreFeed::default()
    }
}

fn there(project: &str, revision: u64) -> (String, bool, u64) {
    (format!("route/{project}"), true, revision)
}

fn gone(project: &str) -> (String, bool, u64) {
    (format!("route/{project}"), false, 0)
}

#[test]
fn changes_are_reported_once_whatever_is_repeated() {
    let mut b = bench();
    let first = changes(0, 2, vec![put("a", 1), put("b", 2)]);
    assert_eq!(b.feed(first.clone()).0, [there("a", 1), there("b", 2)]);
    assert_eq!(b.feed(first).0, []);
    let overlapping = changes(1, 3, vec![put("b", 2), put("c", 3)]);
    assert_eq!(b.feed(overlapping), (vec![there("c", 3)], vec![]));
}

#[test]
fn a_gap_is_asked_for_at_most_once_a_second_and_at_least() {
    let mut b = bench();
    b.feed(changes(0, 2, vec![]));
    b.ms = 10_000;
    let gap = changes(3, 4, vec![put("a", 4)]);
    assert_eq!(b.feed(gap.clone()), (vec![], vec![2]));
    b.ms = 10_500;
    assert_eq!(b.feed(gap), (vec![], vec![]));
    assert_eq!(b.timer(10_999), []);
    assert_eq!(b.timer(11_000), [2]);
}

#[test]
fn a_gap_is_asked_for_soon_though_something_from_below_it_arrives() {
    let mut b = bench();
    assert_eq!(b.timer(0), [0]);
    b.ms = 100;
    b.feed(changes(2, 3, vec![put("a", 3)]));
    b.feed(changes(0, 1, vec![put("b", 1)]));
    assert_eq!(b.timer(999), []);
    assert_eq!(b.timer(1_000), [1]);
}

#[test]
fn a_gap_that_was_filled_is_not_asked_for() {
    let mut b = bench();
    assert_eq!(b.timer(0), [0]);
    b.ms = 100;
    b.feed(changes(2, 3, vec![put("a", 3)]));
    b.feed(changes(0, 3, vec![put("b", 1), put("a", 3)]));
    assert_eq!(b.timer(4_999), []);
    assert_eq!(b.timer(5_000), [3]);
}

#[test]
fn changes_that_keep_coming_do_not_put_the_renewal_off() {
    let mut b = bench();
    assert_eq!(b.timer(0), [0]);
    for second in 1..=4 {
        b.ms = second * 1_000;
        b.feed(changes(second - 1, second, vec![put("a", second)]));
    }
    assert_eq!(b.timer(4_999), []);
    assert_eq!(b.timer(5_000), [4]);
}

#[test]
fn parts_of_a_snapshot_may_come_in_any_order_and_twice() {
    let mut b = bench();
    let last = snapshot(5, 1, true, vec![put("b", 2)]);
    let first = snapshot(5, 0, false, vec![put("a", 4)]);
    assert_eq!(b.feed(last.clone()).0, []);
    assert_eq!(b.feed(last).0, []);
    assert!(!b.mirror.is_loaded());
    assert_eq!(b.feed(first).0, [there("b", 2), there("a", 4)]);
    assert_eq!((b.mirror.is_loaded(), b.mirror.revision()), (true, 5));
}

#[test]
fn a_lost_part_is_asked_for_soon_and_completes_what_came() {
    let mut b = bench();
    b.feed(snapshot(5, 0, false, vec![put("a", 4)]));
    assert_eq!(b.timer(1_000), [0]);
    let again = snapshot(5, 1, true, vec![put("b", 2)]);
    assert_eq!(b.feed(again).0, [there("b", 2), there("a", 4)]);
}

#[test]
fn parts_of_two_snapshots_are_not_mixed() {
    let mut b = bench();
    b.feed(snapshot(5, 0, false, vec![put("a", 4)]));
    assert_eq!(b.feed(snapshot(6, 1, true, vec![])).0, []);
    assert_eq!(
        b.feed(snapshot(6, 0, false, vec![put("b", 6)])).0,
        [there("b", 6)]
    );
}

#[test]
fn a_snapshot_tells_what_is_gone_and_what_changed() {
    let mut b = bench();
    b.feed(changes(0, 3, vec![put("a", 1), put("b", 2), put("c", 3)]));
    let newer = snapshot(9, 0, true, vec![put("b", 2), put("c", 7), put("d", 4)]);
    assert_eq!(b.feed(newer).0, [gone("a"), there("d", 4), there("c", 7)]);
}

#[test]
fn a_late_snapshot_does_not_take_the_copy_back_but_a_restored_store_does() {
    let mut b = bench();
    b.feed(changes(0, 3, vec![put("a", 3)]));
    assert_eq!(b.feed(snapshot(2, 0, true, vec![])).0, []);
    assert_eq!(b.mirror.revision(), 3);
    let restored = StoreFeed {
        after_revision: 3,
        ..snapshot(2, 0, true, vec![])
    };
    assert_eq!(b.feed(restored).0, [gone("a")]);
    assert_eq!(b.mirror.revision(), 2);
}

#[test]
fn it_is_live_while_the_store_was_heard_lately_and_the_copy_is_whole() {
    let mut b = bench();
    assert!(!b.mirror.is_live(Now::at_ms(0)));
    b.feed(snapshot(5, 0, false, vec![put("a", 4)]));
    assert!(!b.mirror.is_live(Now::at_ms(0)), "a part is missing");
    b.feed(snapshot(5, 1, true, vec![]));
    assert!(b.mirror.is_live(Now::at_ms(11_999)));
    assert!(!b.mirror.is_live(Now::at_ms(12_000)));
}

#[test]
fn what_is_unseen_counts_only_while_the_mirror_is_live_and_from_when_it_became_so() {
    let mut b = bench();
    let unseen = |b: &Bench, ms, seen_ms| {
        let unseen = b.mirror.unseen(Now::at_ms(ms), Now::at_ms(seen_ms).mono);
        unseen.as_millis()
    };
    assert_eq!(unseen(&b, 5_000, 0), 0);
    b.ms = 1_000;
    b.feed(changes(0, 1, vec![]));
    assert_eq!(unseen(&b, 4_000, 0), 3_000);
    assert_eq!(unseen(&b, 4_000, 2_500), 1_500);
    b.ms = 10_000;
    b.feed(changes(1, 1, vec![]));
    assert_eq!(unseen(&b, 21_000, 0), 20_000, "it was live all the time");
    assert_eq!(unseen(&b, 22_000, 0), 0);
    b.ms = 30_000;
    b.feed(changes(1, 1, vec![]));
    assert_eq!(unseen(&b, 31_000, 0), 1_000);
}

#[test]
fn a_precondition_names_the_revision_that_was_seen() {
    let mut b = bench();
    b.feed(changes(0, 2, vec![put("a", 2)]));
    let key = |project: &str| Key::Route(project.to_owned());
    assert_eq!(b.mirror.revision_of(&key("a")), 2);
    assert_eq!(b.mirror.revision_of(&key("b")), 0);
    let precondition = Precondition {
        key: "route/a".to_owned(),
        revision: 2,
    };
    assert_eq!(b.mirror.unchanged(&key("a")), precondition);
}

#[test]
fn it_names_when_it_will_ask_and_why() {
    let mut b = bench();
    b.timer(500);
    let due = Now::at_ms(1_500).mono;
    assert_eq!(b.mirror.next_deadline(), (due, "renew the subscription"));
}

#[test]
fn what_another_store_or_session_says_changes_nothing() {
    let mut b = bench();
    let now = Now::at_ms(0);
    let mut feed = changes(0, 2, vec![put("a", 2)]);
    feed.session = b.mirror.session + 1;
    assert_eq!(b.mirror.on_feed(now, STORE, feed.clone(), &mut b.fx), []);
    feed.session = b.mirror.session;
    let other = Address::new(NodeId(2), Role::Store, 1);
    assert_eq!(b.mirror.on_feed(now, other, feed, &mut b.fx), []);
    assert!(!b.mirror.is_loaded());
}

#[test]
fn a_gap_found_a_second_after_asking_is_asked_for_at_once() {
    let mut b = bench();
    assert_eq!(b.timer(0), [0]);
    b.ms = 1_000;
    assert_eq!(b.feed(changes(2, 3, vec![])), (vec![], vec![0]));
}

#[test]
fn a_snapshot_of_the_same_revision_is_taken() {
    let mut b = bench();
    b.feed(changes(0, 3, vec![put("a", 3)]));
    assert_eq!(b.feed(snapshot(3, 0, true, vec![])).0, [gone("a")]);
}

impl Bench {
    /// Lets the store answer every renewal from a second on, at the revision of that
    /// second.
    fn hear(&mut self, seconds: std::ops::RangeInclusive<u64>, revision: fn(u64) -> u64) {
        for second in seconds {
            self.ms = second * 1_000;
            let known = self.mirror.revision();
            self.feed(changes(known, revision(second), vec![]));
        }
    }

    /// Seconds of silence, and seconds unseen, of what was heard at 0.
    fn silent(&self, ms: u64) -> (u64, u64) {
        let seconds = |d: Duration| (d.as_nanos() / 1_000_000_000) as u64;
        let (now, heard) = (Now::at_ms(ms), Time::ZERO);
        let silence = self.mirror.silence(now, heard);
        (seconds(silence), seconds(self.mirror.unseen(now, heard)))
    }
}

#[test]
fn silence_counts_while_the_commits_of_anybody_move_the_store() {
    let mut b = bench();
    b.hear(0..=40, |second| 1 + second / 3);
    assert_eq!(b.silent(40_000), (40, 40));
}

#[test]
fn nobody_is_silent_while_the_store_takes_nothing_and_counts_anew_afterwards() {
    let mut b = bench();
    b.hear(0..=20, |second| 1 + second);
    assert_eq!(b.silent(31_999), (31, 31));
    b.hear(21..=32, |_| 21);
    assert_eq!(b.silent(32_000), (0, 32));
    b.hear(33..=60, |_| 21);
    assert_eq!(b.silent(60_000), (0, 60));
    b.hear(61..=70, |_| 22);
    assert_eq!(b.silent(70_000), (9, 70));
    b.hear(71..=100, |second| second);
    assert_eq!(b.silent(100_000), (39, 100));
}

#[test]
fn what_is_loaded_is_no_proof_that_the_store_takes_commits() {
    let mut b = bench();
    b.feed(snapshot(9, 0, true, vec![put("a", 4)]));
    b.hear(1..=30, |_| 9);
    assert_eq!((b.silent(11_999), b.silent(30_000)), ((11, 11), (0, 30)));
}

#[test]
fn a_mirror_that_is_not_live_counts_nothing() {
    let mut b = bench();
    b.hear(0..=3, |second| 1 + second);
    assert_eq!(b.silent(14_999), (14, 14));
    assert_eq!(b.silent(15_000), (0, 0));
    b.hear(50..=55, |second| second);
    assert_eq!(b.silent(55_000), (5, 5));
}
