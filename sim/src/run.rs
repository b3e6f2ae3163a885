//! One run from one seed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use headwater_log::planted::{self, Bug};

use crate::faults::Faults;
use crate::simulation::Simulation;
use crate::trace::Trace;

/// How long chaos lasts, in virtual milliseconds.
const CHAOS_MS: u64 = 2_400_000;

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What was found that must not be, if anything was.
    pub failure: Option<String>,
    /// Faults that struck.
    pub faults: Faults,
    /// Events.
    pub steps: u64,
    /// Virtual milliseconds.
    pub virtual_ms: u64,
    /// What happened.
    pub trace: Trace,
}

/// Runs a seed, with a bug if one is to be planted. A panic is a finding like any other.
pub fn run(seed: u64, bug: Option<Bug>, keep_trace: bool) -> Outcome {
    planted::plant(bug);
    let mut simulation = Simulation::new(seed, keep_trace);
    let lived = catch_unwind(AssertUnwindSafe(|| {
        simulation.begin();
        let chaos_ms = simulation
            .world
            .draw(|rng| rng.within(CHAOS_MS / 4, CHAOS_MS));
        simulation.run_until(chaos_ms);
        if simulation.failure().is_none() {
            simulation.end();
        }
    }));
    if let Err(panic) = lived {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        simulation.fail(format!("panicked: {}", text.unwrap_or_default()));
    }
    planted::plant(None);
    let world = simulation.world.clone();
    Outcome {
        seed,
        failure: simulation.failure().map(str::to_owned),
        faults: world.faults(),
        steps: simulation.steps(),
        virtual_ms: world.now_ms(),
        trace: world.take_trace(),
    }
}
