//! Making and starting an instance, step by step, on a thread that may block.
//!
//! The order is what keeps a process from being lost: directory, files, record without a
//! process (durable), fork, record with the process (durable). Only then is the start
//! reported. Whoever dies in between leaves a record or a mark, and the next life ends what
//! it finds; see `recover`.
//!
//! Costs: the copy of the artifact, and four fsyncs.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tidegate_protocol::{Digest, InstanceRef, VersionSpec};

use crate::context::Context;
use crate::data_dir::{remove_file_if_there, write_durably};
use crate::environment;
use crate::leader::Handle;
use crate::process_table::read_one;
use crate::program;
use crate::start_error::StartError;
use crate::state::{Identity, State};

/// Starts the instance. On failure, [`remove_traces`] takes back what was made.
pub(crate) fn launch(
    context: &Context,
    instance: InstanceRef,
    spec: &VersionSpec,
    endpoint: SocketAddr,
    output: File,
    is_stopped: impl Fn() -> bool,
) -> Result<Handle, StartError> {
    let home = context.data.home(instance);
    let app = home.join("app");
    lay_out(context, spec, &home, &app)?;
    let mut command = command(context, instance, spec, endpoint, &home, &app, output)?;
    if is_stopped() {
        return Err(StartError::Stopped);
    }
    let mut state = State {
        instance,
        endpoint,
        leader: None,
    };
    record(context, &state)?;
    let child = command.spawn().map_err(|source| StartError::Exec {
        program: spec.command[0].clone(),
        source,
    })?;
    // Not reaped before its handle is told to, so the number stays its own meanwhile.
    let pid = child.id().cast_signed();
    let watched = Handle::of_child(pid).map_err(|source| StartError::Watch { source });
    state.leader = read_one(pid).map(|process| Identity {
        pid,
        start_ticks: process.start_ticks,
        boot: context.boot.clone(),
    });
    let recorded = record(context, &state);
    match (watched, recorded) {
        (Ok(handle), Ok(())) => Ok(handle),
        (Ok(handle), Err(error)) => {
            handle.kill_and_reap();
            Err(error)
        }
        (Err(error), _) => {
            kill_unwatched(child);
            Err(error)
        }
    }
}

/// Removes the directory and the record of an instance of which no process is left.
pub(crate) fn remove_traces(context: &Context, instance: InstanceRef) {
    let home = context.data.home(instance);
    let removed = match fs::remove_dir_all(&home) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        // The record goes last: while there is anything left, the next life looks for it.
        _ => remove_file_if_there(&context.data.state(instance)),
    };
    if let Err(error) = removed {
        tracing::warn!(
            %instance, path = %home.display(), %error,
            "an ended instance could not be removed; the next start of the platform tries again"
        );
    }
}

fn lay_out(
    context: &Context,
    spec: &VersionSpec,
    home: &Path,
    app: &Path,
) -> Result<(), StartError> {
    let digest = Digest::try_from(&spec.artifact).map_err(|_| StartError::BadArtifact)?;
    if home.exists() {
        fs::remove_dir_all(home).map_err(at(home))?;
    }
    let tmp = home.join("tmp");
    fs::create_dir_all(&tmp).map_err(at(&tmp))?;
    (context.materialise)(&digest, app)
        .map_err(|source| StartError::Artifact { digest, source })?;
    // An artifact without files may not have made it.
    fs::create_dir_all(app).map_err(at(app))
}

fn command(
    context: &Context,
    instance: InstanceRef,
    spec: &VersionSpec,
    endpoint: SocketAddr,
    home: &Path,
    app: &Path,
    output: File,
) -> Result<Command, StartError> {
    let (word, arguments) = spec.command.split_first().ok_or(StartError::NoCommand)?;
    let variables = environment::of_instance(
        &context.environment,
        context.data.id(),
        home,
        instance,
        endpoint,
        spec,
    )?;
    let path = variables.get("PATH").cloned().unwrap_or_default();
    let errors = output.try_clone().map_err(at(home))?;
    let mut command = Command::new(program::find(word, app, &path)?);
    command
        .args(arguments)
        .env_clear()
        .envs(variables)
        .current_dir(app)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors);
    Ok(command)
}

fn record(context: &Context, state: &State) -> Result<(), StartError> {
    let path = context.data.state(state.instance);
    write_durably(&path, state.encode().as_bytes()).map_err(at(&path))
}

fn kill_unwatched(mut child: std::process::Child) {
    // Only fails when it has ended, and then waiting reaps it all the same.
    let _ = child.kill();
    let _ = child.wait();
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> StartError {
    let path = PathBuf::from(path);
    move |source| StartError::Files { path, source }
}
