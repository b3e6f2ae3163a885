//! Reading records.

mod config;
mod partition;
mod start;
mod subscription;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::Stream;
use headwater_proto::v1;
use headwater_record::Batch;

pub use config::{ConsumerBuilder, OnOutOfRange};

use self::partition::{Damage, Reading};
use self::start::Topic;
use self::subscription::{Event, Subscription};
use crate::admin::Admin;
use crate::error::{BrokerError, Error};
use crate::record::{ConsumerRecord, Position};

/// Reads partitions in order, over one stream; reconnects and goes on where it was. Made by
/// [`Client::consumer`](crate::Client::consumer).
#[derive(Debug)]
pub struct Consumer {
    admin: Admin,
    subscription: Subscription,
    /// By topic and partition.
    readings: Vec<Reading>,
    /// Topics whose new partitions join.
    whole_topics: Vec<Topic>,
    /// When those were last looked at.
    refreshed: Instant,
    refresh_interval: Duration,
    on_out_of_range: OnOutOfRange,
    skip_data_loss: bool,
}

impl Consumer {
    /// The next records of one partition, never empty. `None` when
    /// [`until_latest`](ConsumerBuilder::until_latest) was asked for and is reached. May be
    /// dropped and called again (for example in `select!`) without losing records.
    ///
    /// # Errors
    ///
    /// [`Error::OffsetOutOfRange`] and [`Error::DataLoss`] stop their partition until it is
    /// [`seek`](Consumer::seek)ed; the others go on with the next call. What is transient (a
    /// broken connection, a restart of the broker) is not an error: the consumer connects again.
    pub async fn next_batch(&mut self) -> Result<Option<ConsumerBatch>, Error> {
        loop {
            let Some(data) = self.next_data().await? else {
                return Ok(None);
            };
            let reading = &mut self.readings[data.reading];
            let records = match reading.new_records(data.bytes) {
                Ok(records) => records,
                Err(error) => return Err(self.read_again(error)),
            };
            reading.advance(data.next_offset);
            if !records.is_empty() {
                return Ok(Some(ConsumerBatch {
                    topic: Arc::clone(&reading.topic),
                    partition: reading.partition,
                    records,
                    next_offset: reading.position,
                    high_watermark: data.high_watermark,
                }));
            }
        }
    }

    /// As [`next_batch`](Consumer::next_batch), but the batches as stored, not opened. The first
    /// may begin below the position, the last may end behind the end, and control batches are
    /// included.
    ///
    /// # Errors
    ///
    /// As [`next_batch`](Consumer::next_batch).
    pub async fn next_raw(&mut self) -> Result<Option<RawBatches>, Error> {
        loop {
            let Some(data) = self.next_data().await? else {
                return Ok(None);
            };
            let reading = &mut self.readings[data.reading];
            let batches = match reading.new_batches(data.bytes) {
                Ok(batches) => batches,
                Err(error) => return Err(self.read_again(error)),
            };
            reading.advance(data.next_offset);
            if !batches.is_empty() {
                return Ok(Some(RawBatches {
                    topic: Arc::clone(&reading.topic),
                    partition: reading.partition,
                    batches,
                    next_offset: reading.position,
                    high_watermark: data.high_watermark,
                }));
            }
        }
    }

