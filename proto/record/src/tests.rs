//! Batches through the public API, corner by corner.

use bytes::Bytes;

use super::*;

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

const DECODED_BYTES_MAX: usize = 1 << 20;

fn corner_records() -> Vec<Record> {
    let header = |name: &str, value: Option<&'static [u8]>| Header {
        name: name.to_owned(),
        value: value.map(Bytes::from_static),
    };
    let plain = |key: Option<&'static [u8]>, value: Option<&'static [u8]>, timestamp_ms| Record {
        key: key.map(Bytes::from_static),
        value: value.map(Bytes::from_static),
        headers: Vec::new(),
        timestamp_ms,
    };
    vec![
        plain(Some(b"N14228"), Some(b"EWR-IAH"), 1_357_016_220_000),
        plain(None, Some(b""), 1_357_016_220_001),
        plain(Some(b""), None, 1_357_016_219_000),
        plain(None, None, -1),
        Record {
            headers: vec![
                header("trace", Some(b"1")),
                header("trace", None),
                header("", Some(b"")),
                header("größe", Some(&[0xff, 0])),
            ],
            ..plain(Some(b"k"), Some(&[7; 100_000]), 1_357_016_230_000)
        },
    ]
}

fn batch_of(compression: Compression, records: &[Record]) -> Batch {
    let mut builder = BatchBuilder::new(compression);
    for record in records {
        builder.push(record).expect("records fit");
    }
    builder.build().expect("a batch of records builds")
}

#[test]
fn every_corner_comes_back_through_every_codec() {
    let records = corner_records();
    for codec in CODECS {
        let built = batch_of(codec, &records);
        let batch = Batch::verify(built.bytes().clone(), usize::MAX).expect("own batch verifies");
        assert_eq!(batch, built);
        assert_eq!(batch.header().compression(), codec);
        assert_eq!(batch.header().max_timestamp_ms, 1_357_016_230_000);
        assert_eq!(batch.header().end_offset(), Offset::new(5));
        let read = batch.records(DECODED_BYTES_MAX).expect("own batch decodes");
        for (place, (read, written)) in read.iter().zip(&records).enumerate() {
            assert_eq!(read.offset, Offset::new(place as u64));
            assert_eq!(&read.record, written, "{codec}");
        }
        assert_eq!(read.len(), records.len());
    }
}

#[test]
fn a_stamp_changes_place_and_epoch_and_keeps_the_crc() {
    let batch = batch_of(Compression::Zstd, &corner_records());
    let (offset, epoch) = (Offset::new(1 << 40), LeaderEpoch(7));
    let stamped = batch.stamped(offset, epoch);
    let mut written = batch.stamp(offset, epoch).to_vec();
    written.extend_from_slice(&batch.bytes()[16..]);
    assert_eq!(stamped.bytes(), &written);
    let read = Batch::verify(written.into(), usize::MAX).expect("a stamped batch verifies");
    assert_eq!(read, stamped);
    assert_eq!(read.header().base_offset, offset);
    assert_eq!(read.header().leader_epoch, epoch);
    let records = read
        .records(DECODED_BYTES_MAX)
        .expect("a stamped batch decodes");
    assert_eq!(records.last().map(|last| last.offset), Some(offset.plus(4)));
}

#[test]
fn sequences_wrap_to_zero() {
    let producer = ProducerIdentity {
        id: 4,
        epoch: 2,
        base_sequence: i32::MAX - 1,
    };
    let mut builder = BatchBuilder::new(Compression::None).producer(producer);
    for record in corner_records() {
        builder.push(&record).expect("records fit");
    }
    let batch = builder.build().expect("a batch builds");
    let header = BatchHeader::decode(batch.bytes()).expect("own header decodes");
    assert_eq!(header.producer, Some(producer));
    assert_eq!(header.last_sequence(), Some(2));
    assert_eq!(producer.sequence_after(1), i32::MAX);
    assert_eq!(producer.sequence_after(2), 0);
}

#[test]
fn a_cut_answer_gives_the_whole_batches_and_ends() {
    let one = batch_of(Compression::Zstd, &corner_records());
    let two = one.stamped(Offset::new(5), LeaderEpoch(1));
    let joined = [one.bytes().as_ref(), two.bytes()].concat();
    for cut in 0..=joined.len() {
        let read: Result<Vec<_>, _> = batches(Bytes::copy_from_slice(&joined[..cut])).collect();
        let whole = cut / one.bytes().len();
        assert_eq!(
            read.expect("whole batches verify"),
            [one.clone(), two.clone()][..whole]
        );
    }
}

#[test]
fn damage_is_told_and_ends_the_walk() {
    let batch = batch_of(Compression::None, &corner_records());
    let mut damaged = batch.bytes().to_vec();
    damaged[70] ^= 1;
    damaged.extend_from_slice(batch.bytes());
    let read: Vec<_> = batches(damaged.into()).collect();
    assert!(
        matches!(read.as_slice(), [Err(RecordError::Crc { .. })]),
        "{read:?}"
    );
}

#[test]
fn one_batch_is_neither_more_nor_less_than_its_bytes() {
    let batch = batch_of(Compression::None, &corner_records());
    let size = batch.bytes().len();
    let cut = Batch::verify(batch.bytes().slice(..size - 1), usize::MAX);
    assert_eq!(
        cut,
        Err(RecordError::Truncated {
            needed: size,
            got: size - 1
        })
    );
    let longer = [batch.bytes().as_ref(), b"x"].concat();
    let trailing = Batch::verify(longer.into(), usize::MAX);
    assert_eq!(trailing, Err(RecordError::Trailing { size, extra: 1 }));
    let too_large = Batch::verify(batch.bytes().clone(), size - 1);
    assert_eq!(
        too_large,
        Err(RecordError::TooLarge {
            got: size,
            max: size - 1
        })
    );
}

