//! The sender and the simulated APNs, held against Apple's tables row by row. The tables are written out here, so that
//! sender and simulation cannot be wrong together.

mod bare;
mod reasons;
mod rules;
mod stage;
