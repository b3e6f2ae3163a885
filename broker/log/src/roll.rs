//! Rolling: the active segment is sealed and another begins, with a snapshot of the producer state between them.

use crate::config::{LogEnv, Now};
use crate::files::{self, LOG, PRODUCERS};
use crate::index::SegmentIndex;
use crate::limits::{PRODUCER_SNAPSHOTS_MAX, SEGMENT_BYTES_MAX, SEGMENT_OFFSETS_MAX};
use crate::log::Log;
use crate::segment::Segment;
use crate::{DiskFile, LogError};
use headwater_record::{BatchHeader, Offset};
use std::path::Path;
use std::sync::Arc;

impl Log {
    /// Rolls by age, when retention could take the whole active segment, or when all of it lies below the log start.
    /// Empty segments never roll.
    pub fn roll_if_due(&mut self, now: Now) -> Result<bool, LogError> {
        self.check_usable()?;
        let segment = self.active();
        if segment.size_bytes() == 0 {
            return Ok(false);
        }
        let dead = segment.end_offset() <= self.log_start;
        let due = dead || self.is_old(now) || self.is_expired(segment, now);
        if due {
            self.forget_state();
            self.roll()?;
        }
        Ok(due)
    }

    pub(crate) fn must_roll_before(&self, header: &BatchHeader) -> bool {
        let segment = self.active();
        let size_bytes = segment.size_bytes();
        let size_max = self.config.segment_bytes.min(SEGMENT_BYTES_MAX);
        size_bytes > 0
            && (size_bytes + header.size_bytes as u64 > size_max
                || header.end_offset().since(segment.base_offset()) > SEGMENT_OFFSETS_MAX)
    }

    pub(crate) fn is_old(&self, now: Now) -> bool {
        self.active_since_ms
            .is_some_and(|since| now.monotonic_ms.saturating_sub(since) >= self.config.segment_ms)
            && self.active().size_bytes() > 0
    }

    /// Seals the active segment and begins another at the end.
    pub(crate) fn roll(&mut self) -> Result<(), LogError> {
        let path = files::at_offset(self.key, self.end, LOG);
        let file = create_empty(&self.env, &path)?;
        self.env.files.put(&path, file);
        self.active().seal_index(&self.env);
        self.write_producers();
        let index = SegmentIndex::new(self.config.index_interval_bytes);
        let segment = Segment::new(self.key, self.end, self.end, 0, Some(index));
        Arc::make_mut(&mut self.segments).push(Arc::new(segment));
        self.unsynced_entry = Some(self.end);
        self.active_since_ms = None;
        Ok(())
    }

    /// Writes a snapshot of the producer state at the end and removes the oldest, but not the one where the log begins on
    /// this disk: nothing else has what was before. Derived: a failure costs time later.
    pub(crate) fn write_producers(&self) {
        let disk = &*self.env.disk;
        let path = files::at_offset(self.key, self.end, PRODUCERS);
        let kept_from = self.kept_from();
        let is_surplus = |at, newer| newer >= PRODUCER_SNAPSHOTS_MAX && at != kept_from;
        let written = files::replace(disk, &path, &self.producers.encode(), false)
            .and_then(|()| self.remove_producers(is_surplus));
        if let Err(error) = written {
            tracing::warn!(%error, "producer snapshot not written; the log will be read instead");
        }
    }

    /// Removes the snapshots chosen by their offset and the number of newer ones.
    pub(crate) fn remove_producers(
        &self,
        chosen: impl Fn(Offset, usize) -> bool,
    ) -> Result<(), LogError> {
        let dir = files::partition_dir(self.key);
        let names = self
            .env
            .disk
            .list(&dir)
            .map_err(LogError::io("list", &dir))?;
        let offsets = names.iter().rev().filter_map(|(name, _)| {
            let (offset, extension) = files::parse_name(name)?;
            (extension == PRODUCERS).then_some(offset)
        });
        for (newer, offset) in offsets.enumerate() {
            if chosen(offset, newer) {
                let path = files::at_offset(self.key, offset, PRODUCERS);
                files::remove(&*self.env.disk, &path)?;
            }
        }
        Ok(())
    }
}

/// A new segment's file; one that a crash left behind is emptied.
pub(crate) fn create_empty(env: &LogEnv, path: &Path) -> Result<Arc<dyn DiskFile>, LogError> {
    let create = || {
        let file = env.disk.open(path, true)?;
        if file.len()? > 0 {
            file.truncate(0)?;
        }
        Ok(file)
    };
    create().map_err(LogError::io("create", path))
}
