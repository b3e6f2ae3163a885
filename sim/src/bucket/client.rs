//! The way to the store, where requests and answers are late or lost.

use std::ops::Range;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use headwater_tier::{Listed, ObjectMeta, ObjectWriter, Store, StoreError, StoreErrorKind};

use crate::faults::Fault;
use crate::simulation::{ProcessId, Simulation};
use crate::world::World;

/// How late an effect may come, at most: less than the shortest grace, as the store's own limits on a request are.
const LATE_MS_MAX: u64 = 40_000;

/// The store as one process reaches it.
#[derive(Clone)]
pub struct BucketClient {
    world: World,
    process: ProcessId,
}

/// What becomes of a request.
enum Fate {
    Answered { there_ms: u64, back_ms: u64 },
    NeverThere(StoreErrorKind),
    AnswerLost { there_ms: u64, given_up_ms: u64 },
}

impl BucketClient {
    /// For a process.
    pub fn new(world: World, process: ProcessId) -> BucketClient {
        BucketClient { world, process }
    }

    fn fate(&self) -> Fate {
        let world = &self.world;
        let weather = world.weather();
        if world.now_ms() < weather.outage_until_ms {
            return Fate::NeverThere(StoreErrorKind::Unavailable);
        }
        if world.strikes(Fault::Throttled, weather.throttled) {
            return Fate::NeverThere(StoreErrorKind::Throttled);
        }
        if world.strikes(Fault::ErrorBefore, weather.error_before) {
            return Fate::NeverThere(StoreErrorKind::Unavailable);
        }
        let (there_ms, back_ms) = world.draw(|rng| (rng.within(2, 60), rng.within(1, 30)));
        if world.strikes(Fault::AnswerLost, weather.answer_lost) {
            let given_up_ms = there_ms + world.draw(|rng| rng.within(100, 5_000));
            return Fate::AnswerLost {
                there_ms,
                given_up_ms,
            };
        }
        if world.strikes(Fault::LateEffect, weather.late_effect) {
            return Fate::AnswerLost {
                there_ms: world.draw(|rng| rng.within(1_000, LATE_MS_MAX)),
                given_up_ms: world.draw(|rng| rng.within(100, 5_000)),
            };
        }
        let slow = world.strikes(Fault::Slow, weather.slow);
        let more_ms = if slow {
            world.draw(|rng| rng.within(1_000, 8_000))
        } else {
            0
        };
        Fate::Answered {
            there_ms: there_ms + more_ms,
            back_ms,
        }
    }

    /// Sends a request. `effect` happens when it arrives, if it does.
    async fn request<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        effect: impl FnOnce(&mut Simulation) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (process, name) = (self.process, key.to_owned());
        let effect = move |simulation: &mut Simulation| {
            let result = effect(simulation);
            let how = result
                .as_ref()
                .err()
                .map_or("ok", |error| error.kind.reason());
            let world = &simulation.world;
            world.trace(format_args!("{process} {action} {name} {how}"));
            result
        };
        let failed = |kind, detail: &str| Err(StoreError::new(kind, action, key, detail));
        match self.fate() {
            Fate::Answered { there_ms, back_ms } => {
                let result = self.world.ask(there_ms, effect).await;
                self.world.sleep(back_ms).await;
                result
            }
            Fate::NeverThere(kind) => {
                let wait_ms = self.world.draw(|rng| rng.within(1, 500));
                self.world.sleep(wait_ms).await;
                failed(kind, "was not done")
            }
            Fate::AnswerLost {
                there_ms,
                given_up_ms,
            } => {
                self.world.after(there_ms, |simulation| {
                    let _ = effect(simulation);
                });
                self.world.sleep(given_up_ms).await;
                failed(StoreErrorKind::Unavailable, "was not answered")
            }
        }
    }

    /// The bytes as they arrive at the store.
    fn as_stored(&self, bytes: Bytes) -> Bytes {
        let chance = self.world.weather().corrupt_write;
        match !bytes.is_empty() && self.world.strikes(Fault::CorruptWrite, chance) {
            true => flipped(&self.world, &bytes),
            false => bytes,
        }
    }
}

/// The same with a bit flipped.
pub(crate) fn flipped(world: &World, bytes: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(bytes);
    let (at, bit) = world.draw(|rng| (rng.below(bytes.len() as u64), rng.below(8)));
    if let Some(byte) = bytes.get_mut(at as usize) {
        *byte ^= 1 << bit;
    }
    bytes.freeze()
}

