//! Random histories of devices, pushes, phones and faults against the real server, which is ended and started again under them,
//! and an oracle that remembers everything.
//!
//! Each history is an app of its own, so that many go on at once and their waits overlap. It holds for each of them that no
//! device gets a part of a message by two ways, that every part ends once at each device, that endings are never above
//! `targeted` and equal to it when a message is finished, that no count falls, and that verdicts, counts, `received` and
//! `status` say what the oracle says.
//!
//! A history is made from a seed, and the first seed from the time: `TIDINGS_SEED` repeats one, `TIDINGS_HISTORIES` says how many
//! there are (a thousand if it does not), and those that failed once are kept in `cases/` and always run.

mod apple;
mod batch;
mod generate;
mod judge;
mod link;
mod oracle;
mod phone;
mod run;
mod step;
mod tally;
mod world;
