//! The store is away for an hour: who produces, or reads what is on the disk, does not notice, and the tier catches up.

use headwater_log::sim::SimDisk;
use headwater_record::Offset;

use crate::faults::Weather;
use crate::simulation::Simulation;

const OUTAGE_MS: u64 = 3_600_000;

/// So long what was on its way when the store went may still arrive.
const UNDER_WAY_MS: u64 = 60_000;

/// Within this time an append is acknowledged.
const APPEND_MS_MAX: u64 = 3_000;

/// Within this time after the outage everything is in the tier, and nothing is there that nobody names.
const DRAIN_MS_MAX: u64 = 3_600_000;

/// One append after the other, and reads of what is on the disk.
fn work(simulation: &mut Simulation, for_ms: u64) {
    for _ in 0..for_ms / APPEND_MS_MAX {
        append(simulation);
        read(simulation);
    }
}

fn append(simulation: &mut Simulation) {
    let leader = simulation.leader.unwrap();
    let before = simulation.check.history.end();
    simulation.append(leader);
    simulation.run_for(APPEND_MS_MAX);
    assert_eq!(simulation.failure(), None);
    assert!(
        simulation.processes[&leader].appends.is_empty(),
        "no answer"
    );
    assert!(simulation.check.history.end() > before, "it was refused");
}

/// Reads the oldest records that are on the disk alone, the newest, and any on the disk: from there, at once.
fn read(simulation: &Simulation) {
    let replica = &simulation.processes[&simulation.leader.unwrap()].replica;
    let (log, end) = (replica.log(), replica.high_watermark());
    let in_tier = simulation
        .metadata
        .head()
        .map_or(Offset::ZERO, |head| head.end);
    let local = log.local_start().max(log.log_start());
    let any = simulation
        .world
        .draw(|rng| rng.within(local.get(), end.get() - 1));
    let newest = local.max(Offset::new(end.get() - 1));
    for from in [in_tier.max(log.log_start()), Offset::new(any), newest] {
        let slice = replica.view().read(from, end, 4_000);
        let slice = slice.unwrap_or_else(|error| panic!("a read at {from}: {error}"));
        assert_eq!(simulation.check.read(from, &slice), Ok(()));
    }
}

fn hour_without_the_store(seed: u64) {
    let mut simulation = Simulation::new(seed, false);
    (simulation.is_calm, simulation.disk_is_quick) = (true, true);
    simulation.settings.tiering = true;
    simulation.start_process(SimDisk::new(seed));
    work(&mut simulation, 900_000);

    simulation.take_store_away(OUTAGE_MS);
    work(&mut simulation, UNDER_WAY_MS);
    let head = simulation.metadata.head();
    assert!(head.is_some(), "something was in the tier before");
    work(&mut simulation, OUTAGE_MS - UNDER_WAY_MS);
    assert_eq!(simulation.metadata.head(), head, "the store was away");
    assert!(simulation.unsettled().unwrap().contains("is sealed"));

    simulation.world.change_weather(Weather::clear);
    let back_ms = simulation.world.now_ms();
    while let Some(left) = simulation.unsettled() {
        let past_ms = simulation.world.now_ms() - back_ms;
        assert!(past_ms < DRAIN_MS_MAX, "after {past_ms} ms {left}");
        simulation.run_for(30_000);
        assert_eq!(simulation.failure(), None);
    }
    simulation.look_at_everything();
    assert_eq!(simulation.failure(), None);
}

#[test]
fn an_hour_without_the_store_delays_nothing_but_the_tier() {
    for seed in 1..=4 {
        hour_without_the_store(seed);
    }
}
