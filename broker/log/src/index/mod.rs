//! Sparse indexes of a segment, derived from its batches: in memory while the segment is active, in two files once it
//! is sealed or closed.

pub(crate) mod file;
mod offset;
mod time;

pub(crate) use offset::OffsetEntry;
pub(crate) use time::TimeEntry;

use crate::limits::INDEX_ENTRIES_MAX;
use headwater_record::BatchHeader;

/// A place to start scanning at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) relative_offset: u32,
    pub(crate) position: u32,
    /// Largest timestamp of the segment's records below.
    pub(crate) max_before_ms: i64,
}

impl Entry {
    /// The segment's beginning, which needs no entry.
    pub(crate) const FIRST: Entry = Entry {
        relative_offset: 0,
        position: 0,
        max_before_ms: i64::MIN,
    };
}

/// The index of one segment in memory.
#[derive(Clone, Debug)]
pub(crate) struct SegmentIndex {
    pub(crate) entries: Vec<Entry>,
    /// Largest timestamp of all records.
    pub(crate) max_timestamp_ms: i64,
    /// Least distance of entries, in bytes of the segment.
    interval_bytes: u64,
}

impl SegmentIndex {
    pub(crate) fn new(interval_bytes: u32) -> SegmentIndex {
        SegmentIndex {
            entries: Vec::new(),
            max_timestamp_ms: i64::MIN,
            interval_bytes: u64::from(interval_bytes),
        }
    }

    /// Notes a batch written at `position`. Positions and offsets of a segment fit their entries: it rolls before.
    pub(crate) fn note(&mut self, relative_offset: u64, position: u64, header: &BatchHeader) {
        let last = self.entries.last().copied().unwrap_or(Entry::FIRST);
        if position.saturating_sub(u64::from(last.position)) >= self.interval_bytes && position > 0
        {
            self.push(Entry {
                relative_offset: u32::try_from(relative_offset).expect("the segment rolls before"),
                position: u32::try_from(position).expect("the segment rolls before"),
                max_before_ms: self.max_timestamp_ms,
            });
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(header.max_timestamp_ms);
    }

    fn push(&mut self, entry: Entry) {
        if self.entries.len() >= INDEX_ENTRIES_MAX {
            let mut at = 0;
            self.entries.retain(|_| {
                at += 1;
                at % 2 == 0
            });
            // Batches may be larger than the interval: it is the distance so far that doubles.
            let distance_bytes = u64::from(entry.position) / INDEX_ENTRIES_MAX as u64;
            self.interval_bytes = self.interval_bytes.max(distance_bytes).saturating_mul(2);
        }
        self.entries.push(entry);
    }

    /// The last entry at or below an offset, and the position of the entry behind it, if there is one.
    pub(crate) fn at_offset(&self, relative_offset: u64) -> (Entry, Option<u64>) {
        self.around(|entry| u64::from(entry.relative_offset) <= relative_offset)
    }

    /// The last entry below which every timestamp is less than `timestamp_ms`.
    pub(crate) fn at_time(&self, timestamp_ms: i64) -> Entry {
        self.around(|entry| entry.max_before_ms < timestamp_ms).0
    }

    fn around(&self, before: impl Fn(&Entry) -> bool) -> (Entry, Option<u64>) {
        let later = self.entries.partition_point(before);
        let entry = later
            .checked_sub(1)
            .and_then(|at| self.entries.get(at))
            .copied()
            .unwrap_or(Entry::FIRST);
        let next = self.entries.get(later);
        (entry, next.map(|next| u64::from(next.position)))
    }
}

#[cfg(test)]
mod tests;
