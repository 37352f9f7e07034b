//! The first process of an instance: watching it, signalling it, learning how it ended.
//!
//! All through a pidfd, which stays with one process for good, so that no signal can reach
//! another that was given the same number later. It works alike for our children and for
//! those of a former life. Nothing here reaps a process by number or reaps someone else's.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};
use tokio::io::unix::AsyncFd;

use crate::ending::Ending;
use crate::process_table::{Group, read_one};
use crate::state::Identity;

/// A handle of one process, whatever becomes of its number.
#[derive(Debug)]
pub(crate) struct Handle {
    pid: Pid,
    fd: OwnedFd,
}

impl Handle {
    /// A child that nobody has reaped, ended or not.
    pub(crate) fn of_child(pid: i32) -> io::Result<Handle> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        let fd = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Handle { pid, fd })
    }

    /// The process that was seen with this start time. `None`: it is gone.
    pub(crate) fn of_seen(pid: i32, start_ticks: u64) -> io::Result<Option<Handle>> {
        let handle = match Handle::of_child(pid) {
            Ok(handle) => handle,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // Looked at after opening: what has the number now has the handle, too.
        Ok(read_one(pid)
            .is_some_and(|process| process.start_ticks == start_ticks)
            .then_some(handle))
    }

    /// The recorded leader, if it still runs in this boot.
    pub(crate) fn of_recorded(identity: &Identity, boot: &str) -> io::Result<Option<Handle>> {
        if identity.boot != boot {
            return Ok(None);
        }
        let Some(handle) = Handle::of_seen(identity.pid, identity.start_ticks)? else {
            return Ok(None);
        };
        let alive = read_one(identity.pid).is_some_and(|process| !process.zombie);
        if !alive {
            // Only ours if a driver of this very process was dropped and opened again.
            handle.reap();
        }
        Ok(alive.then_some(handle))
    }

    /// `false`: it had ended already.
    pub(crate) fn signal(&self, signal: Signal) -> bool {
        pidfd_send_signal(&self.fd, signal).is_ok()
    }

    /// Ends a child that nobody was told of.
    pub(crate) fn kill_and_reap(&self) {
        self.signal(Signal::KILL);
        // A killed child ends soon, and nobody else reaps it.
        let _ = waitid(WaitId::PidFd(self.fd.as_fd()), WaitIdOptions::EXITED);
    }

    /// Reaps an ended child and tells how it ended.
    pub(crate) fn reap(&self) -> Ending {
        let waited = waitid(
            WaitId::PidFd(self.fd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );
        let Ok(Some(status)) = waited else {
            return Ending::Unknown;
        };
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Ending::Code(code),
            (None, Some(signal)) => Ending::Signal(signal),
            (None, None) => Ending::Unknown,
        }
    }

    /// Whether its number is still its own: it runs, or it is our child and not reaped.
    fn holds_its_number(&self) -> bool {
        let mut watched = [PollFd::new(&self.fd, PollFlags::IN)];
        let now = Timespec::default();
        let running = poll(&mut watched, Some(&now)).is_ok_and(|ended| ended == 0);
        let unreaped = || {
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            waitid(WaitId::PidFd(self.fd.as_fd()), look).is_ok()
        };
        running || unreaped()
    }
}

/// Ends a process that was seen in the table.
pub(crate) fn kill_seen(pid: i32, start_ticks: u64) {
    with_seen(pid, start_ticks, |handle| {
        handle.signal(Signal::KILL);
    });
}

/// Reaps a process that was seen in the table and has ended, if it is our child.
pub(crate) fn reap_seen(pid: i32, start_ticks: u64) {
    with_seen(pid, start_ticks, |handle| {
        handle.reap();
    });
}

fn with_seen(pid: i32, start_ticks: u64, act: impl FnOnce(Handle)) {
    match Handle::of_seen(pid, start_ticks) {
        Ok(Some(handle)) => act(handle),
        Ok(None) => {}
        Err(error) => tracing::warn!(pid, %error, "a process could not be opened to end it"),
    }
}

/// The leader of a running instance.
#[derive(Debug)]
pub(crate) struct Leader {
    handle: AsyncFd<Handle>,
}

impl std::os::fd::AsRawFd for Handle {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}

impl Leader {
    /// Needs a tokio runtime.
    #[expect(
        deprecated,
        reason = "its successor is the same but unsafe, for descriptors that are not owned or \
                  change; a handle owns its one descriptor until it is dropped"
    )]
    pub(crate) fn watch(handle: Handle) -> io::Result<Leader> {
        let handle = AsyncFd::with_interest(handle, tokio::io::Interest::READABLE)?;
        Ok(Leader { handle })
    }

    /// Waits for its end, however often it is asked.
    pub(crate) async fn ended(&self) {
        // Fails only while the runtime shuts down, where no answer is due.
        if self.handle.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Signals its process group, if that can still be named.
    pub(crate) fn signal_group(&self, signal: Signal) {
        let handle = self.handle.get_ref();
        if handle.holds_its_number() {
            // Refused only for a group whose last process ended just now.
            let _ = kill_process_group(handle.pid, signal);
        }
    }

    /// Its process group, and whether the number can be believed in.
    pub(crate) fn group(&self) -> Group {
        let handle = self.handle.get_ref();
        Group {
            leader: handle.pid.as_raw_nonzero().get(),
            held: handle.holds_its_number(),
        }
    }

    /// Reaps it after its end, if it is ours, and tells how it ended.
    pub(crate) fn reap(&self) -> Ending {
        self.handle.get_ref().reap()
    }
}
