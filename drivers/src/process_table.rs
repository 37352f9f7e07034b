//! Which processes belong to an instance.
//!
//! Three signs, any of which will do: the mark in the environment it was started with, the
//! process group of its leader, or a parent that belongs. The mark survives `setsid` and the
//! death of every parent; the group and the parents survive programs that overwrite their
//! environment to set a title. A group is believed only while its number cannot have been
//! given out again: as long as the leader is alive or not yet reaped, or a marked process is
//! still in it.
//!
//! A pass over `/proc` costs one or two small reads for each process of the machine. Processes
//! that vanish meanwhile are not an error, nor are those whose environment is not ours to read.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};

use tidegate_protocol::InstanceRef;

use crate::environment::{DATA_MARK, INSTANCE_MARK};
use crate::names::parse_instance;

/// Bytes of an environment that are searched for the mark.
const ENVIRONMENT_BYTES_MAX: u64 = 256 * 1024;

/// What `/proc/{pid}/stat` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub pid: i32,
    pub parent: i32,
    pub group: i32,
    pub start_ticks: u64,
    /// It has ended and waits to be reaped.
    pub zombie: bool,
    /// The instance of this data directory that its environment names.
    pub mark: Option<InstanceRef>,
}

/// The process group that an instance was started in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub leader: i32,
    /// The leader is alive or unreaped, so that its number is still its own.
    pub held: bool,
}

/// Everything that runs now, with the marks of the data directory `data_id`.
pub(crate) fn read_all(data_id: &str) -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(mut process) = read_one(pid) {
            if !process.zombie {
                process.mark = read_mark(pid, data_id);
            }
            processes.push(process);
        }
    }
    Ok(processes)
}

/// One process, without its mark. `None`: there is none.
pub(crate) fn read_one(pid: i32) -> Option<Process> {
    parse_stat(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The processes of an instance that are alive, ourselves never among them.
pub(crate) fn members(
    processes: &[Process],
    instance: InstanceRef,
    group: Option<Group>,
) -> Vec<&Process> {
    let marked = |process: &Process| process.mark == Some(instance);
    let group = group
        .filter(|group| {
            let in_it = |process: &&Process| process.group == group.leader;
            group.held || processes.iter().filter(in_it).any(marked)
        })
        .map(|group| group.leader);
    let mut chosen: BTreeSet<i32> = processes
        .iter()
        .filter(|process| marked(process) || Some(process.group) == group)
        .map(|process| process.pid)
        .collect();
    // At most one pass for each generation, because each adds at least one process.
    loop {
        let before = chosen.len();
        for process in processes {
            if chosen.contains(&process.parent) {
                chosen.insert(process.pid);
            }
        }
        if chosen.len() == before {
            break;
        }
    }
    let own = std::process::id();
    processes
        .iter()
        .filter(|process| chosen.contains(&process.pid) && !process.zombie)
        .filter(|process| u32::try_from(process.pid).is_ok_and(|pid| pid != own))
        .collect()
}

fn parse_stat(pid: i32, stat: &[u8]) -> Option<Process> {
    // The name in parentheses may hold spaces and parentheses itself.
    let end_of_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end_of_name + 1..]).ok()?;
    // proc_pid_stat(5) counts from 1; the state after the name is field 3.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Process {
        pid,
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        start_ticks: field(22)?.parse().ok()?,
        zombie: matches!(field(3)?, "Z" | "X" | "x"),
        mark: None,
    })
}

fn read_mark(pid: i32, data_id: &str) -> Option<InstanceRef> {
    let mut environment = Vec::new();
    File::open(format!("/proc/{pid}/environ"))
        .ok()?
        .take(ENVIRONMENT_BYTES_MAX)
        .read_to_end(&mut environment)
        .ok()?;
    parse_mark(&environment, data_id)
}

fn parse_mark(environment: &[u8], data_id: &str) -> Option<InstanceRef> {
    let value = |name: &str| {
        environment
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
            .and_then(|value| std::str::from_utf8(value).ok())
    };
    if value(DATA_MARK)? != data_id {
        return None;
    }
    parse_instance(value(INSTANCE_MARK)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(epoch: u64) -> InstanceRef {
        InstanceRef {
            version: 3,
            slot: 0,
            epoch,
        }
    }

    fn process(pid: i32, parent: i32, group: i32, mark: Option<InstanceRef>) -> Process {
        Process {
            pid,
            parent,
            group,
            start_ticks: 0,
            zombie: false,
            mark,
        }
    }

    fn pids(members: &[&Process]) -> Vec<i32> {
        members.iter().map(|process| process.pid).collect()
    }

    #[test]
    fn a_name_may_hold_anything() {
        let stat = b"7 (a) b) (c) S 4 5 5 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 99 1 1";
        let read = parse_stat(7, stat).expect("a stat line");
        assert_eq!((read.parent, read.group, read.start_ticks), (4, 5, 99));
        assert!(!read.zombie);
        assert_eq!(parse_stat(7, b"7 (x) S 4"), None);
    }

    #[test]
    fn a_mark_counts_only_for_its_data_directory() {
        let environment = b"A=1\0TIDEGATE_DATA=here\0TIDEGATE_INSTANCE=v3.0.7\0";
        assert_eq!(parse_mark(environment, "here"), Some(instance(7)));
        assert_eq!(parse_mark(environment, "elsewhere"), None);
        assert_eq!(parse_mark(b"TIDEGATE_INSTANCE=v3.0.7", "here"), None);
    }

    #[test]
    fn marks_groups_and_descendants_belong() {
        let table = [
            process(100, 1, 100, Some(instance(7))), // leader
            process(101, 100, 100, None),            // wiped its environment
            process(102, 1, 102, Some(instance(7))), // left by setsid
            process(103, 102, 103, None),            // wiped and left, parent belongs
            process(200, 1, 200, Some(instance(8))), // another instance
        ];
        let group = Some(Group {
            leader: 100,
            held: true,
        });
        assert_eq!(
            pids(&members(&table, instance(7), group)),
            [100, 101, 102, 103]
        );
        assert_eq!(pids(&members(&table, instance(8), None)), [200]);
    }

    #[test]
    fn a_group_number_that_may_be_someone_elses_proves_nothing() {
        let gone = Some(Group {
            leader: 100,
            held: false,
        });
        let strangers = [process(100, 1, 100, None), process(101, 100, 100, None)];
        assert!(members(&strangers, instance(7), gone).is_empty());
        let survivors = [
            process(101, 1, 100, Some(instance(7))),
            process(102, 1, 100, None),
        ];
        assert_eq!(pids(&members(&survivors, instance(7), gone)), [101, 102]);
    }

    #[test]
    fn we_find_ourselves_in_the_table() -> io::Result<()> {
        let own = i32::try_from(std::process::id()).expect("a process id");
        let table = read_all("none")?;
        assert!(table.iter().any(|process| process.pid == own));
        assert!(table.iter().all(|process| process.mark.is_none()));
        Ok(())
    }
}
