//! Arbitrary records and batches.

use bytes::Bytes;
use headwater_record::{Batch, BatchBuilder, Compression, Header, ProducerIdentity, Record};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

pub(crate) fn codec() -> impl Strategy<Value = Compression> {
    prop::sample::select(&CODECS[..])
}

pub(crate) fn records() -> impl Strategy<Value = Vec<Record>> {
    vec(record(), 1..12)
}

fn record() -> impl Strategy<Value = Record> {
    let timestamp_ms = prop_oneof![Just(-1), Just(0), any::<i64>().prop_map(|any| any / 2)];
    let headers = vec((".{0,8}", field(20)), 0..4);
    (field(40), field(500), headers, timestamp_ms).prop_map(
        |(key, value, headers, timestamp_ms)| Record {
            key,
            value,
            headers: headers
                .into_iter()
                .map(|(name, value)| Header { name, value })
                .collect(),
            timestamp_ms,
        },
    )
}

/// Null, noise, or bytes that compress.
fn field(bytes_max: usize) -> impl Strategy<Value = Option<Bytes>> {
    prop_oneof![
        Just(None),
        vec(any::<u8>(), 0..bytes_max).prop_map(|bytes| Some(bytes.into())),
        (any::<u8>(), 0..8 * bytes_max).prop_map(|(byte, size)| Some(vec![byte; size].into())),
    ]
}

pub(crate) fn producer() -> impl Strategy<Value = Option<ProducerIdentity>> {
    prop::option::of((0..i64::MAX, 0..i16::MAX, 0..i32::MAX).prop_map(
        |(id, epoch, base_sequence)| ProducerIdentity {
            id,
            epoch,
            base_sequence,
        },
    ))
}

pub(crate) fn batch_of(
    compression: Compression,
    producer: Option<ProducerIdentity>,
    records: &[Record],
) -> Batch {
    let mut builder = BatchBuilder::new(compression);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for record in records {
        builder.push(record).expect("the record fits");
    }
    builder.build().expect("the batch builds")
}
