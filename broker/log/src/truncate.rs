//! Cutting the end of a log: truncation by epoch.

use crate::LogError;
use crate::files;
use crate::jobs::{sync_dirs, write_epochs};
use crate::limits::SCAN_CHUNK_BYTES;
use crate::log::Log;
use crate::recovery::replay::Replay;
use crate::scan::{ChunkReader, Context, Step, Walk};
use crate::segment::Segment;
use headwater_record::Offset;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Where a log can be cut: between two batches.
struct Boundary {
    /// Number of the segment that stays last.
    segment: usize,
    /// Size that it is cut to.
    position: u64,
    offset: Offset,
}

impl Log {
    /// Cuts everything at and above `end`, and the whole of a batch that `end` falls into: lowers the mark and the
    /// epochs file and syncs both, then cuts and syncs. Blocking; after an I/O error the log is unusable until it is
    /// opened again. Out of range if records would go that lie below the local start, or share a batch with it.
    pub fn truncate(&mut self, end: Offset) -> Result<(), LogError> {
        self.check_usable()?;
        if end >= self.end {
            return Ok(());
        }
        let out_of_range = LogError::OutOfRange {
            asked: end,
            start: self.log_start,
            end: self.end,
        };
        if end < self.local_start {
            return Err(out_of_range);
        }
        let boundary = self.boundary(end)?;
        if boundary.offset < self.local_start {
            return Err(out_of_range);
        }
        self.failed = true;
        self.cut_at(boundary)?;
        self.failed = false;
        Ok(())
    }

    fn cut_at(&mut self, boundary: Boundary) -> Result<(), LogError> {
        let Boundary {
            segment: kept,
            position,
            offset: end,
        } = boundary;
        self.forget_state();
        // Before anything else: sync jobs that run meanwhile must not bring back what is cut, nor must the journal.
        self.shared.generation.fetch_add(1, Ordering::AcqRel);
        let shard = self.env.marks.shard_of(self.key);
        self.env.journal.forget(self.key, shard)?;
        if self.synced_end > end {
            self.env.marks.lower(self.key, end)?;
        }
        let epochs = Arc::make_mut(&mut self.epochs);
        epochs.truncate(end);
        self.begun = None;
        self.epochs_version += 1;
        let bytes = self.epochs.encode();
        write_epochs(
            &self.env,
            &self.shared,
            self.key,
            self.epochs_version,
            &bytes,
        )?;

        // Snapshots first: one that describes cut records must not outlive them.
        self.remove_producers(|offset, _| offset > end)?;
        let segments = Arc::make_mut(&mut self.segments);
        let cut_off = segments.split_off(kept + 1);
        for segment in cut_off.iter().rev() {
            segment.remove_files(&self.env)?;
        }
        let active = Arc::clone(self.active());
        active.remove_index_files(&self.env)?;
        let file = active.open(&self.env)?;
        let path = active.log_path();
        file.truncate(position)
            .map_err(LogError::io("cut", &path))?;
        file.sync().map_err(LogError::io("sync", &path))?;
        sync_dirs(&self.env, &files::dirs_to_root(self.key))?;

        self.unsynced
            .retain(|(segment, _)| segment.base_offset() < end);
        self.unsynced_entry = None;
        for taken in &mut self.sync_jobs {
            taken.is_cut = true;
        }
        active.set_end(end, position);
        active.set_index(None);
        self.end = end;
        if end <= self.synced_end {
            self.synced_end = end;
            self.synced_at = (active.base_offset(), position);
        }
        self.shared.clip_damage(self.local_start, end);
        if let Some(write) = self.append_times.truncate(end) {
            self.write_append_mark(write);
        }
        self.restore_producers()
    }

    /// The segment that holds `end`, and position and offset of the batch boundary at or below it.
    fn boundary(&self, end: Offset) -> Result<Boundary, LogError> {
        let later = self
            .segments
            .partition_point(|segment| segment.base_offset() <= end);
        let at = later.saturating_sub(1);
        let segment = self
            .segments
            .get(at)
            .expect("the local start is in a segment");
        let place = segment.locate(&self.env, &self.epochs, end)?;
        let reader = self.reader(segment)?.chunk_bytes(SCAN_CHUNK_BYTES);
        let context = Context {
            epochs: Some(&self.epochs),
            end_max: segment.end_offset(),
        };
        let mut walk = Walk::new(reader, context, place.position, place.offset);
        loop {
            let (position, offset) = (walk.position, walk.offset);
            let passes = match walk.step()? {
                Step::Batch(..) => walk.offset > end,
                // A damaged stretch that reaches beyond `end` goes as a whole, like a batch.
                Step::Invalid => walk.resync()?.is_none() || walk.offset > end,
                Step::End => true,
            };
            if passes {
                return Ok(Boundary {
                    segment: at,
                    position,
                    offset: offset.min(end),
                });
            }
        }
    }

    fn reader(&self, segment: &Segment) -> Result<ChunkReader, LogError> {
        let file = segment.open(&self.env)?;
        Ok(ChunkReader::new(
            file,
            segment.log_path(),
            segment.size_bytes(),
        ))
    }

    fn restore_producers(&mut self) -> Result<(), LogError> {
        let dir = files::partition_dir(self.key);
        let names = self
            .env
            .disk
            .list(&dir)
            .map_err(LogError::io("list", &dir))?;
        let snapshots = files::Names::of(names).producers;
        let replay = Replay {
            env: &self.env,
            key: self.key,
            producers_max: self.config.producers_max,
            segments: &self.segments,
            epochs: Some(&self.epochs),
            append_times: &self.append_times,
        };
        let (producers, _) = replay.producers(&snapshots, self.end)?;
        self.producers = producers;
        Ok(())
    }
}
