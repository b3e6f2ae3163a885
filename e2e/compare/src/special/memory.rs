//! What a server holds before it has done anything, and after gigabytes went through it.

use anyhow::Result;

use super::Said;
use crate::bench::{Bench, EVERYBODY};
use crate::figures::{Figure, Sample};
use crate::process::usage;
use crate::scenarios::{BULK, Work};
use crate::systems::Class;

/// The servers of this run, after one more bulk load and its reading.
pub(crate) fn memory(bench: &mut Bench) -> Result<Vec<Said>> {
    let mut said = Vec::new();
    for who in EVERYBODY {
        let work = bench.scaled(Work::Drain(BULK));
        bench.measure(who, Class::Unsynced, work)?;
        let idle_mib = bench.idle_mib(who);
        let system = bench.system(who, Class::Unsynced);
        let loaded = usage(system.pid())?;
        said.push(Said {
            subject: system.name(Class::Unsynced).to_owned(),
            sample: Sample::from([
                (Figure::IdleMib, idle_mib),
                (Figure::ResidentMib, loaded.resident_mib),
                (Figure::ProportionalMib, loaded.proportional_mib),
            ]),
            verified: "by the load",
        });
    }
    Ok(said)
}
