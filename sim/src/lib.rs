//! The simulated world: everything that the production actors of Tidegate can meet, as a
//! value.
//!
//! A [`scenario::Scenario`] and a seed make a [`World`]: machines with their own clocks, a
//! network, disks, drivers and apps, clients, an operator, and a plan of faults. The world
//! runs the actors that production runs, unchanged, and [oracles](oracle) judge what really
//! happens. The same scenario and seed give the same run, event by event, in any process
//! and any build profile; the hash of its trace proves it.
//!
//! Nothing here reads a clock, the environment or a machine's entropy, and nothing decides
//! for an actor: what the platform does in the simulator is what it does.

pub mod blob;
pub mod breakage;
pub mod buggify;
pub mod cells;
pub mod choices;
pub mod clock;
pub mod disk;
pub mod draw;
pub mod drawn;
pub mod driver;
pub mod env;
pub mod excuse;
pub mod expand;
pub mod explain;
pub mod happening;
mod inspect;
pub mod instance;
pub mod judge;
pub mod ledger;
pub mod marks;
pub mod network;
pub mod operator;
pub mod oracle;
pub mod plan;
pub mod replay;
pub mod report;
pub mod request;
pub mod scenario;
pub mod shrink;
pub mod stats;
pub mod tally;
pub mod taped;
pub mod topology;
pub mod traffic;
pub mod trial;
pub mod world;

pub use clock::SimTime;
pub use happening::Happening;
pub use operator::Outcome;
pub use report::{FaultLine, Percentiles, Report};
pub use stats::Requests;
pub use tidegate_kernel::Seed;
pub use world::{Observer, Unobserved, World};
