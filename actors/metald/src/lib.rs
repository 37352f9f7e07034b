//! Metald: the actor that runs the instances of one host.
//!
//! It decides what runs here, and nothing else: every slot of the region's partition store
//! that names this host is permission, or an order, for one instance. Metald brings the
//! host to what the slots say ([`Metald`] converges, it does not obey a list of commands):
//! a claimed slot is provisioned, a stopping one is stopped, a superseded one is ended. The
//! messages of the scheduler (`Provision`, `Stop`) only make it faster; losing any of them,
//! a part of the feed, or the answer to a commit costs time.
//!
//! It must never run two instances of a slot side by side, never free a slot before what
//! ran of it has ended, never write a slot but with the revision that its mirror shows, and
//! never touch what runs before it has both the driver's inventory and a live mirror.
//!
//! It keeps nothing durable: after a restart it adopts what is still its own and ends the
//! rest. Each life of a slot is one `Instance` in one of six states, one struct for each;
//! `standing` tells from the slot's record what the life is entitled to. Its memory is the
//! slots and versions of the region plus one entry for each life on this host; an event
//! costs a few lookups in ordered maps.

mod alarms;
mod config;
mod converge;
mod health;
mod heartbeat;
mod instance;
mod invariants;
mod life;
mod logs;
mod metald;
mod recovery;
mod region;
mod states;

#[cfg(test)]
mod tests;

pub use config::MetaldConfig;
pub use metald::Metald;
