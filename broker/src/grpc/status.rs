//! Errors on the wire: a `google.rpc` status with details for a whole call, the same facts in a
//! message for one entry of a call. Reasons are stable; `docs/errors.md` lists them.

use std::collections::HashMap;
use std::time::Duration;

use headwater_core::metadata::Refused;
use headwater_core::replica::Refusal;
use headwater_log::LogError;
use headwater_proto::v1;
use headwater_tier::TierError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::BrokerError;
use crate::facade::ROOM_REMEDY;

/// `ErrorInfo.domain` of everything that we say.
pub(super) const DOMAIN: &str = "headwater.dev";

/// How soon a refused request may be tried again.
const RETRY_AFTER: Duration = Duration::from_millis(100);
/// How soon to try again when somebody has to make room first.
const RETRY_AFTER_FULL: Duration = Duration::from_secs(5);

/// What the wire needs of an error.
struct Facts {
    code: Code,
    reason: &'static str,
    message: String,
    metadata: HashMap<String, String>,
    /// Path of the field that is wrong.
    field: Option<String>,
    /// Whether, and how soon, the same request may succeed.
    retry_after: Option<Duration>,
}

impl Facts {
    fn new(code: Code, reason: &'static str, message: impl Into<String>) -> Facts {
        Facts {
            code,
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            field: None,
            retry_after: None,
        }
    }

    fn with(mut self, name: &str, value: impl ToString) -> Facts {
        self.metadata.insert(name.to_owned(), value.to_string());
        self
    }

    fn field(mut self, field: impl Into<String>) -> Facts {
        self.field = Some(field.into());
        self
    }

    fn retry(mut self, after: Duration) -> Facts {
        self.retry_after = Some(after);
        self
    }
}

/// The error of a whole call.
pub(super) fn status(error: &BrokerError) -> Status {
    let facts = facts(error);
    let mut details = ErrorDetails::new();
    details.set_error_info(facts.reason, DOMAIN, facts.metadata);
    if let Some(field) = facts.field {
        details.add_bad_request_violation(field, facts.message.clone());
    }
    if let Some(after) = facts.retry_after {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(facts.code, facts.message, details)
}

/// The error of one entry.
pub(super) fn entry(error: &BrokerError) -> v1::Error {
    let facts = facts(error);
    let mut metadata = facts.metadata;
    if let Some(field) = facts.field {
        metadata.insert("field".to_owned(), field);
    }
    v1::Error {
        code: facts.code as i32,
        reason: facts.reason.to_owned(),
        message: facts.message,
        metadata,
        retriable: facts.retry_after.is_some(),
    }
}

/// The stable reason, for metrics.
pub(super) fn reason(error: &BrokerError) -> &'static str {
    facts(error).reason
}

impl From<BrokerError> for Status {
    fn from(error: BrokerError) -> Status {
        status(&error)
    }
}

