//! The persisted form of commands and images: protobuf of a package of their own, never the wire
//! contract's. Tags and numbers are frozen; `docs/format/metadata.md` describes them.
//!
//! Reading never trusts: ids, names, numbers and references are checked again.

mod command;
mod image;
#[cfg(test)]
mod tests;

pub(super) use command::{decode_command, encode_command};
use headwater_record::{Compression, LeaderEpoch, Offset};
pub(super) use image::{decode_image, encode_image};

use super::tier::TierHead;
use super::topic_config::{Durability, Retention, TopicConfig};
use crate::names::{ProducerName, TopicName};

/// Why persisted bytes are not what they should be, although their checksum is right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A newer program wrote it.
    #[error("{what} {found} is newer than {known}")]
    Newer {
        /// What is newer.
        what: &'static str,
        /// What stands there.
        found: u64,
        /// What this program knows.
        known: u64,
    },
    /// It makes no sense.
    #[error("{0}")]
    Malformed(String),
}

impl From<prost::DecodeError> for WireError {
    fn from(error: prost::DecodeError) -> WireError {
        WireError::Malformed(error.to_string())
    }
}

fn malformed(what: &str, value: impl std::fmt::Debug) -> WireError {
    WireError::Malformed(format!("{what} is {value:?}"))
}

/// Reads a persisted UUID.
fn id<T>(what: &str, bytes: &[u8], read: fn(&[u8]) -> Option<T>) -> Result<T, WireError> {
    read(bytes).ok_or_else(|| malformed(what, bytes))
}

fn topic_name(text: &str) -> Result<TopicName, WireError> {
    TopicName::parse(text, "").map_err(|error| WireError::Malformed(error.to_string()))
}

fn producer_name(text: &str) -> Result<ProducerName, WireError> {
    ProducerName::parse(text, "").map_err(|error| WireError::Malformed(error.to_string()))
}

/// The head of a partition in the tier.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct HeadMessage {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint32, tag = "2")]
    leader_epoch: u32,
    #[prost(uint64, tag = "3")]
    start: u64,
    #[prost(uint64, tag = "4")]
    end: u64,
}

impl From<&TierHead> for HeadMessage {
    fn from(head: &TierHead) -> HeadMessage {
        HeadMessage {
            number: head.number,
            leader_epoch: head.leader_epoch.0,
            start: head.start.get(),
            end: head.end.get(),
        }
    }
}

impl HeadMessage {
    /// What was written; whether it can be a head is for the reader to judge.
    fn read(self) -> TierHead {
        TierHead {
            number: self.number,
            leader_epoch: LeaderEpoch(self.leader_epoch),
            start: Offset::new(self.start),
            end: Offset::new(self.end),
        }
    }
}

/// Settings of a topic. Absent is absent; retention is -1 without a bound.
#[derive(Clone, PartialEq, prost::Message)]
struct ConfigMessage {
    #[prost(int64, optional, tag = "1")]
    retention_ms: Option<i64>,
    #[prost(int64, optional, tag = "2")]
    retention_bytes: Option<i64>,
    #[prost(uint64, optional, tag = "3")]
    segment_bytes: Option<u64>,
    #[prost(uint64, optional, tag = "4")]
    segment_ms: Option<u64>,
    /// 1 fsync, 2 replicated.
    #[prost(uint32, optional, tag = "5")]
    durability: Option<u32>,
    /// 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd: Kafka's numbers.
    #[prost(uint32, optional, tag = "6")]
    compression: Option<u32>,
    #[prost(uint32, optional, tag = "7")]
    message_bytes_max: Option<u32>,
    #[prost(uint64, optional, tag = "8")]
    timestamp_ahead_ms_max: Option<u64>,
    #[prost(uint32, optional, tag = "9")]
    min_in_sync_replicas: Option<u32>,
    #[prost(bool, optional, tag = "10")]
    tiering: Option<bool>,
    #[prost(int64, optional, tag = "11")]
    local_retention_ms: Option<i64>,
    #[prost(int64, optional, tag = "12")]
    local_retention_bytes: Option<i64>,
}

impl From<&TopicConfig> for ConfigMessage {
    fn from(config: &TopicConfig) -> ConfigMessage {
        ConfigMessage {
            retention_ms: config.retention_ms.map(Retention::to_i64),
            retention_bytes: config.retention_bytes.map(Retention::to_i64),
            segment_bytes: config.segment_bytes,
            segment_ms: config.segment_ms,
            durability: config.durability.map(|durability| match durability {
                Durability::Fsync => 1,
                Durability::Replicated => 2,
            }),
            compression: config.compression.map(|compression| match compression {
                Compression::None => 0,
                Compression::Gzip => 1,
                Compression::Snappy => 2,
                Compression::Lz4 => 3,
                Compression::Zstd => 4,
            }),
            message_bytes_max: config.message_bytes_max,
            timestamp_ahead_ms_max: config.timestamp_ahead_ms_max,
            min_in_sync_replicas: config.min_in_sync_replicas,
            tiering: config.tiering,
            local_retention_ms: config.local_retention_ms.map(Retention::to_i64),
            local_retention_bytes: config.local_retention_bytes.map(Retention::to_i64),
        }
    }
}

impl ConfigMessage {
    fn read(message: Option<ConfigMessage>) -> Result<TopicConfig, WireError> {
        let message = message.unwrap_or_default();
        let retention = |value: Option<i64>| match value.map(Retention::from_i64) {
            Some(None) => Err(malformed("retention", value)),
            read => Ok(read.flatten()),
        };
        Ok(TopicConfig {
            retention_ms: retention(message.retention_ms)?,
            retention_bytes: retention(message.retention_bytes)?,
            segment_bytes: message.segment_bytes,
            segment_ms: message.segment_ms,
            durability: match message.durability {
                None => None,
                Some(1) => Some(Durability::Fsync),
                Some(2) => Some(Durability::Replicated),
                Some(other) => return Err(malformed("durability", other)),
            },
            compression: match message.compression {
                None => None,
                Some(0) => Some(Compression::None),
                Some(1) => Some(Compression::Gzip),
                Some(2) => Some(Compression::Snappy),
                Some(3) => Some(Compression::Lz4),
                Some(4) => Some(Compression::Zstd),
                Some(other) => return Err(malformed("compression", other)),
            },
            message_bytes_max: message.message_bytes_max,
            timestamp_ahead_ms_max: message.timestamp_ahead_ms_max,
            min_in_sync_replicas: message.min_in_sync_replicas,
            tiering: message.tiering,
            local_retention_ms: retention(message.local_retention_ms)?,
            local_retention_bytes: retention(message.local_retention_bytes)?,
        })
    }
}
