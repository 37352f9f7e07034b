//! Bug files on disk: written whole or not at all, named after what they hold.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use tidegate_sim::scenario::Scenario;

/// Of the commit that this program was built from; `None` outside a repository.
pub(crate) const COMMIT: Option<&str> = option_env!("TIDEGATE_COMMIT");

/// Writes a bug file into a folder, which is made if need be; returns its path.
pub(crate) fn write_into(folder: &Path, file: &Scenario) -> Result<PathBuf, String> {
    let failed = |e: std::io::Error| format!("{}: {e}; name another folder", folder.display());
    std::fs::create_dir_all(folder).map_err(failed)?;
    let bug = file.bug.as_ref();
    let guarantee = bug.and_then(|b| b.guarantee).unwrap_or_default();
    let seed = bug.and_then(|b| b.seeds.get_ref().first().copied());
    let name = format!(
        "{}-g{guarantee}-seed{}.toml",
        file.name.get_ref(),
        seed.unwrap_or_default()
    );
    let path = folder.join(name);
    write(&path, file)?;
    Ok(path)
}

/// Writes a bug file to a path.
pub(crate) fn write(path: &Path, file: &Scenario) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: {e}; name another file", path.display());
    let bug = file.bug.as_ref();
    let showed = bug.map_or("", |b| b.showed.as_str());
    let first_line = showed.lines().next().unwrap_or_default();
    let text = format!(
        "# {first_line}\n# Run it with `tidegate-sim run {name}`, make it small with \
         `tidegate-sim shrink {name}`.\n{}",
        file.to_toml(),
        name = path.file_name().unwrap_or_default().to_string_lossy(),
    );
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    let mut temporary =
        tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    temporary.write_all(text.as_bytes()).map_err(failed)?;
    temporary.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
