//! Blobs: what is kept is whole, and what is not whole is not kept.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tidegate_kernel::{BlobCommand, BlobReport};
use tidegate_protocol::limits::BLOB_CHUNK_BYTES;
use tidegate_protocol::{Address, Bytes, Digest, Manifest, ManifestEntry, NodeId, Prost, Role};
use tidegate_storage::{BlobError, BlobStore, StorageError, run_command};

fn open(dir: &Path) -> BlobStore {
    BlobStore::open_with(dir, 0).unwrap()
}

/// Bytes that differ everywhere, and their digest.
fn content(bytes: usize) -> (Vec<u8>, Digest) {
    let data: Vec<u8> = (0..bytes).map(|i| (i * 31 + i / 251) as u8).collect();
    let elsewhere = tempfile::tempdir().unwrap();
    let digest = open(elsewhere.path()).put_bytes(&data).unwrap();
    (data, digest)
}

fn path_of(dir: &Path, digest: Digest) -> PathBuf {
    let hex = digest.to_string();
    dir.join("blobs").join(&hex[..2]).join(&hex[2..])
}

fn receive(store: &BlobStore, digest: Digest, data: &[u8]) {
    for (i, piece) in data.chunks(100_000).enumerate() {
        store.append(digest, i as u64 * 100_000, piece).unwrap();
    }
}

fn staged_files(dir: &Path) -> usize {
    fs::read_dir(dir.join("staging")).unwrap().count()
}

#[test]
fn a_digest_is_sha_256() {
    let dir = tempfile::tempdir().unwrap();
    let digest = open(dir.path()).put_bytes(b"abc").unwrap();
    // FIPS 180-2, appendix B.1.
    assert_eq!(
        digest.to_string(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(fs::read(path_of(dir.path(), digest)).unwrap(), b"abc");
}

#[test]
fn a_received_blob_is_kept_and_read_in_ranges() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (data, digest) = content(1_000_000);
    assert!(!store.check(digest).unwrap());
    receive(&store, digest, &data);
    assert!(!store.check(digest).unwrap());
    store.finish(digest).unwrap();
    assert!(store.check(digest).unwrap());
    assert_eq!(store.read_whole(digest, 1_000_000).unwrap(), data);
    let mut read = Vec::new();
    while read.len() < data.len() {
        let (total, piece) = store.read(digest, read.len() as u64, usize::MAX).unwrap();
        assert_eq!(total, 1_000_000);
        assert!(!piece.is_empty() && piece.len() <= BLOB_CHUNK_BYTES);
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, data);
    for beyond in [1_000_000, u64::MAX] {
        assert_eq!(
            store.read(digest, beyond, 1).unwrap(),
            (1_000_000, Bytes::new())
        );
    }
    // Again, by any way: nothing changes.
    receive(&store, digest, &data);
    store.finish(digest).unwrap();
    assert_eq!(store.put_bytes(&data).unwrap(), digest);
    assert_eq!(staged_files(dir.path()), 0);
}

#[test]
fn the_empty_blob_is_a_blob() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (_, digest) = content(0);
    store.append(digest, 0, b"").unwrap();
    store.finish(digest).unwrap();
    assert_eq!(store.read(digest, 0, 10).unwrap(), (0, Bytes::new()));
}

#[test]
fn what_was_cut_off_or_altered_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (data, digest) = content(250_000);
    receive(&store, digest, &data[..249_999]);
    assert!(matches!(
        store.finish(digest),
        Err(BlobError::Mismatch { .. })
    ));
    let mut altered = data.clone();
    altered[200_000] ^= 1;
    receive(&store, digest, &altered);
    assert!(matches!(
        store.finish(digest),
        Err(BlobError::Mismatch { .. })
    ));
    assert!(matches!(store.finish(digest), Err(BlobError::Missing(_))));
    assert_eq!(staged_files(dir.path()), 0);
    assert!(!store.check(digest).unwrap());
    receive(&store, digest, &data);
    store.finish(digest).unwrap();
}