    /// All records one by one. The stream ends as `next_batch` does, or after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<ConsumerRecord, Error>> + Send {
        let state = (Some(self), Vec::new().into_iter());
        futures::stream::unfold(state, |(mut consumer, mut records)| async move {
            loop {
                if let Some(record) = records.next() {
                    return Some((Ok(record), (consumer, records)));
                }
                match consumer.as_mut()?.next_batch().await {
                    Ok(batch) => records = batch?.records.into_iter(),
                    Err(error) => return Some((Err(error), (None, records))),
                }
            }
        })
    }

    /// Goes on from another place; a stopped partition starts again. Adds the partition if it was
    /// not read before.
    ///
    /// # Errors
    ///
    /// If `position` cannot be turned into an offset.
    pub async fn seek(
        &mut self,
        topic: &str,
        partition: u32,
        position: Position,
    ) -> Result<(), Error> {
        let topic = start::topic(&self.admin, topic).await?;
        let starts = BTreeMap::from([(partition, position)]);
        let new = start::readings(&self.admin, &topic, &starts, false).await?;
        for new in new {
            match self.find(&topic.full_name, partition) {
                Some(index) => {
                    let reading = &mut self.readings[index];
                    reading.position = new.position;
                    reading.stopped = None;
                }
                None => self.add(vec![new]),
            }
        }
        self.subscription.restart();
        Ok(())
    }

    /// Every partition that is read, with its place, by topic and number.
    pub fn partitions(&self) -> Vec<PartitionProgress> {
        let progress = |reading: &Reading| PartitionProgress {
            topic: Arc::clone(&reading.topic),
            partition: reading.partition,
            position: reading.position,
            log_start_offset: reading.log_start_offset,
            high_watermark: reading.high_watermark,
        };
        self.readings.iter().map(progress).collect()
    }

    /// Next offset of a partition; `None` if it is not read.
    pub fn position(&self, topic: &str, partition: u32) -> Option<u64> {
        let named = |reading: &&Reading| *reading.topic == *topic || *reading.full_name == *topic;
        let mut readings = self.readings.iter().filter(named);
        Some(
            readings
                .find(|reading| reading.partition == partition)?
                .position,
        )
    }

    /// Data of a partition that is wanted, or `None` at the end of all.
    async fn next_data(&mut self) -> Result<Option<Data>, Error> {
        loop {
            if !self.readings.iter().any(Reading::is_wanted) {
                let stopped = self
                    .readings
                    .iter()
                    .find_map(|reading| reading.stopped.clone());
                return stopped.map_or(Ok(None), Err);
            }
            self.refresh().await?;
            match self.subscription.next(&self.readings).await {
                Ok(Some(Event::Data(data))) => {
                    if let Some(data) = self.take(data).await? {
                        return Ok(Some(data));
                    }
                }
                Ok(Some(Event::Heartbeat(partitions))) => {
                    for data in &partitions {
                        if let Some(index) = self.find_wire(&data.topic, data.partition) {
                            self.readings[index].heard(data);
                        }
                    }
                }
                Ok(None) => {}
                Err(error) => self.failed(error).await?,
            }
        }
    }

    async fn take(&mut self, data: v1::PartitionData) -> Result<Option<Data>, Error> {
        let index = self.find_wire(&data.topic, data.partition);
        if let Some(error) = data.error {
            let mut error = Error::from(error);
            if let Error::Broker(broker) = &mut error {
                broker.metadata.insert("topic".to_owned(), data.topic);
                broker
                    .metadata
                    .insert("partition".to_owned(), data.partition.to_string());
            }
            self.subscription.restart();
            self.failed(error).await?;
            return Ok(None);
        }
        let Some(index) = index else {
            let place = format!("{}/{}", data.topic, data.partition);
            return Err(self.read_again(Error::protocol(format!("{place} was not asked for"))));
        };
        self.readings[index].heard(&data);
        let (Ok(next_offset), Ok(high_watermark)) = (
            u64::try_from(data.next_offset),
            u64::try_from(data.high_watermark),
        ) else {
            return Err(self.read_again(Error::protocol("an offset is negative")));
        };
        let wanted = self.readings[index].is_wanted();
        let data = Data {
            reading: index,
            bytes: data.batches,
            next_offset,
            high_watermark,
        };
        Ok(wanted.then_some(data))
    }

    /// What the broker sent will not do: the next call asks for it again.
    fn read_again(&mut self, error: Error) -> Error {
        self.subscription.restart();
        error
    }

    /// Deals with a refusal: moves the partition that it is about, or stops it.
    async fn failed(&mut self, error: Error) -> Result<(), Error> {
        let Error::Broker(broker) = &error else {
            return Err(error);
        };
        match broker.reason.as_str() {
            "OFFSET_OUT_OF_RANGE" => self.out_of_range().await,
            "DATA_LOSS" => match self.damaged_range(broker) {
                Some((index, damage)) => self.data_loss(index, damage),
                None => Err(error),
            },
            _ => Err(error),
        }
    }

    /// Some partition's position cannot be read. Asks for the bounds of all, as of now.
    async fn out_of_range(&mut self) -> Result<(), Error> {
        let same_topic = |a: &Reading, b: &Reading| a.full_name == b.full_name;
        for readings in self.readings.chunk_by_mut(same_topic) {
            let bounds = start::bounds(&self.admin, readings).await?;
            for (reading, (log_start_offset, high_watermark)) in readings.iter_mut().zip(bounds) {
                let is_there = (log_start_offset..=high_watermark).contains(&reading.position);
                // One that was stopped has been told of.
                if is_there || !reading.is_wanted() {
                    continue;
                }
                let error = reading.out_of_range(log_start_offset, high_watermark);
                match self.on_out_of_range {
                    OnOutOfRange::Earliest => reading.position = log_start_offset,
                    OnOutOfRange::Latest => reading.position = high_watermark,
                    OnOutOfRange::Error => {
                        reading.stopped = Some(error.clone());
                        return Err(error);
                    }
                }
                let position = reading.position;
                tracing::warn!(%error, position, "going on elsewhere, as configured");
            }
        }
        Ok(())
    }

    fn damaged_range(&self, error: &BrokerError) -> Option<(usize, Damage)> {
        let fact = |name: &str| error.metadata.get(name);
        let partition = fact("partition")?.parse().ok()?;
        let index = self.find_wire(fact("topic")?, partition)?;
        let damage = Damage {
            start_offset: fact("from_offset")?.parse().ok()?,
            end_offset: fact("to_offset")?.parse().ok()?,
            object: fact("object").cloned(),
        };
        Some((index, damage))
    }

    fn data_loss(&mut self, index: usize, damage: Damage) -> Result<(), Error> {
        let reading = &mut self.readings[index];
        let end = damage.end_offset;
        let error = reading.data_loss(damage);
        if self.skip_data_loss && end > reading.position {
            tracing::warn!(%error, "going on behind it, as configured");
            reading.advance(end);
            return Ok(());
        }
        reading.stopped = Some(error.clone());
        Err(error)
    }

    /// Looks whether whole topics have more partitions, if it is time.
    async fn refresh(&mut self) -> Result<(), Error> {
        if self.whole_topics.is_empty() || self.refreshed.elapsed() < self.refresh_interval {
            return Ok(());
        }
        self.refreshed = Instant::now();
        for index in 0..self.whole_topics.len() {
            let known = &mut self.whole_topics[index];
            match new_partitions(&self.admin, known).await {
                Ok(added) if added.is_empty() => {}
                // Before the next topic is looked up: the caller may drop this call there.
                Ok(added) => {
                    self.add(added);
                    self.subscription.restart();
                }
                Err(error) => tracing::debug!(%error, topic = %known.name, "not looked up again"),
            }
        }
        Ok(())
    }

    fn add(&mut self, readings: Vec<Reading>) {
        self.readings.extend(readings);
        self.readings
            .sort_by(|a, b| (&a.full_name, a.partition).cmp(&(&b.full_name, b.partition)));
    }

    fn find(&self, full_name: &str, partition: u32) -> Option<usize> {
        let key = (full_name, partition);
        let place = |reading: &Reading| (&*reading.full_name, reading.partition).cmp(&key);
        self.readings.binary_search_by(place).ok()
    }

    fn find_wire(&self, full_name: &str, partition: i32) -> Option<usize> {
        self.find(full_name, u32::try_from(partition).ok()?)
    }
}

