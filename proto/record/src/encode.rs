//! From records to a batch.

use bytes::{BufMut, BytesMut};

use crate::header::CRC_COVERS_FROM;
use crate::limits::BATCH_BYTES_MAX;
use crate::{
    Batch, BatchHeader, Compression, LeaderEpoch, Offset, ProducerIdentity, Record, RecordError,
    varint,
};

/// Builds one batch. Records are encoded as they come, behind room for the header, so that an
/// uncompressed batch is never copied.
#[derive(Debug)]
pub struct BatchBuilder {
    compression: Compression,
    producer: Option<ProducerIdentity>,
    bytes: BytesMut,
    record_count: u32,
    base_timestamp_ms: i64,
    max_timestamp_ms: i64,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(compression: Compression) -> BatchBuilder {
        BatchBuilder {
            compression,
            producer: None,
            bytes: BytesMut::zeroed(BatchHeader::SIZE_BYTES),
            record_count: 0,
            base_timestamp_ms: 0,
            max_timestamp_ms: 0,
        }
    }

    /// Marks the batch as an idempotent producer's.
    pub fn producer(mut self, producer: ProducerIdentity) -> BatchBuilder {
        self.producer = Some(producer);
        self
    }

    /// Appends one record without allocating, but for growth of the buffer. Refuses what the format
    /// cannot hold: more than [`BATCH_BYTES_MAX`] bytes, or a time too far from the first record's.
    /// A refused record leaves the batch as it was.
    pub fn push(&mut self, record: &Record) -> Result<(), RecordError> {
        let timestamp_ms = record.timestamp_ms;
        if self.record_count == 0 {
            self.base_timestamp_ms = timestamp_ms;
            self.max_timestamp_ms = timestamp_ms;
        }
        let base_timestamp_ms = self.base_timestamp_ms;
        let timestamp_delta =
            timestamp_ms
                .checked_sub(base_timestamp_ms)
                .ok_or(RecordError::TimestampRange {
                    timestamp_ms,
                    base_timestamp_ms,
                })?;
        let offset_delta = i64::from(self.record_count);

        let body_bytes = body_size(record, timestamp_delta, offset_delta);
        let size = self
            .bytes
            .len()
            .saturating_add(varint::size(body_bytes as i64) + body_bytes);
        if size > BATCH_BYTES_MAX {
            return Err(RecordError::TooLarge {
                got: size,
                max: BATCH_BYTES_MAX,
            });
        }
        self.bytes.reserve(size - self.bytes.len());
        varint::put(&mut self.bytes, body_bytes as i64);
        put_body(&mut self.bytes, record, timestamp_delta, offset_delta);
        debug_assert_eq!(self.bytes.len(), size);

        self.max_timestamp_ms = self.max_timestamp_ms.max(timestamp_ms);
        self.record_count += 1;
        Ok(())
    }

    /// Number of records so far.
    pub fn len(&self) -> usize {
        self.record_count as usize
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// Encoded bytes so far, uncompressed, header included: an upper bound for sizing decisions, but
    /// for the few bytes by which a codec grows what it cannot shrink.
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The finished batch with base offset 0 and leader epoch 0. Error if it is empty or its producer
    /// identity holds negative numbers.
    pub fn build(self) -> Result<Batch, RecordError> {
        let last_offset_delta = self.record_count.checked_sub(1).ok_or(RecordError::Empty)?;
        let mut header = BatchHeader {
            base_offset: Offset::ZERO,
            size_bytes: 0,
            leader_epoch: LeaderEpoch(0),
            crc: 0,
            attributes: self.compression as u16,
            last_offset_delta,
            base_timestamp_ms: self.base_timestamp_ms,
            max_timestamp_ms: self.max_timestamp_ms,
            producer: self.producer,
            record_count: self.record_count,
        };
        let bytes = match self.compression {
            Compression::None => {
                let mut bytes = self.bytes;
                seal(&mut header, &mut bytes)?;
                bytes.freeze()
            }
            codec => {
                let (head, records) = self.bytes.split_at(BatchHeader::SIZE_BYTES);
                let mut bytes = Vec::with_capacity(head.len() + records.len() / 2);
                bytes.extend_from_slice(head);
                codec.compress(records, &mut bytes)?;
                seal(&mut header, &mut bytes)?;
                bytes.into()
            }
        };
        Ok(Batch::from_encoded(header, bytes))
    }
}

impl Batch {
    /// The same records as another producer's, or with another sequence: one copy and one CRC pass.
    /// Panics if the identity holds negative numbers.
    pub fn produced_by(&self, producer: ProducerIdentity) -> Batch {
        let mut header = *self.header();
        header.producer = Some(producer);
        let mut bytes = self.bytes().to_vec();
        seal(&mut header, &mut bytes).expect("the size is as before and the identity is whole");
        Batch::from_encoded(header, bytes.into())
    }
}

/// Fills size and CRC into `header` and writes it to the front of `bytes`. Error if the batch is
/// larger than the format allows or its producer identity incomplete.
fn seal(header: &mut BatchHeader, bytes: &mut [u8]) -> Result<(), RecordError> {
    if let Some(producer) = header.producer {
        producer.check(header.attributes)?;
    }
    header.size_bytes = bytes.len();
    if header.size_bytes > BATCH_BYTES_MAX {
        return Err(RecordError::TooLarge {
            got: header.size_bytes,
            max: BATCH_BYTES_MAX,
        });
    }
    bytes[..BatchHeader::SIZE_BYTES].copy_from_slice(&header.encode());
    header.crc = crc32c::crc32c(&bytes[CRC_COVERS_FROM..]);
    bytes[..BatchHeader::SIZE_BYTES].copy_from_slice(&header.encode());
    Ok(())
}

fn body_size(record: &Record, timestamp_delta: i64, offset_delta: i64) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|header| {
            sized_size(Some(header.name.as_bytes())) + sized_size(header.value.as_deref())
        })
        .sum();
    let attributes = 1;
    attributes
        + varint::size(timestamp_delta)
        + varint::size(offset_delta)
        + sized_size(record.key.as_deref())
        + sized_size(record.value.as_deref())
        + varint::size(record.headers.len() as i64)
        + headers
}

fn put_body(out: &mut BytesMut, record: &Record, timestamp_delta: i64, offset_delta: i64) {
    out.put_u8(0);
    varint::put(out, timestamp_delta);
    varint::put(out, offset_delta);
    put_sized(out, record.key.as_deref());
    put_sized(out, record.value.as_deref());
    varint::put(out, record.headers.len() as i64);
    for header in &record.headers {
        put_sized(out, Some(header.name.as_bytes()));
        put_sized(out, header.value.as_deref());
    }
}

fn sized_size(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::size(bytes.len() as i64) + bytes.len())
}

fn put_sized(out: &mut BytesMut, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else {
        return varint::put(out, -1);
    };
    varint::put(out, bytes.len() as i64);
    out.put_slice(bytes);
}