#[test]
fn a_piece_that_leaves_a_gap_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (data, digest) = content(3000);
    assert!(matches!(
        store.append(digest, 1000, &data[1000..]),
        Err(BlobError::Gap { have: 0, .. })
    ));
    store.append(digest, 0, &data[..1000]).unwrap();
    assert!(matches!(
        store.append(digest, 2000, &data[2000..]),
        Err(BlobError::Gap { have: 1000, .. })
    ));
    // Pieces that come twice do no harm.
    store.append(digest, 1000, &data[1000..]).unwrap();
    store.append(digest, 500, &data[500..1500]).unwrap();
    store.finish(digest).unwrap();
    assert!(matches!(
        store.append(Digest([1; 32]), u64::MAX, b"x"),
        Err(BlobError::TooLarge { .. })
    ));
}

#[test]
fn what_a_former_process_was_receiving_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (data, digest) = content(2000);
    let store = open(dir.path());
    store.append(digest, 0, &data[..1000]).unwrap();
    assert_eq!(staged_files(dir.path()), 1);
    drop(store);
    let store = open(dir.path());
    assert_eq!(staged_files(dir.path()), 0);
    assert!(matches!(
        store.append(digest, 1000, &data[1000..]),
        Err(BlobError::Gap { have: 0, .. })
    ));
}

#[test]
fn one_process_has_it_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path());
    assert!(matches!(
        BlobStore::open(dir.path()),
        Err(StorageError::Locked { .. })
    ));
}

/// Ways to damage a file of six bytes.
fn damages() -> [fn(&Path); 3] {
    [
        |path| fs::write(path, b"abcdeX").unwrap(),
        |path| {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(3).unwrap();
        },
        |path| {
            let mut file = OpenOptions::new().append(true).open(path).unwrap();
            file.write_all(b"more").unwrap();
        },
    ]
}

#[test]
fn damage_on_disk_is_found_and_healed_by_fetching_again() {
    for damage in damages() {
        for read in [
            |store: &BlobStore, digest| store.read(digest, 0, 1).map(drop),
            |store: &BlobStore, digest| store.read_whole(digest, 100).map(drop),
            |store: &BlobStore, digest| store.finish(digest),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let digest = open(dir.path()).put_bytes(b"abcdef").unwrap();
            damage(&path_of(dir.path(), digest));
            let store = open(dir.path());
            assert!(matches!(read(&store, digest), Err(BlobError::Damaged(d)) if d == digest));
            assert!(matches!(read(&store, digest), Err(BlobError::Missing(_))));
            store.append(digest, 0, b"abcdef").unwrap();
            store.finish(digest).unwrap();
            read(&store, digest).unwrap();
        }
    }
}

#[test]
fn damage_after_the_first_read_is_found_when_the_file_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let digest = store.put_bytes(b"abcdef").unwrap();
    assert!(store.check(digest).unwrap());
    damages()[2](&path_of(dir.path(), digest));
    assert!(!store.check(digest).unwrap());
}

#[test]
fn damage_that_the_file_does_not_show_is_found_by_a_look_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (digest, damaged) = (store.put_bytes(b"precious").unwrap(), b"pr3cious");
    assert!(store.verify(digest).unwrap());
    let path = path_of(dir.path(), digest);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, damaged).unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_modified(modified).unwrap();
    assert_eq!(store.read(digest, 0, 100).unwrap().1, &damaged[..]);
    assert!(store.check(digest).unwrap(), "it was verified once");
    assert!(!store.verify(digest).unwrap());
    assert!(!path.exists());
    assert!(!store.verify(digest).unwrap());
    let report = run_command(&store, BlobCommand::Verify { digest });
    let present = false;
    assert_eq!(report, Some(BlobReport::Checked { digest, present }));
    for count in [1, 0] {
        let report = run_command(&store, BlobCommand::CountDropped);
        assert_eq!(report, Some(BlobReport::Dropped { count }));
    }
}

#[test]
fn a_blob_that_is_finished_by_many_at_once_is_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (data, digest) = content(3_000_000);
    for _ in 0..5 {
        store.remove(digest).unwrap();
        receive(&store, digest, &data);
        std::thread::scope(|scope| {
            let finishers: Vec<_> = (0..6)
                .map(|_| scope.spawn(|| store.finish(digest)))
                .collect();
            for finisher in finishers {
                finisher.join().unwrap().unwrap();
            }
        });
        assert_eq!(store.read_whole(digest, u64::MAX).unwrap(), data);
        assert_eq!(staged_files(dir.path()), 0);
    }
}

