//! How long a server that holds a log is away, after a stop and after a kill.

use anyhow::Result;
use headwater_e2e::BrokerOptions;

use super::Said;
use crate::bench::Bench;
use crate::figures::{Figure, Sample};
use crate::scenarios::{BULK, Work};
use crate::systems::{Class, Headwater, Kafka, Nats, System};

/// Each on a server of its own with a GiB. NATS only unsynced: a synced GiB takes it half an hour.
pub(crate) fn restart(bench: &mut Bench) -> Result<Vec<Said>> {
    let mut said = Vec::new();
    for class in [Class::Unsynced, Class::Fsynced] {
        let mut headwater = Headwater::start(BrokerOptions::default());
        said.push(away(bench, &mut headwater, class)?);
        drop(headwater);
        let mut kafka = Kafka::start(bench.tools())?;
        said.push(away(bench, &mut kafka, class)?);
        drop(kafka);
        if class == Class::Unsynced {
            let mut nats = Nats::start(bench.tools(), class)?;
            said.push(away(bench, &mut nats, class)?);
        }
    }
    Ok(said)
}

fn away(bench: &Bench, system: &mut dyn System, class: Class) -> Result<Said> {
    let Work::Bulk(bulk) = bench.scaled(Work::Bulk(BULK)) else {
        unreachable!("scaling changes counts only");
    };
    system.create("log", 1, class)?;
    system.bulk("log", &bulk)?;
    // The kill first: a stop would leave nothing to recover.
    let after_kill = system.restart("log", true)?;
    let after_stop = system.restart("log", false)?;
    let verified = system.verify_and_delete("log", bulk.records)?;
    Ok(Said {
        subject: system.name(class).to_owned(),
        sample: Sample::from([
            (Figure::RestartAfterStopSeconds, after_stop.as_secs_f64()),
            (Figure::RestartAfterKillSeconds, after_kill.as_secs_f64()),
        ]),
        verified,
    })
}
