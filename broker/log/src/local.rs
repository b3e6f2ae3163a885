//! The part of a log that is on this disk: where it starts, and how much of it stays once it is in the tier too.

use crate::LogError;
use crate::config::Now;
use crate::log::Log;
use crate::start::StartJob;
use headwater_record::Offset;

/// What stays on this disk of what is in the tier. A bound that is `None` sends nothing away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalRetention {
    /// Records appended longer ago may go, in milliseconds. With 0 all may, whatever the clock says.
    pub ms: Option<u64>,
    /// Oldest segments may go while those that stay hold at least so many bytes, the active one included.
    pub bytes: Option<u64>,
}

impl Log {
    /// Everything below is in sealed segments, or in none on this disk.
    pub fn sealed_end(&self) -> Offset {
        self.active().base_offset()
    }

    /// First offset on this disk. What lies between the log start and it is in the tier.
    pub fn local_start(&self) -> Offset {
        self.local_start
    }

    /// The log start that outlives a crash; what is below it never comes back.
    pub fn durable_log_start(&self) -> Offset {
        self.shared.durable().log
    }

    /// The local start that local retention would set now: a segment's end, at most `tiered_end`, never beyond the
    /// active segment's beginning. `None` if there is nothing to take. Pure.
    pub fn local_plan(&self, now: Now, tiered_end: Offset, keep: LocalRetention) -> Option<Offset> {
        self.front_to_go(tiered_end, |segment, left_bytes| {
            keep.ms == Some(0)
                || keep.bytes.is_some_and(|kept| left_bytes >= kept)
                || self.is_older(segment, keep.ms, now)
        })
    }

    /// Moves the local start (never back, never beyond the active segment's beginning: as far as it may go); the log
    /// start stays. The caller vouches that everything below `to` is in the tier. Durable when the returned job has run.
    /// Whole segments below are unlinked by `reclaim`, after that.
    pub fn drop_local(&mut self, to: Offset) -> Result<StartJob, LogError> {
        self.check_usable()?;
        let to = to.min(self.active().base_offset());
        if to > self.local_start {
            self.forget_state();
            self.local_start = to;
            // A damaged copy that goes is no loss: the tier has a sound one.
            self.shared.clip_damage(to, self.end);
        }
        Ok(self.start_job())
    }

    /// Moves the log start back, which nothing else does: after a recovery that reported
    /// [`start_lost`](crate::RecoveryReport::start_lost) and took the local start for it, if the tier holds more. To
    /// be called before an epoch begins. The local start stays. Durable when the returned job has run. Out of range below a log start that is durable.
    pub fn restore_start(&mut self, to: Offset) -> Result<StartJob, LogError> {
        self.check_usable()?;
        let durable_start = self.shared.durable().log;
        if to < durable_start {
            return Err(LogError::OutOfRange {
                asked: to,
                start: durable_start,
                end: self.end,
            });
        }
        if to < self.log_start {
            self.forget_state();
            self.log_start = to;
        }
        Ok(self.start_job())
    }
}
