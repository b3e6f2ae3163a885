//! Reading topics from one place to another: what `consume`, `tail` and `quickstart` share.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;

use headwater_client::types::PartitionOffset;
use headwater_client::{Client, Consumer, ConsumerRecord, Error, Position};

use crate::failure::{Exit, Failure, Outcome};
use crate::position::{From, Until};

/// The newest records over several partitions are gathered before they are shown; at most so
/// many ...
const LAST_RECORDS_MAX: u64 = 100_000;

/// ... and so many bytes of them, so that a laptop can hold them.
const LAST_BYTES_MAX: usize = 256 << 20;

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct ReadPlan {
    /// Names as the broker is asked for them.
    pub(crate) topics: Vec<String>,
    /// Only these partitions; empty means all.
    pub(crate) partitions: Vec<u32>,
    /// Where to start.
    pub(crate) from: From,
    /// Where to end.
    pub(crate) until: Option<Until>,
    /// Wait for new records.
    pub(crate) follow: bool,
}

/// Takes records; `Break` ends the reading.
pub(crate) trait Sink {
    /// One record.
    fn record(&mut self, record: &ConsumerRecord) -> Outcome<ControlFlow<()>>;
    /// Nothing more is there for the moment.
    fn pause(&mut self) -> Outcome;
}

/// One partition's range; `end` is exclusive and `u64::MAX` if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Range {
    topic: String,
    partition: u32,
    start: u64,
    end: u64,
    /// Behind the newest record when the command started.
    high_watermark: u64,
}

/// Reads everything that the plan says into `sink`.
pub(crate) async fn read(client: &Client, plan: &ReadPlan, sink: &mut impl Sink) -> Outcome {
    let (mut plan, mut ranges) = (plan.clone(), Vec::new());
    for name in &mut plan.topics {
        let topic = client.admin().get_topic(name).await;
        let topic = topic.map_err(|error| Failure::from_client(&format!("read {name}"), &error))?;
        // Records say their topic in full.
        *name = topic.name;
        let partitions = match plan.partitions.is_empty() {
            true => (0..u32::try_from(topic.partitions).unwrap_or(0)).collect(),
            false => plan.partitions.clone(),
        };
        let ask = Asking {
            client,
            topic: name,
            partitions,
        };
        ranges.extend(ask.ranges(plan.from, plan.until, plan.follow).await?);
    }
    let plan = &plan;
    let merged = match plan.from {
        From::Last(count) if ranges.len() > 1 => Some(count),
        _ => None,
    };
    let Some(count) = merged else {
        return stream(client, plan, ranges, sink).await;
    };
    // The newest of each partition are read to its present end, then what is behind that.
    let (mut newest, mut rest) = (ranges.clone(), ranges);
    newest
        .iter_mut()
        .for_each(|range| range.end = range.end.min(range.high_watermark));
    rest.iter_mut()
        .for_each(|range| range.start = range.start.max(range.high_watermark));
    if let ControlFlow::Break(()) = show_last(client, plan, newest, count, sink).await? {
        return Ok(());
    }
    match plan.follow {
        true => stream(client, plan, rest, sink).await,
        false => Ok(()),
    }
}

async fn show_last(
    client: &Client,
    plan: &ReadPlan,
    ranges: Vec<Range>,
    count: u64,
    sink: &mut impl Sink,
) -> Outcome<ControlFlow<()>> {
    if count > LAST_RECORDS_MAX {
        return Err(Failure::usage(format!(
            "--from -{count} is too many over several partitions"
        ))
        .why(format!(
            "the newest records are gathered in memory, at most {LAST_RECORDS_MAX}"
        ))
        .fix("read one partition with -p, or give a time with --from @-1h"));
    }
    let mut gathered = Gathered::default();
    let bounded = ReadPlan {
        follow: false,
        ..plan.clone()
    };
    stream(client, &bounded, ranges, &mut gathered).await?;
    for record in gathered.newest(count as usize) {
        if let ControlFlow::Break(()) = sink.record(&record)? {
            return Ok(ControlFlow::Break(()));
        }
    }
    sink.pause()?;
    Ok(ControlFlow::Continue(()))
}

