//! From what is wanted to what is held.

use super::*;

#[test]
fn an_artifact_that_is_here_costs_its_checks() {
    let mut b = bench();
    assert_eq!(b.want(A), [load(A)]);
    assert_eq!(b.want(A), []);
    assert_eq!(
        b.loaded(A, manifest(&[(1, 5), (2, 0)])),
        (vec![], vec![check(1), check(2)])
    );
    assert_eq!(b.checked(2, true), (vec![], vec![]));
    assert_eq!(b.checked(1, true), (fetched(A), vec![]));
    assert!(!b.fetcher.wants(&A));
    assert_eq!(b.fetcher.next_deadline(), None);
}

#[test]
fn an_artifact_without_files_is_fetched_with_its_manifest() {
    let mut b = bench();
    b.want(A);
    assert_eq!(b.loaded(A, manifest(&[])), (fetched(A), vec![]));
}

#[test]
fn what_is_missing_comes_from_the_origin() {
    let mut b = bench();
    b.want(A);
    assert_eq!(b.loaded(A, None), (missing(A), vec![read(A)]));
    assert_eq!(
        b.data(A, 3, "man"),
        (vec![], vec![append(A, "man"), finish(A)])
    );
    assert_eq!(b.finished(A, true), (vec![], vec![load(A)]));
    b.loaded(A, manifest(&[(1, 2), (2, 0)]));
    assert_eq!(b.checked(1, false), (vec![], vec![read(blob(1))]));
    assert_eq!(b.checked(2, false), (vec![], vec![read(blob(2))]));
    let effects = vec![append(blob(2), ""), finish(blob(2))];
    assert_eq!(b.data(blob(2), 0, ""), (vec![], effects));
    assert_eq!(b.finished(blob(2), true), (vec![], vec![]));
    let effects = vec![append(blob(1), "ab"), finish(blob(1))];
    assert_eq!(b.data(blob(1), 2, "ab"), (vec![], effects));
    assert_eq!(b.data(blob(1), 2, "ab"), (vec![], vec![]));
    assert_eq!(b.finished(blob(1), true), (fetched(A), vec![]));
}

#[test]
fn a_blob_of_two_artifacts_is_fetched_once() {
    let mut b = Bench::fetching(&[(1, 2)]);
    b.want(B);
    assert_eq!(b.loaded(B, manifest(&[(1, 2)])), (vec![], vec![]));
    b.data(blob(1), 2, "ab");
    let both = [fetched(A), fetched(B)].concat();
    assert_eq!(b.finished(blob(1), true), (both, vec![]));
}

#[test]
fn what_does_not_verify_is_fetched_again() {
    let mut b = Bench::fetching(&[(1, 2)]);
    b.data(blob(1), 2, "xx");
    let corrupt = Effect::Note(Note::Corrupt {
        artifact: A,
        blob: blob(1),
    });
    assert_eq!(b.finished(blob(1), false), (vec![], vec![corrupt]));
    assert!(b.fetcher.next_deadline().unwrap().0 >= Now::at_ms(2_000).mono);
    assert_eq!(b.timer(), [load(A)]);
    b.loaded(A, manifest(&[(1, 2)]));
    assert_eq!(b.checked(1, false), (vec![], vec![read(blob(1))]));
    b.data(blob(1), 2, "ab");
    assert_eq!(b.finished(blob(1), true), (fetched(A), vec![]));
}

#[test]
fn a_blob_that_the_origin_lacks_holds_up_nothing_else() {
    let mut b = bench_with(FetcherConfig {
        working_max: 1,
        ..FetcherConfig::new(ORIGIN)
    });
    b.want(A);
    b.loaded(A, manifest(&[(1, 2), (2, 2)]));
    b.checked(1, false);
    b.checked(2, false);
    assert_eq!(b.want(B), []);
    assert_eq!(b.origin_lacks(blob(1)), (vec![], vec![]));
    b.data(blob(2), 2, "ab");
    // Only the lacking one is left: the next artifact has its turn.
    assert_eq!(b.finished(blob(2), true), (vec![], vec![load(B)]));
    assert_eq!(b.loaded(B, manifest(&[])), (fetched(B), vec![]));
    assert_eq!(b.timer(), [load(A)]);
    b.loaded(A, manifest(&[(1, 2), (2, 2)]));
    b.checked(2, true);
    assert_eq!(b.checked(1, false), (vec![], vec![read(blob(1))]));
}

#[test]
fn a_manifest_that_the_origin_lacks_is_asked_for_later() {
    let mut b = bench();
    b.want(A);
    b.loaded(A, None);
    assert_eq!(b.origin_lacks(A), (vec![], vec![]));
    assert_eq!(b.timer(), [load(A)]);
    assert_eq!(b.loaded(A, None), (vec![], vec![read(A)]));
}

