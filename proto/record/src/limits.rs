//! What foreign bytes can make this crate hold in memory, and what the format itself cannot exceed.
//!
//! No length, count or content size that a batch claims is believed before the bytes behind it are
//! there. For a batch of `size` bytes and a caller's `decoded_bytes_max`:
//!
//! - [`Batch::verify`](crate::Batch::verify), [`BatchHeader::decode`](crate::BatchHeader::decode) and
//!   [`batches`](crate::batches) allocate nothing.
//! - [`Batch::iter_records`](crate::Batch::iter_records) decompresses into at most
//!   2 x `decoded_bytes_max` (the buffer doubles as real output arrives, and while it moves both
//!   halves exist) plus [`CODEC_BYTES_MAX`]; it then holds `decoded_bytes_max` and the record at hand.
//! - [`Batch::records`](crate::Batch::records) holds in addition the structs of all records: at most
//!   [`STRUCT_BYTES_PER_DECODED_BYTE`] x the decoded bytes, which only records made of nothing but
//!   empty headers reach. Keys and values are slices of the decoded bytes, not copies.
//!
//! `tests/allocation.rs` measures all three with a counting allocator.

/// Largest batch: its length field is a signed 32-bit number that leaves out the first 12 bytes.
pub const BATCH_BYTES_MAX: usize = i32::MAX as usize;

/// Smallest encoded record: length, attributes, timestamp delta, offset delta, key length, value
/// length and header count, a byte each. Bounds what a record count can reserve.
pub const RECORD_BYTES_MIN: usize = 7;

/// Smallest encoded header: two lengths of a byte each. Bounds what a header count can reserve.
pub const HEADER_BYTES_MIN: usize = 2;

/// Memory of structs per decoded byte: a `Header` takes 56 bytes for 2 encoded ones, a
/// `StoredRecord` 104 for 7 or more.
pub const STRUCT_BYTES_PER_DECODED_BYTE: usize = 28;

/// What a decompressor needs beside its output, at most: lz4 with linked blocks of 4 MiB holds one
/// compressed and two decompressed blocks and 64 KiB of window. Gzip takes about 64 KiB, zstd about
/// 160 KiB (its output is its window), snappy nothing.
pub const CODEC_BYTES_MAX: usize = 3 * 4 * 1024 * 1024 + 64 * 1024 + 256 * 1024;

/// First size of a decompression buffer, in compressed sizes: text and JSON usually shrink to a
/// quarter or less, so that one to three doublings follow at most.
pub(crate) const FIRST_OUTPUT_RATIO: usize = 4;

/// A content size that a zstd frame claims is taken for its first buffer up to this many compressed
/// sizes; ordinary records stay below it.
pub(crate) const ZSTD_LIKELY_RATIO_MAX: usize = 64;

/// Least first size of a decompression buffer in bytes: below that doubling costs more than memory.
pub(crate) const FIRST_OUTPUT_BYTES_MIN: usize = 4 * 1024;

/// Most output per byte of a snappy block: a 3-byte copy makes up to 64 bytes. A block that claims
/// more lies, so a claim reserves no more than this.
pub(crate) const SNAPPY_RATIO_MAX: usize = 22;
