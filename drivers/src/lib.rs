//! What really runs an instance.
//!
//! An actor decides that an instance is to run; a driver makes it so, and reports what it
//! sees. There is one driver here, for plain processes: [`ProcessDriver`]. It speaks
//! [`DriverCommand`](tidegate_kernel::DriverCommand) and
//! [`DriverReport`](tidegate_kernel::DriverReport) and knows nothing of schedulers, slots'
//! owners or stores.
//!
//! What it promises:
//! - **No process is lost.** An instance is recorded durably before it is forked and again
//!   with its process id before it is reported; it carries a mark in its environment; and the
//!   data directory stays locked until a fork in progress has become a marked process. So
//!   whatever instant the platform dies at, its next life finds every process by record or by
//!   mark, adopts those that were whole and ends the rest.
//! - **Nothing is left.** When an instance's first process ends, its process group, its
//!   descendants and everything that carries its mark are killed and its directory is removed
//!   before [`Exited`](tidegate_kernel::DriverReport::Exited) is reported, once.
//! - **Output outlives the platform.** A process writes to a file, never to a pipe; its lines
//!   are stamped and kept beside it, and a reader with a cursor gets each line once.
//! - **Everything is bounded**: instances, queues, logs, scans, waits.
//!
//! What it must never do: signal a process it cannot prove to be its own (a process id alone
//! proves nothing; see `leader` and `process_table`), hand the platform's environment to a
//! tenant, or block its caller.
//!
//! What it does not do: isolate. Instances run as the platform's user, in its namespaces. A
//! program that wipes its environment, leaves its process group and outlives its parent can
//! escape; only a cgroup would hold it. Run it for apps that the operator trusts. Descriptors
//! that the platform itself was given without close-on-exec reach instances, too: start it
//! with none. When it is process 1 of a container, put an init before it, or the orphans of
//! instances stay zombies for as long as it runs.
//!
//! Costs: one file descriptor and one small task for each instance, two more descriptors for
//! its output, a pass over `/proc` for each exit, a look at each output file ten times a
//! second.

mod check;
mod context;
mod data_dir;
mod driver;
mod ending;
mod environment;
mod launch;
mod leader;
mod life;
mod log;
mod names;
mod options;
mod port;
mod process_table;
mod program;
mod recover;
mod reporter;
mod start_error;
mod state;
mod supervisor;
mod sweep;

pub use driver::{CommandRefused, OpenError, ProcessDriver};
pub use options::{LogLimits, Options};
