//! What a run counts: requests, waits, wakes, and the facts that actors state.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use tidegate_kernel::Note;
use tidegate_protocol::{Address, DeployStep, InstanceRef, InstanceState};

use crate::clock::SimTime;

/// Entries of the timeline that are kept.
const TIMELINE_MAX: usize = 400;

/// Requests by how they ended, as their clients saw it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub sent: u64,
    pub served: u64,
    /// Told at once, with a reason: 404, 503.
    pub refused: u64,
    /// 502, 504, 508, or no gateway to be reached.
    pub failed: u64,
    /// The gateway died while the client waited: nobody knows.
    pub unknown: u64,
    /// The client went away while it was held.
    pub left: u64,
}

impl Requests {
    pub fn add(&mut self, other: &Requests) {
        self.sent += other.sent;
        self.served += other.served;
        self.refused += other.refused;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.left += other.left;
    }
}

#[derive(Debug)]
pub struct Stats {
    pub requests: Requests,
    /// Refusals and failures by their reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Microseconds from the client's first byte to its answer, of served requests.
    pub latency: Histogram<u64>,
    /// Microseconds that held requests waited before they went out.
    pub hold: Histogram<u64>,
    /// Milliseconds from a slot's claim until it runs.
    pub wake: Histogram<u64>,
    pub held: u64,
    pub hops: u64,
    pub retries: u64,
    pub messages: u64,
    pub messages_lost: u64,
    pub events: u64,
    pub counts: BTreeMap<&'static str, u64>,
    pub timeline: Vec<(SimTime, String)>,
}

impl Default for Stats {
    fn default() -> Self {
        Self::new()
    }
}

/// A histogram from 1 to an hour of microseconds, three digits; an out-of-range value is
/// taken as the highest.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).unwrap_or_else(|_| unreachable_bounds())
}

/// The bounds above are valid; this is what the type system asks for.
fn unreachable_bounds() -> Histogram<u64> {
    let mut auto = Histogram::new(1).unwrap_or_else(|_| unreachable!("one digit is valid"));
    auto.auto(true);
    auto
}

impl Stats {
    pub fn new() -> Self {
        Self {
            requests: Requests::default(),
            reasons: BTreeMap::new(),
            latency: histogram(),
            hold: histogram(),
            wake: histogram(),
            held: 0,
            hops: 0,
            retries: 0,
            messages: 0,
            messages_lost: 0,
            events: 0,
            counts: BTreeMap::new(),
            timeline: Vec::new(),
        }
    }

    pub fn mark(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    pub fn tell(&mut self, at: SimTime, text: String) {
        if self.timeline.len() < TIMELINE_MAX {
            self.timeline.push((at, text));
        }
    }

    /// Takes a fact that an actor states.
    pub fn note(&mut self, at: SimTime, from: Address, note: Note) {
        let node = from.node;
        match note {
            Note::Elected { epoch } => {
                self.mark("elections");
                self.tell(
                    at,
                    format!("scheduler of node {} elected, epoch {epoch}", node.0),
                );
            }
            Note::Deposed { epoch } => {
                self.mark("depositions");
                self.tell(
                    at,
                    format!("scheduler of node {} deposed, epoch {epoch}", node.0),
                );
            }
            Note::Claimed { .. } => self.mark("slots claimed"),
            Note::Reclaimed {
                instance,
                host,
                reason,
            } => {
                self.mark("slots reclaimed");
                self.tell(
                    at,
                    format!("slot {instance} taken back from node {}: {reason}", host.0),
                );
            }
            Note::Instance {
                instance,
                state,
                reason,
            } => self.note_instance(at, from, instance, state, &reason),
            Note::Deploy {
                version,
                step,
                reason,
            } => {
                let why = if reason.is_empty() {
                    String::new()
                } else {
                    format!(": {reason}")
                };
                self.tell(
                    at,
                    format!("deploy of version {version}: {}{why}", step_name(step)),
                );
            }
            Note::Cutover {
                project,
                version,
                epoch,
            } => self.tell(
                at,
                format!("{project} cut over to version {version}, epoch {epoch}"),
            ),
            Note::Serving { .. } => self.mark("routes adopted"),
            Note::Verified { .. } => self.mark("artifacts verified"),
            Note::Corrupt { .. } => self.mark("corrupt blobs refused"),
            Note::Malformed { .. } => self.mark("malformed records"),
            Note::Full { .. } => self.mark("full queues"),
            Note::Feed { live, .. } => self.mark(if live { "feeds found" } else { "feeds lost" }),
            Note::Mark(name) => self.mark(name),
        }
    }

    fn note_instance(
        &mut self,
        at: SimTime,
        from: Address,
        instance: InstanceRef,
        state: InstanceState,
        reason: &str,
    ) {
        match state {
            InstanceState::Running => self.mark("instances that became healthy"),
            InstanceState::Stopped => self.mark("instances stopped"),
            InstanceState::Failed => {
                self.mark("instances that failed");
                let node = from.node.0;
                self.tell(at, format!("{instance} failed on node {node}: {reason}"));
            }
            _ => {}
        }
    }
}

fn step_name(step: DeployStep) -> &'static str {
    match step {
        DeployStep::Unspecified => "unknown",
        DeployStep::Distribute => "distribute",
        DeployStep::Prove => "prove",
        DeployStep::Live => "live",
        DeployStep::Ready => "ready",
        DeployStep::Superseded => "superseded",
        DeployStep::Failed => "failed",
    }
}
