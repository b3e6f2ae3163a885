//! What can go wrong, with the facts.

use std::collections::BTreeMap;
use std::time::Duration;

pub use tonic::Code;

/// What went wrong. The text says what, why and what to do; the fields are for programs.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The broker answered, with an error.
    #[error("{0}")]
    Broker(Box<BrokerError>),
    /// No connection came about.
    #[error("cannot connect to {endpoint}: {cause}; is a broker running there?")]
    Connect {
        /// Where to.
        endpoint: String,
        /// Why not.
        cause: String,
    },
    /// The connection broke during a call; whether the call had an effect is unknown.
    #[error("the connection to {endpoint} broke: {cause}")]
    Connection {
        /// Where to.
        endpoint: String,
        /// What was seen.
        cause: String,
    },
    /// No answer in time; whether the call had an effect is unknown.
    #[error("no answer from {endpoint} within {after:?}")]
    Timeout {
        /// Where to.
        endpoint: String,
        /// The bound.
        after: Duration,
    },
    /// A consumer's position cannot be read.
    #[error(
        "{topic}/{partition}: offset {offset} is out of range, offsets {log_start_offset} to \
         {high_watermark} can be read; seek, or choose earliest or latest for this case"
    )]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The position.
        offset: u64,
        /// The oldest offset that can be read.
        log_start_offset: u64,
        /// The end of what can be read.
        high_watermark: u64,
    },
    /// The broker's or the tier's copy of these records is damaged and there is no other.
    #[error(
        "{topic}/{partition}: offsets {start_offset} to {end_offset} (exclusive) are damaged {}; \
         seek behind them, or choose to skip such ranges",
        place(object.as_deref())
    )]
    DataLoss {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// First damaged offset.
        start_offset: u64,
        /// First offset behind the damage.
        end_offset: u64,
        /// The object of the tier that is missing or not what it was; absent: the damage is on
        /// the broker's disk.
        object: Option<String>,
    },
    /// A batch was sent and its answer never came within the delivery timeout, or the broker has
    /// forgotten this producer. The records may be stored or not; they are not sent again.
    #[error(
        "{topic}/{partition}: it is unknown whether {records} records were stored: {cause}; read \
         the partition to find out before sending them again"
    )]
    OutcomeUnknown {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// How many records.
        records: u32,
        /// Why it is unknown.
        cause: String,
    },
    /// A batch could not be stored within the delivery timeout. It certainly is not stored.
    #[error("{topic}/{partition}: not stored within {after:?}: {cause}")]
    DeliveryTimeout {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The delivery timeout.
        after: Duration,
        /// What stood in the way.
        cause: String,
    },
    /// A record is larger than a batch may be, or than the producer's buffer.
    #[error("a record of {bytes} bytes is larger than the limit of {limit} bytes ({limit_name})")]
    RecordTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
        /// Which limit.
        limit_name: &'static str,
    },
    /// There is no such topic.
    #[error("topic {topic} does not exist; create it, or look for the right name in the list")]
    NoSuchTopic {
        /// What was asked for.
        topic: String,
    },
    /// The topic has no such partition.
    #[error("{topic} has {partitions} partitions, there is no partition {partition}")]
    NoSuchPartition {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// How many there are, numbered from 0.
        partitions: u32,
    },
    /// A record cannot be encoded, or bytes of the broker cannot be decoded.
    #[error("{0}")]
    Record(#[from] headwater_record::RecordError),
    /// A setting cannot work.
    #[error("{message}")]
    InvalidConfig {
        /// Which, and why.
        message: String,
    },
    /// The broker said something that the contract does not allow.
    #[error("the broker broke the protocol: {message}")]
    Protocol {
        /// What it said.
        message: String,
    },
    /// The producer or consumer was closed.
    #[error("closed")]
    Closed,
}

/// What the broker said, from gRPC status and `google.rpc` details.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", if reason.is_empty() { String::new() } else { format!(" ({reason})") })]
pub struct BrokerError {
    /// The gRPC code.
    pub code: Code,
    /// Stable, UPPER_SNAKE; empty if the answer had none (not a Headwater broker).
    pub reason: String,
    /// For people.
    pub message: String,
    /// Facts by name: the limit, the actual offset, the bounds.
    pub metadata: BTreeMap<String, String>,
    /// Whether the very same request may succeed later.
    pub retriable: bool,
    /// How long the broker asks to wait first.
    pub retry_after: Option<Duration>,
}

/// Where a record was damaged, for people.
fn place(object: Option<&str>) -> String {
    match object {
        Some(object) => format!("in the tier, in object {object}"),
        None => "on the broker".to_owned(),
    }
}

impl Error {
    /// Whether the same request may succeed later. False when the outcome is unknown.
    pub fn retriable(&self) -> bool {
        match self {
            Error::Broker(broker) => broker.retriable,
            Error::Connect { .. } | Error::DeliveryTimeout { .. } => true,
            _ => false,
        }
    }

    /// Whether a call that has no effect, or the same effect twice, may be tried again.
    pub(crate) fn is_transient(&self) -> bool {
        self.retriable() || matches!(self, Error::Connection { .. } | Error::Timeout { .. })
    }

    /// Stable, UPPER_SNAKE: the broker's reason, or one of this crate.
    pub fn reason(&self) -> &str {
        match self {
            Error::Broker(broker) => &broker.reason,
            Error::Connect { .. } => "CONNECT",
            Error::Connection { .. } => "CONNECTION",
            Error::Timeout { .. } => "TIMEOUT",
            Error::OffsetOutOfRange { .. } => "OFFSET_OUT_OF_RANGE",
            Error::DataLoss { .. } => "DATA_LOSS",
            Error::OutcomeUnknown { .. } => "OUTCOME_UNKNOWN",
            Error::DeliveryTimeout { .. } => "DELIVERY_TIMEOUT",
            Error::RecordTooLarge { .. } => "RECORD_TOO_LARGE",
            Error::NoSuchTopic { .. } => "TOPIC_NOT_FOUND",
            Error::NoSuchPartition { .. } => "PARTITION_NOT_FOUND",
            Error::Record(_) => "INVALID_RECORD",
            Error::InvalidConfig { .. } => "INVALID_CONFIG",
            Error::Protocol { .. } => "PROTOCOL",
            Error::Closed => "CLOSED",
        }
    }

    /// What the broker said, if it did.
    pub fn broker(&self) -> Option<&BrokerError> {
        match self {
            Error::Broker(broker) => Some(broker),
            _ => None,
        }
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Error {
        Error::Protocol {
            message: message.into(),
        }
    }

    pub(crate) fn invalid_config(message: impl Into<String>) -> Error {
        Error::InvalidConfig {
            message: message.into(),
        }
    }
}
