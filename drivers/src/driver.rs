//! The driver as its users see it: open, command, shut down.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_kernel::{DriverCommand, DriverReport};
use tidegate_protocol::Digest;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::context::Context;
use crate::data_dir::DataDir;
use crate::environment::Shared;
use crate::log::LogHandle;
use crate::options::Options;
use crate::port::Ports;
use crate::recover::recover;
use crate::reporter::Reporter;
use crate::supervisor::{Request, Supervisor};

/// How long a former driver of this directory may take to let go of it.
const LOCK_TIME_MAX: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Passes over `/proc` at once.
const SCANS_AT_ONCE: usize = 2;

/// Runs instances as processes of this machine. Clones drive the same instances.
///
/// Dropping the last clone stops nothing: the instances go on, and the next driver that opens
/// the data directory adopts them. [`ProcessDriver::shutdown`] stops them.
#[derive(Clone, Debug)]
pub struct ProcessDriver {
    requests: mpsc::Sender<Request>,
    commands_max: usize,
}

/// Why a driver could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The address is 0.0.0.0 or ::, which no gateway could connect to.
    ListenUnspecified { ip: IpAddr },
    /// Another driver has the data directory.
    InUse { data_dir: PathBuf },
    /// A file of the data directory or of `/proc` could not be read or written.
    Files { place: PathBuf, source: io::Error },
}

/// Why a command was not taken. It was not carried out, and will not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandRefused {
    /// Too many commands wait; try again when reports have come.
    Overloaded { commands_max: usize },
    /// The driver was shut down.
    ShutDown,
}

impl ProcessDriver {
    /// Opens the driver of a data directory and finds what still runs of a former life.
    ///
    /// Instances listen on `listen_ip`. `materialise` lays the artifact of a digest out in a
    /// directory that does not exist yet, but whose parent does; it may block. Reports come
    /// through the receiver, which has to be read: while it is full, the driver waits. Needs a
    /// tokio runtime with I/O and time.
    pub async fn open(
        data_dir: &Path,
        listen_ip: IpAddr,
        materialise: impl Fn(&Digest, &Path) -> io::Result<()> + Send + Sync + 'static,
        options: Options,
    ) -> Result<(ProcessDriver, mpsc::Receiver<DriverReport>), OpenError> {
        if listen_ip.is_unspecified() {
            return Err(OpenError::ListenUnspecified { ip: listen_ip });
        }
        let data = Arc::new(lock(data_dir).await?);
        let boot_path = Path::new("/proc/sys/kernel/random/boot_id");
        let boot = std::fs::read_to_string(boot_path).map_err(at(boot_path))?;
        let (report, reports) = mpsc::channel(options.reports_max.max(1));
        let (closing, is_closing) = watch::channel(false);
        let reporter = Reporter::new(report, is_closing);
        let context = Arc::new(Context {
            log: LogHandle::spawn(Arc::clone(&data), options.log, reporter.clone()),
            data,
            boot: boot.trim().to_owned(),
            listen_ip,
            environment: Shared::of_this_process(),
            materialise: Box::new(materialise),
            ports: Ports::default(),
            reporter,
            starts: Semaphore::new(options.starts_at_once.max(1)),
            scans: Semaphore::new(SCANS_AT_ONCE),
        });
        let adopted = recover(&context).await.map_err(at(data_dir))?;
        let commands_max = options.commands_max.max(1);
        let (requests, requested) = mpsc::channel(commands_max);
        let supervisor = Supervisor::new(context, options.instances_max, closing, adopted);
        tokio::spawn(supervisor.run(requested));
        let driver = ProcessDriver {
            requests,
            commands_max,
        };
        Ok((driver, reports))
    }

    /// Has a command carried out; never waits. What comes of it is a report.
    ///
    /// A second `Start` of an instance that runs is answered with `Started` again, a `Check`
    /// of one that does not run with unhealthy. Checks of one instance that overlap share one
    /// answer; the end of an instance answers its check. `Terminate` and `Kill` of one that
    /// does not run are answered by nothing, because its end was reported before.
    pub fn command(&self, command: DriverCommand) -> Result<(), CommandRefused> {
        use mpsc::error::TrySendError;
        let commands_max = self.commands_max;
        self.requests
            .try_send(Request::Command(command))
            .map_err(|error| match error {
                TrySendError::Full(_) => CommandRefused::Overloaded { commands_max },
                TrySendError::Closed(_) => CommandRefused::ShutDown,
            })
    }

    /// Stops every instance: asks it to end, and kills it after `grace`. Returns when all are
    /// gone, or after 15 s more if the kernel keeps some. Reports that find no room meanwhile
    /// are dropped.
    pub async fn shutdown(&self, grace: Duration) {
        let (done, is_done) = oneshot::channel();
        let request = Request::Shutdown { grace, done };
        if self.requests.send(request).await.is_ok() {
            // An error means that the driver is gone, which is as good.
            let _ = is_done.await;
        }
    }
}

async fn lock(data_dir: &Path) -> Result<DataDir, OpenError> {
    let deadline = Instant::now() + LOCK_TIME_MAX;
    loop {
        let root = data_dir.to_owned();
        let opened = spawn_blocking(move || DataDir::try_open(&root))
            .await
            .map_err(io::Error::other)
            .and_then(|opened| opened)
            .map_err(at(data_dir))?;
        match opened {
            Some(data) => return Ok(data),
            None if Instant::now() < deadline => sleep(LOCK_PAUSE).await,
            None => {
                let data_dir = data_dir.to_owned();
                return Err(OpenError::InUse { data_dir });
            }
        }
    }
}

fn at(place: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let place = place.to_owned();
    move |source| OpenError::Files { place, source }
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ListenUnspecified { ip } => write!(
                f,
                "instances cannot listen on {ip}: gateways connect to that address; name one of \
                 this host, for example 127.0.0.1"
            ),
            Self::InUse { data_dir } => write!(
                f,
                "another Tidegate runs instances in {}; stop it, or choose another data directory",
                data_dir.display()
            ),
            Self::Files { place, source } => write!(
                f,
                "the instance driver cannot use {}: {source}; check that it exists, is writable \
                 and has space",
                place.display()
            ),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Files { source, .. } => Some(source),
            Self::ListenUnspecified { .. } | Self::InUse { .. } => None,
        }
    }
}

impl std::fmt::Display for CommandRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Overloaded { commands_max } => write!(
                f,
                "the instance driver has {commands_max} commands waiting; send this one again \
                 when reports have come"
            ),
            Self::ShutDown => f.write_str("the instance driver was shut down; open it again"),
        }
    }
}

impl std::error::Error for CommandRefused {}
