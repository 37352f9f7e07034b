//! Facts that actors state about themselves: the log of a production node, and what the
//! oracles of the simulator read. An oracle trusts no note where it can look at the world
//! instead.

use serde::Serialize;
use tidegate_protocol::{Address, DeployStep, Digest, InstanceRef, InstanceState, NodeId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Note {
    /// This scheduler became the active one of its region.
    Elected { epoch: u64 },
    /// It no longer is.
    Deposed { epoch: u64 },
    /// A slot was claimed for a host.
    Claimed { instance: InstanceRef, host: NodeId },
    /// A slot was taken back.
    Reclaimed {
        instance: InstanceRef,
        host: NodeId,
        reason: &'static str,
    },
    /// An instance changed state on this host.
    Instance {
        instance: InstanceRef,
        state: InstanceState,
        reason: String,
    },
    /// A deploy went a step on.
    Deploy {
        version: u64,
        step: DeployStep,
        reason: String,
    },
    /// The traffic of a project went to another version.
    Cutover {
        project: String,
        version: u64,
        epoch: u64,
    },
    /// This gateway actor now routes a project by this epoch.
    Serving {
        project: String,
        version: u64,
        epoch: u64,
    },
    /// This edge holds an artifact, verified.
    Verified { version: u64, artifact: Digest },
    /// What arrived for a blob was not what its digest says.
    Corrupt { artifact: Digest, blob: Digest },
    /// A store held something that does not parse; it was passed over.
    Malformed { what: String },
    /// A bounded queue was full and something was refused.
    Full { queue: &'static str },
    /// A mirror lost touch with its store, or found it again.
    Feed { store: Address, live: bool },
    /// A point worth reaching.
    Mark(&'static str),
}
