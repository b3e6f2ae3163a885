//! Wire messages to domain types, once, at the edge. What cannot be said in the domain's types is
//! refused here, naming the field.

use headwater_core::metadata::Retention;
use headwater_core::replica::Acks;
use headwater_proto::v1;
use headwater_record::{
    Compression, Header, LeaderEpoch, Offset, ProducerIdentity, Record, StoredRecord,
};

use crate::error::BrokerError;
use crate::facade::RecordsRequest;
use crate::limits::{HEADERS_MAX, REQUEST_PARTITIONS_MAX};
use crate::partition::read::Position;

pub(super) fn acks(acks: i32) -> Result<Acks, BrokerError> {
    match v1::Acks::try_from(acks) {
        Ok(v1::Acks::Unspecified | v1::Acks::All) => Ok(Acks::All),
        Ok(v1::Acks::Leader) => Ok(Acks::Leader),
        Ok(v1::Acks::None) => Ok(Acks::None),
        Err(_) => Err(BrokerError::invalid(
            "acks",
            format!("{acks} is none of 0 to 3"),
        )),
    }
}

/// `None` for unspecified.
pub(super) fn compression(compression: i32) -> Result<Option<Compression>, BrokerError> {
    Ok(match v1::Compression::try_from(compression) {
        Ok(v1::Compression::Unspecified) => None,
        Ok(v1::Compression::None) => Some(Compression::None),
        Ok(v1::Compression::Gzip) => Some(Compression::Gzip),
        Ok(v1::Compression::Snappy) => Some(Compression::Snappy),
        Ok(v1::Compression::Lz4) => Some(Compression::Lz4),
        Ok(v1::Compression::Zstd) => Some(Compression::Zstd),
        Err(_) => {
            let message = format!("{compression} is none of 0 to 5");
            return Err(BrokerError::invalid("compression", message));
        }
    })
}

pub(super) fn compression_to_wire(compression: Compression) -> v1::Compression {
    match compression {
        Compression::None => v1::Compression::None,
        Compression::Gzip => v1::Compression::Gzip,
        Compression::Snappy => v1::Compression::Snappy,
        Compression::Lz4 => v1::Compression::Lz4,
        Compression::Zstd => v1::Compression::Zstd,
    }
}

pub(super) fn expected_offset(offset: Option<i64>) -> Result<Option<Offset>, BrokerError> {
    let parse = |offset| {
        Offset::from_i64(offset)
            .ok_or_else(|| BrokerError::invalid("expected_offset", format!("{offset} is negative")))
    };
    offset.map(parse).transpose()
}

pub(super) fn leader_epoch(epoch: Option<i32>) -> Result<Option<LeaderEpoch>, BrokerError> {
    let parse = |epoch| {
        let epoch = u32::try_from(epoch).map(LeaderEpoch);
        epoch.map_err(|_| BrokerError::invalid("leader_epoch", "it is negative"))
    };
    epoch.map(parse).transpose()
}

pub(super) fn position(position: Option<v1::Position>) -> Result<Position, BrokerError> {
    use v1::position::Position as Wire;
    let invalid = |message: String| Err(BrokerError::invalid("position", message));
    match position.and_then(|position| position.position) {
        Some(Wire::Offset(offset)) => Ok(Position::Offset(offset)),
        Some(Wire::TimestampMs(timestamp_ms)) => Ok(Position::Timestamp(timestamp_ms)),
        Some(Wire::Bound(bound)) => match v1::Bound::try_from(bound) {
            Ok(v1::Bound::Earliest) => Ok(Position::Earliest),
            Ok(v1::Bound::Latest) => Ok(Position::Latest),
            _ => invalid(format!(
                "bound {bound} is neither 1 (earliest) nor 2 (latest)"
            )),
        },
        Some(Wire::LastN(count)) => match u64::try_from(count) {
            Ok(count) => Ok(Position::Last(count)),
            Err(_) => invalid(format!("last_n is {count}, it must not be negative")),
        },
        None => invalid("give one of offset, timestamp_ms, bound and last_n".to_owned()),
    }
}

pub(super) fn producer(
    producer: Option<v1::Producer>,
    base_sequence: Option<i32>,
) -> Result<Option<ProducerIdentity>, BrokerError> {
    let Some(producer) = producer else {
        return match base_sequence {
            None => Ok(None),
            Some(_) => Err(BrokerError::invalid(
                "base_sequence",
                "it means nothing without `producer`",
            )),
        };
    };
    let Some(base_sequence) = base_sequence.filter(|sequence| *sequence >= 0) else {
        let message = "required with `producer`, at least 0";
        return Err(BrokerError::invalid("base_sequence", message));
    };
    let epoch = i16::try_from(producer.epoch)
        .ok()
        .filter(|epoch| *epoch >= 0);
    match epoch {
        Some(epoch) if producer.id >= 0 => Ok(Some(ProducerIdentity {
            id: producer.id,
            epoch,
            base_sequence,
        })),
        _ => {
            let message = "take id and epoch from InitProducer: id at least 0, epoch 0 to 32767";
            Err(BrokerError::invalid("producer", message))
        }
    }
}

