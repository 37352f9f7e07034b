//! Where things lie, and who may touch them.
//!
//! ```text
//! driver.lock             held while a driver lives, and by each of its forks until exec
//! driver.id               names this directory in the environment of its processes
//! instances/v3.0.7.state  record of an instance
//! instances/v3.0.7/app    its files; working directory
//! instances/v3.0.7/tmp    its TMPDIR; the directory above is its HOME
//! logs/0000000000000003/  output of a version
//! ```
//!
//! Records lie beside an instance's directory and not in it, because that directory is the
//! app's HOME and apps tidy up.
//!
//! The lock belongs to the open file, which a forked child shares until it execs. A driver
//! that gets the lock therefore knows that no child of a former life is still between fork
//! and exec, where it would carry no mark yet.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use tidegate_protocol::InstanceRef;

/// A data directory that is ours.
#[derive(Debug)]
pub(crate) struct DataDir {
    root: PathBuf,
    id: String,
    // Held, not read: closing it gives the directory up.
    _lock: File,
}

impl DataDir {
    /// Takes the directory, making what is missing. `None`: another driver has it.
    pub(crate) fn try_open(root: &Path) -> io::Result<Option<DataDir>> {
        fs::create_dir_all(root.join("instances"))?;
        fs::create_dir_all(root.join("logs"))?;
        // Absolute, because instances run in directories of their own.
        let root = fs::canonicalize(root)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(root.join("driver.lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let id = load_or_make_id(&root)?;
        Ok(Some(DataDir {
            root,
            id,
            _lock: lock,
        }))
    }

    /// Value of `TIDEGATE_DATA` in the environment of every process of this directory.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn instances(&self) -> PathBuf {
        self.root.join("instances")
    }

    pub(crate) fn home(&self, instance: InstanceRef) -> PathBuf {
        self.instances().join(instance.to_string())
    }

    pub(crate) fn state(&self, instance: InstanceRef) -> PathBuf {
        self.instances().join(format!("{instance}.state"))
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
}

/// Makes `path` hold `content`, whole or not at all, even through a power loss.
pub(crate) fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let half = path.with_added_extension("new");
    let mut file = File::create(&half)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&half, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Removes a file that may be absent.
pub(crate) fn remove_file_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A number that no other directory or log has.
pub(crate) fn draw_id() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    // 0 is kept for "none yet".
    Ok(u64::from_be_bytes(bytes).max(1))
}

fn load_or_make_id(root: &Path) -> io::Result<String> {
    let path = root.join("driver.id");
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let id = format!("{:016x}{:016x}", draw_id()?, draw_id()?);
    write_durably(&path, id.as_bytes())?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_driver_has_it_and_its_id_stays() -> io::Result<()> {
        let root = tempfile::tempdir()?;
        let first = DataDir::try_open(root.path())?.expect("free");
        assert!(DataDir::try_open(root.path())?.is_none());
        let id = first.id().to_owned();
        drop(first);
        let second = DataDir::try_open(root.path())?.expect("free again");
        assert_eq!(second.id(), id);
        Ok(())
    }
}