#[test]
fn records_stop_at_the_decoded_limit() {
    let records = corner_records();
    let plain_size = batch_of(Compression::None, &records).bytes().len() - BatchHeader::SIZE_BYTES;
    for codec in CODECS {
        let batch = batch_of(codec, &records);
        assert!(batch.records(plain_size).is_ok(), "{codec}");
        let max = plain_size - 1;
        assert_eq!(
            batch.records(max),
            Err(RecordError::DecodedTooLarge { max }),
            "{codec}"
        );
    }
}

#[test]
fn each_field_of_the_header_is_held_to_its_bounds() {
    let batch = batch_of(Compression::None, &corner_records()[..1]);
    let check = |at: usize, field: &[u8], expected: RecordError| {
        let mut bytes = batch.bytes().to_vec();
        bytes[at..at + field.len()].copy_from_slice(field);
        assert_eq!(
            BatchHeader::decode(&bytes),
            Err(expected),
            "{field:?} at {at}"
        );
    };
    let producer = |id, epoch, base_sequence| RecordError::Producer {
        id,
        epoch,
        base_sequence,
    };
    let counts = |last_offset_delta, record_count| RecordError::Counts {
        record_count,
        last_offset_delta,
    };
    for base_offset in [-1, i64::MIN, i64::MAX] {
        let error = RecordError::OffsetRange {
            base_offset,
            record_count: 1,
        };
        check(0, &base_offset.to_be_bytes(), error);
    }
    for got in [48, 0, -1, i32::MIN] {
        check(8, &got.to_be_bytes(), RecordError::Length { got });
    }
    for got in [0, 1, 3, 255] {
        check(16, &[got], RecordError::Magic { got });
    }
    for got in [5, 6, 7, 1 << 6, 1 << 7, 1 << 15] {
        check(21, &u16::to_be_bytes(got), RecordError::Attributes { got });
    }
    for delta in [1, -1, i32::MAX] {
        check(23, &delta.to_be_bytes(), counts(delta, 1));
    }
    for count in [0, 2, -1, i32::MIN] {
        check(57, &count.to_be_bytes(), counts(0, count));
    }
    check(43, &(-2i64).to_be_bytes(), producer(-2, -1, -1));
    check(43, &7i64.to_be_bytes(), producer(7, -1, -1));
    check(
        43,
        &[&7i64.to_be_bytes()[..], &[0, 3]].concat(),
        producer(7, 3, -1),
    );
}

#[test]
fn the_last_record_may_stand_right_below_the_largest_offset() {
    let records = corner_records();
    let base = Offset::new(i64::MAX as u64 - records.len() as u64);
    let batch = batch_of(Compression::None, &records).stamped(base, LeaderEpoch(0));
    let header = BatchHeader::decode(batch.bytes()).expect("it just fits");
    assert_eq!(header.end_offset(), Offset::MAX);
}

#[test]
fn a_bare_snappy_block_is_read_as_well_as_a_framed_stream() {
    let records = corner_records();
    let plain = batch_of(Compression::None, &records).bytes().slice(61..);
    let packed = snap::raw::Encoder::new()
        .compress_vec(&plain)
        .expect("it compresses");
    let read = Compression::Snappy.decompress(packed.into(), DECODED_BYTES_MAX);
    assert_eq!(read, Ok(plain));
}

#[test]
fn an_incomplete_producer_identity_builds_no_batch() {
    let producer = ProducerIdentity {
        id: 1,
        epoch: 0,
        base_sequence: -1,
    };
    let mut builder = BatchBuilder::new(Compression::None).producer(producer);
    builder.push(&Record::default()).expect("a record fits");
    assert!(matches!(
        builder.build(),
        Err(RecordError::Producer { id: 1, .. })
    ));
}

#[test]
fn an_empty_batch_and_an_impossible_time_are_refused() {
    assert_eq!(
        BatchBuilder::new(Compression::None).build(),
        Err(RecordError::Empty)
    );
    let mut builder = BatchBuilder::new(Compression::None);
    let at = |timestamp_ms| Record {
        timestamp_ms,
        ..Record::default()
    };
    builder.push(&at(i64::MIN)).expect("any first time fits");
    let size = builder.size_bytes();
    assert!(matches!(
        builder.push(&at(1)),
        Err(RecordError::TimestampRange { .. })
    ));
    assert_eq!((builder.len(), builder.size_bytes()), (1, size));
}

#[test]
fn a_batch_passed_to_another_producer_differs_in_nothing_else() {
    let producer = ProducerIdentity {
        id: 7,
        epoch: 2,
        base_sequence: 40,
    };
    for codec in CODECS {
        let batch = batch_of(codec, &corner_records());
        let passed_on = batch.produced_by(producer);
        let size = batch.bytes().len();
        let verified = Batch::verify(passed_on.bytes().clone(), size).expect("still valid");
        assert_eq!(verified.header().producer, Some(producer));
        assert_eq!(
            verified.records(usize::MAX >> 1),
            batch.records(usize::MAX >> 1)
        );
    }
}