fn facts(error: &BrokerError) -> Facts {
    let message = error.to_string();
    match error {
        BrokerError::Invalid { field, .. } => {
            Facts::new(Code::InvalidArgument, "INVALID_FIELD", message).field(field)
        }
        BrokerError::Name { field, .. } => {
            Facts::new(Code::InvalidArgument, "INVALID_NAME", message).field(*field)
        }
        BrokerError::Batch(_) => {
            Facts::new(Code::InvalidArgument, "INVALID_BATCH", message).field("batch")
        }
        BrokerError::TopicNotFound { topic, nearest } => {
            Facts::new(Code::NotFound, "TOPIC_NOT_FOUND", message)
                .with("topic", topic)
                .with("nearest", nearest.join(","))
        }
        BrokerError::PartitionNotFound {
            topic,
            partition,
            partitions,
        } => Facts::new(Code::NotFound, "PARTITION_NOT_FOUND", message)
            .with("topic", topic)
            .with("partition", partition)
            .with("partitions", partitions),
        BrokerError::PartitionOffline { topic, partition } => {
            Facts::new(Code::Unavailable, "PARTITION_OFFLINE", message)
                .with("topic", topic)
                .with("partition", partition)
                .retry(RETRY_AFTER)
        }
        BrokerError::Refused {
            topic,
            partition,
            refusal,
        } => refusal_facts(refusal, message)
            .with("topic", topic)
            .with("partition", partition),
        BrokerError::WrongEpoch { asked, actual } => {
            let (reason, known) = if asked < actual {
                (
                    "FENCED_LEADER_EPOCH",
                    "the reader's metadata is old; refresh it",
                )
            } else {
                (
                    "UNKNOWN_LEADER_EPOCH",
                    "this broker has not heard of that leadership yet",
                )
            };
            Facts::new(
                Code::FailedPrecondition,
                reason,
                format!("{message}: {known}"),
            )
            .with("leader_epoch", actual.0)
        }
        BrokerError::OffsetOutOfRange {
            topic,
            partition,
            start,
            end,
            ..
        } => Facts::new(Code::OutOfRange, "OFFSET_OUT_OF_RANGE", message)
            .with("topic", topic)
            .with("partition", partition)
            .with("log_start_offset", start)
            .with("high_watermark", end),
        BrokerError::Read {
            topic,
            partition,
            source,
        } => read_facts(source, message)
            .with("topic", topic)
            .with("partition", partition),
        BrokerError::Tier {
            topic,
            partition,
            source,
        } => tier_facts(source, message)
            .with("topic", topic)
            .with("partition", partition),
        BrokerError::TierNotConfigured => {
            Facts::new(Code::FailedPrecondition, "TIER_NOT_CONFIGURED", message)
        }
        BrokerError::Metadata(refused) => metadata_facts(refused, message),
        BrokerError::CreditExceeded { credit, .. } => {
            Facts::new(Code::ResourceExhausted, "CREDIT_EXCEEDED", message)
                .with("credit_bytes", credit)
        }
        BrokerError::Draining => {
            Facts::new(Code::Unavailable, "DRAINING", message).retry(RETRY_AFTER)
        }
        BrokerError::StorageFull => refusal_facts(&Refusal::StorageFull, message),
        BrokerError::StorageFailed(_) => Facts::new(Code::Unavailable, "STORAGE_FAILED", message),
        BrokerError::Denied { .. } => Facts::new(Code::PermissionDenied, "DENIED", message),
    }
}

fn refusal_facts(refusal: &Refusal, message: String) -> Facts {
    match refusal {
        Refusal::NotLeader => {
            Facts::new(Code::Unavailable, "NOT_LEADER", message).retry(RETRY_AFTER)
        }
        Refusal::TooLarge { max, .. } => {
            let remedy = "send smaller batches, or raise the topic's message_bytes_max";
            Facts::new(
                Code::InvalidArgument,
                "RECORD_TOO_LARGE",
                format!("{message}: {remedy}"),
            )
            .with("message_bytes_max", max)
            .field("batch")
        }
        Refusal::ControlBatch => {
            Facts::new(Code::InvalidArgument, "CONTROL_BATCH", message).field("batch")
        }
        Refusal::Transactional => {
            Facts::new(Code::InvalidArgument, "TRANSACTIONAL_BATCH", message).field("batch")
        }
        Refusal::TimestampAhead { ahead_ms_max, .. } => {
            let remedy = "check the producer's clock, or raise the topic's timestamp_ahead_ms_max";
            Facts::new(
                Code::InvalidArgument,
                "TIMESTAMP_AHEAD",
                format!("{message}: {remedy}"),
            )
            .with("timestamp_ahead_ms_max", ahead_ms_max)
            .field("timestamp_ms")
        }
        Refusal::OffsetMismatch { expected, actual } => {
            Facts::new(Code::Aborted, "OFFSET_MISMATCH", message)
                .with("expected_offset", expected)
                .with("actual_offset", actual)
        }
        Refusal::OrderBroken => {
            let remedy = "resolve the first failure, then go on in a higher window";
            Facts::new(
                Code::Aborted,
                "ORDER_BROKEN",
                format!("{message}: {remedy}"),
            )
        }
        Refusal::Fenced { current_epoch } => {
            Facts::new(Code::FailedPrecondition, "FENCED", message)
                .with("current_epoch", current_epoch)
        }
        Refusal::OutOfOrder { expected, got } => {
            Facts::new(Code::FailedPrecondition, "OUT_OF_ORDER_SEQUENCE", message)
                .with("expected_sequence", expected)
                .with("sequence", got)
        }
        Refusal::SequenceReused { base_sequence } => {
            Facts::new(Code::FailedPrecondition, "SEQUENCE_REUSED", message)
                .with("sequence", base_sequence)
        }
        Refusal::UnknownProducer => {
            Facts::new(Code::FailedPrecondition, "UNKNOWN_PRODUCER", message)
        }
        Refusal::TooManyProducers { max } => {
            Facts::new(Code::ResourceExhausted, "TOO_MANY_PRODUCERS", message)
                .with("producers_max", max)
                .retry(RETRY_AFTER_FULL)
        }
        Refusal::TooManyUnacked { max } => {
            Facts::new(Code::ResourceExhausted, "TOO_MANY_UNACKED", message)
                .with("unacked_batches_max", max)
                .retry(RETRY_AFTER)
        }
        Refusal::NotEnoughReplicas { in_sync, min } => {
            Facts::new(Code::Unavailable, "NOT_ENOUGH_REPLICAS", message)
                .with("in_sync_replicas", in_sync)
                .with("min_in_sync_replicas", min)
                .retry(RETRY_AFTER)
        }
        Refusal::StorageFull => {
            let tier = "GetHealth says what waits for the tier";
            Facts::new(
                Code::ResourceExhausted,
                "STORAGE_FULL",
                format!("{message}: {ROOM_REMEDY}; {tier}"),
            )
            .retry(RETRY_AFTER_FULL)
        }
        Refusal::AboveHighWatermark { high_watermark, .. } => {
            Facts::new(Code::OutOfRange, "OFFSET_OUT_OF_RANGE", message)
                .with("high_watermark", high_watermark)
                .field("before_offset")
        }
        Refusal::StorageFailed => Facts::new(Code::Unavailable, "STORAGE_FAILED", message),
        Refusal::OutcomeUnknown => Facts::new(Code::Unknown, "OUTCOME_UNKNOWN", message),
    }
}

