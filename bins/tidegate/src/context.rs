//! Where the API is, and the token for it: flags, then environment, then what `dev` left.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use tidegate_api::client::Client;

use crate::cli::ApiOptions;

#[derive(Debug, Serialize, Deserialize)]
struct Context {
    api: String,
    token: String,
}

/// A client of the installation that the options mean.
pub(crate) fn client(options: &ApiOptions) -> anyhow::Result<Client> {
    if let (Some(api), Some(token)) = (&options.api, &options.token) {
        return Ok(Client::new(api, token));
    }
    let path = path()?;
    let context = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str::<Context>(&text)
            .with_context(|| format!("{} is damaged; start `tidegate dev` anew", path.display()))?,
        Err(_) => bail!(
            "no installation is known: start `tidegate dev`, or give --api and --token (or \
             TIDEGATE_API and TIDEGATE_TOKEN)"
        ),
    };
    let api = options.api.as_deref().unwrap_or(&context.api);
    let token = options.token.as_deref().unwrap_or(&context.token);
    Ok(Client::new(api, token))
}

/// Remembers an installation for this user's later commands.
pub(crate) fn remember(api: &str, token: &str) -> anyhow::Result<()> {
    let path = path()?;
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    let context = Context {
        api: api.to_owned(),
        token: token.to_owned(),
    };
    write_secret(&path, &serde_json::to_string_pretty(&context)?)
}

/// The token in a file, made when there is none yet.
pub(crate) fn token_in(path: &Path) -> anyhow::Result<String> {
    if let Ok(token) = fs::read_to_string(path) {
        return Ok(token.trim().to_owned());
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system has no entropy")?;
    let token: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    write_secret(path, &token)?;
    Ok(token)
}

/// Writes a file that only its owner can read, whole or not at all.
fn write_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension(format!("{}.new", std::process::id()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut file| {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&beside, path));
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn path() -> anyhow::Result<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")))
        .context("neither XDG_CONFIG_HOME nor HOME is set; give --api and --token")?;
    Ok(config.join("tidegate").join("context.json"))
}
