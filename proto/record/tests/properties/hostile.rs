//! Bytes that are no batch, or no longer one: refused, never a panic.

use bytes::{BufMut, Bytes};
use headwater_record::{Batch, BatchHeader, Header, Record, RecordError, batches};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::DECODED_BYTES_MAX;
use crate::strategy::{CODECS, batch_of, codec, records};

/// Makes length and CRC fit the bytes, so that what comes behind those checks is reached.
fn sealed(mut bytes: Vec<u8>) -> Bytes {
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn read_sealed(bytes: Vec<u8>) -> Result<usize, RecordError> {
    let batch = Batch::verify(sealed(bytes), usize::MAX)?;
    let records = batch.records(DECODED_BYTES_MAX)?;
    assert_eq!(records.len(), batch.header().record_count as usize);
    Ok(records.len())
}

fn some_records() -> Vec<Record> {
    let header = |name: &str, value: Option<&'static [u8]>| Header {
        name: name.to_owned(),
        value: value.map(Bytes::from_static),
    };
    let record = |timestamp_ms| Record {
        key: Some(Bytes::from_static(b"N14228")),
        value: Some(Bytes::from_static(&[b'x'; 60])),
        headers: vec![header("trace", Some(b"1")), header("null", None)],
        timestamp_ms,
    };
    (0..4).map(record).collect()
}

#[test]
fn a_flipped_bit_is_found_wherever_the_crc_looks() {
    for codec in CODECS {
        let batch = batch_of(codec, None, &some_records());
        for at in 0..batch.bytes().len() {
            for bit in 0..8 {
                let mut bytes = batch.bytes().to_vec();
                bytes[at] ^= 1 << bit;
                let walked = batches(bytes.clone().into()).next();
                let verified = Batch::verify(bytes.into(), usize::MAX);
                let outside_crc = matches!(at, 0..8 | 12..16);
                let sign_of_offset = (at, bit) == (0, 7);
                assert_eq!(
                    verified.is_ok(),
                    outside_crc && !sign_of_offset,
                    "{codec} {at}.{bit}"
                );
                assert_eq!(
                    matches!(walked, Some(Ok(_))),
                    verified.is_ok(),
                    "{codec} {at}.{bit}"
                );
            }
        }
    }
}

#[test]
fn a_flipped_bit_under_a_fitting_crc_never_panics() {
    for codec in CODECS {
        let batch = batch_of(codec, None, &some_records());
        let mut refused = 0;
        for at in 0..batch.bytes().len() {
            for bit in 0..8 {
                let mut bytes = batch.bytes().to_vec();
                bytes[at] ^= 1 << bit;
                refused += usize::from(read_sealed(bytes).is_err());
            }
        }
        assert!(refused > 100, "{codec}: only {refused} refused");
    }
}

#[test]
fn every_cut_is_refused() {
    for codec in CODECS {
        let batch = batch_of(codec, None, &some_records());
        for size in 0..batch.bytes().len() {
            let cut = Batch::verify(batch.bytes().slice(..size), usize::MAX);
            assert!(
                matches!(cut, Err(RecordError::Truncated { .. })),
                "{codec} {size}"
            );
            if size >= BatchHeader::SIZE_BYTES {
                // What is cut may be a codec's end mark or checksum, behind the last record.
                let resealed = read_sealed(batch.bytes()[..size].to_vec());
                assert!(matches!(resealed, Err(_) | Ok(4)), "{codec} {size}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn noise_never_panics(noise in vec(any::<u8>(), 0..300)) {
        let _ = BatchHeader::decode(&noise);
        prop_assert!(Batch::verify(noise.clone().into(), usize::MAX).is_err());
        prop_assert!(batches(noise.into()).all(|batch| batch.is_err()));
    }

    #[test]
    fn noise_behind_a_sound_header_never_panics(
        noise in vec(any::<u8>(), 0..300),
        codec in codec(),
        count in prop_oneof![1..50i32, Just(i32::MAX)],
    ) {
        let mut bytes = batch_of(codec, None, &some_records()).bytes()[..61].to_vec();
        bytes[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        bytes.put_slice(&noise);
        let _ = read_sealed(bytes);
    }

    #[test]
    fn splices_of_sound_batches_never_panic(
        records in records(),
        codec in codec(),
        at in any::<prop::sample::Index>(),
        noise in vec(any::<u8>(), 1..20),
        replaced in 0..20usize,
    ) {
        let mut bytes = batch_of(codec, None, &records).bytes().to_vec();
        let at = 61 + at.index(bytes.len() - 61);
        let end = (at + replaced).min(bytes.len());
        bytes.splice(at..end, noise);
        let _ = read_sealed(bytes);
    }
}
