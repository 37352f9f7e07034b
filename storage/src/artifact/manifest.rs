//! Which manifests are believed.
//!
//! A path of a manifest is relative, `/`-separated and plain: it names one file below the
//! directory that the artifact becomes, on any system, and nothing else. Paths are sorted
//! by bytes, so that one content has one manifest, and none is a directory of another.

use tidegate_protocol::limits::{
    ARTIFACT_BYTES_MAX, ARTIFACT_FILE_BYTES_MAX, ARTIFACT_FILES_MAX, ARTIFACT_PATH_BYTES_MAX,
    MANIFEST_BYTES_MAX,
};
use tidegate_protocol::{Digest, Manifest, ManifestEntry, Prost};

/// Bytes of one segment of a path: what file systems take.
const SEGMENT_BYTES_MAX: usize = 255;

/// Why a manifest is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("the manifest has {0} bytes, at most {MANIFEST_BYTES_MAX} are taken")]
    TooLong(usize),
    #[error("the bytes are no manifest")]
    Undecodable,
    #[error("there are {0} files, at most {ARTIFACT_FILES_MAX} are taken")]
    TooManyFiles(usize),
    #[error("the files have {0} bytes together, at most {ARTIFACT_BYTES_MAX} are taken")]
    TooManyBytes(u64),
    #[error("the file `{path}` has {bytes} bytes, at most {ARTIFACT_FILE_BYTES_MAX} are taken")]
    FileTooLarge { path: String, bytes: u64 },
    #[error("the digest of `{0}` has not 32 bytes")]
    BadDigest(String),
    #[error("the path `{path}` {fault}")]
    BadPath { path: String, fault: &'static str },
    #[error("the path `{0}` is not after the one before it: the files are not sorted")]
    NotSorted(String),
    #[error("the path `{0}` comes twice")]
    Duplicate(String),
    #[error("the path `{0}` is a file and a directory")]
    FileAndDirectory(String),
}

/// Reads and validates an encoded manifest.
pub fn decode_manifest(encoded: &[u8]) -> Result<Manifest, ManifestError> {
    if encoded.len() > MANIFEST_BYTES_MAX {
        return Err(ManifestError::TooLong(encoded.len()));
    }
    let manifest = Manifest::decode(encoded).map_err(|_| ManifestError::Undecodable)?;
    validate_manifest(&manifest)?;
    Ok(manifest)
}

/// Checks everything that a manifest must be, but for the length of its encoding.
pub fn validate_manifest(manifest: &Manifest) -> Result<(), ManifestError> {
    let files = &manifest.files;
    if files.len() > ARTIFACT_FILES_MAX {
        return Err(ManifestError::TooManyFiles(files.len()));
    }
    let mut bytes: u64 = 0;
    for entry in files {
        check_entry(entry)?;
        bytes += entry.size;
    }
    if bytes > ARTIFACT_BYTES_MAX {
        return Err(ManifestError::TooManyBytes(bytes));
    }
    for pair in files.windows(2) {
        let path = pair[1].path.clone();
        match pair[0].path.cmp(&pair[1].path) {
            std::cmp::Ordering::Less => {}
            std::cmp::Ordering::Equal => return Err(ManifestError::Duplicate(path)),
            std::cmp::Ordering::Greater => return Err(ManifestError::NotSorted(path)),
        }
    }
    for entry in files {
        for (end, _) in entry.path.match_indices('/') {
            let above = &entry.path[..end];
            if files
                .binary_search_by(|e| e.path.as_str().cmp(above))
                .is_ok()
            {
                return Err(ManifestError::FileAndDirectory(above.to_owned()));
            }
        }
    }
    Ok(())
}

fn check_entry(entry: &ManifestEntry) -> Result<(), ManifestError> {
    check_path(&entry.path)?;
    if entry.size > ARTIFACT_FILE_BYTES_MAX {
        return Err(ManifestError::FileTooLarge {
            path: entry.path.clone(),
            bytes: entry.size,
        });
    }
    match Digest::try_from(&entry.digest) {
        Ok(_) => Ok(()),
        Err(_) => Err(ManifestError::BadDigest(entry.path.clone())),
    }
}

/// Checks one path of an artifact.
pub(super) fn check_path(path: &str) -> Result<(), ManifestError> {
    match path_fault(path) {
        None => Ok(()),
        Some(fault) => Err(ManifestError::BadPath {
            path: path.chars().take(ARTIFACT_PATH_BYTES_MAX).collect(),
            fault,
        }),
    }
}