/// Records by partition, in order.
#[derive(Default)]
struct Gathered {
    partitions: HashMap<(std::sync::Arc<str>, u32), VecDeque<ConsumerRecord>>,
    bytes: usize,
}

impl Gathered {
    /// The newest `count` by timestamp, keeping the order within each partition.
    fn newest(self, count: usize) -> Vec<ConsumerRecord> {
        let mut queues: Vec<_> = self.partitions.into_values().collect();
        queues.sort_by(|a, b| place(a.back()).cmp(&place(b.back())));
        let mut newest = Vec::new();
        while newest.len() < count {
            let latest = queues
                .iter_mut()
                .max_by_key(|queue| queue.back().map(|r| r.timestamp_ms));
            match latest.and_then(VecDeque::pop_back) {
                Some(record) => newest.push(record),
                None => break,
            }
        }
        newest.reverse();
        newest
    }
}

fn place(record: Option<&ConsumerRecord>) -> Option<(&str, u32)> {
    record.map(|record| (&*record.topic, record.partition))
}

impl Sink for Gathered {
    fn record(&mut self, record: &ConsumerRecord) -> Outcome<ControlFlow<()>> {
        let size = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
        self.bytes += size(&record.key) + size(&record.value);
        if self.bytes > LAST_BYTES_MAX {
            return Err(
                Failure::new("the newest records are too large to be gathered")
                    .why(format!(
                        "they are more than {LAST_BYTES_MAX} bytes over all partitions"
                    ))
                    .fix("ask for fewer, or read one partition with -p"),
            );
        }
        let queue = self
            .partitions
            .entry((record.topic.clone(), record.partition))
            .or_default();
        queue.push_back(record.clone());
        Ok(ControlFlow::Continue(()))
    }

    fn pause(&mut self) -> Outcome {
        Ok(())
    }
}

async fn stream(
    client: &Client,
    plan: &ReadPlan,
    ranges: Vec<Range>,
    sink: &mut impl Sink,
) -> Outcome {
    let failed = |error: Error| failure(plan, &error);
    let mut open = 0;
    let mut ends = HashMap::new();
    let mut builder = client.consumer().until_latest(!plan.follow);
    if plan.follow && plan.partitions.is_empty() && plan.until.is_none() {
        // Whole topics: partitions that are added later belong to them.
        for topic in &plan.topics {
            builder = builder.topic(topic, Position::Earliest);
        }
    }
    for range in ranges {
        if range.start < range.end {
            open += 1;
            let start = Position::Offset(range.start);
            builder = builder.partition(&range.topic, range.partition, start);
        }
        ends.insert((range.topic, range.partition), range.end);
    }
    if open == 0 {
        return sink.pause();
    }
    let mut consumer: Consumer = builder.build().await.map_err(failed)?;
    loop {
        // What follows at once is taken before anything is shown.
        let next = consumer.next_batch();
        tokio::pin!(next);
        let batch = match futures::poll!(&mut next) {
            std::task::Poll::Ready(batch) => batch,
            std::task::Poll::Pending => {
                sink.pause()?;
                next.await
            }
        };
        let Some(batch) = batch.map_err(failed)? else {
            break;
        };
        // A partition that was added since the start has no end.
        let key = (batch.topic.to_string(), batch.partition);
        let end = ends.get(&key).copied().unwrap_or(u64::MAX);
        for record in batch
            .records
            .iter()
            .take_while(|record| record.offset < end)
        {
            if let ControlFlow::Break(()) = sink.record(record)? {
                return sink.pause();
            }
        }
        let first = batch.records.first().map_or(0, |record| record.offset);
        if batch.next_offset >= end && first < end {
            open -= 1;
            if open == 0 {
                break;
            }
        }
    }
    sink.pause()
}

/// Turns places into offsets.
struct Asking<'a> {
    client: &'a Client,
    topic: &'a str,
    partitions: Vec<u32>,
}

