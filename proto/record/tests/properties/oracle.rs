//! The kafka-protocol crate as a second opinion. It keeps headers in a map, so names do not repeat
//! here; Apache's own client is the witness for those.

use bytes::{Bytes, BytesMut};
use headwater_record::{Batch, Compression, Header, ProducerIdentity, Record};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as theirs;
use kafka_protocol::records::{RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions};
use proptest::prelude::*;

use crate::strategy::{batch_of, codec, producer, records};

fn without_repeated_names(mut records: Vec<Record>) -> Vec<Record> {
    for record in &mut records {
        record.headers.sort_by(|a, b| a.name.cmp(&b.name));
        record.headers.dedup_by(|a, b| a.name == b.name);
    }
    records
}

fn their_codec(codec: Compression) -> theirs::Compression {
    match codec {
        Compression::None => theirs::Compression::None,
        Compression::Gzip => theirs::Compression::Gzip,
        Compression::Snappy => theirs::Compression::Snappy,
        Compression::Lz4 => theirs::Compression::Lz4,
        Compression::Zstd => theirs::Compression::Zstd,
    }
}

fn to_theirs(record: &Record, place: i32, producer: Option<ProducerIdentity>) -> theirs::Record {
    let base_sequence = producer.map_or(0, |producer| producer.base_sequence);
    theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 5,
        producer_id: producer.map_or(-1, |producer| producer.id),
        producer_epoch: producer.map_or(-1, |producer| producer.epoch),
        timestamp_type: theirs::TimestampType::Creation,
        offset: i64::from(place),
        sequence: base_sequence.wrapping_add(place),
        timestamp: record.timestamp_ms,
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record
            .headers
            .iter()
            .map(|header| (StrBytes::from(header.name.clone()), header.value.clone()))
            .collect(),
    }
}

fn from_theirs(record: theirs::Record) -> Record {
    Record {
        key: record.key,
        value: record.value,
        headers: record
            .headers
            .into_iter()
            .map(|(name, value)| Header {
                name: name.to_string(),
                value,
            })
            .collect(),
        timestamp_ms: record.timestamp,
    }
}

proptest! {
    #[test]
    fn the_kafka_protocol_crate_reads_our_batches(
        records in records().prop_map(without_repeated_names),
        codec in codec(),
        producer in producer(),
    ) {
        let batch = batch_of(codec, producer, &records);
        let set = RecordBatchDecoder::decode(&mut batch.bytes().clone()).expect("it decodes");
        prop_assert_eq!(set.compression as i16, their_codec(codec) as i16);
        prop_assert_eq!(set.records[0].producer_id, producer.map_or(-1, |producer| producer.id));
        let read: Vec<Record> = set.records.into_iter().map(from_theirs).collect();
        prop_assert_eq!(read, records);
    }

    #[test]
    fn we_read_batches_of_the_kafka_protocol_crate(
        records in records().prop_map(without_repeated_names),
        codec in codec(),
        producer in producer(),
    ) {
        let theirs: Vec<theirs::Record> = records
            .iter()
            .zip(0..)
            .map(|(record, place)| to_theirs(record, place, producer))
            .collect();
        let options = RecordEncodeOptions { version: 2, compression: their_codec(codec) };
        let mut bytes = BytesMut::new();
        RecordBatchEncoder::encode(&mut bytes, &theirs, &options).expect("it encodes");
        let batch = Batch::verify(Bytes::from(bytes), usize::MAX).expect("it verifies");
        prop_assert_eq!(batch.header().producer, producer);
        prop_assert_eq!(batch.header().leader_epoch.0, 5);
        prop_assert_eq!(crate::read(&batch), records);
    }
}
