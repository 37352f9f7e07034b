//! What the event queue holds, and how it is folded into the trace.
//!
//! Events are small: what is large sits behind a box, and a request is a number.

use std::hash::Hash as _;

use tidegate_kernel::{BlobReport, DriverReport};
use tidegate_protocol::{Address, Message};
use tidegate_sim_queue::TraceHash;

use crate::clock::SimTime;

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Flight {
    pub from: Address,
    pub to: Address,
    pub body: Message,
    /// Of which connection between its nodes.
    pub connection: u32,
}

/// One event of the world.
#[derive(Clone, Debug)]
pub enum Happening {
    Message(Box<Flight>),
    /// An actor's deadline; of no effect when another was armed since.
    Timer {
        actor: u32,
        armed: u32,
    },
    /// The first operation in a store's queue is done.
    Disk {
        actor: u32,
        life: u32,
    },
    Driver {
        actor: u32,
        life: u32,
        report: Box<DriverReport>,
    },
    Blob {
        actor: u32,
        life: u32,
        report: Box<BlobReport>,
    },
    Instance {
        instance: u32,
        step: InstanceStep,
    },
    /// An instance has worked on a request.
    Served {
        instance: u32,
        request: u32,
        step: u32,
    },
    Request {
        request: u32,
        step: u32,
        what: RequestStep,
    },
    /// The next request of a stream of clients.
    Arrival {
        stream: u32,
    },
    Fault {
        fault: u32,
        begin: bool,
    },
    /// The processes of a machine die after a commit of theirs, or come back from that.
    AfterCommit {
        node: u32,
        crash: bool,
    },
    Operator {
        operation: u32,
    },
    Checkpoint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstanceStep {
    /// Its app listens.
    Ready,
    /// It ends by itself.
    Crash,
    /// It ends as it was told.
    Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestStep {
    AtGateway,
    ConnectFailed,
    AtInstance,
    /// The instance's answer is back at the gateway, or the files were read.
    Answered,
    Broken,
    TimedOut,
    /// The other region's answer is back at the first gateway.
    HopAnswered,
    AtClient,
    /// The client does not wait any longer.
    ClientLeaves,
}

fn packed(a: Address) -> u64 {
    u64::from(a.node.0) << 32 | (a.role as u64) << 16 | u64::from(a.index)
}

impl Happening {
    /// Folds it into the trace, with its time.
    #[inline]
    pub fn fold(&self, at: SimTime, trace: &mut TraceHash) {
        let pair = |a: u32, b: u32| u64::from(a) << 32 | u64::from(b);
        match self {
            Happening::Message(flight) => {
                trace.fold([at, 1, packed(flight.from), packed(flight.to)]);
                flight.body.hash(trace);
            }
            Happening::Timer { actor, armed } => trace.fold([at, 2, pair(*actor, *armed)]),
            Happening::Disk { actor, life } => trace.fold([at, 3, pair(*actor, *life)]),
            Happening::Driver {
                actor,
                life,
                report,
            } => {
                trace.fold([at, 4, pair(*actor, *life)]);
                fold_driver(report, trace);
            }
            Happening::Blob {
                actor,
                life,
                report,
            } => {
                trace.fold([at, 5, pair(*actor, *life)]);
                fold_blob(report, trace);
            }
            Happening::Instance { instance, step } => {
                trace.fold([at, 6, pair(*instance, *step as u32)]);
            }
            Happening::Served {
                instance,
                request,
                step,
            } => trace.fold([at, 7, pair(*instance, *request), u64::from(*step)]),
            Happening::Request {
                request,
                step,
                what,
            } => trace.fold([at, 8, pair(*request, *step), *what as u64]),
            Happening::Arrival { stream } => trace.fold([at, 9, u64::from(*stream)]),
            Happening::Fault { fault, begin } => {
                trace.fold([at, 10, pair(*fault, u32::from(*begin))]);
            }
            Happening::Operator { operation } => trace.fold([at, 11, u64::from(*operation)]),
            Happening::Checkpoint => trace.fold([at, 12]),
            Happening::AfterCommit { node, crash } => {
                trace.fold([at, 13, pair(*node, u32::from(*crash))]);
            }
        }
    }
}

fn fold_driver(report: &DriverReport, trace: &mut TraceHash) {
    match report {
        DriverReport::Inventory(found) => {
            trace.fold([1, found.len() as u64]);
            for i in found {
                i.instance.hash(trace);
                i.endpoint.hash(trace);
            }
        }
        DriverReport::Started { instance, endpoint } => (2, instance, endpoint).hash(trace),
        DriverReport::StartFailed { instance, reason } => (3, instance, reason).hash(trace),
        DriverReport::Checked { instance, healthy } => (4, instance, healthy).hash(trace),
        DriverReport::Exited {
            instance,
            reason,
            log_tail,
        } => (5, instance, reason, log_tail).hash(trace),
        DriverReport::Log { request, .. } => trace.fold([6, *request]),
    }
}

fn fold_blob(report: &BlobReport, trace: &mut TraceHash) {
    match report {
        BlobReport::Checked { digest, present } => (1, digest, present).hash(trace),
        BlobReport::Manifest { digest, manifest } => (2, digest, manifest).hash(trace),
        BlobReport::Finished { digest, verified } => (3, digest, verified).hash(trace),
        BlobReport::Data {
            digest,
            offset,
            total,
            data,
            ..
        } => (4, digest, offset, total, data).hash(trace),
        BlobReport::Dropped { count } => (5, count).hash(trace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_stay_small() {
        assert!(size_of::<Happening>() <= 24);
    }

    #[test]
    fn every_part_of_an_event_counts() {
        let hash = |at, happening: Happening| {
            let mut trace = TraceHash::new();
            happening.fold(at, &mut trace);
            trace.value()
        };
        let request = |request, step, what| Happening::Request {
            request,
            step,
            what,
        };
        let all = [
            hash(1, request(1, 1, RequestStep::AtGateway)),
            hash(2, request(1, 1, RequestStep::AtGateway)),
            hash(1, request(2, 1, RequestStep::AtGateway)),
            hash(1, request(1, 2, RequestStep::AtGateway)),
            hash(1, request(1, 1, RequestStep::Broken)),
            hash(1, Happening::Checkpoint),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(!all[..i].contains(a));
        }
    }
}
