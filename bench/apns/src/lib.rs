//! What the benchmarks share: the floor, our sender, what a sender is told, and what a process costs.

pub mod bare;
pub mod job;
pub mod ours;
pub mod report;
