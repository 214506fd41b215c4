//! What the benchmarks share: the floor, what a sender is told, and what a process costs.

pub mod bare;
pub mod job;
pub mod report;
