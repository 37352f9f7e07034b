//! What waits for its turn, and the bounds of that.

use super::*;

#[test]
fn what_a_forgotten_artifact_queued_leaves_and_the_rest_keeps_its_turn() {
    let narrow = || {
        bench_with(FetcherConfig {
            checks_max: 1,
            transfers_max: 1,
            ..FetcherConfig::new(ORIGIN)
        })
    };
    let mut b = narrow();
    b.want(A);
    b.want(B);
    b.loaded(A, manifest(&[(1, 2), (2, 2)]));
    b.loaded(B, manifest(&[(3, 2), (4, 2)]));
    assert_eq!(b.forget(A), []);
    assert_eq!(b.checked(1, false), (vec![], vec![check(3)]));
    let effects = vec![check(4), read(blob(3))];
    assert_eq!(b.checked(3, false), (missing(B), effects));

    let mut b = narrow();
    b.want(A);
    b.want(B);
    b.loaded(A, manifest(&[(1, 2), (2, 2)]));
    b.loaded(B, manifest(&[(3, 2), (4, 2)]));
    for n in 1..=4 {
        b.checked(n, false);
    }
    assert_eq!(b.forget(A), [read(blob(3))]);
    b.data(blob(3), 2, "ab");
    assert_eq!(b.finished(blob(3), true), (vec![], vec![read(blob(4))]));
}

#[test]
fn an_artifact_that_waits_for_its_turn_is_forgotten_alone() {
    let mut b = bench_with(FetcherConfig {
        working_max: 1,
        ..FetcherConfig::new(ORIGIN)
    });
    b.want(A);
    b.want(B);
    b.want(blob(9));
    assert_eq!(b.forget(B), []);
    assert_eq!(
        b.loaded(A, manifest(&[])),
        (fetched(A), vec![load(blob(9))])
    );
}

#[test]
fn a_check_that_is_answered_twice_disturbs_no_transfer() {
    let mut b = Bench::fetching(&[(1, 2)]);
    assert_eq!(b.checked(1, false), (vec![], vec![]));
    let effects = vec![append(blob(1), "ab"), finish(blob(1))];
    assert_eq!(b.data(blob(1), 2, "ab"), (vec![], effects));
}

#[test]
fn a_manifest_may_be_as_large_as_the_limit() {
    let mut b = bench();
    b.want(A);
    b.loaded(A, None);
    let (progress, _) = b.data(A, limits::MANIFEST_BYTES_MAX as u64, "x");
    assert_eq!(progress, []);
}

#[test]
fn a_stranger_is_not_even_noted() {
    let mut b = Bench::fetching(&[(1, 2)]);
    let stranger = Address::new(NodeId(9), Role::Origin, 0);
    assert_eq!(b.message(stranger, BlobData::default()), (vec![], vec![]));
}

#[test]
fn the_load_is_that_of_its_queues() {
    let mut b = Bench::fetching(&[(1, 2), (2, 2)]);
    b.want(B);
    b.loaded(B, manifest(&[(3, 1)]));
    assert_eq!(
        b.fetcher.load(),
        [
            Load::new("artifacts", 2, 65_536),
            Load::new("artifacts in work", 2, 4),
            Load::new("checks of blobs", 1, 64),
            Load::new("transfers", 2, 8),
        ]
    );
}

#[test]
#[should_panic(expected = "working_max")]
fn more_work_than_allowed_breaks_an_invariant() {
    let b = Bench::fetching(&[(1, 2)]);
    let mut fetcher = b.fetcher;
    fetcher.working = fetcher.config.working_max + 1;
    fetcher.check();
}
