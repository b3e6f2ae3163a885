//! What stands behind a sound header and a fitting CRC: the first byte chooses the codec, the next
//! four are the record count, the rest is the payload.
#![no_main]

use bytes::Bytes;
use headwater_record::{Batch, BatchBuilder, BatchHeader, Compression, Record};
use libfuzzer_sys::fuzz_target;

const DECODED_BYTES_MAX: usize = 1 << 20;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

fuzz_target!(|input: &[u8]| {
    let Some((head, payload)) = input.split_first_chunk::<5>() else {
        return;
    };
    let codec = CODECS[usize::from(head[0]) % CODECS.len()];
    let count = (u32::from_be_bytes([head[1], head[2], head[3], head[4]]) >> 1).max(1);
    let batch = sealed(codec, count, payload);
    if let Ok(records) = batch.records(DECODED_BYTES_MAX) {
        assert_eq!(records.len(), count as usize);
        let sizes = records.iter().map(|stored| {
            let size = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
            size(&stored.record.key) + size(&stored.record.value)
        });
        assert!(sizes.sum::<usize>() <= DECODED_BYTES_MAX);
    }
});

fn sealed(codec: Compression, count: u32, payload: &[u8]) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    builder.push(&Record::default()).expect("a record fits");
    let template = builder.build().expect("a batch builds");
    let mut bytes = template.bytes()[..BatchHeader::SIZE_BYTES].to_vec();
    bytes.extend_from_slice(payload);
    let length = (bytes.len() - 12) as u32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Batch::verify(bytes.into(), usize::MAX).expect("header and CRC are sound")
}