fn path_fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("is empty");
    }
    if path.len() > ARTIFACT_PATH_BYTES_MAX {
        return Some("is too long");
    }
    if path.starts_with('/') {
        return Some("is absolute");
    }
    if path.contains('\\') {
        return Some("has a backslash");
    }
    if path.chars().any(char::is_control) {
        return Some("has a control character");
    }
    path.split('/').find_map(|segment| match segment {
        "" => Some("has an empty segment"),
        "." | ".." => Some("has a `.` or `..` segment"),
        _ if segment.len() > SEGMENT_BYTES_MAX => Some("has a segment that is too long"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use tidegate_protocol::Bytes;

    use super::*;

    fn entry(path: &str, size: u64) -> ManifestEntry {
        ManifestEntry {
            path: path.into(),
            digest: Bytes::from_static(&[7; 32]),
            size,
            executable: false,
        }
    }

    fn check(paths: &[&str], expected: Result<(), ManifestError>) {
        let manifest = Manifest {
            files: paths.iter().map(|path| entry(path, 1)).collect(),
        };
        assert_eq!(validate_manifest(&manifest), expected, "{paths:?}");
        let decoded = decode_manifest(&manifest.encode_to_vec());
        assert_eq!(decoded, expected.map(|()| manifest));
    }

    #[test]
    fn plain_paths_are_taken() {
        check(&["index.html"], Ok(()));
        check(&["a", "a-b", "a.b", "b/c/d", "b/c/e", "…/ü"], Ok(()));
        check(&["...", "..a", "a..b/c.", "b/..c"], Ok(()));
    }

    #[test]
    fn paths_that_leave_the_directory_are_refused() {
        for (path, fault) in [
            ("", "is empty"),
            ("/etc/passwd", "is absolute"),
            ("..", "has a `.` or `..` segment"),
            ("../x", "has a `.` or `..` segment"),
            ("a/../../x", "has a `.` or `..` segment"),
            ("a/..", "has a `.` or `..` segment"),
            ("./a", "has a `.` or `..` segment"),
            ("a//b", "has an empty segment"),
            ("a/", "has an empty segment"),
            ("..\\x", "has a backslash"),
            ("a\0b", "has a control character"),
            ("a\nb", "has a control character"),
        ] {
            let path = path.to_owned();
            check(
                &[&path.clone()],
                Err(ManifestError::BadPath { path, fault }),
            );
        }
        let long = "x/".repeat(ARTIFACT_PATH_BYTES_MAX / 2) + "y";
        assert_eq!(path_fault(&long), Some("is too long"));
        assert_eq!(
            path_fault(&"x".repeat(256)),
            Some("has a segment that is too long")
        );
        assert_eq!(path_fault(&"x".repeat(255)), None);
    }

    #[test]
    fn one_path_is_one_file() {
        check(&["b", "a"], Err(ManifestError::NotSorted("a".into())));
        check(&["a", "a"], Err(ManifestError::Duplicate("a".into())));
        check(
            &["a", "a/b"],
            Err(ManifestError::FileAndDirectory("a".into())),
        );
        check(
            &["a", "a-c", "a.d", "a/b/c"],
            Err(ManifestError::FileAndDirectory("a".into())),
        );
        check(
            &["a/b", "a/b-", "a/b/c"],
            Err(ManifestError::FileAndDirectory("a/b".into())),
        );
    }

    #[test]
    fn sizes_are_bounded() {
        let over = |files: Vec<ManifestEntry>| validate_manifest(&Manifest { files });
        assert_eq!(
            over(vec![entry("a", ARTIFACT_FILE_BYTES_MAX + 1)]),
            Err(ManifestError::FileTooLarge {
                path: "a".into(),
                bytes: ARTIFACT_FILE_BYTES_MAX + 1
            })
        );
        let half = |path| entry(path, ARTIFACT_BYTES_MAX / 2);
        assert_eq!(
            over(vec![half("a"), half("b"), entry("c", 1)]),
            Err(ManifestError::TooManyBytes(ARTIFACT_BYTES_MAX + 1))
        );
        let many: Vec<_> = (0..=ARTIFACT_FILES_MAX)
            .map(|i| entry(&format!("{i:08}"), 0))
            .collect();
        assert_eq!(over(many), Err(ManifestError::TooManyFiles(20_001)));
        let mut short = entry("a", 1);
        short.digest = Bytes::from_static(&[7; 31]);
        assert_eq!(over(vec![short]), Err(ManifestError::BadDigest("a".into())));
        assert_eq!(
            decode_manifest(&vec![0; MANIFEST_BYTES_MAX + 1]),
            Err(ManifestError::TooLong(MANIFEST_BYTES_MAX + 1))
        );
        assert_eq!(decode_manifest(b"\xff"), Err(ManifestError::Undecodable));
    }
}
