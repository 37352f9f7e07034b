//! What subscribers are sent, in which order, and who is one.

use super::*;

#[test]
fn the_feed_leaves_before_the_answer_and_only_to_those_who_watch() {
    let mut b = bench();
    b.caught_up(GATEWAY, "slot/", 4);
    b.caught_up(METALD, "host/", 4);
    b.commit(METALD, 1);
    assert_eq!(
        b.committed(b.batch, vec![entry("slot/1", 5)]),
        [
            changes(GATEWAY, 4, 5, vec![entry("slot/1", 5)]),
            answer(METALD, 1, Outcome::Applied(5)),
        ]
    );
    // What did not concern it lies inside the interval of the next message.
    b.commit(GATEWAY, 2);
    assert_eq!(
        b.committed(b.batch + 1, vec![entry("host/1", 6)]),
        [
            changes(METALD, 4, 6, vec![entry("host/1", 6)]),
            answer(GATEWAY, 2, Outcome::Applied(6)),
        ]
    );
}

#[test]
fn a_large_batch_is_pushed_in_several_messages() {
    let mut b = bench_with(StoreConfig {
        feed_bytes_max: 70,
        ..StoreConfig::new(ME)
    });
    b.watch(GATEWAY, 7, "slot/", 4);
    b.feed(b.request, 4, Vec::new());
    for id in 0..=5 {
        b.commit(METALD, id);
    }
    b.conflicted(b.batch, 1, 4);
    let e = |revision| entry("slot/1", revision);
    let host = |revision| entry("host/1", revision);
    let effects = b.committed(b.batch + 1, vec![e(5), e(6), host(7), e(8), host(9)]);
    assert_eq!(
        effects[..2],
        [
            changes(GATEWAY, 4, 6, vec![e(5), e(6)]),
            changes(GATEWAY, 6, 9, vec![e(8)]),
        ]
    );
    assert_eq!(effects.len(), 2 + 5);
}

#[test]
fn an_answer_that_leaves_out_revisions_sends_everybody_back_to_the_engine() {
    let mut b = bench();
    b.caught_up(GATEWAY, "slot/", 4);
    b.caught_up(METALD, "host/", 4);
    b.watch(METALD, 8, "host/", 4);
    b.commit(METALD, 1);
    assert_eq!(
        b.committed(b.batch, vec![entry("slot/1", 7)]),
        [
            Effect::Note(Note::Mark("store: revisions that no answer told of")),
            ask_feed(b.request + 3, 4),
            answer(METALD, 1, Outcome::Applied(7)),
        ]
    );
}

#[test]
fn an_answer_for_too_few_leaves_the_others_without_one() {
    let mut b = bench();
    b.commit(METALD, 1);
    assert!(matches!(
        b.committed(b.batch, Vec::new())[..],
        [Effect::Note(Note::Malformed { .. })]
    ));
}

#[test]
fn a_new_subscriber_gets_a_snapshot() {
    let mut b = bench();
    assert_eq!(
        b.watch(GATEWAY, 7, "slot/", 0),
        [ask_snapshot(b.request, "slot/")]
    );
    let entries = vec![entry("slot/1", 3), entry("slot/2", 1)];
    assert_eq!(
        b.snapshot(b.request, 4, entries.clone()),
        [part(0, 4, 0, true, entries)]
    );
    assert_eq!(
        b.watch(GATEWAY, 7, "slot/", 4),
        [changes(GATEWAY, 4, 4, vec![])]
    );
}

#[test]
fn a_snapshot_comes_in_parts_and_an_empty_one_in_one() {
    let mut b = bench_with(StoreConfig {
        feed_bytes_max: 40,
        ..StoreConfig::new(ME)
    });
    b.watch(GATEWAY, 7, "slot/", 0);
    assert_eq!(
        b.snapshot(b.request, 0, vec![]),
        [part(0, 0, 0, true, vec![])]
    );
    b.watch(GATEWAY, 8, "slot/", 0);
    b.watch(GATEWAY, 7, "slot/", 0);
    assert_eq!(
        b.snapshot(
            b.request + 2,
            4,
            vec![entry("slot/1", 3), entry("slot/2", 1)]
        ),
        [
            part(0, 4, 0, false, vec![entry("slot/1", 3)]),
            part(0, 4, 1, true, vec![entry("slot/2", 1)]),
        ]
    );
}

