//! Sealed segments as the tier takes them: what there is to upload, and what belongs to each beside its batches.

use crate::LogError;
use crate::files::{self, PRODUCERS};
use crate::log::Log;
use crate::producers::Producers;
use headwater_record::{LeaderEpoch, Offset};

/// A segment on this disk that is not appended to any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Offset of its first record.
    pub base_offset: Offset,
    /// Offset behind its last record.
    pub end_offset: Offset,
    /// Size of its batches.
    pub size_bytes: u64,
    /// No record of it was appended later, in milliseconds since 1970; `None` if that is not known.
    pub latest_append_ms: Option<i64>,
}

/// What a segment's batches do not say themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentContext {
    /// The leader epochs of its batches and where each began, in order; the first may have begun before the segment.
    pub epochs: Vec<(LeaderEpoch, Offset)>,
    /// Append-time marks within the segment: offset and milliseconds since 1970.
    pub append_marks: Vec<(Offset, i64)>,
    /// No record of it was appended later; `None` if that is not known.
    pub latest_append_ms: Option<i64>,
    /// The producer state at its end, as the file holds it. `None` if there is no sound one: it is derived, and only the
    /// newest few are kept.
    pub producers: Option<Vec<u8>>,
}

impl Log {
    /// Sealed segments on this disk that end at or below `limit`, oldest first. The first may begin below the local
    /// start. Where one does not begin at the end of the one before, what was between them is lost.
    pub fn sealed(&self, limit: Offset) -> Vec<SealedSegment> {
        self.sealed_segments(limit)
            // One without a record stays where the log went on behind damage.
            .filter(|segment| segment.size_bytes() > 0)
            .map(|segment| SealedSegment {
                base_offset: segment.base_offset(),
                end_offset: segment.end_offset(),
                size_bytes: segment.size_bytes(),
                latest_append_ms: self.append_times.latest_below(segment.end_offset()),
            })
            .collect()
    }

    /// Bytes of the segments that begin at or above `offset`.
    pub fn bytes_from(&self, offset: Offset) -> u64 {
        let segments = self.segments.iter();
        let above = segments.filter(|segment| segment.base_offset() >= offset);
        above.map(|segment| segment.size_bytes()).sum()
    }

    /// What belongs to a segment from `base` to `end`. Reads one small file. Out of range if the log does not reach so
    /// far.
    pub fn segment_context(&self, base: Offset, end: Offset) -> Result<SegmentContext, LogError> {
        if base > end || end > self.end {
            return Err(LogError::OutOfRange {
                asked: base.max(end),
                start: self.log_start,
                end: self.end,
            });
        }
        let path = files::at_offset(self.key, end, PRODUCERS);
        let producers = files::read_small(&*self.env.disk, &path)?;
        Ok(SegmentContext {
            epochs: self.epochs.covering(base..end),
            append_marks: self.append_times.within(base..end),
            latest_append_ms: self.append_times.latest_below(end),
            producers: producers.filter(|bytes| Producers::decode(bytes).is_some()),
        })
    }
}