/// Records with whether each has a time of its own.
pub(super) fn records(records: Vec<v1::Record>) -> Result<Vec<(Record, bool)>, BrokerError> {
    records
        .into_iter()
        .enumerate()
        .map(|(index, wire)| record(index, wire))
        .collect()
}

fn record(index: usize, wire: v1::Record) -> Result<(Record, bool), BrokerError> {
    if wire.headers.len() > HEADERS_MAX {
        let message = format!("{} headers, the limit is {HEADERS_MAX}", wire.headers.len());
        return Err(BrokerError::invalid(
            format!("records[{index}].headers"),
            message,
        ));
    }
    let has_time = wire.timestamp_ms.is_some();
    let timestamp_ms = wire.timestamp_ms.unwrap_or_default();
    if timestamp_ms < 0 {
        let message = format!("{timestamp_ms} is before 1970");
        return Err(BrokerError::invalid(
            format!("records[{index}].timestamp_ms"),
            message,
        ));
    }
    let headers = wire.headers.into_iter().map(|header| Header {
        name: header.name,
        value: header.value,
    });
    let record = Record {
        key: wire.key,
        value: wire.value,
        headers: headers.collect(),
        timestamp_ms,
    };
    Ok((record, has_time))
}

pub(super) fn record_to_wire(stored: StoredRecord, partition: u32) -> v1::Record {
    let StoredRecord { offset, record } = stored;
    let headers = record.headers.into_iter().map(|header| v1::Header {
        name: header.name,
        value: header.value,
    });
    v1::Record {
        key: record.key,
        value: record.value,
        headers: headers.collect(),
        timestamp_ms: Some(record.timestamp_ms),
        offset: offset.to_i64(),
        partition: partition as i32,
    }
}

/// A unary produce of plain records.
pub(super) fn records_request(request: v1::ProduceRequest) -> Result<RecordsRequest, BrokerError> {
    if request.records.is_empty() {
        return Err(BrokerError::invalid(
            "records",
            "set either `records` or `batch`",
        ));
    }
    let producer = producer(request.producer, request.base_sequence)?;
    if request.partition.is_none() {
        let needs_partition = [
            (producer.is_some(), "producer"),
            (request.expected_offset.is_some(), "expected_offset"),
        ];
        if let Some((_, field)) = needs_partition.into_iter().find(|(given, _)| *given) {
            let message = format!("required with `{field}`");
            return Err(BrokerError::invalid("partition", message));
        }
    }
    Ok(RecordsRequest {
        topic: request.topic,
        partition: request.partition,
        records: records(request.records)?,
        compression: compression(request.compression)?,
        producer,
        acks: acks(request.acks)?,
        expected_offset: expected_offset(request.expected_offset)?,
    })
}

/// A unary produce of one batch: what means nothing beside it is refused.
pub(super) fn only_batch(request: &v1::ProduceRequest) -> Result<(), BrokerError> {
    let conflicts = [
        (
            !request.records.is_empty(),
            "records",
            "set either `records` or `batch`",
        ),
        (
            request.partition.is_none(),
            "partition",
            "required with `batch`",
        ),
        (
            request.producer.is_some(),
            "producer",
            "a batch carries its own",
        ),
        (
            request.base_sequence.is_some(),
            "base_sequence",
            "a batch carries its own",
        ),
        (
            request.compression != 0,
            "compression",
            "a batch carries its own",
        ),
    ];
    match conflicts.into_iter().find(|(wrong, ..)| *wrong) {
        Some((_, field, message)) => Err(BrokerError::invalid(field, message)),
        None => Ok(()),
    }
}

/// A bound of what is kept; -1 is none. `allowed` says what else may be given.
pub(super) fn retention(
    field: &str,
    given: Option<i64>,
    allowed: &str,
) -> Result<Option<Retention>, BrokerError> {
    let parse =
        |value| Retention::from_i64(value).ok_or_else(|| BrokerError::invalid(field, allowed));
    given.map(parse).transpose()
}

/// Requests name at least one partition and not too many.
pub(super) fn check_count(field: &str, count: usize) -> Result<(), BrokerError> {
    match count {
        0 => Err(BrokerError::invalid(field, "at least one is required")),
        1..=REQUEST_PARTITIONS_MAX => Ok(()),
        _ => {
            let message = format!("{count} entries, the limit is {REQUEST_PARTITIONS_MAX}");
            Err(BrokerError::invalid(field, message))
        }
    }
}

/// A count of bytes or milliseconds; 0 is `default`.
pub(super) fn size(field: &str, value: i32, default: usize) -> Result<usize, BrokerError> {
    match usize::try_from(value) {
        Ok(0) => Ok(default),
        Ok(value) => Ok(value),
        Err(_) => Err(BrokerError::invalid(field, format!("{value} is negative"))),
    }
}
