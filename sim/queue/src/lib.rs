//! The two innermost parts of the simulator: the queue that decides what
//! happens next, and the hash that proves two runs did the same.
//!
//! [`EventQueue`] orders events by time, then by a random tie-break, then by
//! insertion. The tie-break comes from a seed, so that each seed explores its own
//! order of simultaneous events, among them orders that first-in first-out never
//! shows; the same seed gives the same order on every platform and in every
//! build profile.
//!
//! [`TraceHash`] is folded over every delivery. Two runs that end in the same
//! value delivered the same content in the same order.
//!
//! Neither part may read a clock, an address, a `HashMap` or a machine's entropy,
//! and neither knows what an event is. Nothing here allocates per event once the
//! buffers have grown to the run's high-water mark.

mod key;
mod mix;
mod queue;
mod store;
mod tie;
mod trace;
mod wheel;

pub use queue::EventQueue;
pub use trace::TraceHash;
