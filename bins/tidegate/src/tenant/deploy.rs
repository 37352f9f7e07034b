//! `tidegate deploy`.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};
use tidegate_api::client::{CallError, Client};
use tidegate_api::model::{Kind, NewVersion, Scaling, Step, Version};
use tidegate_protocol::Digest;
use tidegate_storage::{BlobStore, build_artifact};

use super::project_file::ProjectFile;
use crate::cli::DeployOptions;
use crate::context;

/// Project of the app that `dev` deploys.
pub(crate) const SAMPLE_PROJECT: &str = "hello";
const POLL: Duration = Duration::from_millis(150);
/// Longer than the platform itself gives a deploy.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// A create that may or may not have happened is repeated with its key.
const CREATE_TRIES: u32 = 5;

pub(crate) fn run(options: &DeployOptions) -> anyhow::Result<()> {
    let dir = options
        .dir
        .canonicalize()
        .with_context(|| format!("the folder {}", options.dir.display()))?;
    if !dir.is_dir() {
        bail!("{} is no folder; name the folder of the app", dir.display());
    }
    let file = ProjectFile::read(&dir)?;
    let project = options
        .project
        .clone()
        .or_else(|| file.project.clone())
        .or_else(|| Some(dir.file_name()?.to_str()?.to_lowercase()))
        .context("the folder has no name to take for the project; give --project")?;
    let client = context::client(&options.api)?;
    let artifact = upload(&client, &dir, options.api.json)?;
    let new = NewVersion {
        kind: file.kind,
        artifact: artifact.to_string(),
        command: file.command,
        env: file.env,
        regions: file.regions,
        hosts: file.hosts,
        scaling: file.scaling,
        health_path: file.health_path,
        idempotency_key: random_key()?,
    };
    let accepted = create(&client, &project, &new)?;
    let ended = if options.no_wait {
        accepted
    } else {
        wait(&client, accepted, options.api.json)?
    };
    report(&client, &ended, options.api.json)
}

/// Deploys the sample app; returns where it answers.
pub(crate) fn sample(client: &Client, command: Vec<String>) -> anyhow::Result<Vec<String>> {
    let dir = tempfile::tempdir().context("a temporary folder")?;
    let about = "The sample app of `tidegate dev` is a part of the tidegate program.\n";
    std::fs::write(dir.path().join("README"), about)?;
    let artifact = upload(client, dir.path(), true)?;
    let new = NewVersion {
        kind: Kind::Program,
        artifact: artifact.to_string(),
        command,
        env: Default::default(),
        regions: Vec::new(),
        hosts: Vec::new(),
        scaling: Scaling::default(),
        health_path: String::new(),
        idempotency_key: random_key()?,
    };
    let accepted = create(client, SAMPLE_PROJECT, &new)?;
    let ended = wait(client, accepted, true)?;
    if ended.step != Step::Live {
        bail!(
            "{}: {}\n{}",
            ended.step.name(),
            ended.reason,
            ended.log_tail
        );
    }
    Ok(urls_of(client, SAMPLE_PROJECT)?)
}

fn create(client: &Client, project: &str, new: &NewVersion) -> anyhow::Result<Version> {
    let mut tries = 0;
    loop {
        tries += 1;
        match client.create(project, new) {
            Err(CallError::Refused { status: 503, .. }) if tries < CREATE_TRIES => {
                std::thread::sleep(Duration::from_secs(1));
            }
            other => return Ok(other?),
        }
    }
}

/// Sends what the API does not have yet.
fn upload(client: &Client, dir: &Path, quiet: bool) -> anyhow::Result<Digest> {
    let staging = tempfile::tempdir().context("a temporary folder for the upload")?;
    let blobs = BlobStore::open(staging.path())?;
    let (artifact, manifest) = build_artifact(&blobs, dir)?;
    let bar = progress(manifest.files.len() as u64, quiet);
    let mut sent = std::collections::BTreeSet::new();
    for file in &manifest.files {
        let digest = Digest::try_from(&file.digest)?;
        bar.set_message(file.path.clone());
        if sent.insert(digest) && !client.has_blob(digest)? {
            let (content, _) = blobs.open_verified(digest)?;
            send(client, digest, content).with_context(|| format!("sending {}", file.path))?;
        }
        bar.inc(1);
    }
    let (content, _) = blobs.open_verified(artifact)?;
    send(client, artifact, content)?;
    bar.finish_and_clear();
    Ok(artifact)
}

fn send(client: &Client, digest: Digest, mut content: std::fs::File) -> anyhow::Result<()> {
    use std::io::Seek as _;
    content.rewind()?;
    Ok(client.put_blob(digest, &content)?)
}

fn wait(client: &Client, accepted: Version, quiet: bool) -> anyhow::Result<Version> {
    let spinner = if quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new_spinner()
    };
    spinner.enable_steady_tick(Duration::from_millis(100));
    let begun = std::time::Instant::now();
    let mut version = accepted;
    while !version.step.is_final() {
        if begun.elapsed() > WAIT_MAX {
            bail!(
                "{}@{} is still {}; look again with `tidegate versions {}`",
                version.project,
                version.number,
                version.step.name(),
                version.project
            );
        }
        spinner.set_message(format!(
            "{}@{} {}",
            version.project,
            version.number,
            version.step.name()
        ));
        std::thread::sleep(POLL);
        match client.version(version.id) {
            Ok(next) => version = next,
            // Control may be restarting; the deploy goes on without us.
            Err(CallError::Unreachable { .. } | CallError::Refused { status: 503, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    spinner.finish_and_clear();
    Ok(version)
}

fn report(client: &Client, version: &Version, json: bool) -> anyhow::Result<()> {
    let urls = urls_of(client, &version.project)?;
    if json {
        let mut object = serde_json::to_value(version)?;
        object["urls"] = serde_json::to_value(&urls)?;
        println!("{}", serde_json::to_string_pretty(&object)?);
    }
    let name = format!("{}@{}", version.project, version.number);
    match version.step {
        Step::Failed => {
            if !version.log_tail.is_empty() && !json {
                eprintln!("Last lines of {name}:\n{}", version.log_tail.trim_end());
            }
            bail!("{name} failed: {}", version.reason)
        }
        _ if json => Ok(()),
        Step::Live => {
            for url in urls {
                println!("{name} is live at {url}");
            }
            Ok(())
        }
        Step::Ready => {
            println!(
                "{name} is ready, and takes no traffic because of a rollback; `tidegate promote \
                 {} --to {}` sends traffic to it",
                version.project, version.number
            );
            Ok(())
        }
        step => {
            println!("{name} is {} {}", step.name(), version.reason);
            Ok(())
        }
    }
}

fn urls_of(client: &Client, project: &str) -> Result<Vec<String>, CallError> {
    let projects = client.projects()?;
    let found = projects.into_iter().find(|p| p.name == project);
    Ok(found.map(|p| p.urls).unwrap_or_default())
}

fn random_key() -> anyhow::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the system has no entropy")?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

fn progress(files: u64, quiet: bool) -> ProgressBar {
    let bar = if quiet {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(files)
    };
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}
