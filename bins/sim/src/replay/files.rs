//! Which files are replayed, and in which order.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use tidegate_recording::EXTENSION;

/// Larger files are none that a recorder has made.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// Folders below a folder: one for each actor, and one for each node above them.
const DEPTH_MAX: u32 = 3;

/// A file to replay.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// It was not named, but found in a folder.
    pub(super) in_folder: bool,
}

/// All files that these paths name, in the order of their names in each folder.
pub(super) fn find(paths: &[PathBuf]) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    for path in paths {
        let is_dir = std::fs::metadata(path)
            .map_err(|e| failed(path, &e))?
            .is_dir();
        let before = found.len();
        if is_dir {
            below(path, DEPTH_MAX, &mut found)?;
        } else {
            found.push(file(path, false)?);
        }
        if found.len() == before {
            return Err(format!(
                "{}: there is no recording (*.{EXTENSION}) in this folder",
                path.display()
            ));
        }
    }
    Ok(found)
}

fn below(dir: &Path, depth: u32, found: &mut Vec<Found>) -> Result<(), String> {
    let entries = std::fs::read_dir(dir).map_err(|e| failed(dir, &e))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|e| failed(dir, &e))?.path());
    }
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if depth > 0 {
                below(&path, depth - 1, found)?;
            }
        } else if path.extension().is_some_and(|e| e == EXTENSION) {
            found.push(file(&path, true)?);
        }
    }
    Ok(())
}

fn file(path: &Path, in_folder: bool) -> Result<Found, String> {
    let metadata = std::fs::metadata(path).map_err(|e| failed(path, &e))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(format!(
            "{}: {} bytes are more than a recording has",
            path.display(),
            metadata.len()
        ));
    }
    Ok(Found {
        path: path.to_owned(),
        bytes: metadata.len(),
        in_folder,
    })
}

/// The bytes of a file; of one that is being written, those that were there when it was found.
pub(super) fn read(found: &Found) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    std::fs::File::open(&found.path)
        .and_then(|file| file.take(found.bytes).read_to_end(&mut bytes))
        .map_err(|e| failed(&found.path, &e))?;
    Ok(bytes)
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}; check the path", path.display())
}
