//! Reading records.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, join_all};
use futures::{FutureExt as _, StreamExt as _, stream};
use headwater_log::{LogError, ReadSlice};
use headwater_record::{LeaderEpoch, Offset, StoredRecord};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::Broker;
use super::open::{OpenRoom, open};
use crate::auth::{Action, Principal};
use crate::error::BrokerError;
use crate::limits::{
    DECODED_BYTES_MAX, FETCH_STARVED_BYTES, READ_NOW_PARTITIONS_MAX, TIER_READS_MAX,
};
use crate::partition::read::{Bounds, PartitionRef, Position, Resolved};
use crate::partition::tail::TailCache;

/// Reads many partitions at once.
pub struct FetchRequest {
    /// What to read. Entries that could not be resolved carry their error along.
    pub entries: Vec<Result<FetchEntry, BrokerError>>,
    /// Wait until there are this many bytes.
    pub bytes_min: usize,
    /// Answer with at most this many, but at least one batch.
    pub bytes_max: usize,
    /// Wait no longer than this.
    pub wait: Duration,
    /// Open the batches.
    pub records: bool,
}

/// One partition to read.
pub struct FetchEntry {
    /// Which.
    pub partition: PartitionRef,
    /// From where.
    pub position: Position,
    /// The reader's idea of the leadership.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Bound for this partition.
    pub bytes_max: usize,
}

/// Memory that an answer holds until it has been sent.
#[derive(Default)]
pub struct FetchBudget {
    hot: Option<OwnedSemaphorePermit>,
    cold: Option<OwnedSemaphorePermit>,
    /// The one answer that is larger than what it has of the budget.
    beyond: Option<OwnedSemaphorePermit>,
}

impl FetchBudget {
    fn bytes(&self) -> usize {
        let permits = self.hot.iter().chain(&self.cold);
        permits.map(|permit| permit.num_permits()).sum()
    }

    /// Gives back what is not needed of the budget.
    fn keep(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.hot {
            let more = permit.num_permits().saturating_sub(bytes);
            drop(permit.split(more));
        }
    }
}

/// What one partition gave.
pub struct FetchedPartition {
    /// The partition's offsets; of the last attempt, if any could be had.
    pub bounds: Option<Bounds>,
    /// Where to read next.
    pub next_offset: Offset,
    /// The data.
    pub result: Result<Payload, BrokerError>,
}

/// Data in the form that was asked for.
pub enum Payload {
    /// Whole batches.
    Batches(Bytes),
    /// Opened, from the position asked for.
    Records(Vec<StoredRecord>),
}

impl Broker {
    /// A partition to read from.
    pub fn consume_partition(
        &self,
        principal: &Principal,
        topic: &str,
        partition: i32,
    ) -> Result<PartitionRef, BrokerError> {
        self.partition(principal, Action::Consume, topic, partition)
    }

    /// Every partition of a topic.
    pub fn consume_topic(
        &self,
        principal: &Principal,
        topic: &str,
    ) -> Result<Vec<PartitionRef>, BrokerError> {
        let image = self.image();
        let topic = self.topic(&image, principal, Action::Consume, topic)?;
        (0..topic.partitions.len() as i32)
            .map(|index| self.partition_of(topic, index))
            .collect()
    }

    /// Looks positions up, off the runtime's threads.
    pub async fn resolve(
        &self,
        questions: Vec<Result<(PartitionRef, Position), BrokerError>>,
    ) -> Vec<Result<Resolved, BrokerError>> {
        join_all(questions.into_iter().map(|question| async {
            let (partition, position) = question?;
            self.resolve_one(&partition, position).await
        }))
        .await
    }

    /// Times are looked for in the tier first, for what is there is older.
    async fn resolve_one(
        &self,
        partition: &PartitionRef,
        position: Position,
    ) -> Result<Resolved, BrokerError> {
        let Position::Timestamp(asked_ms) = position else {
            return partition.resolve(position);
        };
        loop {
            let local_start = partition.published()?.view.local_start();
            let found = self.find_time_in_tier(partition, local_start, asked_ms);
            if let Some((offset, timestamp_ms)) = found.await? {
                return Ok(Resolved {
                    offset,
                    timestamp_ms: Some(timestamp_ms),
                    bounds: partition.bounds()?,
                });
            }
            let on_disk = partition.clone();
            // What a batch opens to may be large, so searches take turns; also those that nobody waits for any more.
            let turn = self.searching.clone().lock_owned().await;
            let resolved = blocking(move || {
                let _turn = turn;
                on_disk.resolve(position)
            })
            .await;
            // What has left the disk meanwhile was looked for in neither place.
            if partition.published()?.view.local_start() == local_start {
                return resolved;
            }
        }
    }