#[test]
fn a_commit_during_a_snapshot_follows_it() {
    let mut b = bench();
    b.watch(GATEWAY, 7, "slot/", 0);
    b.commit(METALD, 1);
    assert_eq!(
        b.committed(b.batch, vec![entry("slot/1", 5)]),
        [answer(METALD, 1, Outcome::Applied(5))]
    );
    assert_eq!(
        b.snapshot(b.request, 4, vec![]),
        [part(0, 4, 0, true, vec![]), ask_feed(b.request + 1, 4)]
    );
    assert_eq!(
        b.feed(b.request + 1, 5, vec![entry("slot/1", 5)]),
        [changes(GATEWAY, 4, 5, vec![entry("slot/1", 5)])]
    );
}

#[test]
fn a_subscriber_that_is_behind_is_served_until_it_has_caught_up() {
    let mut b = bench();
    assert_eq!(b.watch(GATEWAY, 7, "slot/", 2), [ask_feed(b.request, 2)]);
    // The store does not know yet how far its engine is: only an empty answer is the end.
    assert_eq!(
        b.feed(b.request, 4, vec![entry("slot/1", 3), entry("host/1", 4)]),
        [
            changes(GATEWAY, 2, 4, vec![entry("slot/1", 3)]),
            ask_feed(b.request + 1, 4)
        ]
    );
    assert_eq!(
        b.feed(b.request + 1, 5, vec![entry("host/1", 5)]),
        [ask_feed(b.request + 2, 5)]
    );
    b.commit(METALD, 1);
    assert_eq!(
        b.committed(b.batch, vec![entry("slot/2", 6)]),
        [answer(METALD, 1, Outcome::Applied(6))]
    );
    assert_eq!(
        b.feed(b.request + 2, 6, vec![entry("slot/2", 6)]),
        [changes(GATEWAY, 4, 6, vec![entry("slot/2", 6)])]
    );
    b.commit(METALD, 2);
    assert_eq!(
        b.committed(b.batch + 1, vec![entry("slot/2", 7)])[0],
        changes(GATEWAY, 6, 7, vec![entry("slot/2", 7)])
    );
}

#[test]
fn what_the_engine_has_forgotten_comes_as_a_snapshot() {
    let mut b = bench();
    b.watch(GATEWAY, 7, "slot/", 9);
    let gone = EngineReply::Feed {
        request: b.request,
        after_revision: 9,
        revision: 4,
        entries: Vec::new(),
        gone: true,
    };
    assert_eq!(
        b.event(Event::Engine(gone)),
        [ask_snapshot(b.request + 1, "slot/")]
    );
    assert_eq!(
        b.snapshot(b.request + 1, 4, vec![]),
        [part(9, 4, 0, true, vec![])]
    );
}

#[test]
fn a_renewal_is_answered_with_a_sign_of_life() {
    let mut b = bench();
    b.caught_up(GATEWAY, "slot/", 4);
    assert_eq!(
        b.watch(GATEWAY, 7, "slot/", 4),
        [changes(GATEWAY, 4, 4, vec![])]
    );
    b.commit(METALD, 1);
    b.committed(b.batch, vec![entry("host/1", 5)]);
    assert_eq!(
        b.watch(GATEWAY, 7, "slot/", 4),
        [changes(GATEWAY, 4, 5, vec![])]
    );
    // Whether that arrived or not, it has everything that matches.
    assert_eq!(
        b.watch(GATEWAY, 7, "slot/", 4),
        [changes(GATEWAY, 4, 5, vec![])]
    );
    assert_eq!(
        b.watch(GATEWAY, 7, "slot/", 5),
        [changes(GATEWAY, 5, 5, vec![])]
    );
}