impl Asking<'_> {
    /// What to read of each partition.
    async fn ranges(&self, from: From, until: Option<Until>, follow: bool) -> Outcome<Vec<Range>> {
        let earliest = self.offsets(Position::Earliest).await?;
        let latest = self.offsets(Position::Latest).await?;
        let starts = match from {
            From::Begin => earliest.clone(),
            From::End => latest.clone(),
            From::Offset(offset) => self.clamp(offset, &earliest, &latest)?,
            other => self.offsets(other.position()).await?,
        };
        let ends = match until {
            None if follow => vec![u64::MAX; self.partitions.len()],
            None | Some(Until::End) => latest.clone(),
            Some(Until::Offset(offset)) => vec![offset; self.partitions.len()],
            Some(Until::Time(timestamp_ms)) => {
                self.offsets(Position::Timestamp(timestamp_ms)).await?
            }
        };
        let range =
            |(((partition, start), end), high_watermark): (((&u32, u64), u64), u64)| Range {
                topic: self.topic.to_owned(),
                partition: *partition,
                start,
                end,
                high_watermark,
            };
        Ok(self
            .partitions
            .iter()
            .zip(starts)
            .zip(ends)
            .zip(latest)
            .map(range)
            .collect())
    }

    async fn offsets(&self, position: Position) -> Outcome<Vec<u64>> {
        let questions: Vec<_> = self.partitions.iter().map(|p| (*p, position)).collect();
        let answers = self
            .client
            .admin()
            .list_offsets(self.topic, &questions)
            .await;
        let answers = answers.map_err(|error| self.failed(&error))?;
        let offset = |answer: PartitionOffset| match answer.error {
            Some(error) => Err(self.failed(&Error::from(error))),
            None => Ok(u64::try_from(answer.offset).unwrap_or(0)),
        };
        answers.into_iter().map(offset).collect()
    }

    /// Several partitions rarely hold the same offsets, so each starts as near as it can; one
    /// that was asked for alone must hold it.
    fn clamp(&self, offset: u64, earliest: &[u64], latest: &[u64]) -> Outcome<Vec<u64>> {
        let bounds = || earliest.iter().copied().zip(latest.iter().copied());
        if let ([partition], Some((low, high))) = (&self.partitions[..], bounds().next())
            && !(low..=high).contains(&offset)
        {
            return Err(self.failed(&Error::OffsetOutOfRange {
                topic: self.topic.to_owned(),
                partition: *partition,
                offset,
                log_start_offset: low,
                high_watermark: high,
            }));
        }
        Ok(bounds()
            .map(|(low, high)| offset.clamp(low, high))
            .collect())
    }

    fn failed(&self, error: &Error) -> Failure {
        Failure::from_client(&format!("read {}", self.topic), error)
    }
}

fn failure(plan: &ReadPlan, error: &Error) -> Failure {
    let failure = Failure::from_client(&format!("read {}", plan.topics.join(", ")), error);
    match error {
        Error::DataLoss { .. } => failure.exit(Exit::Partial),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_chosen_by_time_and_keep_each_partitions_order() {
        let mut gathered = Gathered::default();
        // Within partition 0 time runs backwards once; its order is kept all the same.
        let records = [
            (0, 0, 10),
            (0, 1, 30),
            (0, 2, 20),
            (1, 0, 15),
            (1, 1, 25),
            (2, 0, 5),
        ];
        for (partition, offset, timestamp_ms) in records {
            let record = ConsumerRecord {
                topic: "t".into(),
                partition,
                offset,
                timestamp_ms,
                key: None,
                value: None,
                headers: Vec::new(),
            };
            assert!(gathered.record(&record).unwrap().is_continue());
        }
        let newest = gathered.newest(4);
        let places: Vec<_> = newest.iter().map(|r| (r.partition, r.offset)).collect();
        assert_eq!(places, [(1, 0), (0, 1), (0, 2), (1, 1)]);
    }
}
