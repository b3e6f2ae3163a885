//! How long a server that holds a log is away, after a stop and after a kill.

use crate::bench::Bench;
use crate::figures::{Figure, Sample};
use crate::rounds::{Outcome, Rounds};
use crate::scenarios::{BULK, Work};
use crate::systems::{Class, EVERYBODY, System, Who};

/// Each on a server of its own with a GiB. NATS only unsynced: a synced GiB takes it half an hour.
pub(crate) fn restart(bench: &mut Bench, rounds: &mut Rounds) {
    for class in [Class::Unsynced, Class::Fsynced] {
        for who in EVERYBODY {
            if (who, class) != (Who::Nats, Class::Fsynced) {
                rounds.measure(who.subject(class), || {
                    away(bench, &mut *who.start(bench.tools(), class)?, class)
                });
            }
        }
    }
}

/// Kafka has files of its own that begin with `log-`, as folders of partitions would.
const TOPIC: &str = "kept";

fn away(bench: &Bench, system: &mut dyn System, class: Class) -> Outcome {
    let Work::Bulk(bulk) = bench.scaled(Work::Bulk(BULK)) else {
        unreachable!("scaling changes counts only");
    };
    system.create(TOPIC, 1, class)?;
    system.bulk(TOPIC, &bulk)?;
    // The kill first: a stop would leave nothing to recover.
    let after_kill = system.restart(TOPIC, true)?;
    let after_stop = system.restart(TOPIC, false)?;
    let verified = system.verify_and_delete(TOPIC, bulk.records)?;
    let sample = Sample::from([
        (Figure::RestartAfterStopSeconds, after_stop.as_secs_f64()),
        (Figure::RestartAfterKillSeconds, after_kill.as_secs_f64()),
    ]);
    Ok((sample, verified))
}