    /// Memory for an answer of up to `bytes`. If there is none left, a small share is read without
    /// asking: a reader that does not take its data must not starve the others.
    pub fn fetch_budget(&self, bytes: usize) -> (usize, Option<OwnedSemaphorePermit>) {
        take(&self.fetch_budget, bytes)
    }

    /// Damage that is met in reading is a finding too.
    fn note_damage(&self, fetched: &FetchedPartition) {
        if let Err(BrokerError::Read {
            topic,
            partition,
            source: LogError::DataLoss { range },
        }) = &fetched.result
        {
            self.findings.add_damage(topic, *partition, range);
        }
    }

    /// Reads; waits for data if there is too little.
    pub async fn fetch(&self, request: FetchRequest) -> (Vec<FetchedPartition>, FetchBudget) {
        let FetchRequest {
            entries,
            bytes_min,
            bytes_max,
            wait,
            records,
        } = request;
        let deadline = Instant::now() + wait.min(self.settings.limits.fetch_wait_max);
        let (bytes_max, mut hot) =
            self.fetch_budget(bytes_max.min(self.settings.limits.fetch_bytes_max));
        let mut draining = self.draining();
        let mut reads = self.start_reads(entries).await;
        let mut waiter: Option<Arc<Notify>> = None;
        loop {
            let read = match read_now(&mut reads, bytes_max, &self.tails) {
                Some(traffic) => (reads, traffic),
                None => blocking(move || read_all(reads, bytes_max)).await,
            };
            let (mut current, mut traffic) = read;
            let cold = self
                .read_cold(&mut current, &mut traffic, bytes_max, &mut hot)
                .await;
            let failed = current.iter().any(|read| read.fetched.result.is_err());
            let late = Instant::now() >= deadline || *draining.borrow();
            if traffic.bytes >= bytes_min || failed || late {
                self.metrics
                    .observe_fetch(traffic.records, traffic.batches, traffic.bytes);
                let mut budget = FetchBudget {
                    hot,
                    cold,
                    beyond: None,
                };
                if records {
                    (current, budget) = self.open(current, budget).await;
                }
                let fetched: Vec<_> = current.into_iter().map(|read| read.fetched).collect();
                fetched.iter().for_each(|fetched| self.note_damage(fetched));
                return (fetched, budget);
            }
            match waiter.take() {
                // What came before the waiter stood in line would wake nobody: look once more.
                None => {
                    let waiter = waiter.insert(Arc::new(Notify::new()));
                    current.iter().for_each(|read| read.watch(waiter));
                }
                Some(waiter) => tokio::select! {
                    _ = timeout_at(deadline, waiter.notified()) => {}
                    _ = draining.changed() => {}
                },
            }
            drop(cold);
            reads = current;
        }
    }
}

/// Memory for so many bytes, or leave to read a few without.
fn take(budget: &Arc<Semaphore>, bytes: usize) -> (usize, Option<OwnedSemaphorePermit>) {
    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
    match budget.clone().try_acquire_many_owned(permits) {
        Ok(permit) => (bytes, Some(permit)),
        Err(_) => (bytes.min(FETCH_STARVED_BYTES), None),
    }
}

/// One partition of a fetch under way.
struct Read {
    entry: Option<(FetchEntry, Offset)>,
    fetched: FetchedPartition,
}

impl Read {
    /// Whether the disk did not have it any more.
    fn is_cold(&self) -> bool {
        matches!(
            &self.fetched.result,
            Err(BrokerError::Read {
                source: LogError::NotLocal { .. },
                ..
            })
        )
    }

