//! Records that were pushed come back.
#![no_main]

use headwater_record::{Batch, BatchBuilder, Compression, Header, Record};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

#[derive(Arbitrary, Debug)]
struct Input {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    timestamp_ms: i64,
}

impl From<Input> for Record {
    fn from(input: Input) -> Record {
        let header = |(name, value): (String, Option<Vec<u8>>)| Header {
            name,
            value: value.map(Into::into),
        };
        Record {
            key: input.key.map(Into::into),
            value: input.value.map(Into::into),
            headers: input.headers.into_iter().map(header).collect(),
            timestamp_ms: input.timestamp_ms,
        }
    }
}

fuzz_target!(|input: (Codec, Vec<Input>)| {
    let (codec, inputs) = input;
    let codec = match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    };
    let mut builder = BatchBuilder::new(codec);
    let mut kept = Vec::new();
    for record in inputs.into_iter().map(Record::from) {
        // Refused where its time is too far from the first record's.
        if builder.push(&record).is_ok() {
            kept.push(record);
        }
    }
    let decoded_bytes_max = builder.size_bytes();
    let Ok(batch) = builder.build() else {
        assert!(kept.is_empty());
        return;
    };
    let batch = Batch::verify(batch.bytes().clone(), usize::MAX).expect("an own batch verifies");
    let read = batch
        .records(decoded_bytes_max)
        .expect("an own batch decodes");
    assert!(read.into_iter().map(|stored| stored.record).eq(kept));
});
