//! What becomes of an instance's output.
//!
//! A process writes to a file of its own (`raw`), so that its output needs nobody to take it
//! and survives the platform. A keeper reads those files ten times a second, stamps each line
//! and appends it to the log of its version (`version_log`), which is one sequence for all
//! instances: a position in it is a cursor, and reading on from there gives each line once.
//! Each stamped line also says where in its raw file it ended, so the log itself tells a new
//! life of the platform where to go on; there is no second truth to disagree with it.
//!
//! ```text
//! logs/0000000000000003/v3.0.7.log              raw, until the instance ends
//! logs/0000000000000003/lines.0000000000000000  stamped lines, by position
//! logs/0000000000000003/lines.0000000000800000
//! ```
//!
//! Nothing is synced: output survives a kill of the platform, not a power loss, after which
//! the last seconds may be missing. A log never stops an instance: when the disk is full or
//! lines come faster than they can be kept, the older ones are dropped and a line says so.
//!
//! A stamp is the time at which the keeper saw the line, up to a tenth of a second late, and
//! later for what was written while the platform was down.

mod cursor;
mod keeper;
mod raw;
mod record;
mod split;
mod version_log;

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tidegate_protocol::{Bytes, InstanceRef};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::data_dir::DataDir;
use crate::names::{Key, key};
use crate::options::LogLimits;
use crate::reporter::Reporter;
use keeper::{Keeper, Query};

/// How long a line may wait to be seen.
const POLL_PAUSE: Duration = Duration::from_millis(100);
/// Requests to the keeper; whoever has one more waits.
const REQUESTS_MAX: usize = 64;

/// Speaks to the keeper of one driver.
pub(crate) struct LogHandle {
    requests: mpsc::Sender<Request>,
}

enum Request {
    Begin(InstanceRef, oneshot::Sender<io::Result<File>>),
    Recover(BTreeSet<Key>, oneshot::Sender<io::Result<()>>),
    Finish(InstanceRef, oneshot::Sender<String>),
    Read(Query),
}

impl LogHandle {
    /// Starts the keeper; it ends with the last handle.
    pub(crate) fn spawn(data: Arc<DataDir>, limits: LogLimits, reporter: Reporter) -> LogHandle {
        let (requests, requested) = mpsc::channel(REQUESTS_MAX);
        tokio::spawn(keep(Keeper::new(data, limits), requested, reporter));
        LogHandle { requests }
    }

    /// A new file for the output of an instance that is about to start.
    pub(crate) async fn begin(&self, instance: InstanceRef) -> io::Result<File> {
        self.ask(|answer| Request::Begin(instance, answer))
            .await
            .unwrap_or_else(|| Err(broken()))
    }

    /// Goes on with the adopted instances, and finishes what is left of others.
    pub(crate) async fn recover(&self, adopted: Vec<InstanceRef>) -> io::Result<()> {
        let adopted = adopted.into_iter().map(key).collect();
        self.ask(|answer| Request::Recover(adopted, answer))
            .await
            .unwrap_or_else(|| Err(broken()))
    }

    /// Keeps the last output of an instance of which no process is left; returns its end.
    pub(crate) async fn finish(&self, instance: InstanceRef) -> String {
        self.ask(|answer| Request::Finish(instance, answer))
            .await
            .unwrap_or_default()
    }

    /// Has lines read; they come as a report.
    pub(crate) async fn read(&self, request: u64, version: u64, cursor: Bytes, bytes_max: u32) {
        let query = Query {
            request,
            version,
            cursor,
            bytes_max,
        };
        // Refused only when the keeper broke, which was said.
        let _ = self.requests.send(Request::Read(query)).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.ok()?;
        answered.await.ok()
    }
}

/// The keeper's files block, so each turn runs where that is allowed; nothing else has it
/// meanwhile.
async fn keep(mut keeper: Keeper, mut requests: mpsc::Receiver<Request>, reporter: Reporter) {
    let mut more = false;
    loop {
        let pause = if more { Duration::ZERO } else { POLL_PAUSE };
        let request = if keeper.follows_nothing() {
            match requests.recv().await {
                Some(request) => Some(request),
                None => return,
            }
        } else {
            match timeout(pause, requests.recv()).await {
                Ok(Some(request)) => Some(request),
                Ok(None) => return,
                Err(_) => None,
            }
        };
        let turn = spawn_blocking(move || {
            let report = request.and_then(|request| keeper.serve(request));
            let more = keeper.collect_if_due(POLL_PAUSE);
            (keeper, report, more)
        });
        let report;
        (keeper, report, more) = match turn.await {
            Ok(turn) => turn,
            Err(error) => {
                tracing::error!(%error, "the keeper of logs broke; output is kept no longer");
                return;
            }
        };
        if let Some(report) = report {
            reporter.send(report).await;
        }
    }
}

fn broken() -> io::Error {
    io::Error::other("the keeper of logs broke; restart the platform")
}