    /// The next answer begins with it.
    fn leave_out(&mut self) {
        if let (Some((_, from)), Ok(_)) = (&self.entry, &self.fetched.result) {
            self.fetched.next_offset = *from;
            self.fetched.result = Ok(Payload::Records(Vec::new()));
        }
    }

    fn watch(&self, waiter: &Arc<Notify>) {
        if let Some((entry, _)) = &self.entry {
            entry.partition.handle.watch(waiter);
        }
    }
}

impl Broker {
    /// Looks the positions up. Only times need the disk or the tier.
    async fn start_reads(&self, entries: Vec<Result<FetchEntry, BrokerError>>) -> Vec<Read> {
        join_all(entries.into_iter().map(|entry| async {
            let entry = entry?;
            entry.partition.check_epoch(entry.leader_epoch)?;
            let resolved = self.resolve_one(&entry.partition, entry.position).await?;
            Ok((entry, resolved))
        }))
        .await
        .into_iter()
        .map(start_read)
        .collect()
    }

    /// What the disk does not have any more, or has no longer whole, comes from the tier: all partitions of the fetch at
    /// once, each within its part of what is left of the whole. Memory for what the disk has not given is given back
    /// first: whoever waits for the tier keeps nothing that others could use.
    async fn read_cold(
        &self,
        reads: &mut [Read],
        traffic: &mut Traffic,
        bytes_max: usize,
        hot: &mut Option<OwnedSemaphorePermit>,
    ) -> Option<OwnedSemaphorePermit> {
        let cold: Vec<&mut Read> = reads
            .iter_mut()
            .filter(|read| read.is_cold() || self.is_damaged_copy(read))
            .collect();
        if cold.is_empty() {
            return None;
        }
        let left = bytes_max.saturating_sub(traffic.bytes);
        if let Some(permit) = hot {
            drop(permit.split(left.min(permit.num_permits())));
        }
        let (left, budget) = take(&self.cold_budget, left);
        let part = (left / cold.len()).max(FETCH_STARVED_BYTES);
        // No more at once than have room with a full part each: what is read beyond that would be thrown away.
        let at_once = (left / part).clamp(1, cold.len().min(TIER_READS_MAX));
        let room = Room {
            left,
            taken: AtomicUsize::new(0),
            may_be_empty: traffic.bytes > 0,
        };
        let work: Vec<BoxFuture<'_, Traffic>> = cold
            .into_iter()
            .map(|read| self.read_cold_one(read, part, &room).boxed())
            .collect();
        let results: Vec<Traffic> = stream::iter(work).buffer_unordered(at_once).collect().await;
        *traffic = results.into_iter().fold(*traffic, Traffic::plus);
        budget
    }

    /// Whether the disk's copy is damaged and the tier has another.
    fn is_damaged_copy(&self, read: &Read) -> bool {
        let damaged = matches!(
            &read.fetched.result,
            Err(BrokerError::Read {
                source: LogError::DataLoss { .. },
                ..
            })
        );
        let at = read.entry.as_ref().filter(|_| damaged);
        at.is_some_and(|(entry, from)| self.is_in_tier(&entry.partition, *from))
    }

    async fn read_cold_one(&self, read: &mut Read, bytes_max: usize, room: &Room) -> Traffic {
        let Some((entry, from)) = &read.entry else {
            return Traffic::default();
        };
        let nothing = |bounds| FetchedPartition {
            bounds,
            next_offset: *from,
            result: Ok(Payload::Batches(Bytes::new())),
        };
        if !room.is_left() {
            // The next answer begins with it.
            read.fetched = nothing(entry.partition.bounds().ok());
            return Traffic::default();
        }
        let damaged = !read.is_cold();
        let share = bytes_max.min(entry.bytes_max);
        let slice = self.read_tier(&entry.partition, *from, share).await;
        let answer = slice.and_then(|slice| {
            let bounds = entry.partition.bounds()?;
            let traffic = Traffic::of(&slice.bytes);
            if !room.take(traffic.bytes) {
                return Ok((nothing(Some(bounds)), Traffic::default()));
            }
            Ok((fetched(slice, bounds), traffic))
        });
        match answer {
            Ok((fetched, traffic)) => {
                self.note_damage(&read.fetched);
                read.fetched = fetched;
                traffic
            }
            // What is wrong with the disk counts: it is where the records should be.
            Err(_) if damaged => Traffic::default(),
            Err(error) => {
                read.fetched.result = Err(error);
                Traffic::default()
            }
        }
    }
}

