//! Which file a command's first word names.
//!
//! A word with a slash is a path, relative to the app's files. A bare word is looked for in
//! PATH first, as a shell would, and then among the app's files, so that `server` works where
//! `./server` was meant.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::start_error::StartError;

/// The program that `word` names for an app in `app`.
pub(crate) fn find(word: &str, app: &Path, path: &OsStr) -> Result<PathBuf, StartError> {
    if word.is_empty() {
        return Err(StartError::NoCommand);
    }
    // Joining an absolute path gives that path.
    let in_app = app.join(word);
    let found = if word.contains('/') {
        None
    } else {
        std::env::split_paths(path)
            .filter(|directory| directory.is_absolute())
            .map(|directory| directory.join(word))
            .find(|file| is_executable(file) == Some(true))
    };
    match found {
        Some(file) => Ok(file),
        None => match is_executable(&in_app) {
            Some(true) => Ok(in_app),
            Some(false) => Err(StartError::NotExecutable {
                program: word.to_owned(),
            }),
            None => Err(StartError::ProgramMissing {
                program: word.to_owned(),
                path: path.to_string_lossy().into_owned(),
            }),
        },
    }
}

/// `None`: there is no such file.
fn is_executable(file: &Path) -> Option<bool> {
    let metadata = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    Some(metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_as_a_shell_would_and_then_in_the_app() -> std::io::Result<()> {
        let root = tempfile::tempdir()?;
        let (bin, app) = (root.path().join("bin"), root.path().join("app"));
        for (directory, name, mode) in [
            (&bin, "node", 0o755),
            (&bin, "notes", 0o644),
            (&app, "node", 0o755),
            (&app, "server", 0o755),
            (&app, "data", 0o644),
        ] {
            fs::create_dir_all(directory)?;
            fs::write(directory.join(name), "")?;
            fs::set_permissions(directory.join(name), fs::Permissions::from_mode(mode))?;
        }
        let find = |word: &str| find(word, &app, bin.as_os_str()).map_err(|e| e.to_string());
        assert_eq!(find("node"), Ok(bin.join("node")));
        assert_eq!(find("./node"), Ok(app.join("./node")));
        assert_eq!(find("server"), Ok(app.join("server")));
        assert_eq!(find("/bin/sh"), Ok(PathBuf::from("/bin/sh")));
        let refused = |word: &str| find(word).expect_err("no program");
        assert!(
            refused("data").contains("chmod +x data"),
            "{}",
            refused("data")
        );
        assert!(refused("notes").contains("`notes` is neither in the app's files nor in PATH"));
        assert!(refused("./bin").contains("`./bin` is neither"));
        assert!(refused("").contains("no command"));
        Ok(())
    }
}