/// What a message brought for a partition.
struct Data {
    /// Index of the partition.
    reading: usize,
    bytes: Bytes,
    next_offset: u64,
    high_watermark: u64,
}

/// Begins to read partitions that were added to a topic, from their earliest record.
async fn new_partitions(admin: &Admin, known: &mut Topic) -> Result<Vec<Reading>, Error> {
    let now = start::topic(admin, &known.name).await?;
    let starts = (known.partitions..now.partitions)
        .map(|it| (it, Position::Earliest))
        .collect();
    let readings = start::readings(admin, &now, &starts, false).await?;
    known.partitions = known.partitions.max(now.partitions);
    Ok(readings)
}

/// Records of one partition, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerBatch {
    /// The topic as it was subscribed.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// At least one.
    pub records: Vec<ConsumerRecord>,
    /// Where the partition goes on.
    pub next_offset: u64,
    /// Everything below is committed; as of this answer.
    pub high_watermark: u64,
}

/// Batches of one partition as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawBatches {
    /// The topic as it was subscribed.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// At least one, in order.
    pub batches: Vec<Batch>,
    /// Where the partition goes on.
    pub next_offset: u64,
    /// Everything below is committed; as of this answer.
    pub high_watermark: u64,
}

/// How far a partition was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionProgress {
    /// The topic as it was subscribed.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Next offset to be read.
    pub position: u64,
    /// The oldest offset that can be read, as last heard; `None` before anything was heard.
    pub log_start_offset: Option<u64>,
    /// Everything below is committed, as last heard; `None` before anything was heard.
    pub high_watermark: Option<u64>,
}
