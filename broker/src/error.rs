//! Why the broker refuses a request, in its own words; `grpc/status.rs` translates.

use headwater_core::metadata::Refused;
use headwater_core::names::NameError;
use headwater_core::replica::Refusal;
use headwater_log::LogError;
use headwater_record::{LeaderEpoch, Offset, RecordError};
use headwater_tier::TierError;

/// Why a request, or one entry of it, was refused.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A field of the request is wrong.
    #[error("{field}: {message}")]
    Invalid {
        /// Path of the field, as in the proto.
        field: String,
        /// What is wrong, the limit, what to do.
        message: String,
    },
    /// A name is wrong.
    #[error("{field}: {source}")]
    Name {
        /// Path of the field, as in the proto.
        field: &'static str,
        /// What is wrong with it.
        source: NameError,
    },
    /// Bytes are not a batch, or records do not make one.
    #[error("the batch is not valid: {0}")]
    Batch(#[from] RecordError),
    /// No such topic.
    #[error("topic {topic} does not exist{}", suggestion(nearest))]
    TopicNotFound {
        /// What was asked for.
        topic: String,
        /// Names that look like it.
        nearest: Vec<String>,
    },
    /// No such partition.
    #[error("topic {topic} has partitions 0 to {}, not {partition}", partitions - 1)]
    PartitionNotFound {
        /// The topic.
        topic: String,
        /// What was asked for.
        partition: i32,
        /// How many there are.
        partitions: u32,
    },
    /// The partition is there, but its log could not be opened.
    #[error("partition {partition} of topic {topic} is offline; GetHealth says why")]
    PartitionOffline {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
    },
    /// The replica has refused.
    #[error("{refusal} (topic {topic}, partition {partition})")]
    Refused {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// Why.
        refusal: Refusal,
    },
    /// The reader's leader epoch is not the leader's.
    #[error("leader epoch is {}, the request says {}", actual.0, asked.0)]
    WrongEpoch {
        /// What the reader knows.
        asked: LeaderEpoch,
        /// What is so.
        actual: LeaderEpoch,
    },
    /// The offset cannot be read.
    #[error(
        "offset {asked} of topic {topic}, partition {partition} is out of range: readable are \
         {start} to {end}"
    )]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// What was asked for.
        asked: i64,
        /// The log start offset.
        start: Offset,
        /// The high watermark.
        end: Offset,
    },
    /// Reading from the log failed.
    #[error("reading topic {topic}, partition {partition} failed: {source}")]
    Read {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// Why.
        source: LogError,
    },
    /// Reading from the tier failed.
    #[error("reading topic {topic}, partition {partition} failed: {source}")]
    Tier {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// Why.
        source: TierError,
    },
    /// There is no tier.
    #[error("this cluster has no tier; set tier.url to have sealed segments in object storage")]
    TierNotConfigured,
    /// The metadata has refused a change.
    #[error(transparent)]
    Metadata(#[from] Refused),
    /// The client has sent more than its credit.
    #[error("{unacked} bytes are unacknowledged on this stream, the credit is {credit}")]
    CreditExceeded {
        /// Bytes in flight.
        unacked: usize,
        /// The bound.
        credit: usize,
    },
    /// The broker is about to stop.
    #[error("the broker is about to stop")]
    Draining,
    /// The disk is full; the metadata could not grow.
    #[error("storage is full")]
    StorageFull,
    /// The data directory has failed.
    #[error("the data directory has failed: {0}")]
    StorageFailed(String),
    /// The authoriser says no.
    #[error("{principal} may not {action} {resource}")]
    Denied {
        /// Who.
        principal: String,
        /// What.
        action: &'static str,
        /// On what.
        resource: String,
    },
}

impl BrokerError {
    /// A field of the request is wrong.
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> BrokerError {
        BrokerError::Invalid {
            field: field.into(),
            message: message.into(),
        }
    }
}

fn suggestion(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}
