//! Bytes as they come from a socket or a file.
#![no_main]

use bytes::Bytes;
use headwater_record::{Batch, BatchHeader, batches};
use libfuzzer_sys::fuzz_target;

const DECODED_BYTES_MAX: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let _ = BatchHeader::decode(bytes);
    let bytes = Bytes::copy_from_slice(bytes);
    let _ = Batch::verify(bytes.clone(), usize::MAX);
    for batch in batches(bytes).flatten() {
        let _ = batch.records(DECODED_BYTES_MAX);
    }
});
