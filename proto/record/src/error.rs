//! Why bytes are not a batch, or records do not make one.

use crate::Compression;

/// Why bytes are not a batch, or records do not make one. None of them goes away by trying again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// There are fewer bytes than the batch, or its fixed header, takes.
    #[error("batch is cut: {needed} bytes needed, {got} there")]
    Truncated {
        /// Bytes that would be needed to go on.
        needed: usize,
        /// Bytes that are there.
        got: usize,
    },
    /// More bytes follow where exactly one batch was expected.
    #[error("batch of {size} bytes is followed by {extra} more")]
    Trailing {
        /// Size of the batch by its own length field.
        size: usize,
        /// Bytes behind it.
        extra: usize,
    },
    /// Another format version.
    #[error("magic byte is {got}, only 2 is supported")]
    Magic {
        /// The version found.
        got: u8,
    },
    /// The checksum over everything behind it does not fit.
    #[error("CRC-32C differs: stored {stored:#010x}, computed {computed:#010x}")]
    Crc {
        /// What the batch says.
        stored: u32,
        /// What its bytes give.
        computed: u32,
    },
    /// The batch is larger than the caller or the format allows.
    #[error("batch of {got} bytes is larger than the limit of {max}")]
    TooLarge {
        /// Size of the batch in bytes.
        got: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The length field is smaller than the fixed header.
    #[error("batch length field is {got}, the fixed header alone takes 49")]
    Length {
        /// The field as stored: batch size less 12.
        got: i32,
    },
    /// The base offset is negative, or the last offset would not be below the largest one.
    #[error("base offset {base_offset} cannot hold {record_count} records")]
    OffsetRange {
        /// The base offset found.
        base_offset: i64,
        /// How many records follow it.
        record_count: i32,
    },
    /// Attribute bits that have no meaning here.
    #[error("attributes {got:#06x} hold unknown bits or an unknown codec")]
    Attributes {
        /// All attribute bits of the batch.
        got: u16,
    },
    /// Not at least one record, or offsets that are not dense.
    #[error("record count is {record_count} with a last offset delta of {last_offset_delta}")]
    Counts {
        /// Number of records by the header.
        record_count: i32,
        /// Offset of the last record less that of the first by the header.
        last_offset_delta: i32,
    },
    /// A producer identity that is neither absent (id -1) nor complete.
    #[error("producer id {id}, epoch {epoch}, base sequence {base_sequence} make no identity")]
    Producer {
        /// Producer id.
        id: i64,
        /// Producer epoch.
        epoch: i16,
        /// Sequence number of the first record.
        base_sequence: i32,
    },
    /// The compressed records do not decompress.
    #[error("{codec} data is damaged: {reason}")]
    Compressed {
        /// The codec that the attributes name.
        codec: Compression,
        /// What the decompressor says.
        reason: String,
    },
    /// The records are larger than the caller allows.
    #[error("records take more than the limit of {max} bytes when decoded")]
    DecodedTooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// A record inside the batch is not encoded as it must be.
    #[error("record {index} of the batch is malformed: {what}")]
    Record {
        /// Its place in the batch, from 0.
        index: u32,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Bytes are left behind the last record.
    #[error("{extra} bytes follow the last record of the batch")]
    TrailingRecords {
        /// How many.
        extra: usize,
    },
    /// A batch needs at least one record.
    #[error("a batch needs at least one record")]
    Empty,
    /// A record's time is too far from that of the first record of its batch for a 64-bit delta.
    #[error("timestamp {timestamp_ms} is too far from the batch's first, {base_timestamp_ms}")]
    TimestampRange {
        /// Time of the record in milliseconds.
        timestamp_ms: i64,
        /// Time of the first record in milliseconds.
        base_timestamp_ms: i64,
    },
    /// The compressor failed, which only lack of memory explains.
    #[error("{codec} compression failed: {reason}")]
    Compressor {
        /// The codec asked for.
        codec: Compression,
        /// What the compressor says.
        reason: String,
    },
}
