//! What is shown of a run, before it is a page or a trace.

use super::causality::EventNumber;
use super::lanes::{Host, Lane};
use super::states::Change;
use crate::clock::SimTime;

/// What kind of event it is; the page lets people leave kinds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Message,
    Timer,
    Disk,
    Driver,
    Blob,
    Instance,
    Request,
    Client,
    Fault,
    Operator,
    Checkpoint,
}

impl Kind {
    pub const ALL: [Kind; 11] = [
        Kind::Message,
        Kind::Timer,
        Kind::Disk,
        Kind::Driver,
        Kind::Blob,
        Kind::Instance,
        Kind::Request,
        Kind::Client,
        Kind::Fault,
        Kind::Operator,
        Kind::Checkpoint,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::Timer => "timer",
            Kind::Disk => "disk",
            Kind::Driver => "driver",
            Kind::Blob => "blob store",
            Kind::Instance => "instance",
            Kind::Request => "request",
            Kind::Client => "client",
            Kind::Fault => "fault",
            Kind::Operator => "operator",
            Kind::Checkpoint => "oracles",
        }
    }
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Happened,
    /// Its machine is paused: it comes again when that ends.
    Waits,
    /// The link was cut while the message was on its way.
    Lost,
    /// Nobody lives there, or not the one that asked.
    Nobody,
    /// A timer whose time had not come; it was set again.
    Early,
}

/// One kept event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub number: EventNumber,
    pub at: SimTime,
    /// Index into the lanes, as every lane here.
    pub lane: u32,
    pub kind: Kind,
    pub line: String,
    pub detail: String,
    /// [`super::causality::NOBODY`]: none that is known.
    pub cause: EventNumber,
    /// Who sent a message.
    pub from: Option<u32>,
    pub fate: Fate,
    /// Whether the states around it are kept, and what arrived with it.
    pub has_states: bool,
    pub has_detail: bool,
}

/// A fact that an actor noted in a kept event; events are indices into the kept ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownNote {
    pub event: u32,
    pub lane: u32,
    pub kind: &'static str,
    pub text: String,
}

/// A message that never was on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownLoss {
    pub event: u32,
    pub from: u32,
    pub to: u32,
    /// When it would have arrived at the earliest.
    pub due: SimTime,
    pub why: &'static str,
    pub line: String,
    pub detail: String,
}

/// A fault, as a band over the lanes of the machines that it struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    pub begin: SimTime,
    pub end: SimTime,
    pub kind: &'static str,
    pub text: String,
    pub lanes: Vec<u32>,
}

/// A broken guarantee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownViolation {
    pub at: SimTime,
    pub guarantee: u8,
    pub name: &'static str,
    pub text: String,
    /// The kept event in which it was found; `None`: at the end, or in one left out.
    pub event: Option<u32>,
    /// Its causal history, in order; empty when it was not sought.
    pub history: Vec<u32>,
}

/// What the page does not hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub events: u64,
    /// Of those, events without any effect.
    pub idle: u64,
    pub told: u64,
    /// From and until when everything is there.
    pub whole_from: SimTime,
    pub whole_until: SimTime,
    pub cut_short: bool,
}

/// A run, explained.
#[derive(Clone, Debug)]
pub struct Explained {
    pub scenario: String,
    pub about: String,
    pub seed: u64,
    /// One line to paste.
    pub repro: String,
    pub duration: SimTime,
    pub faults_end: SimTime,
    pub well_from: SimTime,
    /// Of the whole run.
    pub events: u64,
    pub trace_hash: u64,
    pub hosts: Vec<Host>,
    pub lanes: Vec<Lane>,
    pub bands: Vec<Band>,
    /// In order.
    pub shown: Vec<Shown>,
    pub notes: Vec<ShownNote>,
    pub losses: Vec<ShownLoss>,
    /// Of each lane that is an actor.
    pub states: Vec<(u32, Vec<Change>)>,
    pub violations: Vec<ShownViolation>,
    pub violation_count: u64,
    pub left_out: LeftOut,
}

impl Explained {
    /// Index of a kept event.
    pub fn index_of(&self, number: EventNumber) -> Option<u32> {
        let found = self.shown.binary_search_by_key(&number, |e| e.number);
        found.ok().map(|i| i as u32)
    }
}

/// A small run, made by hand: a client's request, a message that it caused, and a loss.
#[cfg(test)]
pub(super) fn sample() -> Explained {
    let event = |number, at, lane, kind, cause, from| Shown {
        number,
        at,
        lane,
        kind,
        line: format!("event </script><!-- {number}"),
        detail: "Wake { version: 3 }".into(),
        cause,
        from,
        fate: Fate::Happened,
        has_states: true,
        has_detail: true,
    };
    let host = |name: &str, node| Host {
        name: name.into(),
        region: "syd".into(),
        node,
    };
    let lane = |name: &str, host| Lane {
        name: name.into(),
        host,
    };
    Explained {
        scenario: "{{data}}<b>".into(),
        about: "a sample".into(),
        seed: u64::MAX,
        repro: "tidegate-sim run sample --seed 1".into(),
        duration: 9_000,
        faults_end: 0,
        well_from: 0,
        events: 50,
        trace_hash: 7,
        hosts: vec![host("world", 0), host("gw-0", 3)],
        lanes: vec![
            lane("faults", 0),
            lane("gateway 0", 1),
            lane("scheduler", 1),
        ],
        bands: vec![Band {
            begin: 1_000,
            end: 2_000,
            kind: "crash",
            text: "crash: gw-0".into(),
            lanes: vec![1, 2],
        }],
        shown: vec![
            event(40, 1_000, 1, Kind::Request, 12, None),
            event(41, 1_250, 1, Kind::Timer, 40, None),
            event(45, 4_000, 2, Kind::Message, 40, Some(1)),
        ],
        notes: vec![ShownNote {
            event: 2,
            lane: 2,
            kind: "election",
            text: "elected".into(),
        }],
        losses: vec![ShownLoss {
            event: 0,
            from: 1,
            to: 2,
            due: 1_500,
            why: "the link was cut",
            line: "Wake".into(),
            detail: "Wake".into(),
        }],
        states: Vec::new(),
        violations: vec![ShownViolation {
            at: 4_000,
            guarantee: 12,
            name: "deploys end",
            text: "it did not".into(),
            event: Some(2),
            history: vec![0, 2],
        }],
        violation_count: 1,
        left_out: LeftOut::default(),
    }
}