#[async_trait]
impl Store for BucketClient {
    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let name = key.to_owned();
        self.world
            .ask(0, move |simulation| {
                if !simulation.bucket.is_new_key(&name) {
                    simulation.fail(format!("{name} was written to before"));
                }
            })
            .await;
        Ok(Box::new(Writer {
            client: self.clone(),
            key: key.to_owned(),
            bytes: BytesMut::new(),
            is_done: false,
        }))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let (name, bytes) = (key.to_owned(), self.as_stored(bytes));
        self.request("put", key, move |simulation| {
            let now_ms = simulation.world.now_ms();
            simulation.bucket.put_if_absent(&name, bytes, now_ms)
        })
        .await
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let name = key.to_owned();
        let bytes = self.request("read", key, move |simulation| {
            let bytes = simulation.bucket.read(&name, range)?;
            let world = simulation.world.clone();
            let chance = world.weather().corrupt_read;
            if bytes.is_empty() || !world.strikes(Fault::CorruptRead, chance) {
                return Ok(bytes);
            }
            simulation.bucket.falsify(&name);
            Ok(flipped(&world, &bytes))
        });
        bytes.await
    }

    async fn stat(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        let name = key.to_owned();
        let stat = move |simulation: &mut Simulation| simulation.bucket.stat(&name);
        self.request("stat", key, stat).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let (name, after) = (prefix.to_owned(), after.map(str::to_owned));
        let list = move |simulation: &mut Simulation| {
            let world = &simulation.world;
            let lags = world.strikes(Fault::StaleList, world.weather().stale_list);
            let lag_ms = if lags {
                world.draw(|rng| rng.within(1, 600_000))
            } else {
                0
            };
            let now_ms = world.now_ms();
            let bucket = &simulation.bucket;
            Ok(bucket.list(&name, after.as_deref(), limit, now_ms, lag_ms))
        };
        self.request("list", prefix, list).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let (name, process) = (key.to_owned(), self.process);
        let delete = move |simulation: &mut Simulation| {
            let now_ms = simulation.world.now_ms();
            if simulation.bucket.delete(&name, now_ms) {
                simulation.check_deletion(process, &name);
            }
            Ok(())
        };
        self.request("delete", key, delete).await
    }
}

struct Writer {
    client: BucketClient,
    key: String,
    bytes: BytesMut,
    is_done: bool,
}

impl Writer {
    /// What is there so far may show, later.
    fn leave_half(&mut self) {
        let world = self.client.world.clone();
        let chance = world.weather().half_object;
        if self.is_done || self.bytes.is_empty() || !world.strikes(Fault::HalfObject, chance) {
            return;
        }
        self.is_done = true;
        let len = world.draw(|rng| rng.below(self.bytes.len() as u64 + 1));
        let half = self.bytes.split_to(len as usize).freeze();
        let (key, late_ms) = (self.key.clone(), world.draw(|rng| rng.below(LATE_MS_MAX)));
        world.after(late_ms, move |simulation| {
            let now_ms = simulation.world.now_ms();
            simulation.bucket.put(&key, half, now_ms);
        });
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.leave_half();
    }
}

#[async_trait]
impl ObjectWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(&bytes);
        let world = self.client.world.clone();
        world.sleep(world.draw(|rng| rng.below(10))).await;
        let weather = world.weather();
        let away = world.now_ms() < weather.outage_until_ms;
        match away || world.strikes(Fault::ErrorBefore, weather.error_before / 2) {
            true => {
                let kind = StoreErrorKind::Unavailable;
                Err(StoreError::new(
                    kind,
                    "write",
                    &self.key,
                    "the connection broke",
                ))
            }
            false => Ok(()),
        }
    }

    async fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        let world = self.client.world.clone();
        if world.draw(|rng| rng.per_mille(300)) {
            // A part alone becomes visible, whatever the answer is.
            self.leave_half();
            if self.is_done {
                return match world.draw(|rng| rng.per_mille(500)) {
                    true => Ok(()),
                    false => {
                        let kind = StoreErrorKind::Unavailable;
                        Err(StoreError::new(kind, "close", &self.key, "no answer"))
                    }
                };
            }
        }
        self.is_done = true;
        let bytes = self.client.as_stored(self.bytes.split().freeze());
        let key = self.key.clone();
        let close = move |simulation: &mut Simulation| {
            let now_ms = simulation.world.now_ms();
            simulation.bucket.put(&key, bytes, now_ms);
            Ok(())
        };
        self.client.request("close", &self.key, close).await
    }

    async fn abort(mut self: Box<Self>) {
        self.leave_half();
        self.is_done = true;
    }
}
