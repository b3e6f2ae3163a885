//! The two index files of a segment: written at once, read entry by entry. Anything that does not fit makes the caller
//! build the index anew.

use super::{Entry, OffsetEntry, SegmentIndex, TimeEntry};
use crate::config::LogEnv;
use crate::files::{self, Fields, INDEX, TIME_INDEX};
use crate::frame::{frame, unframe};
use crate::{Disk, DiskFile, LogError, PartitionKey};
use headwater_record::Offset;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

const OFFSET_MAGIC: [u8; 4] = *b"HWIX";
const TIME_MAGIC: [u8; 4] = *b"HWTX";
/// Frame (16) and its payload: base offset, end offset, segment bytes, largest timestamp, entries.
const HEAD_BYTES: usize = 16 + 8 + 8 + 8 + 8 + 4;

/// What an index says of its segment: it counts only for a segment that is exactly this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexHead {
    pub(crate) base_offset: Offset,
    pub(crate) end_offset: Offset,
    pub(crate) segment_bytes: u64,
    pub(crate) max_timestamp_ms: i64,
    pub(crate) entries: u32,
}

impl IndexHead {
    fn encode(&self, magic: [u8; 4]) -> Vec<u8> {
        let mut payload = Vec::with_capacity(HEAD_BYTES);
        payload.extend_from_slice(&self.base_offset.get().to_le_bytes());
        payload.extend_from_slice(&self.end_offset.get().to_le_bytes());
        payload.extend_from_slice(&self.segment_bytes.to_le_bytes());
        payload.extend_from_slice(&self.max_timestamp_ms.to_le_bytes());
        payload.extend_from_slice(&self.entries.to_le_bytes());
        frame(magic, &payload)
    }

    fn decode(magic: [u8; 4], bytes: &[u8]) -> Option<IndexHead> {
        let mut fields = Fields(unframe(magic, bytes).ok()?);
        Some(IndexHead {
            base_offset: fields.offset()?,
            end_offset: fields.offset()?,
            segment_bytes: fields.u64()?,
            max_timestamp_ms: fields.i64()?,
            entries: fields.u32()?,
        })
    }
}

/// Writes both files, each to a temporary name and renamed. Not synced: a torn one does not verify.
pub(crate) fn write(
    disk: &dyn Disk,
    key: PartitionKey,
    base_offset: Offset,
    end_offset: Offset,
    segment_bytes: u64,
    index: &SegmentIndex,
) -> Result<(), LogError> {
    let head = IndexHead {
        base_offset,
        end_offset,
        segment_bytes,
        max_timestamp_ms: index.max_timestamp_ms,
        entries: index.entries.len() as u32,
    };
    let mut offsets = head.encode(OFFSET_MAGIC);
    let mut times = head.encode(TIME_MAGIC);
    for entry in &index.entries {
        let relative_offset = entry.relative_offset;
        OffsetEntry {
            relative_offset,
            position: entry.position,
        }
        .encode(&mut offsets);
        TimeEntry {
            relative_offset,
            max_before_ms: entry.max_before_ms,
        }
        .encode(&mut times);
    }
    let path = files::at_offset(key, base_offset, INDEX);
    files::replace(disk, &path, &offsets, false)?;
    let path = files::at_offset(key, base_offset, TIME_INDEX);
    files::replace(disk, &path, &times, false)
}

/// The head of a segment's offset index, whatever it says; `None` if absent or damaged.
pub(crate) fn read_head(
    disk: &dyn Disk,
    key: PartitionKey,
    base_offset: Offset,
) -> Result<Option<IndexHead>, LogError> {
    let path = files::at_offset(key, base_offset, INDEX);
    let file = match disk.open(&path, false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(LogError::io("open", &path))?,
    };
    let mut bytes = [0; HEAD_BYTES];
    let got = file
        .read_at(&mut bytes, 0)
        .map_err(LogError::io("read", &path))?;
    let head = bytes
        .get(..got)
        .and_then(|bytes| IndexHead::decode(OFFSET_MAGIC, bytes));
    Ok(head.filter(|head| head.base_offset == base_offset))
}

/// An open index file of a segment that is `end_offset` and `segment_bytes` long.
pub(crate) struct IndexFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    pub(crate) head: IndexHead,
}