#[test]
fn an_older_or_impossible_renewal_is_served_from_the_engine() {
    let mut b = bench();
    b.caught_up(GATEWAY, "slot/", 4);
    b.commit(METALD, 1);
    b.committed(b.batch, vec![entry("slot/1", 5)]);
    let next = b.request + 1;
    assert_eq!(b.watch(GATEWAY, 7, "slot/", 4), [ask_feed(next, 4)]);
    // Asked again before the engine has answered.
    assert_eq!(b.watch(GATEWAY, 7, "slot/", 4), []);
    b.feed(next, 5, vec![entry("slot/1", 5)]);
    assert_eq!(b.watch(GATEWAY, 7, "slot/", 99), [ask_feed(next + 1, 99)]);
}

#[test]
fn a_new_session_replaces_the_former_one() {
    let mut b = bench();
    b.watch(GATEWAY, 6, "slot/", 2);
    b.watch(GATEWAY, 7, "slot/", 3);
    assert_eq!(b.store.subscriber_count(), 1);
    assert_eq!(b.feed(b.request, 3, vec![]), []);
    assert_eq!(
        b.feed(b.request + 1, 3, vec![]),
        [changes(GATEWAY, 3, 3, vec![])]
    );
}

#[test]
fn a_malformed_subscription_is_noted() {
    let mut b = bench();
    let empty = Message::StoreWatch(StoreWatch::default());
    assert!(matches!(
        b.message(GATEWAY, empty)[..],
        [Effect::Note(Note::Malformed { .. })]
    ));
    assert_eq!(b.store.subscriber_count(), 0);
}

#[test]
fn the_silent_are_dropped_and_the_others_kept() {
    let mut b = bench();
    assert_eq!(b.store.next_deadline(), None);
    b.watch(GATEWAY, 7, "slot/", 0);
    let deadline = |ms| Some((Now::at_ms(ms).mono, "drop silent subscribers"));
    assert_eq!(b.store.next_deadline(), deadline(20_000));
    b.now = Now::at_ms(1_000);
    b.watch(METALD, 7, "slot/", 0);
    b.now = Now::at_ms(20_000);
    assert_eq!(b.event(Event::Timer), []);
    assert_eq!(b.store.subscriber_count(), 1);
    assert_eq!(b.store.next_deadline(), deadline(40_000));
    b.now = Now::at_ms(40_000);
    b.event(Event::Timer);
    assert_eq!(b.store.next_deadline(), None);
    // The engine's answer to somebody who is gone.
    assert_eq!(b.snapshot(b.request, 4, vec![]), []);
}

#[test]
fn subscribers_are_bounded_and_the_silent_make_room() {
    let mut b = bench_with(StoreConfig {
        subscribers_max: 1,
        ..StoreConfig::new(ME)
    });
    b.watch(GATEWAY, 7, "slot/", 0);
    assert_eq!(
        b.watch(METALD, 7, "slot/", 0),
        [Effect::Note(Note::Full {
            queue: "subscribers"
        })]
    );
    b.now = Now::at_ms(20_000);
    assert_eq!(
        b.watch(METALD, 7, "slot/", 0),
        [ask_snapshot(b.request + 1, "slot/")]
    );
}

#[test]
fn the_load_is_that_of_its_queues() {
    let mut b = bench();
    b.watch(GATEWAY, 1, "slot/", 0);
    b.commit(METALD, 1);
    b.commit(METALD, 2);
    let lengths: Vec<_> = b.store.load().iter().map(|l| (l.queue, l.length)).collect();
    assert_eq!(lengths[0], ("commits", 1));
    assert_eq!(lengths[2], ("commits at the engine", 1));
    assert_eq!(lengths[3], ("subscribers", 1));
}

#[test]
#[should_panic(expected = "nobody sweeps")]
fn a_subscriber_that_is_never_swept_breaks_an_invariant() {
    let mut b = bench();
    b.watch(GATEWAY, 1, "slot/", 0);
    b.store.sweep_at = None;
    b.store.check();
}