fn read_facts(error: &LogError, message: String) -> Facts {
    match error {
        LogError::DataLoss { range } => {
            let remedy = "the rest of the partition can be read; go on behind the range";
            Facts::new(Code::DataLoss, "DATA_LOSS", format!("{message}: {remedy}"))
                .with("from_offset", range.start)
                .with("to_offset", range.end)
        }
        _ => Facts::new(Code::Unavailable, "READ_FAILED", message),
    }
}

fn tier_facts(error: &TierError, message: String) -> Facts {
    match error {
        TierError::DataLoss { range, object, .. } => {
            let remedy = "restore the object if you have a copy; the rest of the partition can be read: go on behind \
                          the range";
            Facts::new(Code::DataLoss, "DATA_LOSS", format!("{message}: {remedy}"))
                .with("from_offset", range.start)
                .with("to_offset", range.end)
                .with("object", object)
        }
        TierError::Damaged { object, .. } => {
            let remedy =
                "restore the object from a copy, or delete the records below the local start";
            Facts::new(
                Code::DataLoss,
                "TIER_MANIFEST_DAMAGED",
                format!("{message}: {remedy}"),
            )
            .with("object", object)
        }
        _ => {
            let remedy = "records on the broker's disk can be read all the same; try again";
            Facts::new(
                Code::Unavailable,
                "TIER_UNAVAILABLE",
                format!("{message}: {remedy}"),
            )
            .retry(RETRY_AFTER)
        }
    }
}

fn metadata_facts(refused: &Refused, message: String) -> Facts {
    let code = match refused.kind() {
        headwater_core::metadata::RefusedKind::NotFound => Code::NotFound,
        headwater_core::metadata::RefusedKind::AlreadyExists => Code::AlreadyExists,
        headwater_core::metadata::RefusedKind::Invalid => Code::InvalidArgument,
        headwater_core::metadata::RefusedKind::Conflict => Code::Aborted,
        headwater_core::metadata::RefusedKind::Limit => Code::ResourceExhausted,
        headwater_core::metadata::RefusedKind::Precondition => Code::FailedPrecondition,
        headwater_core::metadata::RefusedKind::Unavailable => Code::Unavailable,
    };
    let mut facts = Facts::new(code, refused.reason(), message);
    for (name, value) in refused.facts() {
        facts = facts.with(name, value);
    }
    match refused.field() {
        Some(field) => facts.field(field),
        None => facts,
    }
}