/// What of an answer is not filled yet. One batch always fits.
struct Room {
    left: usize,
    taken: AtomicUsize,
    may_be_empty: bool,
}

impl Room {
    fn is_left(&self) -> bool {
        let taken = self.taken.load(Ordering::Relaxed);
        taken < self.left || (taken == 0 && !self.may_be_empty)
    }

    /// Whether so many bytes still have their place.
    fn take(&self, bytes: usize) -> bool {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= self.left || (before == 0 && !self.may_be_empty);
        if !fits {
            self.taken.fetch_sub(bytes, Ordering::Relaxed);
        }
        fits
    }
}

fn start_read(resolved: Result<(FetchEntry, Resolved), BrokerError>) -> Read {
    match resolved {
        Ok((entry, Resolved { offset, bounds, .. })) => Read {
            fetched: FetchedPartition {
                bounds: Some(bounds),
                next_offset: offset,
                result: Ok(Payload::Batches(Bytes::new())),
            },
            entry: Some((entry, offset)),
        },
        Err(error) => Read {
            entry: None,
            fetched: FetchedPartition {
                bounds: None,
                next_offset: Offset::ZERO,
                result: Err(error),
            },
        },
    }
}

/// What was read, for the metrics and for `bytes_min`.
#[derive(Clone, Copy, Default)]
struct Traffic {
    records: u64,
    batches: u64,
    bytes: usize,
}

impl Traffic {
    fn of(batches: &Bytes) -> Traffic {
        let mut traffic = Traffic {
            bytes: batches.len(),
            ..Traffic::default()
        };
        for header in headwater_record::headers(batches) {
            traffic.records += u64::from(header.record_count);
            traffic.batches += 1;
        }
        traffic
    }

