//! A directory becomes an artifact, and the artifact the same directory again.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use tidegate_protocol::{Bytes, Digest, Manifest, ManifestEntry, Prost};
use tidegate_storage::{ArtifactError, BlobStore, build_artifact, materialize};

struct Place {
    dir: tempfile::TempDir,
    store: BlobStore,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = BlobStore::open_with(&dir.path().join("store"), 0).unwrap();
        fs::create_dir(dir.path().join("app")).unwrap();
        Self { dir, store }
    }

    fn write(&self, path: &str, content: &str, mode: u32) {
        let path = self.dir.path().join("app").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn build(&self) -> Result<(Digest, Manifest), ArtifactError> {
        build_artifact(&self.store, &self.dir.path().join("app"))
    }

    fn blob_of(&self, content: &str) -> std::path::PathBuf {
        let hex = self
            .store
            .put_bytes(content.as_bytes())
            .unwrap()
            .to_string();
        self.dir
            .path()
            .join("store/blobs")
            .join(&hex[..2])
            .join(&hex[2..])
    }

    /// Names beside the targets, so that nothing half made goes unseen.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn there_and_back() {
    let place = Place::new();
    place.write("run.sh", "#!/bin/sh\n", 0o700);
    place.write("public/index.html", "<h1>hello</h1>", 0o600);
    place.write("public/a/b/c.txt", "", 0o666);
    place.write("public/a.txt", "same", 0o644);
    place.write(".env", "same", 0o644);
    place.write(".git/config", "secret", 0o644);
    place.write("vendor/x/.git", "secret", 0o644);
    fs::create_dir(place.dir.path().join("app/empty")).unwrap();

    let (digest, manifest) = place.build().unwrap();
    let listed: Vec<_> = manifest
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.size, file.executable))
        .collect();
    assert_eq!(
        listed,
        [
            (".env", 4, false),
            ("public/a.txt", 4, false),
            ("public/a/b/c.txt", 0, false),
            ("public/index.html", 14, false),
            ("run.sh", 10, true),
        ]
    );
    assert_eq!(place.build().unwrap(), (digest, manifest.clone()));

    let target = place.dir.path().join("out");
    assert_eq!(
        materialize(&place.store, digest, &target).unwrap(),
        manifest
    );
    assert_eq!(
        fs::read(target.join("public/index.html")).unwrap(),
        b"<h1>hello</h1>"
    );
    assert_eq!(fs::read(target.join("public/a/b/c.txt")).unwrap(), b"");
    assert_eq!(mode(&target.join("run.sh")), 0o755);
    assert_eq!(mode(&target.join(".env")), 0o644);
    assert_eq!(mode(&target.join("public/a")), 0o755);
    assert!(!target.join("empty").exists());
    assert_eq!(place.names(), ["app", "out", "store"]);
    // What runs may write: the store must not see it.
    fs::write(target.join(".env"), "changed").unwrap();
    assert!(
        place
            .store
            .check(Digest::try_from(&manifest.files[0].digest).unwrap())
            .unwrap()
    );

    assert_eq!(
        build_artifact(&place.store, &target).unwrap().1.files.len(),
        5
    );
    assert!(matches!(
        materialize(&place.store, digest, &target),
        Err(ArtifactError::TargetExists(_))
    ));
}

#[test]
fn links_are_refused_by_name() {
    let place = Place::new();
    place.write("a", "a", 0o644);
    let link = place.dir.path().join("app/link");
    for points_to in ["a", "/etc", "nowhere"] {
        symlink(points_to, &link).unwrap();
        let error = place.build().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{} is a symbolic link; replace it by what it points to (for example with \
                 `cp -L`) or remove it",
                link.display()
            )
        );
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn what_cannot_be_published_is_refused() {
    let place = Place::new();
    assert!(matches!(place.build(), Err(ArtifactError::Empty(_))));
    place.write("a\\b", "", 0o644);
    assert!(matches!(place.build(), Err(ArtifactError::Path { .. })));
    fs::remove_file(place.dir.path().join("app/a\\b")).unwrap();
    let _socket = UnixListener::bind(place.dir.path().join("app/socket")).unwrap();
    assert!(matches!(place.build(), Err(ArtifactError::Special(_))));
    fs::remove_file(place.dir.path().join("app/socket")).unwrap();
    let missing = build_artifact(&place.store, &place.dir.path().join("nowhere"));
    assert!(matches!(missing, Err(ArtifactError::Io { .. })));
}

#[test]
fn a_damaged_or_missing_blob_makes_no_directory() {
    let place = Place::new();
    place.write("a", "aaaa", 0o644);
    place.write("b", "bbbb", 0o644);
    let (digest, _) = place.build().unwrap();
    let target = place.dir.path().join("out");
    fs::write(place.blob_of("bbbb"), "bbbX").unwrap();
    for _ in 0..2 {
        assert!(matches!(
            materialize(&place.store, digest, &target),
            Err(ArtifactError::Blob(_))
        ));
        assert_eq!(place.names(), ["app", "store"]);
    }
    place.store.put_bytes(b"bbbb").unwrap();
    materialize(&place.store, digest, &target).unwrap();
    assert!(matches!(
        materialize(
            &place.store,
            Digest([3; 32]),
            &place.dir.path().join("other")
        ),
        Err(ArtifactError::Missing(_))
    ));
}

#[test]
fn a_manifest_that_lies_about_a_size_is_refused() {
    let place = Place::new();
    let file = place.store.put_bytes(b"12345").unwrap();
    for size in [4, 6] {
        let manifest = Manifest {
            files: vec![ManifestEntry {
                path: "a".into(),
                digest: Bytes::from(file),
                size,
                executable: false,
            }],
        };
        let digest = place.store.put_bytes(&manifest.encode_to_vec()).unwrap();
        assert!(matches!(
            materialize(&place.store, digest, &place.dir.path().join("out")),
            Err(ArtifactError::WrongSize { expected, .. }) if expected == size
        ));
    }
    assert_eq!(place.names(), ["app", "store"]);
}

#[test]
fn what_a_former_process_left_half_made_is_removed() {
    let place = Place::new();
    place.write("a", "a", 0o644);
    let (digest, _) = place.build().unwrap();
    // No process has the id 0.
    let abandoned = place.dir.path().join(".out.unfinished.0.7");
    fs::create_dir(&abandoned).unwrap();
    fs::write(abandoned.join("a"), "half").unwrap();
    materialize(&place.store, digest, &place.dir.path().join("out")).unwrap();
    assert_eq!(place.names(), ["app", "out", "store"]);
}
