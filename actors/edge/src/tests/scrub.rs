//! Held artifacts are looked at again, and what is found damaged is fetched anew.

use super::*;
use tidegate_protocol::ManifestEntry;

const SMALL: Digest = Digest([1; 32]);
const LARGE: Digest = Digest([2; 32]);

fn manifest() -> Manifest {
    let file = |path: &str, digest: Digest, size| ManifestEntry {
        path: path.into(),
        size,
        digest: digest.into(),
        executable: false,
    };
    let files = vec![file("a", SMALL, 10), file("b", LARGE, 64 << 20)];
    Manifest { files }
}

fn verify(digest: Digest) -> Effect {
    Effect::Blob(BlobCommand::Verify { digest })
}

fn check(digest: Digest) -> Effect {
    Effect::Blob(BlobCommand::Check { digest })
}

const FOUND: Effect = Effect::Note(Note::Mark("a held artifact was found damaged"));

const ANEW: Effect = Effect::Note(Note::Mark("held artifacts are checked anew"));

/// Holds version 1 of artifact A, and has said so at revision 2.
fn holding() -> Bench {
    let (mut b, effects) = loaded(vec![version(1, A, 1)]);
    assert_eq!(effects, [load(A)]);
    assert_eq!(b.manifest(A), [check(SMALL), check(LARGE)]);
    assert_eq!(b.checked(SMALL, true), []);
    let effects = b.checked(LARGE, true);
    assert_eq!(effects[0], verified(1, A));
    assert_eq!(txn_of(&effects), acks(1, A, 0, 1));
    b.reply(&effects, Outcome::Applied(2));
    assert_eq!(b.feed(vec![ack(1, A, 2)]), []);
    b
}

impl Bench {
    fn manifest(&mut self, digest: Digest) -> Vec<Effect> {
        let manifest = Some(manifest());
        self.event(Event::Blob(BlobReport::Manifest { digest, manifest }))
    }

    fn checked(&mut self, digest: Digest, present: bool) -> Vec<Effect> {
        self.event(Event::Blob(BlobReport::Checked { digest, present }))
    }

    fn dropped(&mut self, count: u64) -> Vec<Effect> {
        self.event(Event::Blob(BlobReport::Dropped { count }))
    }

    /// What the blob store is told at that time.
    fn looks(&mut self, ms: u64) -> Vec<Effect> {
        let mut effects = self.at(ms);
        effects.retain(|effect| matches!(effect, Effect::Blob(_)));
        effects
    }
}

#[test]
fn what_is_held_is_looked_at_again_one_blob_a_second_and_slower_after_a_large_one() {
    let mut b = holding();
    assert_eq!(b.looks(999), []);
    assert_eq!(b.looks(1_000), [load(A)]);
    assert_eq!(b.manifest(A), []);
    assert_eq!(b.looks(1_999), []);
    assert_eq!(b.looks(2_000), [verify(SMALL)]);
    assert_eq!(b.looks(2_999), [], "one at a time");
    assert_eq!(b.checked(SMALL, true), []);
    assert_eq!(b.looks(3_999), [verify(LARGE)]);
    assert_eq!(b.checked(LARGE, true), []);
    assert_eq!(b.looks(7_998), [], "16 MiB a second");
    assert_eq!(b.looks(7_999), [load(A)], "and round again");
}

/// Holds it, and has looked five times (at nothing, when it started); asks what was dropped.
fn asking() -> Bench {
    let mut b = holding();
    assert_eq!(b.looks(1_000), [load(A)]);
    assert_eq!(b.manifest(A), []);
    assert_eq!(b.looks(2_000), [verify(SMALL)]);
    assert_eq!(b.checked(SMALL, true), []);
    assert_eq!(b.looks(3_000), [verify(LARGE)]);
    assert_eq!(b.checked(LARGE, true), []);
    assert_eq!(b.looks(7_000), [load(A)]);
    assert_eq!(b.manifest(A), []);
    assert_eq!(b.looks(8_000), [Effect::Blob(BlobCommand::CountDropped)]);
    b
}

#[test]
fn nothing_dropped_lets_the_looks_go_on() {
    let mut b = asking();
    assert_eq!(b.dropped(0), []);
    assert_eq!(b.looks(9_000), [verify(SMALL)]);
}

#[test]
fn when_somebody_else_found_damage_all_is_checked_again_and_acks_stand_until_it_is_found() {
    let mut b = asking();
    assert_eq!(b.dropped(1), [ANEW, load(A)]);
    assert_eq!(b.manifest(A), [check(SMALL), check(LARGE)]);
    assert_eq!(b.checked(LARGE, true), []);
    let effects = b.checked(SMALL, false);
    assert_eq!(effects[0], read(SMALL));
    assert_eq!(txn_of(&effects), unacks(1, 2));
}

#[test]
fn when_somebody_else_found_damage_elsewhere_nothing_changes() {
    let mut b = asking();
    b.dropped(1);
    b.manifest(A);
    assert_eq!(b.checked(SMALL, true), []);
    assert_eq!(b.checked(LARGE, true), [verified(1, A)]);
    assert!(b.edge.holds(&A));
}

#[test]
fn a_damaged_blob_takes_the_ack_back_until_it_was_fetched_again() {
    let mut b = holding();
    b.looks(1_000);
    b.manifest(A);
    b.looks(2_000);
    let effects = b.checked(SMALL, false);
    assert_eq!(effects[..2], [FOUND, load(A)]);
    assert_eq!(txn_of(&effects), unacks(1, 2));
    assert!(!b.edge.holds(&A));
    b.reply(&effects, Outcome::Applied(3));
    assert_eq!(b.feed(vec![deleted(ack_key(1), 3)]), []);

    assert_eq!(b.manifest(A), [check(SMALL), check(LARGE)]);
    assert_eq!(b.checked(LARGE, true), []);
    assert_eq!(b.checked(SMALL, false), [read(SMALL)]);
    assert_eq!(b.looks(10_000), [], "what is not held is not looked at");
    let data = tidegate_protocol::Bytes::from_static(b"0123456789");
    let part = BlobData {
        digest: SMALL.into(),
        total: 10,
        data,
        ..BlobData::default()
    };
    b.message(ORIGIN, Message::BlobData(part));
    let finished = BlobReport::Finished {
        digest: SMALL,
        verified: true,
    };
    let effects = b.event(Event::Blob(finished));
    assert_eq!(effects[0], verified(1, A));
    assert_eq!(txn_of(&effects), acks(1, A, 0, 1));
    assert_eq!(b.looks(11_000), [load(A)]);
}

#[test]
fn a_damaged_manifest_is_fetched_again_too() {
    let mut b = holding();
    b.looks(1_000);
    let effects = b.loaded_manifest(A, false);
    assert_eq!(effects[..2], [FOUND, load(A)]);
    assert_eq!(txn_of(&effects), unacks(1, 2));
    b.reply(&effects, Outcome::Applied(3));
    assert_eq!(b.loaded_manifest(A, false), [read(A)]);
}

#[test]
fn an_artifact_that_nobody_needs_any_more_is_let_go() {
    let mut b = holding();
    b.looks(1_000);
    b.manifest(A);
    b.feed(vec![deleted(Key::Version(1).to_string(), 3)]);
    assert_eq!(b.looks(60_000), []);
    assert_eq!(b.checked(SMALL, false), [], "it was not asked for");
}

#[test]
fn a_look_without_an_answer_ends_nothing() {
    let mut b = holding();
    assert_eq!(b.looks(1_000), [load(A)]);
    assert_eq!(b.looks(600_999), []);
    assert_eq!(b.looks(601_000), [load(A)]);
}