impl IndexFile {
    fn open(
        env: &LogEnv,
        path: PathBuf,
        magic: [u8; 4],
        base: Offset,
        end: Offset,
        segment_bytes: u64,
    ) -> Result<Option<IndexFile>, LogError> {
        let file = match env.files.get(&*env.disk, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(LogError::io("open", &path))?,
        };
        let mut bytes = [0; HEAD_BYTES];
        let got = file
            .read_at(&mut bytes, 0)
            .map_err(LogError::io("read", &path))?;
        let head = bytes
            .get(..got)
            .and_then(|bytes| IndexHead::decode(magic, bytes));
        let fits = |head: &IndexHead| {
            (head.base_offset, head.end_offset, head.segment_bytes) == (base, end, segment_bytes)
        };
        Ok(head.filter(fits).map(|head| IndexFile { path, file, head }))
    }

    /// The offset index, if it fits the segment.
    pub(crate) fn offsets(
        env: &LogEnv,
        key: PartitionKey,
        base: Offset,
        end: Offset,
        segment_bytes: u64,
    ) -> Result<Option<IndexFile>, LogError> {
        let path = files::at_offset(key, base, INDEX);
        IndexFile::open(env, path, OFFSET_MAGIC, base, end, segment_bytes)
    }

    /// The time index, if it fits the segment.
    pub(crate) fn times(
        env: &LogEnv,
        key: PartitionKey,
        base: Offset,
        end: Offset,
        segment_bytes: u64,
    ) -> Result<Option<IndexFile>, LogError> {
        let path = files::at_offset(key, base, TIME_INDEX);
        IndexFile::open(env, path, TIME_MAGIC, base, end, segment_bytes)
    }

    fn entry<const N: usize>(&self, at: u32) -> Result<Option<[u8; N]>, LogError> {
        let mut bytes = [0; N];
        let position = HEAD_BYTES as u64 + u64::from(at) * N as u64;
        let got = self
            .file
            .read_at(&mut bytes, position)
            .map_err(LogError::io("read", &self.path))?;
        Ok((got == N).then_some(bytes))
    }

    /// Entry `at` of an offset index; `None` if damaged.
    pub(crate) fn offset_entry(&self, at: u32) -> Result<Option<OffsetEntry>, LogError> {
        let bytes = self.entry::<{ OffsetEntry::BYTES }>(at)?;
        Ok(bytes.and_then(|bytes| OffsetEntry::decode(&bytes)))
    }

    /// Entry `at` of a time index; `None` if damaged.
    pub(crate) fn time_entry(&self, at: u32) -> Result<Option<TimeEntry>, LogError> {
        let bytes = self.entry::<{ TimeEntry::BYTES }>(at)?;
        Ok(bytes.and_then(|bytes| TimeEntry::decode(&bytes)))
    }
}

/// Number of leading entries of `count` for which `before` holds, by bisection. `None` as soon as one is damaged.
pub(crate) fn partition_point(
    count: u32,
    mut before: impl FnMut(u32) -> Result<Option<bool>, LogError>,
) -> Result<Option<u32>, LogError> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match before(middle)? {
            None => return Ok(None),
            Some(true) => low = middle + 1,
            Some(false) => high = middle,
        }
    }
    Ok(Some(low))
}

/// Reads both files whole, to go on appending to the segment; `None` if they do not fit it or are damaged.
pub(crate) fn load(
    env: &LogEnv,
    key: PartitionKey,
    base: Offset,
    end: Offset,
    segment_bytes: u64,
    interval_bytes: u32,
) -> Result<Option<SegmentIndex>, LogError> {
    let Some(offsets) = IndexFile::offsets(env, key, base, end, segment_bytes)? else {
        return Ok(None);
    };
    let Some(times) = IndexFile::times(env, key, base, end, segment_bytes)? else {
        return Ok(None);
    };
    if times.head != offsets.head {
        return Ok(None);
    }
    let mut index = SegmentIndex::new(interval_bytes);
    index.max_timestamp_ms = offsets.head.max_timestamp_ms;
    for at in 0..offsets.head.entries {
        let (Some(offset), Some(time)) = (offsets.offset_entry(at)?, times.time_entry(at)?) else {
            return Ok(None);
        };
        if offset.relative_offset != time.relative_offset {
            return Ok(None);
        }
        index.push(Entry {
            relative_offset: offset.relative_offset,
            position: offset.position,
            max_before_ms: time.max_before_ms,
        });
    }
    Ok(Some(index))
}
