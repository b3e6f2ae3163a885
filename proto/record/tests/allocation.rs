//! The bounds that `limits.rs` states, measured. Counting needs an allocator of our own, and an
//! allocator is `unsafe` by its trait; it only counts and passes on to the system's. What zstd
//! allocates in C is not seen here; `compress.rs` measures it.
#![expect(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::io::Write;

use bytes::{BufMut, Bytes};
use headwater_record::limits::{
    CODEC_BYTES_MAX, HEADER_BYTES_MIN, RECORD_BYTES_MIN, STRUCT_BYTES_PER_DECODED_BYTE,
};
use headwater_record::{
    Batch, BatchBuilder, BatchHeader, Compression, Header, Record, RecordError, batches,
};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// Per thread, so that tests may run side by side.
thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let live = LIVE.get() + bytes;
    LIVE.set(live);
    if bytes > 0 {
        CALLS.set(CALLS.get() + 1);
        PEAK.set(PEAK.get().max(live));
    }
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new exist side by side while the bytes move.
        count(size as isize);
        count(-(layout.size() as isize));
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// What `run` returns, the most memory that was live during it, and how often it allocated.
fn measured<T>(run: impl FnOnce() -> T) -> (T, usize, usize) {
    let (live, calls) = (LIVE.get(), CALLS.get());
    PEAK.set(live);
    let result = run();
    (result, (PEAK.get() - live) as usize, CALLS.get() - calls)
}

const MIB: usize = 1 << 20;

/// Error texts and the like.
const SMALL: usize = 1024;

/// A sound header and CRC around `payload`.
fn batch_around(codec: Compression, record_count: u32, payload: &[u8]) -> Batch {
    let mut builder = BatchBuilder::new(codec);
    builder.push(&Record::default()).expect("a record fits");
    let template = builder.build().expect("a batch builds");
    let mut bytes = template.bytes()[..BatchHeader::SIZE_BYTES].to_vec();
    bytes[23..27].copy_from_slice(&(record_count - 1).to_be_bytes());
    bytes[57..61].copy_from_slice(&record_count.to_be_bytes());
    bytes.extend_from_slice(payload);
    let length = (bytes.len() - 12) as u32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Batch::verify(bytes.into(), usize::MAX).expect("header and CRC are sound")
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).expect("it compresses");
    encoder.finish().expect("it compresses")
}

/// The layout that makes a decoder hold most: linked blocks of 4 MiB.
fn lz4(plain: &[u8]) -> Vec<u8> {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let info = FrameInfo::new()
        .block_size(BlockSize::Max4MB)
        .block_mode(BlockMode::Linked);
    let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(plain).expect("it compresses");
    encoder.finish().expect("it compresses")
}

fn snappy(plain: &[u8]) -> Vec<u8> {
    let mut encoder = snap::raw::Encoder::new();
    encoder.compress_vec(plain).expect("it compresses")
}

fn framed_snappy(plain: &[u8]) -> Vec<u8> {
    let mut framed = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for chunk in plain.chunks(32 * 1024) {
        let block = snappy(chunk);
        framed.put_u32(block.len() as u32);
        framed.put_slice(&block);
    }
    framed
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(plain, 19).expect("it compresses")
}

#[test]
fn a_bomb_stops_at_the_limit_in_every_codec() {
    let zeros = vec![0; 32 * MIB];
    let max = MIB;
    for (codec, bomb) in [
        (Compression::Gzip, gzip(&zeros)),
        (Compression::Snappy, snappy(&zeros)),
        (Compression::Snappy, framed_snappy(&zeros)),
        (Compression::Lz4, lz4(&zeros)),
        (Compression::Zstd, zstd(&zeros)),
    ] {
        assert!(
            bomb.len() < zeros.len() / 20,
            "{codec}: {} bytes are no bomb",
            bomb.len()
        );
        let batch = batch_around(codec, 1, &bomb);
        let (result, peak, _) = measured(|| batch.records(max));
        assert_eq!(result, Err(RecordError::DecodedTooLarge { max }), "{codec}");
        assert!(
            peak <= 2 * max + CODEC_BYTES_MAX + SMALL,
            "{codec}: {peak} bytes"
        );
    }
}

#[test]
fn what_just_fits_the_limit_takes_no_more_than_twice_of_it() {
    for codec in [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        for size in [100, 5 * 1024, MIB + 1, 3 * MIB] {
            let mut builder = BatchBuilder::new(codec);
            let value = Some(Bytes::from(vec![7; size]));
            builder
                .push(&Record {
                    value,
                    ..Record::default()
                })
                .expect("a record fits");
            let max = builder.size_bytes() - BatchHeader::SIZE_BYTES;
            let batch = builder.build().expect("a batch builds");
            let (result, peak, _) = measured(|| batch.records(max).map(|records| records.len()));
            assert_eq!(result, Ok(1), "{codec}");
            let workspace = if codec == Compression::None {
                0
            } else {
                CODEC_BYTES_MAX
            };
            assert!(
                peak <= 2 * max + workspace + SMALL,
                "{codec} {size}: {peak} bytes"
            );
            if codec == Compression::Snappy {
                assert!(peak <= max + SMALL, "{codec} {size}: {peak} bytes");
            }
        }
    }
}

