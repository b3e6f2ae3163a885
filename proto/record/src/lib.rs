//! Record batches: Kafka's RecordBatch v2, byte for byte, on the wire, in memory and on disk.
//!
//! API CONTRACT (skeleton; bodies to come). Split into files: `offset.rs`, `record.rs`, `header.rs`, `encode.rs`,
//! `decode.rs`, `compress.rs`, `partitioner.rs`, `error.rs`, `limits.rs`, `varint.rs`.
#![allow(clippy::todo, missing_docs)]
use bytes::{Bytes, BytesMut};

/// Place of a record in a partition, dense from 0. Never negative on the wire: at most `i64::MAX`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(u64);
impl Offset {
    pub const ZERO: Offset = Offset(0);
    pub const fn new(value: u64) -> Offset { Offset(value) }
    pub const fn get(self) -> u64 { self.0 }
    /// For the wire. `i64::MAX` is the bound of every constructor that takes foreign input.
    pub const fn to_i64(self) -> i64 { self.0 as i64 }
    /// `None` if negative.
    pub const fn from_i64(value: i64) -> Option<Offset> { if value < 0 { None } else { Some(Offset(value as u64)) } }
    /// The offset `count` places later (saturating at `i64::MAX`).
    pub const fn plus(self, count: u64) -> Offset { Offset(self.0.saturating_add(count)) }
    /// Places from `earlier` to `self`; 0 if `earlier` is later.
    pub const fn since(self, earlier: Offset) -> u64 { self.0.saturating_sub(earlier.0) }
}
impl std::fmt::Display for Offset { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { self.0.fmt(f) } }
impl std::fmt::Debug for Offset { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { self.0.fmt(f) } }

/// Number of a leadership of a partition. Every stored batch carries it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LeaderEpoch(pub u32);

/// Producer identity carried by a batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProducerIdentity { pub id: i64, pub epoch: i16, pub base_sequence: i32 }

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression { #[default] None, Gzip, Snappy, Lz4, Zstd }

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header { pub name: String, pub value: Option<Bytes> }

/// A record to be written.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record { pub key: Option<Bytes>, pub value: Option<Bytes>, pub headers: Vec<Header>, pub timestamp_ms: i64 }

/// A record that was read: with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredRecord { pub offset: Offset, pub record: Record }

/// The 61-byte header of a batch, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Whole length on disk, header included (Kafka's batchLength + 12).
    pub size_bytes: usize,
    pub leader_epoch: LeaderEpoch,
    pub crc: u32,
    pub attributes: u16,
    pub last_offset_delta: u32,
    pub base_timestamp_ms: i64,
    pub max_timestamp_ms: i64,
    pub producer: Option<ProducerIdentity>,
    pub record_count: u32,
}
impl BatchHeader {
    pub const SIZE_BYTES: usize = 61;
    /// Bytes needed to read base offset, length, epoch, magic: what context checks look at.
    pub const PREFIX_BYTES: usize = 17;
    /// Decodes and bounds-checks (magic 2, length >= 61, counts >= 1 and consistent, no unknown attribute bits,
    /// base offset not negative, codec known). Does not check the CRC. `bytes` may be longer than the batch.
    pub fn decode(_bytes: &[u8]) -> Result<BatchHeader, RecordError> { todo!() }
    pub fn last_offset(&self) -> Offset { todo!() }
    /// Offset behind the last record.
    pub fn end_offset(&self) -> Offset { todo!() }
    pub fn compression(&self) -> Compression { todo!() }
    pub fn is_control(&self) -> bool { todo!() }
    pub fn is_transactional(&self) -> bool { todo!() }
}

/// One whole batch whose header, length, CRC and counts were checked. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch { header: BatchHeader, bytes: Bytes }
impl Batch {
    /// Verifies exactly one batch (trailing bytes are an error). Never decompresses. `size_max` bounds the batch.
    pub fn verify(_bytes: Bytes, _size_max: usize) -> Result<Batch, RecordError> { todo!() }
    pub fn header(&self) -> &BatchHeader { &self.header }
    pub fn bytes(&self) -> &Bytes { &self.bytes }
    /// The first 16 bytes to write in place of the batch's own: base offset, length, leader epoch. They lie outside
    /// the CRC. The log writes this prefix followed by `bytes()[16..]`, so stamping copies nothing.
    pub fn stamp(&self, _base_offset: Offset, _leader_epoch: LeaderEpoch) -> [u8; 16] { todo!() }
    /// Copying form of `stamp`.
    pub fn stamped(&self, _base_offset: Offset, _leader_epoch: LeaderEpoch) -> Batch { todo!() }
    /// All records, decompressing within `decoded_bytes_max`.
    pub fn records(&self, _decoded_bytes_max: usize) -> Result<Vec<StoredRecord>, RecordError> { todo!() }
}

/// Reads whole batches that stand end to end in `bytes` (a fetch answer, a piece of a segment): each verified.
/// Ends at the first incomplete batch (a fetch may be cut) with `None`.
pub fn batches(_bytes: Bytes) -> impl Iterator<Item = Result<Batch, RecordError>> { std::iter::empty() }

/// Builds one batch.
pub struct BatchBuilder { _records: BytesMut }
impl BatchBuilder {
    pub fn new(_compression: Compression) -> BatchBuilder { todo!() }
    pub fn producer(self, _producer: ProducerIdentity) -> BatchBuilder { todo!() }
    /// Appends one record; refuses what the format cannot hold.
    pub fn push(&mut self, _record: &Record) -> Result<(), RecordError> { todo!() }
    pub fn len(&self) -> usize { todo!() }
    pub fn is_empty(&self) -> bool { self.len() == 0 }
    /// Encoded bytes so far, uncompressed, header included: an upper bound for sizing decisions.
    pub fn size_bytes(&self) -> usize { todo!() }
    /// The finished batch with base offset 0 and leader epoch 0. Error if empty.
    pub fn build(self) -> Result<Batch, RecordError> { todo!() }
}

/// Kafka's partition for a key: murmur2, positive, modulo. `partitions` >= 1.
pub fn partition_for_key(_key: &[u8], _partitions: u32) -> u32 { todo!() }

/// Why bytes are not a batch, or records do not make one. (To be filled: one variant per fact, facts as fields.)
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    #[error("batch is cut: {needed} bytes needed, {got} there")]
    Truncated { needed: usize, got: usize },
    #[error("magic byte is {got}, only 2 is supported")]
    Magic { got: u8 },
    #[error("CRC-32C differs: stored {stored:#010x}, computed {computed:#010x}")]
    Crc { stored: u32, computed: u32 },
    #[error("batch of {got} bytes is larger than the limit of {max}")]
    TooLarge { got: usize, max: usize },
}
