//! What a manifest may say.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_protocol::{Digest, Manifest, ManifestEntry, limits};

/// Why a manifest is not accepted; names the file and what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MalformedManifest(pub String);

impl std::fmt::Display for MalformedManifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MalformedManifest {}

/// The blobs that a manifest names, each once, with their sizes in bytes.
///
/// An error when a path could leave the artifact's directory or meet another one, or when a
/// count or a size is beyond [`limits`].
pub fn contents(manifest: &Manifest) -> Result<BTreeMap<Digest, u64>, MalformedManifest> {
    check(manifest).map_err(MalformedManifest)
}

fn check(manifest: &Manifest) -> Result<BTreeMap<Digest, u64>, String> {
    let files = &manifest.files;
    if files.len() > limits::ARTIFACT_FILES_MAX {
        return Err(format!(
            "the artifact has {} files; at most {} fit",
            files.len(),
            limits::ARTIFACT_FILES_MAX
        ));
    }
    if let Some(pair) = files.windows(2).find(|p| p[0].path >= p[1].path) {
        return Err(format!(
            "file `{}` does not come after `{}`; sort the files by path, each once",
            shown(&pair[1].path),
            shown(&pair[0].path)
        ));
    }
    let paths: BTreeSet<&str> = files.iter().map(|f| f.path.as_str()).collect();
    let mut blobs = BTreeMap::new();
    let mut total = 0;
    for file in files {
        check_path(&file.path, &paths)?;
        let digest = check_blob(file)?;
        total += file.size;
        if *blobs.entry(digest).or_insert(file.size) != file.size {
            return Err(format!(
                "file `{}` has {} bytes, and another file of the same digest has not",
                file.path, file.size
            ));
        }
    }
    if total > limits::ARTIFACT_BYTES_MAX {
        return Err(format!(
            "the artifact has {total} bytes; at most {} fit",
            limits::ARTIFACT_BYTES_MAX
        ));
    }
    Ok(blobs)
}

fn check_path(path: &str, all: &BTreeSet<&str>) -> Result<(), String> {
    if path.len() > limits::ARTIFACT_PATH_BYTES_MAX {
        return Err(format!(
            "the path `{}` has {} bytes; at most {} fit",
            shown(path),
            path.len(),
            limits::ARTIFACT_PATH_BYTES_MAX
        ));
    }
    let strange = |segment: &str| matches!(segment, "" | "." | "..");
    if path.split('/').any(strange) || path.contains('\0') {
        return Err(format!(
            "the path `{}` is not relative and plain; remove empty, `.` and `..` segments",
            shown(path)
        ));
    }
    let mut parents = path.match_indices('/').map(|(at, _)| &path[..at]);
    match parents.find(|parent| all.contains(parent)) {
        Some(parent) => Err(format!("`{}` is a file and a directory", shown(parent))),
        None => Ok(()),
    }
}

fn check_blob(file: &ManifestEntry) -> Result<Digest, String> {
    if file.size > limits::ARTIFACT_FILE_BYTES_MAX {
        return Err(format!(
            "file `{}` has {} bytes; at most {} fit",
            shown(&file.path),
            file.size,
            limits::ARTIFACT_FILE_BYTES_MAX
        ));
    }
    Digest::try_from(&file.digest).map_err(|error| format!("file `{}`: {error}", shown(&file.path)))
}

/// Enough of a path to find it again.
fn shown(path: &str) -> String {
    path.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, blob: u8, size: u64) -> ManifestEntry {
        ManifestEntry {
            path: path.to_owned(),
            digest: Digest([blob; 32]).into(),
            size,
            executable: false,
        }
    }

    fn check(files: Vec<ManifestEntry>) -> Result<Vec<(u8, u64)>, String> {
        let blobs = contents(&Manifest { files }).map_err(|error| error.to_string())?;
        Ok(blobs.into_iter().map(|(d, size)| (d.0[0], size)).collect())
    }

    #[test]
    fn each_blob_is_named_once() {
        assert_eq!(check(vec![]), Ok(vec![]));
        assert_eq!(
            check(vec![
                file("a", 2, 5),
                file("a-b", 1, 0),
                file("b/c", 2, 5),
                file("b/c.d/...", 3, 1),
            ]),
            Ok(vec![(1, 0), (2, 5), (3, 1)])
        );
    }

    #[test]
    fn what_a_tenant_must_not_say_is_refused() {
        let over = limits::ARTIFACT_FILE_BYTES_MAX;
        let many = (0..=limits::ARTIFACT_FILES_MAX)
            .map(|i| file(&format!("{i:08}"), 1, 1))
            .collect();
        let mut short = file("a", 1, 1);
        short.digest = vec![1; 31].into();
        for (files, reason) in [
            (vec![file("", 1, 1)], "not relative and plain"),
            (vec![file("/a", 1, 1)], "not relative and plain"),
            (vec![file("a/../b", 1, 1)], "not relative and plain"),
            (vec![file("./a", 1, 1)], "not relative and plain"),
            (vec![file("a//b", 1, 1)], "not relative and plain"),
            (vec![file("a/", 1, 1)], "not relative and plain"),
            (vec![file("a\0", 1, 1)], "not relative and plain"),
            (vec![file(&"a".repeat(1025), 1, 1)], "has 1025 bytes"),
            (vec![file("b", 1, 1), file("a", 1, 1)], "sort the files"),
            (vec![file("a", 1, 1), file("a", 1, 1)], "sort the files"),
            (
                vec![file("a", 1, 1), file("a-b", 1, 1), file("a/b", 1, 1)],
                "`a` is a file and a directory",
            ),
            (vec![file("a", 1, 1), file("b", 1, 2)], "same digest"),
            (vec![file("a", 1, over + 1)], "has 536870913 bytes"),
            (
                vec![file("a", 1, over), file("b", 2, over), file("c", 3, 1)],
                "1073741825 bytes",
            ),
            (many, "has 20001 files"),
            (vec![short], "32 bytes"),
        ] {
            let error = check(files).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn what_is_as_large_as_a_limit_fits() {
        let file_max = limits::ARTIFACT_FILE_BYTES_MAX;
        assert_eq!(2 * file_max, limits::ARTIFACT_BYTES_MAX);
        for files in [
            vec![file(&"a".repeat(limits::ARTIFACT_PATH_BYTES_MAX), 1, 1)],
            vec![file("a", 1, file_max), file("b", 2, file_max)],
            (0..limits::ARTIFACT_FILES_MAX)
                .map(|i| file(&format!("{i:08}"), 1, 1))
                .collect(),
        ] {
            assert_eq!(check(files).err(), None);
        }
    }
}
