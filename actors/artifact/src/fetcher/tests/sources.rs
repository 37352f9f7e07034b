//! Whom a fetcher asks, whom it believes, and for how long.

use super::*;

#[test]
fn a_stranger_is_not_believed() {
    let mut b = Bench::fetching(&[(1, 2)]);
    let stranger = Address::new(NodeId(9), Role::Origin, 0);
    let data = BlobData {
        digest: blob(1).into(),
        total: 2,
        data: "ab".into(),
        ..BlobData::default()
    };
    assert_eq!(b.message(stranger, data), (vec![], vec![]));
    assert!(matches!(
        b.message(ORIGIN, BlobData::default()).1[..],
        [Effect::Note(Note::Malformed { .. })]
    ));
}

#[test]
fn peers_are_asked_before_the_origin_or_after_it() {
    for (origin_first, sources) in [(true, [ORIGIN, PEER]), (false, [PEER, ORIGIN])] {
        let mut b = bench_with(FetcherConfig {
            origin_first,
            ..FetcherConfig::new(ORIGIN)
        });
        b.fetcher.add_peer(PEER);
        b.want(A);
        let [first, second] = sources.map(|source| read_of(source, A, 0, CHUNK));
        assert_eq!(b.loaded(A, None), (missing(A), vec![first]));
        assert_eq!(b.lacks(sources[0], A), (vec![], vec![second]));
        // The first one's word has come twice.
        assert_eq!(b.lacks(sources[0], A), (vec![], vec![]));
        assert_eq!(b.lacks(sources[1], A), (vec![], vec![]));
        assert_eq!(b.timer(), [load(A)], "after a rest");
    }
}

#[test]
fn a_peer_that_is_gone_is_not_asked() {
    let mut b = bench_with(FetcherConfig {
        origin_first: false,
        ..FetcherConfig::new(ORIGIN)
    });
    b.fetcher.add_peer(PEER);
    b.fetcher.remove_peer(PEER);
    b.want(A);
    assert_eq!(b.loaded(A, None), (missing(A), vec![read(A)]));
}

#[test]
fn a_silent_source_costs_one_wait() {
    let mut b = Bench::fetching_from_peer(&[(1, 2), (2, 2)]);
    assert_eq!(b.timer(), [read(blob(1)), read(blob(2))]);
    assert_eq!(b.ms, 2_000);
    // Late as it is, it is the blob.
    let effects = vec![append(blob(1), "ab"), finish(blob(1))];
    assert_eq!(b.data_of(PEER, blob(1), 2, "ab"), (vec![], effects));

    let mut b = Bench::fetching_from_peer(&[(1, 2)]);
    b.timer();
    b.want(B);
    assert_eq!(
        b.loaded(B, None).1,
        [read(B)],
        "the next blob goes round it"
    );
}

#[test]
fn everybody_silent_is_asked_in_turn_and_given_up() {
    let mut b = Bench::fetching_from_peer(&[(1, 2)]);
    for source in [ORIGIN, PEER, ORIGIN, PEER, ORIGIN] {
        assert_eq!(b.timer(), [read_of(source, blob(1), 0, CHUNK)]);
    }
    assert_eq!(b.timer(), []);
    assert_eq!(b.timer(), [load(A)], "after a rest");
}

#[test]
fn a_transfer_goes_on_where_the_former_source_left_it() {
    let total = u64::from(CHUNK) + 5;
    let mut b = Bench::fetching_from_peer(&[(1, total)]);
    let first = BlobData {
        digest: blob(1).into(),
        total,
        data: vec![7; CHUNK as usize].into(),
        ..BlobData::default()
    };
    let rest = |source| read_of(source, blob(1), u64::from(CHUNK), 5);
    assert_eq!(b.message(PEER, first).1[1..], [rest(PEER)]);
    assert_eq!(b.lacks(PEER, blob(1)), (vec![], vec![rest(ORIGIN)]));
}

#[test]
fn what_does_not_verify_begins_anew_from_the_next_source() {
    let mut b = Bench::fetching_from_peer(&[(1, 2)]);
    b.data_of(PEER, blob(1), 2, "xx");
    let corrupt = Effect::Note(Note::Corrupt {
        artifact: A,
        blob: blob(1),
    });
    assert_eq!(
        b.finished(blob(1), false),
        (vec![], vec![corrupt.clone(), read(blob(1))])
    );
    assert_eq!(b.data_of(PEER, blob(1), 2, "xx"), (vec![], vec![]));
    b.data(blob(1), 2, "yy");
    assert_eq!(b.finished(blob(1), false), (vec![], vec![corrupt]));
    assert_eq!(b.timer(), [load(A)], "after a rest");
}
