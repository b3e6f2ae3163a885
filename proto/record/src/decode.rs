//! From bytes to batches, and from batches to records.

use bytes::Bytes;

use crate::header::CRC_COVERS_FROM;
use crate::limits::{HEADER_BYTES_MIN, RECORD_BYTES_MIN};
use crate::{BatchHeader, Header, LeaderEpoch, Offset, Record, RecordError, StoredRecord, varint};

/// One whole batch whose header, length, CRC and counts were checked. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    header: BatchHeader,
    bytes: Bytes,
}

impl Batch {
    /// Verifies exactly one batch (trailing bytes are an error) of at most `size_max` bytes: one CRC
    /// pass, no allocation, no decompression. That the records themselves are well-formed shows only
    /// when they are read.
    pub fn verify(bytes: Bytes, size_max: usize) -> Result<Batch, RecordError> {
        let header = BatchHeader::decode(&bytes)?;
        let (size, got) = (header.size_bytes, bytes.len());
        if size > size_max {
            return Err(RecordError::TooLarge {
                got: size,
                max: size_max,
            });
        }
        if got < size {
            return Err(RecordError::Truncated { needed: size, got });
        }
        if got > size {
            return Err(RecordError::Trailing {
                size,
                extra: got - size,
            });
        }
        let (stored, computed) = (header.crc, crc32c::crc32c(&bytes[CRC_COVERS_FROM..]));
        if stored != computed {
            return Err(RecordError::Crc { stored, computed });
        }
        Ok(Batch { header, bytes })
    }

    /// A batch that was just encoded: `bytes` are known to be what `header` says.
    pub(crate) fn from_encoded(header: BatchHeader, bytes: Bytes) -> Batch {
        assert_eq!(header.size_bytes, bytes.len());
        Batch { header, bytes }
    }

    /// Its fixed header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// All its bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The first 16 bytes to write in place of the batch's own: base offset, length, leader epoch.
    /// They lie outside the CRC. The log writes this prefix followed by `bytes()[16..]`, so stamping
    /// copies nothing.
    pub fn stamp(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> [u8; 16] {
        self.header.context(base_offset, leader_epoch)
    }

    /// Copying form of [`Batch::stamp`].
    pub fn stamped(&self, base_offset: Offset, leader_epoch: LeaderEpoch) -> Batch {
        let mut bytes = self.bytes.to_vec();
        let stamp = self.stamp(base_offset, leader_epoch);
        bytes[..stamp.len()].copy_from_slice(&stamp);
        let header = BatchHeader {
            base_offset,
            leader_epoch,
            ..self.header
        };
        Batch {
            header,
            bytes: bytes.into(),
        }
    }

    /// All records, decompressing within `decoded_bytes_max`. [`crate::limits`] says what memory
    /// that can take; [`Batch::iter_records`] takes less.
    pub fn records(&self, decoded_bytes_max: usize) -> Result<Vec<StoredRecord>, RecordError> {
        let records = self.iter_records(decoded_bytes_max)?;
        let mut all = Vec::with_capacity(records.left as usize);
        for record in records {
            all.push(record?);
        }
        Ok(all)
    }

    /// The records one by one, decompressed at once within `decoded_bytes_max`. Keys and values are
    /// slices of the batch or of the decompressed buffer.
    pub fn iter_records(&self, decoded_bytes_max: usize) -> Result<Records, RecordError> {
        let payload = self.bytes.slice(BatchHeader::SIZE_BYTES..);
        let payload = self
            .header
            .compression()
            .decompress(payload, decoded_bytes_max)?;
        let count = self.header.record_count;
        if payload.len() / RECORD_BYTES_MIN < count as usize {
            let what = "the batch is too small for its record count";
            return Err(RecordError::Record { index: 0, what });
        }
        Ok(Records {
            header: self.header,
            payload,
            at: 0,
            left: count,
        })
    }
}

/// Reads whole batches that stand end to end in `bytes` (a fetch answer, a piece of a segment): each
/// verified. Ends at the first incomplete batch (a fetch may be cut) and behind the first error.
pub fn batches(bytes: Bytes) -> impl Iterator<Item = Result<Batch, RecordError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || match next_batch(&mut rest) {
        Err(RecordError::Truncated { .. }) => None,
        Ok(batch) => Some(Ok(batch)),
        Err(error) => {
            rest.clear();
            Some(Err(error))
        }
    })
}

