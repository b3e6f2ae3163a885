//! Promises held against real processes: the vocabulary; the promises are in `tests/`, one a file.
//!
//! A test that needs more than the Rust toolchain, or more than a few seconds, runs only with
//! `HEADWATER_E2E=1` and says so when it does not run; `.ci/run` counts that as a failure.
#![allow(clippy::print_stderr, reason = "tests talk to who runs them")]

mod broker;
mod history;
pub mod kubernetes;
mod load;
mod process;
mod program;
mod small_disk;
mod versitygw;

pub use broker::{Broker, BrokerOptions, free_port};
pub use history::{History, read_all};
pub use load::Load;
pub use process::Process;
pub use program::{Program, all_flights, headwater, headwater_at_home, sample_day};
pub use small_disk::SmallDisk;
pub use versitygw::{Account, BUCKET, Versitygw};

/// Whether everything may run. If not, says what the test would need besides
/// `HEADWATER_E2E=1`.
pub fn everything(needs: &str) -> bool {
    let asked = std::env::var("HEADWATER_E2E").is_ok_and(|value| value == "1");
    if !asked {
        eprintln!("not run: needs HEADWATER_E2E=1{needs}");
    }
    asked
}

/// Whether this process may mount file systems.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("not run: needs root, to mount a small file system");
    }
    root
}

/// A seed from `HEADWATER_SEED`, or a new one; printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let given = std::env::var("HEADWATER_SEED").ok();
    let seed = given.map_or_else(rand::random, |text| {
        text.parse().expect("HEADWATER_SEED is a number")
    });
    eprintln!("HEADWATER_SEED={seed}");
    seed
}
