//! The fixed 61 bytes at the front of a batch (`docs/format/record-batch.md`).

use bytes::{Buf, BufMut};

use crate::{Compression, LeaderEpoch, Offset, RecordError};

const MAGIC: u8 = 2;

/// Kafka's `batchLength` counts what follows it: everything but base offset and itself.
const LENGTH_EXCLUDES_BYTES: usize = 12;

/// Everything from here on is covered by the CRC.
pub(crate) const CRC_COVERS_FROM: usize = 21;

const CODEC_MASK: u16 = 0b0000_0111;
const APPEND_TIME: u16 = 1 << 3;
const TRANSACTIONAL: u16 = 1 << 4;
const CONTROL: u16 = 1 << 5;
const KNOWN_MASK: u16 = CODEC_MASK | APPEND_TIME | TRANSACTIONAL | CONTROL;

/// Producer identity carried by a batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ProducerIdentity {
    /// Given out by the cluster; not negative.
    pub id: i64,
    /// Raised when the producer starts anew; not negative.
    pub epoch: i16,
    /// Sequence number of the batch's first record; -1 in control batches, which have none.
    pub base_sequence: i32,
}

impl ProducerIdentity {
    /// The sequence number `count` records behind the first. After `i32::MAX` comes 0; -1 stays -1.
    pub const fn sequence_after(&self, count: u32) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        ((self.base_sequence as i64 + count as i64) & i32::MAX as i64) as i32
    }

    /// Itself, if no number is negative that must not be in a batch with these attributes.
    pub(crate) fn check(self, attributes: u16) -> Result<ProducerIdentity, RecordError> {
        let least_sequence = if attributes & CONTROL != 0 { -1 } else { 0 };
        let ProducerIdentity {
            id,
            epoch,
            base_sequence,
        } = self;
        if id < 0 || epoch < 0 || base_sequence < least_sequence {
            return Err(RecordError::Producer {
                id,
                epoch,
                base_sequence,
            });
        }
        Ok(self)
    }
}

/// The 61-byte header of a batch, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Whole length on disk, header included (Kafka's `batchLength` + 12).
    pub size_bytes: usize,
    /// Leadership under which it was written; [`LeaderEpoch::UNSTAMPED`] before.
    pub leader_epoch: LeaderEpoch,
    /// CRC-32C over everything behind it.
    pub crc: u32,
    /// Bits 0 to 2 codec, 3 timestamp type, 4 transactional, 5 control.
    pub attributes: u16,
    /// Offset of the last record less that of the first.
    pub last_offset_delta: u32,
    /// Time from which the records' times count, in milliseconds since the Unix epoch.
    pub base_timestamp_ms: i64,
    /// Largest time of a record, or the append time of the batch, in milliseconds.
    pub max_timestamp_ms: i64,
    /// Who wrote it, if an idempotent producer did.
    pub producer: Option<ProducerIdentity>,
    /// Number of records, at least 1.
    pub record_count: u32,
}

impl BatchHeader {
    /// Size of the fixed header.
    pub const SIZE_BYTES: usize = 61;
    /// Bytes needed to read base offset, length, epoch, magic: what context checks look at.
    pub const PREFIX_BYTES: usize = 17;

