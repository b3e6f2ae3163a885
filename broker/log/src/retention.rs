//! The front of the log: what retention would take, moving the log start, unlinking what lies below it; and cutting
//! the end (truncation by epoch).

use crate::LogError;
use crate::config::Now;
use crate::jobs::StartJob;
use crate::log::Log;
use crate::segment::Segment;
use headwater_record::Offset;
use std::sync::Arc;

impl Log {
    /// The log start that time and size retention would set now: a segment's end, at most `committed`, never beyond the
    /// active segment's beginning. `None` if there is nothing to take.
    pub fn retention_plan(&self, now: Now, committed: Offset) -> Option<Offset> {
        let (_, sealed) = self.segments.split_last()?;
        let alive = |segment: &&Arc<Segment>| segment.end_offset() > self.log_start;
        let mut left_bytes: u64 = self
            .segments
            .iter()
            .filter(alive)
            .map(|s| s.size_bytes())
            .sum();
        let mut plan = None;
        for segment in sealed.iter().filter(alive) {
            let size_bytes = segment.size_bytes();
            let is_surplus = self
                .config
                .retention_bytes
                .is_some_and(|kept| left_bytes - size_bytes >= kept);
            let may_go = is_surplus || self.is_expired(segment, now);
            if !may_go || segment.end_offset() > committed {
                break;
            }
            left_bytes -= size_bytes;
            plan = Some(segment.end_offset());
        }
        plan
    }

    /// Whether every record of the segment was appended longer ago than time retention keeps.
    pub(crate) fn is_expired(&self, segment: &Segment, now: Now) -> bool {
        let latest = self.append_times.latest_below(segment.end_offset());
        match (self.config.retention_ms, latest) {
            (Some(kept_ms), Some(latest_ms)) => {
                let kept_ms = i64::try_from(kept_ms).unwrap_or(i64::MAX);
                latest_ms.saturating_add(kept_ms) <= now.wall_ms
            }
            _ => false,
        }
    }

    /// Moves the log start (never back, never past `end`). Durable when the returned job has run. Whole segments below
    /// are unlinked by `reclaim`, after that.
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
            self.shared.clip_damage(to, self.end);
            self.retire_active()?;
        }
        Ok(StartJob {
            key: self.key,
            log_start: self.log_start,
            env: Arc::clone(&self.env),
            shared: Arc::clone(&self.shared),
            dirs: self.unsynced_dirs_above(),
        })
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

    /// Unlinks at most `segments_max` segments that lie below the durable log start; returns whether more remain.
    /// Off-turn work.
    pub fn reclaim(&mut self, segments_max: usize) -> Result<bool, LogError> {
        let durable_start = self.shared.durable_start().min(self.log_start);
        let is_dead = |log: &Log| {
            let first = log.segments.first();
            log.segments.len() > 1 && first.is_some_and(|first| first.end_offset() <= durable_start)
        };
        for _ in 0..segments_max {
            if !is_dead(self) {
                break;
            }
            self.forget_state();
            let segment = Arc::make_mut(&mut self.segments).remove(0);
            self.unsynced
                .retain(|(unsynced, _)| !Arc::ptr_eq(unsynced, &segment));
            segment.remove_files(&self.env)?;
        }
        Ok(is_dead(self))
    }
}
