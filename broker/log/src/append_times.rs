//! When records were appended, by the leader's wall clock: what time retention counts from.

use crate::files::Fields;
use crate::limits::{APPEND_MARK_MS_MIN, APPEND_MARKS_MAX};
use headwater_record::Offset;
use std::ops::Range;

/// Width of a mark in the file.
const ENTRY_BYTES: usize = 20;

/// One mark: the record at `offset` was appended at `ms`, all before it no later, all behind it no earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AppendMark {
    pub(crate) offset: Offset,
    pub(crate) ms: i64,
}

impl AppendMark {
    pub(crate) fn encode(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        let (fields, crc) = bytes.split_at_mut(16);
        let (offset, ms) = fields.split_at_mut(8);
        offset.copy_from_slice(&self.offset.get().to_le_bytes());
        ms.copy_from_slice(&self.ms.to_le_bytes());
        crc.copy_from_slice(&crc32c::crc32c(fields).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<AppendMark> {
        let mut fields = Fields(bytes);
        let mark = AppendMark {
            offset: fields.offset()?,
            ms: fields.i64()?,
        };
        (mark.encode() == bytes).then_some(mark)
    }
}

/// The marks of a partition, thinned to a bound. Offsets grow strictly, times never fall.
#[derive(Debug, Default)]
pub(crate) struct AppendTimes {
    marks: Vec<AppendMark>,
    /// No record was appended later.
    latest_ms: Option<i64>,
    /// Marks in the file, which may be more than `marks` where some did not verify.
    file_entries: u64,
}

/// What has to be written for a new mark.
pub(crate) enum MarkWrite {
    /// These bytes at this position.
    At(u64, Vec<u8>),
    /// The whole file anew.
    Replace(Vec<u8>),
}

impl AppendTimes {
    /// Reads the file; marks that do not verify, or do not fit those before them, are left out. The caller says
    /// what was the latest: the newest marks may be missing.
    pub(crate) fn decode(bytes: &[u8]) -> AppendTimes {
        let mut times = AppendTimes::default();
        for entry in bytes.chunks(ENTRY_BYTES) {
            times.file_entries += 1;
            let Some(mark) = AppendMark::decode(entry) else {
                continue;
            };
            let fits = |last: &AppendMark| last.offset < mark.offset && last.ms <= mark.ms;
            if times.marks.last().is_none_or(fits) {
                times.marks.push(mark);
            }
        }
        while times.marks.len() > APPEND_MARKS_MAX {
            times.thin();
        }
        times
    }

    /// Takes everything known so far as appended no later than `ms`: marks may have been lost.
    pub(crate) fn assume_latest(&mut self, ms: i64) {
        self.latest_ms = Some(self.latest_ms.map_or(ms, |latest| latest.max(ms)));
    }

    /// A time that nothing was appended after; `None` if nothing was appended.
    pub(crate) fn latest(&self) -> Option<i64> {
        self.latest_ms
    }

    /// Notes an append at `offset` and returns its time (never earlier than the one before), and what to write when
    /// it made a mark.
    pub(crate) fn note(&mut self, offset: Offset, wall_ms: i64) -> (i64, Option<MarkWrite>) {
        let floor_ms = self.marks.last().map_or(i64::MIN, |mark| mark.ms);
        let ms = wall_ms.max(floor_ms);
        self.latest_ms = Some(self.latest_ms.map_or(ms, |latest| latest.max(ms)));
        if !self.marks.is_empty() && ms < floor_ms.saturating_add(APPEND_MARK_MS_MIN) {
            return (ms, None);
        }
        let mark = AppendMark { offset, ms };
        self.marks.push(mark);
        if self.marks.len() > APPEND_MARKS_MAX {
            self.thin();
            return (ms, Some(self.rewrite()));
        }
        let position = self.file_entries * ENTRY_BYTES as u64;
        self.file_entries += 1;
        (ms, Some(MarkWrite::At(position, mark.encode().to_vec())))
    }

    /// A time that no record below `end` was appended after.
    pub(crate) fn latest_below(&self, end: Offset) -> Option<i64> {
        let at = self.marks.partition_point(|mark| mark.offset < end);
        self.marks.get(at).map(|mark| mark.ms).or(self.latest_ms)
    }

    /// The marks in a range: offset and time.
    pub(crate) fn within(&self, offsets: Range<Offset>) -> Vec<(Offset, i64)> {
        let marks = self.marks.iter().map(|mark| (mark.offset, mark.ms));
        marks
            .filter(|(offset, _)| offsets.contains(offset))
            .collect()
    }

    /// The time of the newest mark at or below `offset`; the beginning of time if there is none. What a batch read back
    /// from the log counts as appended at.
    pub(crate) fn floor_ms(&self, offset: Offset) -> i64 {
        self.earliest_at(offset).unwrap_or(i64::MIN)
    }

    /// A time that the record at `offset` was not appended before.
    pub(crate) fn earliest_at(&self, offset: Offset) -> Option<i64> {
        let later = self.marks.partition_point(|mark| mark.offset <= offset);
        self.marks.get(later.checked_sub(1)?).map(|mark| mark.ms)
    }

    /// Forgets marks at or above `end`. Returns the file's new contents if there were any.
    pub(crate) fn truncate(&mut self, end: Offset) -> Option<MarkWrite> {
        let kept = self.marks.partition_point(|mark| mark.offset < end);
        if kept == self.marks.len() {
            return None;
        }
        self.marks.truncate(kept);
        Some(self.rewrite())
    }

    /// Drops every other mark, but never the newest.
    fn thin(&mut self) {
        let newest = self.marks.len().saturating_sub(1);
        let mut at = 0;
        self.marks.retain(|_| {
            at += 1;
            (at - 1) % 2 == 0 || at - 1 == newest
        });
    }

    fn rewrite(&mut self) -> MarkWrite {
        self.file_entries = self.marks.len() as u64;
        MarkWrite::Replace(self.marks.iter().flat_map(|mark| mark.encode()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(times: &mut AppendTimes, appends: &[(u64, i64)]) -> Vec<u8> {
        let mut file = Vec::new();
        for &(offset, ms) in appends {
            match times.note(Offset::new(offset), ms).1 {
                Some(MarkWrite::At(position, bytes)) => {
                    assert_eq!(position, file.len() as u64);
                    file.extend(bytes);
                }
                Some(MarkWrite::Replace(bytes)) => file = bytes,
                None => {}
            }
        }
        file
    }

    #[test]
    fn there_is_at_most_one_mark_a_minute_and_time_never_goes_back() {
        let mut times = AppendTimes::default();
        let file = written(
            &mut times,
            &[(0, 1_000), (5, 30_000), (9, 500), (12, 61_000)],
        );
        assert_eq!(file.len(), 2 * ENTRY_BYTES);
        assert_eq!(times.latest_below(Offset::new(1)), Some(61_000));
        assert_eq!(times.earliest_at(Offset::new(11)), Some(1_000));
        assert_eq!(times.note(Offset::new(13), 2_000).0, 61_000);
        let mut read = AppendTimes::decode(&file);
        assert_eq!(read.marks, times.marks);
        assert_eq!(read.latest_below(Offset::new(99)), None);
        read.assume_latest(70_000);
        assert_eq!(read.latest_below(Offset::new(99)), Some(70_000));
    }

    #[test]
    fn a_damaged_mark_only_makes_times_later() {
        let mut times = AppendTimes::default();
        let minutes: Vec<(u64, i64)> = (0..10).map(|n| (n * 7, n as i64 * 60_000)).collect();
        let file = written(&mut times, &minutes);
        for at in 0..file.len() {
            let mut damaged = file.clone();
            if let Some(byte) = damaged.get_mut(at) {
                *byte ^= 0x10;
            }
            let mut read = AppendTimes::decode(&damaged);
            read.assume_latest(600_000);
            assert_eq!(read.marks.len(), 9);
            for end in 0..60 {
                let end = Offset::new(end);
                assert!(
                    read.latest_below(end) >= times.latest_below(end),
                    "{at} {end}"
                );
            }
        }
    }

    #[test]
    fn marks_are_thinned_to_their_bound() {
        let mut times = AppendTimes::default();
        let minutes: Vec<(u64, i64)> = (0..5_000).map(|n| (n, n as i64 * 60_000)).collect();
        let file = written(&mut times, &minutes);
        assert!(times.marks.len() <= APPEND_MARKS_MAX);
        assert_eq!(AppendTimes::decode(&file).marks, times.marks);
        assert_eq!(times.latest_below(Offset::new(4_999)), Some(4_999 * 60_000));
    }
}