    /// Decodes and bounds-checks: magic 2, length of at least a header, at least one record and dense
    /// offsets, no unknown attribute bits, codec known, base offset not negative and last offset below
    /// [`Offset::MAX`], producer absent or complete. Does not check the CRC. `bytes` may be longer
    /// than the batch and may hold the header only.
    pub fn decode(bytes: &[u8]) -> Result<BatchHeader, RecordError> {
        let Some(mut fields) = bytes.get(..Self::SIZE_BYTES) else {
            let (needed, got) = (Self::SIZE_BYTES, bytes.len());
            return Err(RecordError::Truncated { needed, got });
        };
        let base_offset = fields.get_i64();
        let length = fields.get_i32();
        let leader_epoch = LeaderEpoch(fields.get_u32());
        let magic = fields.get_u8();
        if magic != MAGIC {
            return Err(RecordError::Magic { got: magic });
        }
        let size_bytes = size_from_length(length)?;
        let crc = fields.get_u32();
        let attributes = fields.get_u16();
        if attributes & !KNOWN_MASK != 0 || Compression::from_bits(attributes).is_none() {
            return Err(RecordError::Attributes { got: attributes });
        }
        let last_offset_delta = fields.get_i32();
        let base_timestamp_ms = fields.get_i64();
        let max_timestamp_ms = fields.get_i64();
        let producer = ProducerIdentity {
            id: fields.get_i64(),
            epoch: fields.get_i16(),
            base_sequence: fields.get_i32(),
        };
        // Other clients leave epoch and sequence at 0 or -1 where there is no producer.
        let producer = match producer.id {
            -1 => None,
            _ => Some(producer.check(attributes)?),
        };
        let record_count = fields.get_i32();
        let (Ok(count), Ok(delta)) = (
            u32::try_from(record_count),
            u32::try_from(last_offset_delta),
        ) else {
            return Err(RecordError::Counts {
                record_count,
                last_offset_delta,
            });
        };
        if count.checked_sub(1) != Some(delta) {
            return Err(RecordError::Counts {
                record_count,
                last_offset_delta,
            });
        }
        let base_offset = Offset::from_i64(base_offset)
            .filter(|base| base.get() <= Offset::MAX.get() - u64::from(count))
            .ok_or(RecordError::OffsetRange {
                base_offset,
                record_count,
            })?;
        Ok(BatchHeader {
            base_offset,
            size_bytes,
            leader_epoch,
            crc,
            attributes,
            last_offset_delta: delta,
            base_timestamp_ms,
            max_timestamp_ms,
            producer,
            record_count: count,
        })
    }

    /// Writes the 61 bytes.
    pub(crate) fn encode(&self) -> [u8; Self::SIZE_BYTES] {
        let mut bytes = [0; Self::SIZE_BYTES];
        let mut out = bytes.as_mut_slice();
        out.put_slice(&self.context(self.base_offset, self.leader_epoch));
        out.put_u8(MAGIC);
        out.put_u32(self.crc);
        out.put_u16(self.attributes);
        out.put_u32(self.last_offset_delta);
        out.put_i64(self.base_timestamp_ms);
        out.put_i64(self.max_timestamp_ms);
        let producer = self.producer.unwrap_or(ProducerIdentity {
            id: -1,
            epoch: -1,
            base_sequence: -1,
        });
        out.put_i64(producer.id);
        out.put_i16(producer.epoch);
        out.put_i32(producer.base_sequence);
        out.put_u32(self.record_count);
        bytes
    }

    /// The first 16 bytes: base offset, length and leader epoch.
    pub(crate) fn context(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> [u8; 16] {
        let mut bytes = [0; 16];
        let mut out = bytes.as_mut_slice();
        out.put_i64(base_offset.to_i64());
        out.put_i32((self.size_bytes - LENGTH_EXCLUDES_BYTES) as i32);
        out.put_u32(leader_epoch.0);
        bytes
    }

    /// Offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(u64::from(self.last_offset_delta))
    }

    /// Offset behind the last record.
    pub fn end_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// Codec of the records.
    pub fn compression(&self) -> Compression {
        Compression::from_bits(self.attributes).expect("decode refuses unknown codecs")
    }

    /// Whether the broker's append time, [`BatchHeader::max_timestamp_ms`], is every record's time.
    pub fn has_append_time(&self) -> bool {
        self.attributes & APPEND_TIME != 0
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether it holds marks for the broker in place of records for consumers.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }

    /// Sequence number of the last record, if an idempotent producer wrote the batch; -1 in control
    /// batches.
    pub fn last_sequence(&self) -> Option<i32> {
        self.producer
            .map(|producer| producer.sequence_after(self.last_offset_delta))
    }
}

/// The whole size of the batch whose length field is `length`.
fn size_from_length(length: i32) -> Result<usize, RecordError> {
    usize::try_from(length)
        .ok()
        .map(|length| length + LENGTH_EXCLUDES_BYTES)
        .filter(|size| *size >= BatchHeader::SIZE_BYTES)
        .ok_or(RecordError::Length { got: length })
}
