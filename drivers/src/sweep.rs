//! Ending every process of an instance.
//!
//! A process can fork while the table is read, so one pass is not enough: passes go on until
//! one finds nobody. A process that the kernel keeps (waiting for a dead disk) would make that
//! endless, so there is a last pass; what is left then is counted and said.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tidegate_protocol::InstanceRef;

use crate::context::Context;
use crate::leader::{kill_seen, reap_seen};
use crate::process_table::{Group, Process, members, read_all, read_one};

const PASSES_MAX: usize = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// A process id and its start time.
pub(crate) type Seen = (i32, u64);

/// Kills until nobody is left; returns how many would not die. Those in `killed` are waited
/// for, too, because once its parent is dead, nothing may tell any more whose a process was;
/// whom this kills joins them.
pub(crate) async fn kill_all(
    context: &Arc<Context>,
    instance: InstanceRef,
    group: impl Fn() -> Option<Group>,
    killed: &mut BTreeSet<Seen>,
) -> usize {
    let mut left = 0;
    for _ in 0..PASSES_MAX {
        let found = kill_once(context, instance, group()).await;
        let is_new = !found.is_empty();
        killed.extend(found);
        left = killed.iter().filter(|seen| still_runs(**seen)).count();
        if left == 0 && !is_new {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    left
}

/// Reaps those of the killed who are our children: their parent died before them while we are
/// process 1, or a driver was dropped and opened again in this very process.
pub(crate) fn reap_all(killed: &BTreeSet<Seen>) {
    for (pid, start_ticks) in killed {
        reap_seen(*pid, *start_ticks);
    }
}

/// Kills everybody who is there now; returns who that was.
pub(crate) async fn kill_once(
    context: &Arc<Context>,
    instance: InstanceRef,
    group: Option<Group>,
) -> BTreeSet<Seen> {
    // Never closed, so never an error.
    let _turn = context.scans.acquire().await;
    let context = Arc::clone(context);
    let pass = move || match read_all(context.data.id()) {
        Ok(processes) => {
            let members = members(&processes, instance, group);
            let seen = |process: &&Process| (process.pid, process.start_ticks);
            let members: BTreeSet<Seen> = members.iter().map(seen).collect();
            for (pid, start_ticks) in &members {
                kill_seen(*pid, *start_ticks);
            }
            members
        }
        Err(error) => {
            tracing::error!(%instance, %error, "/proc cannot be read; its processes may survive");
            BTreeSet::new()
        }
    };
    tokio::task::spawn_blocking(pass).await.unwrap_or_default()
}

fn still_runs((pid, start_ticks): Seen) -> bool {
    read_one(pid).is_some_and(|process| process.start_ticks == start_ticks && !process.zombie)
}
