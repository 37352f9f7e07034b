//! How an artifact becomes a directory.
//!
//! The files are written into a directory beside the target, each verified while it is
//! copied, and the whole is renamed at the end: the target is either absent or complete.
//! Files are copies, never links, because what runs may write to them. Nothing is synced,
//! since a start must not wait for the disk: after a power failure make the directory anew.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_protocol::{Digest, Manifest, ManifestEntry};

use super::ArtifactError;
use crate::blob::{BlobError, BlobStore};

/// Tells apart the directories that threads of this process are filling.
static ATTEMPTS: AtomicU64 = AtomicU64::new(0);

/// Makes `target` of the artifact. It must not exist, and the directory above it must.
pub fn materialize(
    store: &BlobStore,
    digest: Digest,
    target: &Path,
) -> Result<Manifest, ArtifactError> {
    let manifest = store
        .load_manifest(digest)?
        .ok_or(ArtifactError::Missing(digest))?;
    let unfinished = Unfinished::beside(target)?;
    for entry in &manifest.files {
        write_file(store, &unfinished.0, entry)?;
    }
    fs::rename(&unfinished.0, target).map_err(|source| match source.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => {
            ArtifactError::TargetExists(target.to_owned())
        }
        _ => at(target, source),
    })?;
    Ok(manifest)
}

/// A directory that is being filled; removed unless it was renamed.
struct Unfinished(PathBuf);

impl Unfinished {
    fn beside(target: &Path) -> Result<Self, ArtifactError> {
        if target.symlink_metadata().is_ok() {
            return Err(ArtifactError::TargetExists(target.to_owned()));
        }
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(ArtifactError::NoParent(target.to_owned()));
        };
        let stem = format!(".{}.unfinished.", name.to_string_lossy());
        let ours = format!("{stem}{}.", std::process::id());
        remove_abandoned(parent, &stem, &ours)?;
        let attempt = ATTEMPTS.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{ours}{attempt}"));
        fs::create_dir(&path).map_err(|source| at(&path, source))?;
        set_mode(&path, 0o755)?;
        Ok(Self(path))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// Removes what a former process left half filled.
fn remove_abandoned(parent: &Path, stem: &str, ours: &str) -> Result<(), ArtifactError> {
    let parent = if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    };
    for entry in fs::read_dir(parent).map_err(|source| at(parent, source))? {
        let entry = entry.map_err(|source| at(parent, source))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(stem) && !name.starts_with(ours) {
            fs::remove_dir_all(entry.path()).map_err(|source| at(&entry.path(), source))?;
        }
    }
    Ok(())
}

fn write_file(store: &BlobStore, root: &Path, entry: &ManifestEntry) -> Result<(), ArtifactError> {
    let path = root.join(&entry.path);
    // The manifest was validated: digests are whole, and paths stay below `root`.
    let digest = Digest::try_from(&entry.digest).expect("a validated digest");
    create_dirs(root, &entry.path)?;
    let mut file = File::create_new(&path).map_err(|source| at(&path, source))?;
    let found = store
        .copy_to(digest, entry.size, &mut file)
        .map_err(|error| match error {
            BlobError::Sink(source) => at(&path, source),
            BlobError::TooLarge { .. } => ArtifactError::WrongSize {
                digest,
                expected: entry.size,
            },
            other => other.into(),
        })?;
    if found != entry.size {
        return Err(ArtifactError::WrongSize {
            digest,
            expected: entry.size,
        });
    }
    set_mode(&path, if entry.executable { 0o755 } else { 0o644 })
}

/// Makes the directories above a file of the artifact.
fn create_dirs(root: &Path, file: &str) -> Result<(), ArtifactError> {
    let Some((above, _)) = file.rsplit_once('/') else {
        return Ok(());
    };
    let mut path = root.to_owned();
    for segment in above.split('/') {
        path.push(segment);
        match fs::create_dir(&path) {
            Ok(()) => set_mode(&path, 0o755)?,
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(at(&path, source)),
        }
    }
    Ok(())
}

/// The mode of what runs must not depend on the umask of whoever started this process.
fn set_mode(path: &Path, mode: u32) -> Result<(), ArtifactError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(|source| at(path, source))
}

fn at(path: &Path, source: io::Error) -> ArtifactError {
    ArtifactError::Io {
        path: path.to_owned(),
        source,
    }
}
