//! Each test plays the store, the driver and the schedulers against one metald, and compares
//! everything that it does.

mod artifacts;
mod corners;
mod heartbeats;
mod logs;
mod poisoned;
mod provision;
mod races;
mod recovery;
mod rig;
mod stop;
mod storm;
mod words;
