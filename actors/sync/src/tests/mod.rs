//! Sync as a specification: exact effects of single steps (`steps`, `partitions`), and what
//! holds over whole histories with losses, partitions and crashes (`histories`).

mod bench;
mod corners;
mod histories;
mod partitions;
mod steps;
mod world;