    fn plus(self, other: Traffic) -> Traffic {
        Traffic {
            records: self.records + other.records,
            batches: self.batches + other.batches,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// Reads every partition once, within the bound of the whole; an answer holds at least one batch
/// if there is any.
fn read_all(mut reads: Vec<Read>, bytes_max: usize) -> (Vec<Read>, Traffic) {
    let mut total = Traffic::default();
    for read in &mut reads {
        let Some((entry, from)) = &read.entry else {
            continue;
        };
        let left = bytes_max.saturating_sub(total.bytes);
        if total.bytes > 0 && left == 0 {
            break;
        }
        let share = left.min(entry.bytes_max);
        match read_one(&entry.partition, *from, share, total.bytes > 0) {
            Ok((fetched, traffic)) => {
                total = total.plus(traffic);
                read.fetched = fetched;
            }
            Err(error) => read.fetched.result = Err(error),
        }
    }
    (reads, total)
}

/// The same at once, for readers at the end of the log: from memory alone, and only what takes no time worth a thread of
/// its own. `None`, and nothing has changed, if that does not do.
fn read_now(reads: &mut [Read], bytes_max: usize, tails: &TailCache) -> Option<Traffic> {
    let mut slices = Vec::with_capacity(reads.len());
    let (mut taken, mut places) = (0, 0);
    for read in &*reads {
        let slice = match &read.entry {
            None => None,
            Some((entry, from)) => {
                let is_at_end = entry.partition.bounds().ok()?.high_watermark == *from;
                places += usize::from(!is_at_end);
                if places > READ_NOW_PARTITIONS_MAX {
                    return None;
                }
                let share = entry.bytes_max.min(bytes_max.saturating_sub(taken));
                let (slice, bounds) = entry.partition.read_now(*from, share, tails)?;
                taken += slice.bytes.len();
                // More may be there than a moment ago, and not fit.
                if !slice.bytes.is_empty() && taken > bytes_max {
                    return None;
                }
                Some((slice, bounds))
            }
        };
        slices.push(slice);
    }
    let mut total = Traffic::default();
    for (read, slice) in reads.iter_mut().zip(slices) {
        let Some((slice, bounds)) = slice else {
            continue;
        };
        total = total.plus(Traffic::of(&slice.bytes));
        read.fetched = FetchedPartition {
            bounds: Some(bounds),
            next_offset: slice.next_offset,
            result: Ok(Payload::Batches(slice.bytes)),
        };
    }
    Some(total)
}

fn read_one(
    partition: &PartitionRef,
    from: Offset,
    bytes_max: usize,
    may_be_empty: bool,
) -> Result<(FetchedPartition, Traffic), BrokerError> {
    let (slice, bounds) = partition.read(from, bytes_max)?;
    let traffic = Traffic::of(&slice.bytes);
    if may_be_empty && traffic.bytes > bytes_max {
        // One batch that does not fit any more: the next answer begins with it.
        let result = Ok(Payload::Batches(Bytes::new()));
        return Ok((
            FetchedPartition {
                bounds: Some(bounds),
                next_offset: from,
                result,
            },
            Traffic::default(),
        ));
    }
    Ok((fetched(slice, bounds), traffic))
}

fn fetched(slice: ReadSlice, bounds: Bounds) -> FetchedPartition {
    FetchedPartition {
        bounds: Some(bounds),
        next_offset: slice.next_offset,
        result: Ok(Payload::Batches(slice.bytes)),
    }
}

impl Broker {
    /// Opens what was read, within the memory that is held for it. If not even one batch fits, memory for the largest is
    /// asked for; an answer for which there is none in time is empty.
    async fn open(&self, reads: Vec<Read>, mut held: FetchBudget) -> (Vec<Read>, FetchBudget) {
        let bytes_max = held.bytes().max(FETCH_STARVED_BYTES);
        let (mut reads, opened) = self.open_within(reads, bytes_max).await;
        if opened.is_some() {
            return (reads, held);
        }
        if !self.grow_for_largest(&mut held).await {
            reads.iter_mut().for_each(Read::leave_out);
            return (reads, held);
        }
        let (reads, opened) = self.open_within(reads, DECODED_BYTES_MAX).await;
        held.keep(opened.unwrap_or_default());
        (reads, held)
    }

    async fn open_within(
        &self,
        mut reads: Vec<Read>,
        bytes_max: usize,
    ) -> (Vec<Read>, Option<usize>) {
        // Fails only if it is closed, which it never is.
        let place = self.openings.clone().acquire_owned().await;
        blocking(move || {
            let _place = place;
            let opened = open_all(&mut reads, bytes_max);
            (reads, opened)
        })
        .await
    }

    /// Takes what is missing from the budget, if there is so much just now, or the turn of the one answer that may go
    /// beyond it. Waits as long as a fetch may, and not if the broker stops.
    async fn grow_for_largest(&self, held: &mut FetchBudget) -> bool {
        let missing = DECODED_BYTES_MAX.saturating_sub(held.bytes());
        if let (_, Some(more)) = take(&self.fetch_budget, missing) {
            match &mut held.hot {
                Some(hot) => hot.merge(more),
                none => *none = Some(more),
            }
            return true;
        }
        let turn = self.beyond_budget.clone().acquire_owned();
        let mut draining = self.draining();
        tokio::select! {
            turn = timeout(self.settings.limits.fetch_wait_max, turn) => {
                held.beyond = turn.ok().and_then(Result::ok);
            }
            _ = draining.wait_for(|draining| *draining) => {}
        }
        held.beyond.is_some()
    }
}

/// Opens what was read, in the order of the partitions, and says how many bytes that are; `None`, if not even one batch
/// fits.
fn open_all(reads: &mut [Read], bytes_max: usize) -> Option<usize> {
    let mut room = OpenRoom::new(bytes_max);
    for read in reads {
        let (Some((_, from)), Ok(Payload::Batches(batches))) = (&read.entry, &read.fetched.result)
        else {
            continue;
        };
        match open(batches.clone(), *from, &mut room) {
            Ok(opened) => {
                read.fetched.result = Ok(Payload::Records(opened.records));
                read.fetched.next_offset = opened.next_offset.unwrap_or(read.fetched.next_offset);
            }
            Err(error) if room.is_too_small(&error) => return None,
            Err(error) => read.fetched.result = Err(error.into()),
        }
    }
    Some(bytes_max - room.bytes())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("the work does not panic and is not cancelled")
}
