//! Records as an application sees them, before and after the broker.

use std::sync::Arc;

use bytes::Bytes;
use headwater_proto::v1;
use headwater_record::{Header, Record};

use crate::admin::wire_offset;

/// A record to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerRecord {
    /// `name` or `namespace/name`.
    pub topic: Arc<str>,
    /// Absent: by murmur2 of the key as Kafka does, else any one partition.
    pub partition: Option<u32>,
    /// Decides the partition when none is given; kept together with its value.
    pub key: Option<Bytes>,
    /// Absent is a null value (a tombstone).
    pub value: Option<Bytes>,
    /// In order; names may repeat.
    pub headers: Vec<Header>,
    /// Milliseconds since the epoch. Absent: now, by this machine's clock.
    pub timestamp_ms: Option<i64>,
}

impl ProducerRecord {
    /// A record with a value and nothing else. Many records of one topic share its name cheaply
    /// if an `Arc<str>` is given.
    pub fn new(topic: impl Into<Arc<str>>, value: impl Into<Bytes>) -> ProducerRecord {
        ProducerRecord {
            topic: topic.into(),
            partition: None,
            key: None,
            value: Some(value.into()),
            headers: Vec::new(),
            timestamp_ms: None,
        }
    }

    /// The same with a key.
    pub fn key(mut self, key: impl Into<Bytes>) -> ProducerRecord {
        self.key = Some(key.into());
        self
    }

    /// The same for this very partition.
    pub fn partition(mut self, partition: u32) -> ProducerRecord {
        self.partition = Some(partition);
        self
    }

    /// The same with one more header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> ProducerRecord {
        self.headers.push(Header {
            name: name.into(),
            value: Some(value.into()),
        });
        self
    }

    /// The same with a timestamp in milliseconds since the epoch.
    pub fn timestamp_ms(mut self, timestamp_ms: i64) -> ProducerRecord {
        self.timestamp_ms = Some(timestamp_ms);
        self
    }
}

/// Where a record went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic as the record named it.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Its offset; absent with [`Acks::None`](crate::Acks::None).
    pub offset: Option<u64>,
    /// The leader's clock when it was appended, in milliseconds since the epoch.
    pub append_time_ms: i64,
    /// It was there already: an earlier attempt had been stored.
    pub duplicate: bool,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchAck {
    /// The partition.
    pub partition: u32,
    /// Offset of its first record; absent with [`Acks::None`](crate::Acks::None).
    pub base_offset: Option<u64>,
    /// Offset of its last record; absent with [`Acks::None`](crate::Acks::None).
    pub last_offset: Option<u64>,
    /// The leader's clock when it was appended, in milliseconds since the epoch.
    pub append_time_ms: i64,
    /// It was there already: an earlier attempt had been stored.
    pub duplicate: bool,
}

impl BatchAck {
    /// Negative offsets mean that there are none.
    pub(crate) fn from_wire(partition: u32, ack: &v1::PartitionAck) -> BatchAck {
        BatchAck {
            partition,
            base_offset: u64::try_from(ack.base_offset).ok(),
            last_offset: u64::try_from(ack.last_offset).ok(),
            append_time_ms: ack.append_time_ms,
            duplicate: ack.duplicate,
        }
    }
}

/// A record that was read. `key` and `value` share the memory of the message that they came in:
/// copy what is kept for long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// The topic as it was subscribed.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Its place in the partition.
    pub offset: u64,
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    /// Absent is a null key.
    pub key: Option<Bytes>,
    /// Absent is a null value (a tombstone).
    pub value: Option<Bytes>,
    /// In order; names may repeat.
    pub headers: Vec<Header>,
}

impl ConsumerRecord {
    pub(crate) fn new(topic: Arc<str>, partition: u32, offset: u64, record: Record) -> Self {
        ConsumerRecord {
            topic,
            partition,
            offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers: record.headers,
        }
    }
}

/// A place in a partition to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// This very offset; it may equal the high watermark (the next record to come).
    Offset(u64),
    /// The first record whose timestamp is at least this, in milliseconds since the epoch; the
    /// high watermark if there is none.
    Timestamp(i64),
    /// The oldest record that can still be read.
    Earliest,
    /// Behind the newest record that can be read.
    Latest,
    /// The high watermark less this many offsets, at least the earliest.
    LastN(u64),
}

impl From<Position> for v1::Position {
    fn from(position: Position) -> v1::Position {
        use v1::position::Position as Wire;
        let wire = match position {
            Position::Offset(offset) => Wire::Offset(wire_offset(offset)),
            Position::Timestamp(timestamp_ms) => Wire::TimestampMs(timestamp_ms),
            Position::Earliest => Wire::Bound(v1::Bound::Earliest.into()),
            Position::Latest => Wire::Bound(v1::Bound::Latest.into()),
            Position::LastN(count) => Wire::LastN(wire_offset(count)),
        };
        v1::Position {
            position: Some(wire),
        }
    }
}
