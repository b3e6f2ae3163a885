//! What partitions that nobody uses cost, on servers of their own.

use std::thread::sleep;
use std::time::Duration;

use headwater_e2e::BrokerOptions;

use crate::bench::Bench;
use crate::figures::{Figure, Sample};
use crate::process::{descriptors, usage};
use crate::rounds::{Outcome, Rounds};
use crate::systems::{Class, Headwater, Kafka, Nats, System};

/// Time for a server to come to rest before its memory counts.
const REST: Duration = Duration::from_secs(2);

/// Ours, as many as it promises; the peers fewer, which take more time to make them.
pub(crate) fn partitions(bench: &mut Bench, rounds: &mut Rounds) {
    let (many, fewer) = (bench.count(10_000), bench.count(1_000));
    rounds.measure(&format!("Headwater, {many} partitions"), || {
        held(&mut Headwater::start(BrokerOptions::default()), many)
    });
    rounds.measure(&format!("Kafka, {fewer} partitions"), || {
        held(&mut Kafka::start(bench.tools())?, fewer)
    });
    rounds.measure(&format!("NATS, {fewer} streams"), || {
        let mut nats = Nats::start(bench.tools(), Class::Unsynced)?;
        nats.streams_for_partitions = true;
        held(&mut nats, fewer)
    });
}

fn held(system: &mut dyn System, count: u64) -> Outcome {
    sleep(REST);
    let idle = usage(system.pid())?;
    let partitions = u32::try_from(count)?;
    system.create("many", partitions, Class::Unsynced)?;
    sleep(REST);
    let created = usage(system.pid())?;
    let open = descriptors(system.pid())?;
    let after_stop = system.restart("many", false)?;
    let after_kill = system.restart("many", true)?;
    let grown_mib = (created.resident_mib - idle.resident_mib).max(0.0);
    let bytes_each = grown_mib * f64::from(1 << 20) / count as f64;
    let sample = Sample::from([
        (Figure::IdleMib, idle.resident_mib),
        (Figure::ResidentMib, created.resident_mib),
        (Figure::BytesPerPartition, bytes_each),
        (Figure::Descriptors, open as f64),
        (Figure::RestartAfterStopSeconds, after_stop.as_secs_f64()),
        (Figure::RestartAfterKillSeconds, after_kill.as_secs_f64()),
    ]);
    Ok((sample, ""))
}
