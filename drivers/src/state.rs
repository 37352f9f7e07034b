//! The record of an instance, which outlives the platform.
//!
//! Written twice, each time durably: before the fork without a process, and after it with
//! one. The first makes sure that a crash between the two leaves a name to look for; the
//! second lets the next life adopt the process. A process is named by its id, its start time
//! and the boot it belongs to, because ids alone are given out again.
//!
//! A record that does not read back is treated like one without a process: what it stood for
//! is ended, never adopted.

use std::fmt::Write as _;
use std::net::SocketAddr;

use tidegate_protocol::InstanceRef;

/// A process and no later one with the same id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub pid: i32,
    /// Clock ticks from boot to its start: field 22 of `/proc/{pid}/stat`.
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
}

/// What is recorded of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub instance: InstanceRef,
    pub endpoint: SocketAddr,
    /// `None`: about to be forked.
    pub leader: Option<Identity>,
}

const FIRST_LINE: &str = "tidegate-instance 1";

impl State {
    pub(crate) fn encode(&self) -> String {
        let mut text = format!(
            "{FIRST_LINE}\ninstance {}\nendpoint {}\n",
            self.instance, self.endpoint
        );
        if let Some(leader) = &self.leader {
            // Writing to a string cannot fail.
            let _ = write!(
                text,
                "pid {}\nstart_ticks {}\nboot {}\n",
                leader.pid, leader.start_ticks, leader.boot
            );
        }
        text.push_str("end\n");
        text
    }

    /// `None`: torn, foreign, or of a later version.
    pub(crate) fn parse(text: &str) -> Option<State> {
        let mut lines = text.lines();
        if lines.next()? != FIRST_LINE {
            return None;
        }
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let instance = crate::names::parse_instance(field("instance")?)?;
        let endpoint = field("endpoint")?.parse().ok()?;
        let leader = match field("pid") {
            None => None,
            Some(pid) => Some(Identity {
                pid: pid.parse().ok().filter(|pid| *pid > 1)?,
                start_ticks: field("start_ticks")?.parse().ok()?,
                boot: field("boot")?.to_owned(),
            }),
        };
        text.ends_with("\nend\n").then_some(State {
            instance,
            endpoint,
            leader,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(leader: Option<Identity>) -> State {
        State {
            instance: InstanceRef {
                version: 3,
                slot: 0,
                epoch: 7,
            },
            endpoint: "127.0.0.1:4000".parse().expect("an address"),
            leader,
        }
    }

    #[test]
    fn reads_back_with_and_without_a_process() {
        let leader = Identity {
            pid: 77,
            start_ticks: 123_456,
            boot: "b-o-o-t".to_owned(),
        };
        for state in [state(None), state(Some(leader))] {
            assert_eq!(State::parse(&state.encode()), Some(state));
        }
    }

    #[test]
    fn a_torn_record_reads_as_nothing() {
        let whole = state(Some(Identity {
            pid: 77,
            start_ticks: 5,
            boot: "b".to_owned(),
        }))
        .encode();
        for cut in 0..whole.len() {
            assert_eq!(State::parse(&whole[..cut]), None, "cut at {cut}");
        }
        assert_eq!(State::parse(&whole.replace("pid 77", "pid 1")), None);
    }
}
