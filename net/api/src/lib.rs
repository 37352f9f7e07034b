//! The HTTP API of control.
//!
//! Translates: a JSON request becomes a message to the control actor, its reply becomes a
//! JSON answer, and blobs go into the node's blob store. It decides nothing about apps;
//! control does, and the simulator's operators send control the same messages. Every request
//! shows the installation's token.

mod blobs;
pub mod client;
mod logs;
pub mod model;
mod problem;
mod server;

pub use server::{Api, HostsFn, serve};