#[test]
fn a_silent_origin_is_asked_again_and_then_after_a_rest() {
    let mut b = Bench::fetching(&[(1, 2)]);
    for _ in 0..4 {
        assert_eq!(b.timer(), [read(blob(1))]);
    }
    assert_eq!(b.timer(), []);
    assert_eq!(b.timer(), [load(A)]);
}

#[test]
fn what_the_manifest_must_not_say_makes_it_unusable() {
    let unusable = |(progress, effects): Step, expected: &str| match &progress[..] {
        [Progress::Unusable { digest: A, reason }] => {
            assert!(reason.contains(expected), "{reason}");
            effects
        }
        other => panic!("{other:?}"),
    };
    let mut b = bench();
    b.want(A);
    b.want(B);
    let step = b.loaded(A, manifest(&[(2, 1), (1, 1)]));
    assert_eq!(unusable(step, "sort the files"), []);

    b.want(A);
    b.loaded(A, None);
    let step = b.data(A, limits::MANIFEST_BYTES_MAX as u64 + 1, "x");
    assert_eq!(unusable(step, "its manifest has 8388609 bytes"), []);

    b.want(A);
    b.loaded(A, None);
    b.data(A, 1, "x");
    b.finished(A, true);
    assert_eq!(unusable(b.loaded(A, None), "names no manifest"), []);

    // The other artifact tells the truth about the blob and goes on.
    b.want(A);
    b.loaded(A, manifest(&[(1, 1)]));
    b.loaded(B, manifest(&[(1, 2)]));
    b.checked(1, false);
    let step = b.data(blob(1), 2, "ab");
    let effects = unusable(step, "1 bytes, the origin 2");
    assert_eq!(effects, [append(blob(1), "ab"), finish(blob(1))]);
    assert_eq!(b.finished(blob(1), true), (fetched(B), vec![]));
}

#[test]
fn a_forgotten_artifact_stops_what_only_it_needed() {
    let mut b = Bench::fetching(&[(1, 2), (2, 2)]);
    b.want(B);
    b.loaded(B, manifest(&[(2, 2)]));
    assert_eq!(b.forget(A), []);
    assert_eq!(b.data(blob(1), 2, "ab"), (vec![], vec![]));
    b.data(blob(2), 2, "ab");
    assert_eq!(b.finished(blob(2), true), (fetched(B), vec![]));
    assert_eq!(b.fetcher.next_deadline(), None);
}

#[test]
fn an_artifact_can_be_forgotten_in_every_stage_and_wanted_again() {
    let stages: [fn(&mut Bench); 6] = [
        |_| {},
        |b| drop(b.loaded(A, None)),
        |b| drop(b.loaded(A, manifest(&[(1, 2)]))),
        |b| {
            b.loaded(A, manifest(&[(1, 2)]));
            b.checked(1, false);
        },
        |b| {
            b.loaded(A, manifest(&[(1, 2)]));
            b.checked(1, false);
            b.data(blob(1), 2, "ab");
        },
        |b| {
            b.loaded(A, None);
            b.origin_lacks(A);
        },
    ];
    for reach in stages {
        let mut b = bench();
        b.want(A);
        reach(&mut b);
        assert_eq!(b.forget(A), []);
        assert_eq!(b.want(A), [load(A)]);
        b.loaded(A, manifest(&[(1, 2)]));
        // An answer to the former life.
        assert_eq!(b.finished(blob(1), false), (vec![], vec![]));
        assert_eq!(b.checked(1, true), (fetched(A), vec![]));
    }
}

#[test]
fn everything_is_bounded() {
    let mut b = bench_with(FetcherConfig {
        wanted_max: 2,
        working_max: 1,
        checks_max: 2,
        transfers_max: 1,
        ..FetcherConfig::new(ORIGIN)
    });
    assert_eq!(b.want(A), [load(A)]);
    assert_eq!(b.want(B), []);
    assert!(!b.fetcher.want(Now::at_ms(0), blob(9), &mut b.fx));
    assert_eq!(
        b.fx.take(),
        [Effect::Note(Note::Full { queue: "artifacts" })]
    );
    assert_eq!(
        b.loaded(A, manifest(&[(1, 2), (2, 2), (3, 2)])),
        (vec![], vec![check(1), check(2)])
    );
    let effects = vec![check(3), read(blob(1))];
    assert_eq!(b.checked(1, false), (missing(A), effects));
    assert_eq!(b.checked(2, false), (vec![], vec![]));
    b.data(blob(1), 2, "ab");
    assert_eq!(b.finished(blob(1), true), (vec![], vec![read(blob(2))]));
    assert_eq!(b.forget(A), [load(B)]);
}
