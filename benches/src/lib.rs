//! What the benchmarks share: the workload that every peer runs, CPU time, and
//! the report.
//!
//! A benchmark here measures CPU seconds, never wall time: the figures must mean
//! the same on a shared machine. No figure is asserted; a regression is a matter
//! for whoever compares two reports.

pub mod cpu;
pub mod report;
pub mod workload;
