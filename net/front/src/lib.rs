//! The HTTP/1.1 front of a gateway node.
//!
//! Each worker thread has its own runtime, its own listening socket on the shared port
//! (`SO_REUSEPORT`), its own gateway actor and its own connections to instances, so that a
//! request is served from accept to answer on one thread and takes no lock. The front parses
//! strictly, asks the actor what to do, and carries it out; it decides nothing itself.

mod body;
mod connection;
mod guard;
mod headers;
mod listen;
mod refusal;
mod service;
mod site;
pub mod strict;
mod upstream;
mod worker;

use std::sync::Arc;
use std::time::Duration;

pub use body::Answer;
use http::HeaderValue;
pub use listen::{Front, FrontError};
use sha2::{Digest as _, Sha256};
pub use site::Artifacts;

/// What all worker threads of a front have in common.
#[derive(Clone)]
pub struct FrontConfig {
    /// Where static apps are read from.
    pub artifacts: Arc<dyn Artifacts>,
    /// Shown to, and demanded of, gateways of other regions.
    hop_proof: HeaderValue,
    /// Longest request body, in bytes.
    pub request_bytes_max: u64,
    /// Longest pause inside an answer.
    pub answer_silence_max: Duration,
    /// Longest time for a request head to arrive, and for a connection to be idle.
    pub head_max: Duration,
    /// Client connections of one worker.
    pub connections_max: usize,
}

impl FrontConfig {
    /// `token` is the installation's; gateways prove to each other that they know it
    /// without sending it.
    pub fn new(artifacts: Arc<dyn Artifacts>, token: &str) -> Self {
        let digest = Sha256::digest(format!("tidegate hop {token}").as_bytes());
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut hop_proof =
            HeaderValue::from_str(&hex).unwrap_or_else(|_| HeaderValue::from_static(""));
        hop_proof.set_sensitive(true);
        Self {
            artifacts,
            hop_proof,
            request_bytes_max: 100 * 1024 * 1024,
            answer_silence_max: Duration::from_secs(60),
            head_max: Duration::from_secs(30),
            connections_max: 16_384,
        }
    }
}