#[test]
fn two_receivers_of_one_blob_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (data, digest) = content(3_000_000);
    for _ in 0..5 {
        store.remove(digest).unwrap();
        let whole = std::thread::scope(|scope| {
            let receivers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        for (i, piece) in data.chunks(100_000).enumerate() {
                            store.append(digest, i as u64 * 100_000, piece).unwrap();
                        }
                        store.finish(digest).is_ok()
                    })
                })
                .collect();
            receivers.into_iter().all(|r| r.join().unwrap())
        });
        assert!(whole);
        assert_eq!(store.read_whole(digest, u64::MAX).unwrap(), data);
    }
}

#[test]
fn a_stream_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    assert!(store.put_stream(&mut &b"12345"[..], 5).is_ok());
    assert!(matches!(
        store.put_stream(&mut &b"123456"[..], 5),
        Err(BlobError::TooLarge { bytes_max: 5 })
    ));
    assert_eq!(staged_files(dir.path()), 0);
}

#[test]
fn a_full_disk_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = BlobStore::open_with(dir.path(), u64::MAX).unwrap();
    let full = |result| matches!(result, Err(BlobError::Storage(StorageError::Full { .. })));
    assert!(full(store.put_bytes(b"abc").map(drop)));
    assert!(full(store.append(Digest([1; 32]), 0, b"abc")));
}

fn manifest_of(paths: &[&str]) -> Vec<u8> {
    let entry = |path: &&str| ManifestEntry {
        path: (*path).to_owned(),
        digest: Bytes::from_static(&[7; 32]),
        size: 1,
        executable: false,
    };
    Manifest {
        files: paths.iter().map(entry).collect(),
    }
    .encode_to_vec()
}

#[test]
fn a_manifest_that_leaves_its_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for paths in [
        &["../x"][..],
        &["/x"],
        &["a/../../x"],
        &["a\\..\\x"],
        &["a", "a"],
        &["a", "a/b"],
    ] {
        let digest = store.put_bytes(&manifest_of(paths)).unwrap();
        assert!(matches!(
            store.load_manifest(digest),
            Err(BlobError::Manifest { .. })
        ));
        let target = dir.path().join("out");
        assert!(tidegate_storage::materialize(&store, digest, &target).is_err());
        assert!(!target.exists());
    }
    let digest = store.put_bytes(&manifest_of(&["a/b", "c"])).unwrap();
    assert_eq!(store.load_manifest(digest).unwrap().unwrap().files.len(), 2);
    assert!(store.load_manifest(Digest([9; 32])).unwrap().is_none());
}

#[test]
fn commands_become_reports() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let data = Bytes::from(manifest_of(&["a"]));
    let elsewhere = tempfile::tempdir().unwrap();
    let digest = open(elsewhere.path()).put_bytes(&data).unwrap();
    let reply_to = Address {
        node: NodeId(1),
        role: Role::Control,
        index: 0,
    };
    let run = |command| run_command(&store, command);
    let read = |offset| BlobCommand::Read {
        digest,
        offset,
        length_max: 10,
        reply_to,
    };
    let answer = |offset, total, data| {
        Some(BlobReport::Data {
            digest,
            offset,
            total,
            data,
            reply_to,
        })
    };
    let checked = |present| Some(BlobReport::Checked { digest, present });
    let finished = |verified| Some(BlobReport::Finished { digest, verified });
    let total = data.len() as u64;

    assert_eq!(run(BlobCommand::Check { digest }), checked(false));
    assert_eq!(run(read(0)), answer(0, None, Bytes::new()));
    assert_eq!(run(BlobCommand::Finish { digest }), finished(false));
    let missing = BlobReport::Manifest {
        digest,
        manifest: None,
    };
    assert_eq!(run(BlobCommand::LoadManifest { digest }), Some(missing));
    let append = BlobCommand::Append {
        digest,
        offset: 0,
        data: data.clone(),
    };
    assert_eq!(run(append), None);
    assert_eq!(run(BlobCommand::Finish { digest }), finished(true));
    assert_eq!(run(BlobCommand::Check { digest }), checked(true));
    assert_eq!(run(read(3)), answer(3, Some(total), data.slice(3..13)));
    assert_eq!(run(read(total)), answer(total, Some(total), Bytes::new()));
    let manifest = Manifest::decode(data).ok();
    assert_eq!(
        run(BlobCommand::LoadManifest { digest }),
        Some(BlobReport::Manifest { digest, manifest })
    );
}
