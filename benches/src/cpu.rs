//! CPU time of this process.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

/// User and system time since the process began, all threads. `getrusage` is a
/// system call that no peer intercepts, whereas madsim answers `clock_gettime`
/// from its simulated clock.
///
/// # Panics
/// Never on a kernel that has the call.
pub fn process_time() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage of this process");
    duration(usage.user_time()) + duration(usage.system_time())
}

fn duration(time: TimeVal) -> Duration {
    Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1_000)
}

/// The most memory that the process ever had in RAM.
///
/// # Panics
/// Never on a kernel that has the call.
pub fn peak_memory_bytes() -> u64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("getrusage of this process");
    usage.max_rss() as u64 * 1_024
}
