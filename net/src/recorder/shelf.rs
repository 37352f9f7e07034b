//! The files of a recorder: one folder for each actor, one file for each segment, and a
//! bound on all of them.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use tidegate_protocol::Address;
use tidegate_recording::EXTENSION;

/// All files below a folder.
#[derive(Debug)]
pub(super) struct Shelf {
    dir: PathBuf,
    bytes_max: u64,
    folders: BTreeMap<PathBuf, Folder>,
}

/// Segments of one actor, oldest first.
#[derive(Debug, Default)]
struct Folder {
    files: VecDeque<(u64, u64)>,
    /// The last file is being written.
    is_open: bool,
    bytes: u64,
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Place {
    folder: PathBuf,
    pub(super) file: File,
}

impl Shelf {
    pub(super) fn open(dir: &Path, bytes_max: u64) -> io::Result<Shelf> {
        make_folder(dir)?;
        let mut folders = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                let folder = Folder::read(&entry.path())?;
                if !folder.files.is_empty() {
                    folders.insert(entry.path(), folder);
                }
            }
        }
        Ok(Shelf {
            dir: dir.to_owned(),
            bytes_max,
            folders,
        })
    }

    /// Makes the file of an actor's next segment.
    pub(super) fn begin(&mut self, actor: Address) -> io::Result<Place> {
        let name = format!("{}-{}-{}", actor.role.name(), actor.index, actor.node);
        let path = self.dir.join(name);
        make_folder(&path)?;
        let folder = self.folders.entry(path.clone()).or_default();
        let number = folder.files.back().map_or(1, |(number, _)| number + 1);
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path.join(file_name(number)))?;
        folder.files.push_back((number, 0));
        folder.is_open = true;
        Ok(Place { folder: path, file })
    }

    /// Counts what was written to a segment.
    pub(super) fn grew(&mut self, place: &Place, bytes: u64) {
        if let Some(folder) = self.folders.get_mut(&place.folder)
            && let Some((_, size)) = folder.files.back_mut()
        {
            *size += bytes;
            folder.bytes += bytes;
        }
    }

    /// A segment has ended.
    pub(super) fn close(&mut self, place: Place) {
        if let Some(folder) = self.folders.get_mut(&place.folder) {
            folder.is_open = false;
        }
    }

    /// Deletes until the bound is kept: always the oldest segment of the actor that has most
    /// bytes, so that a busy one does not cost the others theirs. Segments that are being
    /// written stay.
    pub(super) fn tidy(&mut self) -> io::Result<()> {
        while self.bytes() > self.bytes_max {
            let with_closed = |folder: &Folder| folder.files.len() > usize::from(folder.is_open);
            let most = self
                .folders
                .iter_mut()
                .filter(|(_, folder)| with_closed(folder))
                .max_by_key(|(_, folder)| folder.bytes);
            let Some((path, folder)) = most else {
                return Ok(());
            };
            if let Some((number, bytes)) = folder.files.pop_front() {
                folder.bytes -= bytes;
                match fs::remove_file(path.join(file_name(number))) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.folders.values().map(|folder| folder.bytes).sum()
    }
}

impl Folder {
    fn read(path: &Path) -> io::Result<Folder> {
        let mut files = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = Path::new(&name)
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            // Whatever else somebody has put there is none of the recorder's.
            if let Some(number) = number.filter(|n| *name == *file_name(*n)) {
                files.push((number, entry.metadata()?.len()));
            }
        }
        files.sort_unstable();
        Ok(Folder {
            bytes: files.iter().map(|(_, bytes)| bytes).sum(),
            files: files.into(),
            is_open: false,
        })
    }
}

/// Recordings hold what tenants keep secret, and are their node's alone.
fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn file_name(number: u64) -> String {
    format!("{number:08}.{EXTENSION}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;
    use tidegate_protocol::{NodeId, Role};

    fn write(shelf: &mut Shelf, role: Role, bytes: usize) -> Place {
        let mut place = shelf.begin(Address::new(NodeId(1), role, 0)).unwrap();
        place.file.write_all(&vec![1; bytes]).unwrap();
        shelf.grew(&place, bytes as u64);
        place
    }

    fn files(dir: &Path) -> Vec<String> {
        let mut found: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap())
            .map(|file| file.unwrap().path())
            .map(|path| path.strip_prefix(dir).unwrap().display().to_string())
            .collect();
        found.sort();
        found
    }

    #[test]
    fn the_oldest_of_the_largest_goes_first_and_numbers_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path(), 100).unwrap();
        let quiet = write(&mut shelf, Role::Edge, 10);
        shelf.close(quiet);
        for _ in 0..4 {
            let busy = write(&mut shelf, Role::Gateway, 40);
            shelf.close(busy);
            shelf.tidy().unwrap();
        }
        let kept = [
            "edge-0-00000001/00000001.tgrec",
            "gateway-0-00000001/00000003.tgrec",
            "gateway-0-00000001/00000004.tgrec",
        ];
        assert_eq!(files(dir.path()), kept);
        let mode = fs::metadata(dir.path().join(kept[0])).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600, "its node's alone");
        // Another process goes on where this one ended, within the same bound.
        fs::write(dir.path().join("edge-0-00000001/notes.txt"), "mine").unwrap();
        let mut shelf = Shelf::open(dir.path(), 100).unwrap();
        let open = write(&mut shelf, Role::Gateway, 95);
        shelf.tidy().unwrap();
        // 95 and 10 are too many, and of the one that has 95 nothing can go.
        let kept = [
            "edge-0-00000001/notes.txt",
            "gateway-0-00000001/00000005.tgrec",
        ];
        assert_eq!(files(dir.path()), kept);
        drop(open);
    }
}
