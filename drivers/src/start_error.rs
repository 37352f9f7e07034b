//! Why an instance could not be started, and what to do about it.
//!
//! The text reaches the tenant as the reason of a failed deploy, so each says where it
//! happened and what helps.

use std::io;
use std::path::PathBuf;

use tidegate_protocol::Digest;

#[derive(Debug)]
pub(crate) enum StartError {
    Full {
        instances_max: usize,
    },
    NoCommand,
    BadArtifact,
    BadVariable {
        name: String,
    },
    ProgramMissing {
        program: String,
        path: String,
    },
    NotExecutable {
        program: String,
    },
    NoPort {
        ip: std::net::IpAddr,
        source: io::Error,
    },
    Files {
        path: PathBuf,
        source: io::Error,
    },
    Artifact {
        digest: Digest,
        source: io::Error,
    },
    Exec {
        program: String,
        source: io::Error,
    },
    Watch {
        source: io::Error,
    },
    /// It was told to stop before it was started.
    Stopped,
    /// The task that started it broke.
    Broken,
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full { instances_max } => write!(
                f,
                "this host is full: it runs {instances_max} instances; stop some, add a host, \
                 or raise its capacity"
            ),
            Self::NoCommand => f.write_str(
                "the version has no command; set one, for example `command = [\"./server\"]`",
            ),
            Self::BadArtifact => f.write_str(
                "the version names no artifact: its digest is not 32 bytes; deploy it again",
            ),
            Self::BadVariable { name } => write!(
                f,
                "the variable `{}` cannot be set: a name is not empty and has no `=`, and \
                 neither name nor value has a NUL; rename it",
                name.escape_debug()
            ),
            Self::ProgramMissing { program, path } => write!(
                f,
                "the program `{program}` is neither in the app's files nor in PATH ({path}); \
                 add it to the app, or install it on the host"
            ),
            Self::NotExecutable { program } => write!(
                f,
                "`{program}` is in the app but not executable; run `chmod +x {program}` and \
                 deploy again"
            ),
            Self::NoPort { ip, source } => write!(
                f,
                "no free port on {ip}: {source}; check that the host has this address and \
                 ports left"
            ),
            Self::Files { path, source } => write!(
                f,
                "{}: {source}; check space and permissions of the data directory",
                path.display()
            ),
            Self::Artifact { digest, source } => write!(
                f,
                "the artifact {digest} could not be laid out: {source}; check that the host \
                 has it whole and has space"
            ),
            Self::Exec { program, source } => {
                write!(f, "`{program}` could not be executed: {source}; ")?;
                f.write_str(match source.kind() {
                    io::ErrorKind::NotFound => {
                        "the interpreter in its first line, or its loader, is missing on this host"
                    }
                    io::ErrorKind::PermissionDenied => {
                        "check its permissions, and that its file system allows programs"
                    }
                    _ => "check that it is built for this machine, or begins with `#!`",
                })
            }
            Self::Watch { source } => write!(
                f,
                "its process could not be watched: {source}; check the host's limit of open \
                 files"
            ),
            Self::Stopped => f.write_str("it was stopped before it was started"),
            Self::Broken => f.write_str(
                "the driver broke while starting it; its log says why, and it can be tried again",
            ),
        }
    }
}

impl std::error::Error for StartError {}
