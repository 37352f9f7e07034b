//! The real world's shell: what runs the actors of the core on a machine.
//!
//! [`Host`] drives actors that live on mailboxes; [`LocalCell`] drives one that a thread owns
//! and calls directly (a gateway); [`Router`] takes their messages to where they belong;
//! [`mesh`] carries them between nodes; [`Recorder`] keeps what they are given;
//! [`Node`] puts these together. Nothing here decides
//! anything about apps, versions or instances: a message is data, an effect is an order.

mod api_client;
mod clock;
pub mod entropy;
mod hands;
mod host;
mod local;
mod mailbox;
pub mod mesh;
mod node;
pub mod notes;
mod recorder;
mod router;
mod sink;

pub use api_client::{ApiClient, CALLS_MAX, NoAnswer};
pub use clock::Clock;
pub use hands::{BlobHandle, DriverHandle, EngineHandle, EngineTurns, Hands, blob_thread};
pub use host::{Host, HostEnded, Hosted, SpawnError};
pub use local::{Front, LocalCell};
pub use mailbox::{MAIL_BYTES_MAX, MAIL_MAX, Replies};
pub use node::{GATEWAY_MAIL_MAX, GatewaySeat, Node, NodeBuilder, StartError};
pub use recorder::{RECORD_BYTES_MIN, Recorder, RecorderConfig};
pub use router::{
    AddressTaken, Endpoint, Inbound, Registration, Remote, Router, RouterCounts, Undelivered,
};
