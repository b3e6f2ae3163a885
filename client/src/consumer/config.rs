//! What a consumer reads, and from where.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::start::{self, Topic};
use super::subscription::Subscription;
use crate::backoff::Backoff;
use crate::client::Client;
use crate::consumer::Consumer;
use crate::error::Error;
use crate::limits;
use crate::record::Position;
use crate::transport::Transport;

/// What happens to a partition whose position is no longer, or not yet, there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOutOfRange {
    /// [`Error::OffsetOutOfRange`], which names the bounds.
    #[default]
    Error,
    /// It goes on at the oldest record that can be read.
    Earliest,
    /// It goes on behind the newest record.
    Latest,
}

/// Says what a [`Consumer`] reads. At least one of [`topic`](ConsumerBuilder::topic) and
/// [`partition`](ConsumerBuilder::partition) must be called.
#[derive(Clone, Debug)]
pub struct ConsumerBuilder {
    client: Client,
    /// Whole topics with their start.
    topics: Vec<(String, Position)>,
    /// Single partitions with their start.
    partitions: Vec<(String, u32, Position)>,
    until_latest: bool,
    on_out_of_range: OnOutOfRange,
    skip_data_loss: bool,
    buffer_bytes_max: u32,
    message_bytes_max: u32,
    refresh_interval: Duration,
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Client) -> ConsumerBuilder {
        ConsumerBuilder {
            client,
            topics: Vec::new(),
            partitions: Vec::new(),
            until_latest: false,
            on_out_of_range: OnOutOfRange::Error,
            skip_data_loss: false,
            buffer_bytes_max: limits::STREAM_WINDOW_BYTES,
            message_bytes_max: 1 << 20,
            refresh_interval: Duration::from_secs(10),
        }
    }

    /// Reads all partitions of a topic, also those that are added later (from their earliest).
    pub fn topic(mut self, topic: impl Into<String>, start: Position) -> ConsumerBuilder {
        self.topics.push((topic.into(), start));
        self
    }

    /// Reads one partition. For a partition of a whole topic, another start for it.
    pub fn partition(
        mut self,
        topic: impl Into<String>,
        partition: u32,
        start: Position,
    ) -> ConsumerBuilder {
        self.partitions.push((topic.into(), partition, start));
        self
    }

    /// Ends when every partition has reached the high watermark that it had at the start.
    /// Default: false, without end.
    pub fn until_latest(mut self, until_latest: bool) -> ConsumerBuilder {
        self.until_latest = until_latest;
        self
    }

    /// What happens when a position is no longer there. Default: an error.
    pub fn on_out_of_range(mut self, policy: OnOutOfRange) -> ConsumerBuilder {
        self.on_out_of_range = policy;
        self
    }

    /// Goes on behind a damaged range instead of an error. Default: false.
    pub fn skip_data_loss(mut self, skip: bool) -> ConsumerBuilder {
        self.skip_data_loss = skip;
        self
    }

    /// Bound of bytes that are received and not yet taken, by the stream's HTTP/2 window.
    /// Default: 8 MiB; at least 64 KiB, at most 1 GiB.
    pub fn buffer_bytes_max(mut self, bytes: u32) -> ConsumerBuilder {
        self.buffer_bytes_max = bytes.clamp(64 << 10, 1 << 30);
        self
    }

    /// Bound of one message of the stream, which is what `next_batch` returns. Default: 1 MiB;
    /// a larger batch comes alone.
    pub fn message_bytes_max(mut self, bytes: u32) -> ConsumerBuilder {
        self.message_bytes_max = bytes;
        self
    }

    /// How often whole topics are looked at for new partitions. Default: 10 s.
    pub fn refresh_interval(mut self, interval: Duration) -> ConsumerBuilder {
        self.refresh_interval = interval;
        self
    }

    /// Turns the positions into offsets and starts to read.
    ///
    /// # Errors
    ///
    /// If a topic or partition does not exist, or the cluster cannot be reached.
    pub async fn build(self) -> Result<Consumer, Error> {
        if self.topics.is_empty() && self.partitions.is_empty() {
            return Err(Error::invalid_config(
                "a consumer needs at least one topic or partition",
            ));
        }
        let config = self.client.config();
        let transport = Transport::with_window(config, self.buffer_bytes_max)?;
        let admin = self.client.admin();
        let mut topics = BTreeMap::new();
        let named = self.partitions.iter().map(|(name, ..)| name);
        for name in self.topics.iter().map(|(name, _)| name).chain(named) {
            if !topics.contains_key(name) {
                topics.insert(name.clone(), start::topic(&admin, name).await?);
            }
        }
        let mut whole_topics = Vec::new();
        // By full name, since the same topic may be given by two names.
        let mut starts: BTreeMap<Arc<str>, (Topic, BTreeMap<u32, Position>)> = BTreeMap::new();
        for (name, position) in &self.topics {
            let topic = topics[name].clone();
            let all = (0..topic.partitions).map(|it| (it, *position)).collect();
            whole_topics.push(topic.clone());
            starts.insert(Arc::clone(&topic.full_name), (topic, all));
        }
        for (name, partition, position) in &self.partitions {
            let topic = topics[name].clone();
            let entry = starts.entry(Arc::clone(&topic.full_name));
            let (_, some) = entry.or_insert_with(|| (topic, BTreeMap::new()));
            some.insert(*partition, *position);
        }
        let mut readings = Vec::new();
        for (topic, starts) in starts.values() {
            readings.extend(start::readings(&admin, topic, starts, self.until_latest).await?);
        }
        let backoff = Backoff::new(config);
        Ok(Consumer {
            subscription: Subscription::new(
                transport,
                backoff,
                self.message_bytes_max,
                self.until_latest,
            ),
            admin,
            readings,
            whole_topics: if self.until_latest {
                Vec::new()
            } else {
                whole_topics
            },
            refreshed: Instant::now(),
            refresh_interval: self.refresh_interval,
            on_out_of_range: self.on_out_of_range,
            skip_data_loss: self.skip_data_loss,
        })
    }
}
