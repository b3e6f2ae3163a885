//! The front of the log: what retention would take, moving the log start, unlinking what lies below it.

use crate::LogError;
use crate::config::Now;
use crate::log::Log;
use crate::segment::Segment;
use crate::start::StartJob;
use headwater_record::Offset;
use std::sync::Arc;

impl Log {
    /// The log start that time and size retention would set now: a segment's end, at most `committed`, never beyond the
    /// active segment's beginning. `None` if there is nothing to take. Sees the local segments only, so it is not asked
    /// about a partition of which a part is in the tier.
    pub fn retention_plan(&self, now: Now, committed: Offset) -> Option<Offset> {
        self.front_to_go(committed, |segment, left_bytes| {
            let kept_bytes = self.config.retention_bytes;
            kept_bytes.is_some_and(|kept| left_bytes >= kept) || self.is_expired(segment, now)
        })
    }

    /// The end of the last of the sealed segments on this disk that may go, oldest first and at most up to `limit`.
    /// `may_go` gets a segment and what would be left without it, in bytes.
    pub(crate) fn front_to_go(
        &self,
        limit: Offset,
        may_go: impl Fn(&Segment, u64) -> bool,
    ) -> Option<Offset> {
        let local = self
            .segments
            .iter()
            .filter(|segment| self.is_local(segment));
        let mut left_bytes: u64 = local.map(|segment| segment.size_bytes()).sum();
        let mut plan = None;
        for segment in self.sealed_segments(limit) {
            left_bytes -= segment.size_bytes();
            if !may_go(segment, left_bytes) {
                break;
            }
            plan = Some(segment.end_offset());
        }
        plan
    }

    /// Whether the segment reaches above the local start: the others only wait to be unlinked.
    pub(crate) fn is_local(&self, segment: &Segment) -> bool {
        segment.end_offset() > self.local_start
    }

    /// The sealed segments on this disk that end at or below `limit`, oldest first.
    pub(crate) fn sealed_segments(&self, limit: Offset) -> impl Iterator<Item = &Arc<Segment>> {
        let sealed = self.segments.split_last().map(|(_, sealed)| sealed);
        let sealed = sealed.unwrap_or_default().iter();
        sealed
            .filter(|segment| self.is_local(segment))
            .take_while(move |segment| segment.end_offset() <= limit)
    }

    /// Whether every record of the segment was appended longer ago than time retention keeps.
    pub(crate) fn is_expired(&self, segment: &Segment, now: Now) -> bool {
        self.is_older(segment, self.config.retention_ms, now)
    }

    /// Whether every record of the segment was appended so long ago.
    pub(crate) fn is_older(&self, segment: &Segment, kept_ms: Option<u64>, now: Now) -> bool {
        let latest_ms = self.append_times.latest_below(segment.end_offset());
        now.is_past(latest_ms, kept_ms)
    }

    /// Moves the log start (never back, never past `end`), and the local start with it if that is lower. Durable when the
    /// returned job has run. Whole segments below are unlinked by `reclaim`, after that.
    pub fn advance_start(&mut self, to: Offset) -> Result<StartJob, LogError> {
        self.check_usable()?;
        if to > self.end {
            return Err(LogError::OutOfRange {
                asked: to,
                start: self.log_start,
                end: self.end,
            });
        }
        if to > self.log_start {
            self.forget_state();
            self.log_start = to;
            self.local_start = self.local_start.max(to);
            self.shared.clip_damage(self.local_start, self.end);
            self.retire_active()?;
        }
        Ok(self.start_job())
    }

    /// What makes both starts durable as they are now.
    pub(crate) fn start_job(&self) -> StartJob {
        StartJob {
            key: self.key,
            log_start: self.log_start,
            local_start: self.local_start,
            kept_from: self.kept_from(),
            env: Arc::clone(&self.env),
            shared: Arc::clone(&self.shared),
            dirs: self.unsynced_dirs_above(),
        }
    }

    /// Base of the first segment that stays when all below the local start are gone.
    pub(crate) fn kept_from(&self) -> Offset {
        let mut segments = self.segments.iter();
        let kept = segments.find(|segment| self.local_start < segment.end_offset());
        kept.unwrap_or_else(|| self.active()).base_offset()
    }

    /// Seals the active segment if all of it lies below the log start, so that it can be reclaimed. On a full disk it stays
    /// until it rolls for another reason.
    fn retire_active(&mut self) -> Result<(), LogError> {
        if self.log_start < self.end || self.active().size_bytes() == 0 {
            return Ok(());
        }
        match self.roll() {
            Err(error) if !error.is_full() => Err(error),
            _ => Ok(()),
        }
    }

    /// Whether the oldest segment lies below the durable local start.
    pub fn waits_for_reclaim(&self) -> bool {
        let durable_start = self.shared.durable().local.min(self.local_start);
        let first = self.segments.first();
        self.segments.len() > 1 && first.is_some_and(|first| first.end_offset() <= durable_start)
    }

    /// Unlinks at most `segments_max` segments that lie below the durable local start; returns whether more remain.
    /// Off-turn work.
    pub fn reclaim(&mut self, segments_max: usize) -> Result<bool, LogError> {
        for _ in 0..segments_max {
            if !self.waits_for_reclaim() {
                break;
            }
            self.forget_state();
            let segment = Arc::make_mut(&mut self.segments).remove(0);
            self.unsynced
                .retain(|(unsynced, _)| !Arc::ptr_eq(unsynced, &segment));
            segment.remove_files(&self.env)?;
        }
        Ok(self.waits_for_reclaim())
    }
}
