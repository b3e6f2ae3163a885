//! What a server holds before it has done anything, and after gigabytes went through it.

use crate::bench::Bench;
use crate::figures::{Figure, Sample};
use crate::process::usage;
use crate::rounds::Rounds;
use crate::scenarios::{BULK, Work};
use crate::systems::{Class, EVERYBODY};

/// The servers of this run, after one more bulk load and its reading.
pub(crate) fn memory(bench: &mut Bench, rounds: &mut Rounds) {
    let class = Class::Unsynced;
    for who in EVERYBODY {
        bench.attempt(rounds, who, class, |bench| {
            let work = bench.scaled(Work::Drain(BULK));
            bench.measure(who, class, work)?;
            let loaded = usage(bench.started(who, class)?.pid())?;
            let sample = Sample::from([
                (Figure::IdleMib, bench.idle_mib(who)?),
                (Figure::ResidentMib, loaded.resident_mib),
                (Figure::ProportionalMib, loaded.proportional_mib),
            ]);
            Ok((sample, "by the load"))
        });
    }
}
