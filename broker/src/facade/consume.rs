//! Reading records.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_log::LogError;
use headwater_record::{BatchHeader, LeaderEpoch, Offset, StoredRecord};
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::Broker;
use crate::auth::{Action, Principal};
use crate::error::BrokerError;
use crate::limits::{DECODED_BYTES_MAX, FETCH_STARVED_BYTES};
use crate::partition::read::{Bounds, PartitionRef, Position, Resolved};

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
        blocking(move || {
            let resolve =
                |(partition, position): (PartitionRef, Position)| partition.resolve(position);
            questions
                .into_iter()
                .map(|question| question.and_then(resolve))
                .collect()
        })
        .await
    }

    /// Memory for an answer of up to `bytes`. If there is none left, a small share is read without
    /// asking: a reader that does not take its data must not starve the others.
    pub fn fetch_budget(&self, bytes: usize) -> (usize, Option<OwnedSemaphorePermit>) {
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self.fetch_budget.clone().try_acquire_many_owned(permits) {
            Ok(permit) => (bytes, Some(permit)),
            Err(_) => (bytes.min(FETCH_STARVED_BYTES), None),
        }
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
    pub async fn fetch(
        &self,
        request: FetchRequest,
    ) -> (Vec<FetchedPartition>, Option<OwnedSemaphorePermit>) {
        let FetchRequest {
            entries,
            bytes_min,
            bytes_max,
            wait,
            records,
        } = request;
        let deadline = Instant::now() + wait.min(self.settings.limits.fetch_wait_max);
        let (bytes_max, budget) =
            self.fetch_budget(bytes_max.min(self.settings.limits.fetch_bytes_max));
        let mut draining = self.draining();
        let mut reads = start_reads(entries).await;
        let mut waiter: Option<Arc<Notify>> = None;
        loop {
            let read = blocking(move || read_all(reads, bytes_max, records));
            let (current, traffic) = read.await;
            let failed = current.iter().any(|read| read.fetched.result.is_err());
            let late = Instant::now() >= deadline || *draining.borrow();
            if traffic.bytes >= bytes_min || failed || late {
                self.metrics
                    .observe_fetch(traffic.records, traffic.batches, traffic.bytes);
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
            reads = current;
        }
    }
}

/// One partition of a fetch under way.
struct Read {
    entry: Option<(FetchEntry, Offset)>,
    fetched: FetchedPartition,
}

impl Read {
    fn watch(&self, waiter: &Arc<Notify>) {
        if let Some((entry, _)) = &self.entry {
            entry.partition.handle.watch(waiter);
        }
    }
}

/// Looks the positions up. Only times need the disk.
async fn start_reads(entries: Vec<Result<FetchEntry, BrokerError>>) -> Vec<Read> {
    let is_time = |entry: &Result<FetchEntry, BrokerError>| {
        matches!(
            entry,
            Ok(FetchEntry {
                position: Position::Timestamp(_),
                ..
            })
        )
    };
    let start = |entries: Vec<_>| entries.into_iter().map(start_read).collect();
    if entries.iter().any(is_time) {
        blocking(move || start(entries)).await
    } else {
        start(entries)
    }
}

fn start_read(entry: Result<FetchEntry, BrokerError>) -> Read {
    let resolved = entry.and_then(|entry| {
        entry.partition.check_epoch(entry.leader_epoch)?;
        let resolved = entry.partition.resolve(entry.position)?;
        Ok((entry, resolved))
    });
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
        let mut rest = &batches[..];
        while let Ok(header) = BatchHeader::decode(rest) {
            traffic.records += u64::from(header.record_count);
            traffic.batches += 1;
            rest = rest.get(header.size_bytes..).unwrap_or_default();
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
fn read_all(mut reads: Vec<Read>, bytes_max: usize, records: bool) -> (Vec<Read>, Traffic) {
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
        match read_one(&entry.partition, *from, share, total.bytes > 0, records) {
            Ok((fetched, traffic)) => {
                total = total.plus(traffic);
                read.fetched = fetched;
            }
            Err(error) => read.fetched.result = Err(error),
        }
    }
    (reads, total)
}

fn read_one(
    partition: &PartitionRef,
    from: Offset,
    bytes_max: usize,
    may_be_empty: bool,
    records: bool,
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
    let (payload, next_offset) = if records {
        let (records, next_offset) = open_batches(slice.bytes, from)?;
        (
            Payload::Records(records),
            next_offset.unwrap_or(slice.next_offset),
        )
    } else {
        (Payload::Batches(slice.bytes), slice.next_offset)
    };
    let fetched = FetchedPartition {
        bounds: Some(bounds),
        next_offset,
        result: Ok(payload),
    };
    Ok((fetched, traffic))
}

/// Opens batches until the bound of opened bytes is reached. The offset is where to go on if that
/// left some out.
fn open_batches(
    bytes: Bytes,
    from: Offset,
) -> Result<(Vec<StoredRecord>, Option<Offset>), BrokerError> {
    let mut records = Vec::new();
    let mut left = DECODED_BYTES_MAX;
    for batch in headwater_record::batches(bytes) {
        let batch = batch?;
        if batch.header().is_control() {
            continue;
        }
        let size_bytes: usize;
        match batch.records(left) {
            Ok(opened) => {
                size_bytes = opened
                    .iter()
                    .map(|stored| decoded_bytes(&stored.record))
                    .sum();
                records.extend(opened.into_iter().filter(|stored| stored.offset >= from));
            }
            Err(error) if records.is_empty() => return Err(error.into()),
            Err(_) => return Ok((records, Some(batch.header().base_offset))),
        }
        left = left.saturating_sub(size_bytes);
    }
    Ok((records, None))
}

fn decoded_bytes(record: &headwater_record::Record) -> usize {
    let key = record.key.as_ref().map_or(0, Bytes::len);
    key + record.value.as_ref().map_or(0, Bytes::len)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("the work does not panic and is not cancelled")
}