#[test]
fn claims_reserve_nothing() {
    let mut zstd_claim = 0xFD2F_B528_u32.to_le_bytes().to_vec();
    zstd_claim.put_u8(0b1100_0000); // an 8-byte content size follows the window
    zstd_claim.put_u8(0xff); // a window of several TiB
    zstd_claim.put_u64_le(1 << 40);
    zstd_claim.put_slice(&[1, 0, 0]); // a last block of nothing
    let mut framed_claim = framed_snappy(&[]);
    framed_claim.put_slice(&u32::MAX.to_be_bytes());
    for (name, codec, count, payload) in [
        (
            "record count",
            Compression::None,
            i32::MAX as u32,
            vec![0; 100],
        ),
        (
            "record count of nothing",
            Compression::None,
            i32::MAX as u32,
            Vec::new(),
        ),
        // Length 30, no attributes, deltas 0, null key and value, i32::MAX headers.
        (
            "header count",
            Compression::None,
            1,
            [
                &[60, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f],
                &[0; 20][..],
            ]
            .concat(),
        ),
        (
            "record length",
            Compression::None,
            1,
            vec![0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0, 0],
        ),
        (
            "zstd content and window size",
            Compression::Zstd,
            1,
            zstd_claim,
        ),
        (
            "snappy size",
            Compression::Snappy,
            1,
            vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0],
        ),
        ("snappy block size", Compression::Snappy, 1, framed_claim),
    ] {
        let batch = batch_around(codec, count, &payload);
        let (result, peak, _) = measured(|| batch.records(usize::MAX));
        assert!(result.is_err(), "{name}: {result:?}");
        assert!(peak <= 8 * 1024, "{name}: {peak} bytes");
    }
}

/// Records made of the most structs that a byte can ask for.
#[test]
fn structs_of_many_tiny_records_and_headers_stay_within_their_ratio() {
    let tiny_record = Record::default();
    let empty_header = Header {
        name: String::new(),
        value: None,
    };
    let all_headers = Record {
        headers: vec![empty_header; 100_000],
        ..Record::default()
    };
    for (name, records) in [
        ("records", vec![tiny_record; 50_000]),
        ("headers", vec![all_headers; 3]),
    ] {
        let mut builder = BatchBuilder::new(Compression::None);
        for record in &records {
            builder.push(record).expect("records fit");
        }
        let batch = builder.build().expect("a batch builds");
        let decoded = batch.bytes().len() - BatchHeader::SIZE_BYTES;
        let (read, peak, _) = measured(|| batch.records(decoded));
        assert_eq!(read.expect("an own batch decodes").len(), records.len());
        let bound = STRUCT_BYTES_PER_DECODED_BYTE * decoded;
        assert!(peak <= bound, "{name}: {peak} bytes, {bound} allowed");
    }
    assert!(size_of::<Header>() <= STRUCT_BYTES_PER_DECODED_BYTE * HEADER_BYTES_MIN);
    let stored = size_of::<headwater_record::StoredRecord>();
    assert!(stored <= STRUCT_BYTES_PER_DECODED_BYTE * RECORD_BYTES_MIN);
}

#[test]
fn verifying_stamping_and_walking_allocate_nothing() {
    let record = Record {
        value: Some(Bytes::from_static(&[7; 1000])),
        ..Record::default()
    };
    let mut builder = BatchBuilder::new(Compression::None);
    for _ in 0..100 {
        builder.push(&record).expect("records fit");
    }
    let batch = builder.build().expect("a batch builds");
    let joined = Bytes::from([batch.bytes().as_ref(), batch.bytes()].concat());
    drop(joined.clone()); // a vector's first clone makes its reference count
    let (walked, _, calls) = measured(|| {
        let verified = Batch::verify(batch.bytes().clone(), usize::MAX);
        let verified = verified.expect("an own batch verifies");
        black_box(verified.stamp(Default::default(), Default::default()));
        batches(joined).filter(Result::is_ok).count()
    });
    assert_eq!((walked, calls), (2, 0));
}

#[test]
fn pushing_allocates_only_as_the_buffer_doubles() {
    let record = Record {
        key: Some(Bytes::from_static(b"key")),
        value: Some(Bytes::from_static(&[7; 100])),
        ..Record::default()
    };
    let mut builder = BatchBuilder::new(Compression::None);
    let ((), _, calls) = measured(|| {
        for _ in 0..10_000 {
            builder.push(&record).expect("records fit");
        }
    });
    assert!(calls <= 20, "{calls} allocations for 10,000 records");
}
