//! The simulator: brokers, disks, an object store and clients in one process, in virtual time, from one seed.
//!
//! It runs the code of `broker/tier`, `broker/core` and `broker/log` as it is; simulated are the disk, the object store,
//! the clock, and what the async shell does between them. `README.md` says how to run a seed and how to add a fault.

pub mod bucket;
pub mod bugs;
mod check;
mod driver;
mod ending;
pub mod faults;
mod metadata;
#[cfg(test)]
mod outage;
mod process;
mod quiet_store;
mod reader;
pub mod rng;
mod run;
mod scenario;
mod settings;
mod simulation;
pub mod trace;
pub mod world;

pub use quiet_store::QuietStore;
pub use run::{Outcome, run};
pub use simulation::{ProcessId, Simulation};
