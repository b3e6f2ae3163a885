//! The end of a recovery: what was found is made durable, read once more past the page cache, and becomes a log.

use super::Opened;
use super::tail::Recovery;
use crate::epochs::Epochs;
use crate::files::{self, LOG, PRODUCERS};
use crate::index::SegmentIndex;
use crate::jobs::{Shared, sync_dirs, write_epochs};
use crate::log::Log;
use crate::roll::create_empty;
use crate::scan::{ChunkReader, Context, Step, Walk};
use crate::segment::Segment;
use crate::{LogError, MarkState};
use headwater_record::Offset;
use std::sync::Arc;

impl Recovery<'_> {
    pub(super) fn begin_segment(&mut self) -> Result<(), LogError> {
        let opening = self.opening;
        let path = files::at_offset(opening.key, self.end, LOG);
        create_empty(&opening.env, &path)?;
        let index = SegmentIndex::new(opening.config.index_interval_bytes);
        let segment = Segment::new(opening.key, self.end, self.end, 0, Some(index));
        self.segments.push(Arc::new(segment));
        Ok(())
    }

    pub(super) fn finish(mut self, is_new: bool) -> Result<Option<Log>, LogError> {
        let (key, env) = (self.opening.key, Arc::clone(&self.opening.env));
        let (_, sealed) = self.segments.split_last().expect("a log has a segment");
        for segment in sealed {
            segment.seal_index(&env);
        }
        let grown = self.end > self.mark || self.report.mark_lost;
        self.changed |= grown && self.end > Offset::ZERO;
        if self.changed {
            self.sync()?;
        }
        if let Some(above) = self.above
            && self.mark < Offset::MAX
            && !self.medium_agrees(above)?
        {
            return Ok(None);
        }
        let epochs = self.settle_epochs()?;
        for &offset in &self.opening.names.producers {
            if offset > self.end {
                files::remove(&*env.disk, &files::at_offset(key, offset, PRODUCERS))?;
            }
        }
        let marked = MarkState::Valid {
            synced_end: self.end,
        };
        if self.end > Offset::ZERO && self.opening.mark != marked {
            let shard = env.marks.shard_of(key);
            env.marks.write(shard, &[(key, self.end)])?;
        }
        let fewer_times = self.append_times.truncate(self.end);
        if self.end > self.starts.local {
            self.append_times.assume_latest(self.opening.now.wall_ms);
        }
        self.report.damaged = self.damaged.clone();
        let active_base = self.segments.last().map(|segment| segment.base_offset());
        let entry_is_durable = self.changed || (!is_new && Some(self.mark) > active_base);
        let log = self.opening.log(Opened {
            segments: self.segments,
            starts: self.starts,
            durable: self.durable,
            end: self.end,
            damaged: self.damaged,
            epochs,
            producers: self.producers,
            append_times: self.append_times,
            unsynced_entry: active_base.filter(|_| !entry_is_durable),
            unchanged: false,
        });
        if let Some(write) = fewer_times {
            log.write_append_mark(write);
        }
        Ok(Some(log))
    }

    /// Makes the recovered tail durable: what is reported as synced must be.
    fn sync(&self) -> Result<(), LogError> {
        let env = &self.opening.env;
        for segment in self
            .segments
            .iter()
            .filter(|s| s.end_offset() >= self.mark || self.report.mark_lost)
        {
            let file = segment.open(env)?;
            file.sync()
                .map_err(|source| LogError::io("sync", &segment.log_path())(source))?;
        }
        sync_dirs(env, &files::dirs_to_root(self.opening.key))
    }

    /// Reads what lies above the mark once more, past the page cache: a failed write-back may have left there what the
    /// medium never got. Cuts where they differ.
    fn medium_agrees(&mut self, above: (usize, u64, Offset)) -> Result<bool, LogError> {
        let (first, mut position, mut offset) = above;
        let epochs = self.epochs.clone();
        for at in first..self.segments.len() {
            let Some(segment) = self.segments.get(at).cloned() else {
                break;
            };
            let file = segment.open(&self.opening.env)?;
            let len = segment.size_bytes();
            let reader = ChunkReader::new(Arc::clone(&file), segment.log_path(), len).past_cache();
            let context = Context {
                epochs: epochs.as_ref(),
                end_max: segment.end_offset(),
            };
            let mut walk = Walk::new(reader, context, position, offset);
            loop {
                let (position, offset) = (walk.position, walk.offset);
                match walk.step()? {
                    Step::Batch(..) => {}
                    Step::End => break,
                    Step::Invalid => {
                        self.end = offset;
                        self.cut(&*file, segment.base_offset(), position, len, offset)?;
                        self.drop_from(at + 1)?;
                        self.sync()?;
                        return Ok(false);
                    }
                }
            }
            (position, offset) = (0, segment.end_offset());
        }
        Ok(true)
    }

    /// The epochs as they are to be; written and synced if the file says otherwise.
    fn settle_epochs(&mut self) -> Result<Epochs, LogError> {
        let (mut epochs, rebuilt) = match self.epochs.take() {
            Some(epochs) => (epochs, false),
            None => (std::mem::take(&mut self.rebuilt_epochs), true),
        };
        let before = epochs.clone();
        epochs.truncate_above(self.end);
        if rebuilt || epochs != before {
            let (env, key) = (&self.opening.env, self.opening.key);
            write_epochs(env, &Shared::default(), key, 1, &epochs.encode())?;
        }
        Ok(epochs)
    }
}
