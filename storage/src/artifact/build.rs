//! How a directory becomes an artifact.
//!
//! Every file below the directory is in it, also those that begin with a dot, except for
//! what is named `.git`: a repository holds history that nobody means to publish. Links and
//! special files are refused, not followed and not skipped, so that what runs is what was
//! there. The order of the walk depends on names alone: one content has one digest.

use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File, FileType};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tidegate_protocol::limits::{
    ARTIFACT_BYTES_MAX, ARTIFACT_FILE_BYTES_MAX, ARTIFACT_FILES_MAX, MANIFEST_BYTES_MAX,
};
use tidegate_protocol::{Digest, Manifest, ManifestEntry, Prost};

use super::ArtifactError;
use super::manifest::{ManifestError, check_path, validate_manifest};
use crate::blob::{BlobError, BlobStore};

const LEFT_OUT: &str = ".git";
/// Files and directories that a walk looks at: also a tree of empty directories ends.
const WALKED_MAX: usize = 2 * ARTIFACT_FILES_MAX;

/// Puts every file below `dir`, and the manifest of them, into the store. Returns the name
/// of the artifact, which is the digest of the encoded manifest. The artifact is durable
/// when this returns.
pub fn build_artifact(store: &BlobStore, dir: &Path) -> Result<(Digest, Manifest), ArtifactError> {
    let found = find_files(dir)?;
    if found.is_empty() {
        return Err(ArtifactError::Empty(dir.to_owned()));
    }
    let refused = |source| ArtifactError::Manifest {
        path: dir.to_owned(),
        source,
    };
    let mut files = Vec::with_capacity(found.len());
    let mut shards = BTreeSet::new();
    let mut bytes = 0;
    for name in found {
        let entry = put_file(store, dir, name)?;
        bytes += entry.size;
        if bytes > ARTIFACT_BYTES_MAX {
            return Err(refused(ManifestError::TooManyBytes(bytes)));
        }
        shards.insert(entry.digest[0]);
        files.push(entry);
    }
    let manifest = Manifest { files };
    validate_manifest(&manifest).map_err(refused)?;
    let encoded = manifest.encode_to_vec();
    if encoded.len() > MANIFEST_BYTES_MAX {
        return Err(refused(ManifestError::TooLong(encoded.len())));
    }
    // The manifest comes last: where it is, everything that it names is.
    store.sync_shards(shards)?;
    Ok((store.put_bytes(&encoded)?, manifest))
}

/// Paths of all files below `dir`, relative to it and sorted.
fn find_files(dir: &Path) -> Result<BTreeSet<String>, ArtifactError> {
    let mut files = BTreeSet::new();
    let mut directories = vec![String::new()];
    let mut walked = 0;
    while let Some(parent) = directories.pop() {
        for (entry, kind) in list(&dir.join(&parent))? {
            let path = entry.path();
            let name = entry
                .file_name()
                .into_string()
                .map_err(|_| ArtifactError::NotText(path.clone()))?;
            if name == LEFT_OUT {
                continue;
            }
            let relative = if parent.is_empty() {
                name
            } else {
                format!("{parent}/{name}")
            };
            check_path(&relative).map_err(|source| ArtifactError::Path {
                path: path.clone(),
                source,
            })?;
            if kind.is_dir() {
                directories.push(relative);
            } else if kind.is_file() {
                files.insert(relative);
            } else if kind.is_symlink() {
                return Err(ArtifactError::Symlink(path));
            } else {
                return Err(ArtifactError::Special(path));
            }
            walked += 1;
            if files.len() > ARTIFACT_FILES_MAX || walked > WALKED_MAX {
                return Err(ArtifactError::Manifest {
                    path: dir.to_owned(),
                    source: ManifestError::TooManyFiles(walked),
                });
            }
        }
    }
    Ok(files)
}

fn list(dir: &Path) -> Result<Vec<(DirEntry, FileType)>, ArtifactError> {
    let failed = |source| ArtifactError::Io {
        path: dir.to_owned(),
        source,
    };
    // One more than is allowed is enough to refuse it.
    let mut entries = fs::read_dir(dir)
        .map_err(failed)?
        .take(WALKED_MAX + 1)
        .map(|entry| {
            let entry = entry?;
            let kind = entry.file_type()?;
            Ok((entry, kind))
        })
        .collect::<io::Result<Vec<_>>>()
        .map_err(failed)?;
    entries.sort_by_key(|(entry, _)| entry.file_name());
    Ok(entries)
}

fn put_file(store: &BlobStore, dir: &Path, name: String) -> Result<ManifestEntry, ArtifactError> {
    let path: PathBuf = dir.join(&name);
    let failed = |source| ArtifactError::Io {
        path: path.clone(),
        source,
    };
    let mut file = File::open(&path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    let (digest, size) = store
        .put_unsynced(&mut file, ARTIFACT_FILE_BYTES_MAX)
        .map_err(|error| match error {
            BlobError::Source(source) => failed(source),
            BlobError::TooLarge { bytes_max } => ArtifactError::FileTooLarge {
                path: path.clone(),
                bytes_max,
            },
            other => other.into(),
        })?;
    Ok(ManifestEntry {
        path: name,
        digest: digest.into(),
        size,
        executable: mode & 0o111 != 0,
    })
}
