//! Consumers: they read from anywhere, across the border between disk and tier, and search by time.

use std::sync::Arc;

use headwater_core::replica::Replica;
use headwater_log::{LogError, LogView};
use headwater_record::Offset;
use headwater_tier::{Head, Tier, TierError};

use crate::simulation::{ProcessId, Simulation};
use crate::world::World;

/// What one fetch holds.
struct Fetch {
    view: LogView,
    tier: Arc<Tier>,
    head: Option<Head>,
    key: headwater_log::PartitionKey,
    high_watermark: Offset,
    begun_ms: u64,
}

/// How a fetch went.
enum Fetched {
    Slice(headwater_log::ReadSlice),
    Tier(TierError),
    OutOfRange,
    Other(String),
}

impl Simulation {
    /// Starts a consumer in the leader's process.
    pub(crate) fn start_reader(&mut self) {
        let Some(leader) = self.leader else { return };
        let world = self.world.clone();
        let by_time = world.draw(|rng| rng.below(5) == 0);
        self.spawn(leader, async move {
            match by_time {
                true => find_time(&world, leader).await,
                false => read_on(&world, leader).await,
            }
        });
    }

    fn fetch(&self, id: ProcessId) -> Option<Fetch> {
        let process = self
            .processes
            .get(&id)
            .filter(|process| !process.is_deposed)?;
        let replica: &Replica = &process.replica;
        Some(Fetch {
            view: replica.view(),
            tier: Arc::clone(&process.tier),
            head: process.head,
            key: replica.log().key(),
            high_watermark: replica.high_watermark(),
            begun_ms: self.world.now_ms(),
        })
    }

    fn fetched(&mut self, from: Offset, begun_ms: u64, fetched: &Fetched) {
        let held_ms = self.world.now_ms() - begun_ms;
        if held_ms >= self.settings.grace_ms || self.check.is_deleted {
            return;
        }
        let checked = match fetched {
            Fetched::Slice(slice) => self.check.read(from, slice),
            Fetched::OutOfRange if from < self.check.log_start() => Ok(()),
            Fetched::OutOfRange => Err(format!("a read at {from} was out of range")),
            Fetched::Tier(error) => {
                self.world
                    .trace(format_args!("a read at {from} failed: {error}"));
                self.check.failed_read(&self.bucket, from, error)
            }
            Fetched::Other(error) => Err(format!("a read at {from} failed: {error}")),
        };
        self.expect(checked);
    }
}

async fn read_on(world: &World, id: ProcessId) {
    let mut at = None;
    for _ in 0..world.draw(|rng| rng.within(1, 6)) {
        let Some(fetch) = world.ask(0, move |simulation| simulation.fetch(id)).await else {
            return;
        };
        let (start, end) = (fetch.view.log_start(), fetch.high_watermark);
        let anywhere =
            || Offset::new(world.draw(|rng| rng.within(start.get().saturating_sub(2), end.get())));
        let from = at.unwrap_or_else(anywhere);
        if from >= end {
            return;
        }
        let bytes_max = world.draw(|rng| rng.within(1, 4_000)) as usize;
        let fetched = read(&fetch, from, bytes_max).await;
        let next = match &fetched {
            Fetched::Slice(slice) if slice.next_offset > from => Some(slice.next_offset),
            _ => None,
        };
        let begun_ms = fetch.begun_ms;
        world
            .ask(0, move |simulation| {
                simulation.fetched(from, begun_ms, &fetched)
            })
            .await;
        let Some(next) = next else { return };
        at = Some(next);
        world.sleep(world.draw(|rng| rng.below(2_000))).await;
    }
}

/// What the shell does for a fetch: the disk, and the tier for what is not there.
async fn read(fetch: &Fetch, from: Offset, bytes_max: usize) -> Fetched {
    match fetch.view.read(from, fetch.high_watermark, bytes_max) {
        Ok(slice) => return Fetched::Slice(slice),
        Err(LogError::OutOfRange { .. }) => return Fetched::OutOfRange,
        Err(LogError::NotLocal { .. }) => {}
        Err(error) => return Fetched::Other(error.to_string()),
    }
    let Some(head) = fetch.head else {
        return Fetched::Other("not local, and there is no head".to_owned());
    };
    let (tier, key) = (&fetch.tier, fetch.key);
    match tier
        .read(key, head.number, from, fetch.high_watermark, bytes_max)
        .await
    {
        Ok(slice) if slice.next_offset == from => Fetched::Other("nothing came".to_owned()),
        Ok(slice) => Fetched::Slice(slice),
        Err(error) => Fetched::Tier(error),
    }
}

async fn find_time(world: &World, id: ProcessId) {
    let Some(fetch) = world.ask(0, move |simulation| simulation.fetch(id)).await else {
        return;
    };
    let Some(head) = fetch.head else { return };
    let now_ms = world.now_ms();
    let wanted_ms = world.draw(|rng| rng.below(now_ms + 1)) as i64;
    let wanted_ms = wanted_ms + crate::scenario::TIMESTAMP_MS;
    let from = fetch.view.log_start();
    let found = fetch
        .tier
        .find_time(fetch.key, head.number, from, wanted_ms, 1 << 20)
        .await;
    world
        .ask(0, move |simulation| {
            simulation.found_time(head, from, wanted_ms, found, fetch.begun_ms);
        })
        .await;
}

impl Simulation {
    fn found_time(
        &mut self,
        head: Head,
        from: Offset,
        wanted_ms: i64,
        found: Result<Option<(Offset, i64)>, TierError>,
        begun_ms: u64,
    ) {
        let held_ms = self.world.now_ms() - begun_ms;
        if held_ms >= self.settings.grace_ms || self.check.is_deleted {
            return;
        }
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                let checked = self.check.failed_read(&self.bucket, from, &error);
                return self.expect(checked);
            }
        };
        let expected = self
            .check
            .history
            .find_time(from.max(head.start), head.end, wanted_ms);
        // What is damaged is passed over, so that the answer may be a later one; it is never an earlier one.
        let may_skip = self.world.faults().any_damage();
        let fits = match (found, expected) {
            (found, expected) if found == expected => true,
            (None, _) => may_skip,
            (Some(found), Some(expected)) => may_skip && found.0 > expected.0,
            (Some(_), None) => false,
        };
        if !fits {
            self.fail(format!(
                "the first record since {wanted_ms} is {expected:?}, found was {found:?}"
            ));
        }
    }
}
