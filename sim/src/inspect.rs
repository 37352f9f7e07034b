//! What an operator sees of an app: the list of its instances, and what one of them printed.
//!
//! The list is asked of control, which asks sync; what was printed is asked of the host, which
//! asks its driver. Neither changes anything. What is shown must be true: an instance of this
//! app, on the host that its slot belonged to in that epoch, and lines of the version that was
//! asked for. A host that is gone shows nothing, and is given up after some tries.

use std::collections::VecDeque;

use tidegate_protocol::{
    Address, Bytes, InstanceInfo, InstanceRef, LogData, LogLine, LogRead, Message, NodeId, Role,
};

use crate::topology::Topology;
use crate::world::World;

/// Times that a host is asked for what an instance printed.
pub(crate) const TRIES: u32 = 15;
/// Lines that a host keeps of all its instances.
const LINES_MAX: usize = 64;
/// What a read may bring at most.
const READ_BYTES: u32 = 64 * 1024;

/// Where an operator looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) host: NodeId,
    pub(crate) version: u64,
    /// Whether the instance was listed as one that runs.
    pub(crate) runs: bool,
}

/// What instances printed on one host: the newest lines.
#[derive(Debug, Default)]
pub struct Printed(VecDeque<LogLine>);

impl Printed {
    pub fn print(&mut self, wall_ms: u64, instance: InstanceRef, text: &str) {
        if self.0.len() == LINES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(LogLine {
            wall_ms,
            instance: Some(instance),
            text: format!("{instance} {text}"),
        });
    }

    /// The newest lines of a version that fit, in their order.
    pub fn read(&self, version: u64, bytes_max: u32) -> Vec<LogLine> {
        let of_version = |line: &&LogLine| line.instance.is_some_and(|i| i.version == version);
        let mut left = bytes_max as usize;
        let newest = self.0.iter().rev().filter(of_version);
        let fitting = newest.map_while(|line| {
            left = left.checked_sub(line.text.len())?;
            Some(line.clone())
        });
        let mut lines: Vec<LogLine> = fitting.collect();
        lines.reverse();
        lines
    }
}

impl World {
    /// Judges a list of the instances of a project, and picks one to look at.
    pub(crate) fn judge_listed(&mut self, project: &str, listed: &[InstanceInfo]) {
        let env = &mut self.env;
        let (oracles, main) = (&mut env.oracles, env.ledger.main());
        let findings = &mut oracles.findings;
        for info in listed {
            let Some(slot) = &info.slot else {
                findings.violated(
                    1,
                    format!("an instance of {project} is listed without slot"),
                );
                continue;
            };
            let is_region = |name: &String| *name == info.region;
            let region = env.topology.regions.iter().position(is_region);
            oracles
                .one_owner
                .listed(region, slot.host, slot.instance(), findings);
            let of = main.version(slot.version).map(|spec| spec.project.as_str());
            let shown = (project, slot.version);
            oracles.right_version.shown(shown, of, findings);
        }
    }

    /// A host showed nothing, however often it was asked. It may when a fault has silenced it,
    /// or has cut it off.
    pub(crate) fn judge_silence(&mut self, what: &str, host: NodeId) {
        let Some(node) = self.env.topology.index(host) else {
            return;
        };
        let region = self.env.topology.nodes[node].region.unwrap_or_default();
        let excused = self.excuses.hosts(1 << region, self.env.now);
        if self.env.nodes[node].up && !excused {
            let oracles = &mut self.env.oracles;
            oracles.progress.unanswered(what, &mut oracles.findings);
        }
    }

    /// Asks a host for what the instances of a version printed there.
    pub(crate) fn read_log(&mut self, id: u64, look: Look) {
        let node = self.env.topology.nodes[Topology::OPERATOR].id;
        let me = Address::new(node, Role::Client, 0);
        let read = LogRead {
            id,
            version: look.version,
            cursor: Bytes::new(),
            bytes_max: READ_BYTES,
        };
        let metald = Address::new(look.host, Role::Metald, 0);
        self.env
            .transmit(Topology::OPERATOR, me, metald, Message::LogRead(read));
    }

    /// Judges what a host showed of a version of a project. What runs has printed something
    /// before it was listed, so that there is something to show.
    pub(crate) fn judge_log(&mut self, project: &str, look: Look, data: &LogData) {
        let Look { host, version, .. } = look;
        let printed = self.env.topology.index(host).is_some_and(|node| {
            let printed = &self.env.nodes[node].printed;
            !printed.read(version, READ_BYTES).is_empty()
        });
        let oracles = &mut self.env.oracles;
        let findings = &mut oracles.findings;
        if look.runs && printed && data.lines.is_empty() {
            let what = format!(
                "what version {version} of {project} printed on node {}",
                host.0
            );
            oracles.progress.unanswered(&what, findings);
        }
        for line in &data.lines {
            let printed_by = line.instance.map(|i| i.version);
            oracles
                .right_version
                .read(project, version, printed_by, findings);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(version: u64) -> InstanceRef {
        InstanceRef {
            version,
            slot: 0,
            epoch: 1,
        }
    }

    #[test]
    fn a_read_brings_the_newest_lines_of_its_version_that_fit() {
        let mut printed = Printed::default();
        for n in 0..40 {
            printed.print(n, instance(1 + n % 2), "x");
        }
        let lines = printed.read(2, 22);
        let times: Vec<u64> = lines.iter().map(|line| line.wall_ms).collect();
        assert_eq!(times, [37, 39], "each of 8 bytes");
        assert_eq!(lines[0].text, "v2.0.1 x");
        for n in 0..100 {
            printed.print(100 + n, instance(3), "y");
        }
        assert_eq!(printed.read(3, u32::MAX).len(), LINES_MAX);
        assert_eq!(printed.read(1, u32::MAX), []);
    }
}