/// Headers of the whole batches that stand end to end in `bytes`, which somebody has verified: their contents are not
/// looked at. Ends where no header follows.
pub fn headers(bytes: &[u8]) -> impl Iterator<Item = BatchHeader> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let header = BatchHeader::decode(rest).ok()?;
        rest = rest.get(header.size_bytes..).unwrap_or_default();
        Some(header)
    })
}

fn next_batch(rest: &mut Bytes) -> Result<Batch, RecordError> {
    let (needed, got) = (BatchHeader::decode(rest)?.size_bytes, rest.len());
    if got < needed {
        return Err(RecordError::Truncated { needed, got });
    }
    Batch::verify(rest.split_to(needed), needed)
}

/// The records of a batch in their order. Ends behind the first error.
#[derive(Debug)]
pub struct Records {
    header: BatchHeader,
    payload: Bytes,
    at: usize,
    left: u32,
}

impl Iterator for Records {
    type Item = Result<StoredRecord, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let result = self.read_next();
        if result.is_err() {
            self.left = 0;
        }
        Some(result)
    }
}

impl Records {
    /// Bytes of all records of the batch, decompressed. Keys and values hold on to them.
    pub fn decoded_bytes(&self) -> usize {
        self.payload.len()
    }

    fn read_next(&mut self) -> Result<StoredRecord, RecordError> {
        let index = self.header.record_count - self.left;
        let malformed = |what| RecordError::Record { index, what };
        let mut rest = self.payload.get(self.at..).unwrap_or_default();
        let body = take_sized(&mut rest)
            .map_err(malformed)?
            .ok_or(malformed("no length"))?;
        let next_at = self.payload.len() - rest.len();
        let record = Body {
            payload: &self.payload,
            header: &self.header,
            rest: body,
        }
        .decode(index)
        .map_err(malformed)?;
        if self.left == 1 && !rest.is_empty() {
            return Err(RecordError::TrailingRecords { extra: rest.len() });
        }
        self.at = next_at;
        self.left -= 1;
        Ok(StoredRecord {
            offset: self.header.base_offset.plus(u64::from(index)),
            record,
        })
    }
}

/// What stands behind the length of one record.
struct Body<'a> {
    payload: &'a Bytes,
    header: &'a BatchHeader,
    rest: &'a [u8],
}

impl Body<'_> {
    fn decode(mut self, index: u32) -> Result<Record, &'static str> {
        let (_attributes, rest) = self.rest.split_first().ok_or("it is empty")?;
        self.rest = rest;
        let timestamp_delta = varint::take_i64(&mut self.rest).ok_or("bad timestamp delta")?;
        let offset_delta = varint::take_i32(&mut self.rest).ok_or("bad offset delta")?;
        if u32::try_from(offset_delta) != Ok(index) {
            return Err("its offset delta is not its place");
        }
        let timestamp_ms = if self.header.has_append_time() {
            self.header.max_timestamp_ms
        } else {
            let base = self.header.base_timestamp_ms;
            base.checked_add(timestamp_delta)
                .ok_or("its timestamp overflows")?
        };
        let key = self.take_bytes()?;
        let value = self.take_bytes()?;
        let headers = self.take_headers()?;
        if !self.rest.is_empty() {
            return Err("bytes follow its headers");
        }
        Ok(Record {
            key,
            value,
            headers,
            timestamp_ms,
        })
    }

    fn take_headers(&mut self) -> Result<Vec<Header>, &'static str> {
        let count = varint::take_i32(&mut self.rest)
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| *count <= self.rest.len() / HEADER_BYTES_MIN)
            .ok_or("bad header count")?;
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let name = take_sized(&mut self.rest)?.ok_or("a header name is null")?;
            let name = std::str::from_utf8(name).map_err(|_| "a header name is not UTF-8")?;
            headers.push(Header {
                name: name.to_owned(),
                value: self.take_bytes()?,
            });
        }
        Ok(headers)
    }

    fn take_bytes(&mut self) -> Result<Option<Bytes>, &'static str> {
        let slice = take_sized(&mut self.rest)?;
        Ok(slice.map(|slice| self.payload.slice_ref(slice)))
    }
}

/// A length and as many bytes; `None` for length -1.
fn take_sized<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, &'static str> {
    let length = varint::take_i32(rest).ok_or("bad length")?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| "a length is negative")?;
    let (taken, behind) = rest
        .split_at_checked(length)
        .ok_or("a length passes the end")?;
    *rest = behind;
    Ok(Some(taken))
}
