//! Which version of the format a directory has.
//!
//! The marker is written before anything else. A directory that is neither empty nor marked
//! belongs to somebody else and is left alone.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use tidegate_engine::StorageError;

use crate::disk::{failed, sync_dir};

const MARKER: &str = "format";
const MARKER_NEW: &str = "format.new";
/// What a directory may hold before it is marked.
const BEFORE_MARKER: [&str; 2] = ["lock", MARKER_NEW];

/// Checks that `dir` has this format, or gives it to an empty one.
pub(crate) fn claim(dir: &Path, format: &str) -> Result<(), StorageError> {
    let marker = dir.join(MARKER);
    let mismatch = |found: &str| StorageError::Format {
        place: dir.display().to_string(),
        found: found.to_owned(),
        supported: format!("`{format}`"),
    };
    match fs::read_to_string(&marker) {
        Ok(found) if found.trim_end() == format => Ok(()),
        Ok(found) => Err(mismatch(&format!("`{}`", found.trim_end()))),
        Err(e) if e.kind() == ErrorKind::InvalidData => Err(mismatch("of another program")),
        Err(e) if e.kind() != ErrorKind::NotFound => Err(failed(&marker, &e)),
        Err(_) if is_fresh(dir)? => mark(dir, format),
        Err(_) => Err(mismatch("of another program")),
    }
}

fn is_fresh(dir: &Path) -> Result<bool, StorageError> {
    for entry in fs::read_dir(dir).map_err(|e| failed(dir, &e))? {
        let name = entry.map_err(|e| failed(dir, &e))?.file_name();
        if !BEFORE_MARKER.iter().any(|known| name == *known) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn mark(dir: &Path, format: &str) -> Result<(), StorageError> {
    let new = dir.join(MARKER_NEW);
    File::create(&new)
        .and_then(|mut file| {
            writeln!(file, "{format}")?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&new, dir.join(MARKER)))
        .map_err(|e| failed(&new, &e))?;
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_keeps_its_format() {
        let dir = tempfile::tempdir().unwrap();
        claim(dir.path(), "tidegate test 1").unwrap();
        claim(dir.path(), "tidegate test 1").unwrap();
        let error = claim(dir.path(), "tidegate test 2").unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("has format `tidegate test 1`, this program reads `tidegate test 2`; use the program that wrote it"),
            "{error}"
        );
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.tex"), "").unwrap();
        assert!(matches!(
            claim(dir.path(), "tidegate test 1"),
            Err(StorageError::Format { .. })
        ));
        assert!(!dir.path().join(MARKER).exists());
    }

    #[test]
    fn a_crash_before_the_marker_leaves_a_fresh_directory() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MARKER_NEW), "tide").unwrap();
        fs::write(dir.path().join("lock"), "").unwrap();
        claim(dir.path(), "tidegate test 1").unwrap();
    }
}
