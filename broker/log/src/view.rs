//! Reading: a snapshot of a log that never waits for its writer.

use crate::config::LogEnv;
use crate::epochs::Epochs;
use crate::jobs::Shared;
use crate::limits::{BATCH_BYTES_MAX, READ_NOW_BYTES_MAX, SCAN_CHUNK_BYTES};
use crate::log::Log;
use crate::planted::{self, Bug};
use crate::scan::{ChunkReader, Context, Step, Walk};
use crate::segment::{Place, Segment};
use crate::{DiskFile, LogError};
use bytes::Bytes;
use headwater_record::{Batch, BatchHeader, Offset};
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A log as it was when the view was taken. Cheap to clone; reads block on the disk only.
#[derive(Clone)]
pub struct LogView(Arc<Snapshot>);

struct Snapshot {
    env: Arc<LogEnv>,
    shared: Arc<Shared>,
    generation: u64,
    segments: Arc<Vec<Arc<Segment>>>,
    epochs: Arc<Epochs>,
    log_start: Offset,
    local_start: Offset,
    end: Offset,
    /// Size of the last segment, which goes on growing.
    tail_bytes: u64,
}

/// Whole batches, end to end, as they stand on disk.
#[derive(Clone, Debug)]
pub struct ReadSlice {
    /// The batches; empty at the end of the log.
    pub bytes: Bytes,
    /// Offset behind them: where to read on.
    pub next_offset: Offset,
}

/// Bytes read on top of those asked for where the index does not say how far the next batch is.
const READ_AHEAD_BYTES: u64 = 64 * 1024;

impl LogView {
    pub(crate) fn new(log: &Log) -> LogView {
        LogView(Arc::new(Snapshot {
            env: Arc::clone(&log.env),
            shared: Arc::clone(&log.shared),
            generation: log.shared.generation.load(Ordering::Acquire),
            segments: Arc::clone(&log.segments),
            epochs: Arc::clone(&log.epochs),
            log_start: log.log_start,
            local_start: log.local_start,
            end: log.end,
            tail_bytes: log.active().size_bytes(),
        }))
    }

    /// First offset that may be read, from this disk or from the tier.
    pub fn log_start(&self) -> Offset {
        self.0.log_start
    }

    /// First offset on this disk.
    pub fn local_start(&self) -> Offset {
        self.0.local_start
    }

    /// Offset behind the last record.
    pub fn end(&self) -> Offset {
        self.0.end
    }

    /// How often the log had been cut at its end, since it was opened, when the view was taken: two views of one number
    /// have the same records wherever both have any.
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    /// Whole batches from the one that holds `from`, below `limit` (batches that begin at or above it are left out), at
    /// most `bytes_max` but at least one batch; nothing if `from` is the limit or the end. Every batch is verified by
    /// CRC and context. What lies below the local start, or was dropped since the view was taken, is
    /// [`LogError::NotLocal`]. Blocking.
    pub fn read(
        &self,
        from: Offset,
        limit: Offset,
        bytes_max: usize,
    ) -> Result<ReadSlice, LogError> {
        let view = &*self.0;
        if from < view.log_start || from > view.end {
            return Err(view.out_of_range(from));
        }
        if from >= limit.min(view.end) {
            return Ok(ReadSlice {
                bytes: Bytes::new(),
                next_offset: from,
            });
        }
        if from < view.local_start {
            return Err(view.not_local(from));
        }
        view.read(from, limit, bytes_max)
    }

    /// The same from memory alone, at once: for threads that serve others and must not wait. `None` if the disk would have
    /// to be asked, if `from` is not within the last [`READ_NOW_BYTES_MAX`] bytes, or if anything is wrong:
    /// [`LogView::read`] tells then.
    pub fn read_now(&self, from: Offset, limit: Offset, bytes_max: usize) -> Option<ReadSlice> {
        let view = &*self.0;
        if from < view.local_start || from >= limit.min(view.end) {
            return None;
        }
        view.part_of(from).ok()?.read_now(from, limit, bytes_max)
    }

    /// The same from within a sealed segment that is on its way to the tier, of which the front may lie below the log
    /// start and the local start: objects hold whole segments.
    pub fn read_sealed(
        &self,
        from: Offset,
        limit: Offset,
        bytes_max: usize,
    ) -> Result<ReadSlice, LogError> {
        match planted::is(Bug::UploadFromStart) {
            false => self.0.read(from, limit.min(self.0.end), bytes_max),
            true => self.read(from, limit, bytes_max),
        }
    }

    /// First record at or after the local start with timestamp >= `timestamp_ms`, below `limit`: its offset and its
    /// timestamp. Opens only batches that may hold it, one at a time, each within `decoded_bytes_max`. Damaged batches are
    /// passed over. The tier is not looked at; [`LogError::NotLocal`] if a segment was dropped meanwhile: ask a new view,
    /// and the tier before it.
    pub fn find_time(
        &self,
        timestamp_ms: i64,
        limit: Offset,
        decoded_bytes_max: usize,
    ) -> Result<Option<(Offset, i64)>, LogError> {
        let view = &*self.0;
        for at in 0..view.segments.len() {
            let Some(part) = view.part(at) else { break };
            if part.end <= view.local_start {
                continue;
            }
            if part.segment.base_offset() >= limit {
                break;
            }
            let found = part.find_time(timestamp_ms, limit, decoded_bytes_max);
            let first = part.segment.base_offset().max(view.local_start);
            let found = found.map_err(|error| view.explain(error, first))?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

impl Snapshot {
    fn read(&self, from: Offset, limit: Offset, bytes_max: usize) -> Result<ReadSlice, LogError> {
        let read = self
            .part_of(from)
            .and_then(|part| part.read(from, limit, bytes_max));
        read.map_err(|error| self.explain(error, from))
    }

    fn out_of_range(&self, asked: Offset) -> LogError {
        LogError::OutOfRange {
            asked,
            start: self.log_start.max(self.shared.durable().log),
            end: self.end,
        }
    }

    fn not_local(&self, asked: Offset) -> LogError {
        LogError::NotLocal {
            asked,
            local_start: self.local_start.max(self.shared.durable().local),
        }
    }

    /// Whether the log was cut since: what looks like damage may be other records.
    fn is_stale(&self) -> bool {
        self.shared.generation.load(Ordering::Acquire) != self.generation
    }

    /// What a failure means: a segment that was deleted or dropped under the reader is no loss.
    fn explain(&self, error: LogError, asked: Offset) -> LogError {
        let is_gone = match &error {
            LogError::DataLoss { .. } => true,
            LogError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => false,
        };
        let durable = self.shared.durable();
        match is_gone {
            true if asked < durable.log => self.out_of_range(asked),
            true if asked < durable.local => self.not_local(asked),
            true if self.is_stale() => self.out_of_range(asked),
            _ => error,
        }
    }

    fn part(&self, at: usize) -> Option<Part<'_>> {
        let segment = self.segments.get(at)?;
        let is_last = at + 1 == self.segments.len();
        Some(Part {
            view: self,
            segment,
            end: if is_last {
                self.end
            } else {
                segment.end_offset()
            },
            size_bytes: if is_last {
                self.tail_bytes
            } else {
                segment.size_bytes()
            },
        })
    }

    fn part_of(&self, offset: Offset) -> Result<Part<'_>, LogError> {
        if let Some(range) = self.shared.damage_at(offset) {
            return Err(LogError::DataLoss { range });
        }
        let later = self
            .segments
            .partition_point(|segment| segment.base_offset() <= offset);
        let part = later.checked_sub(1).and_then(|at| self.part(at));
        let part = part.ok_or_else(|| self.out_of_range(offset))?;
        match self.segments.get(later) {
            // Between two segments: one that was there is missing.
            Some(next) if part.end <= offset => Err(self.damaged(part.end..next.base_offset())),
            _ => Ok(part),
        }
    }

    /// Remembers damage and makes it an error. What lies below the local start is no loss.
    fn damaged(&self, range: Range<Offset>) -> LogError {
        let local_start = self.local_start.max(self.shared.durable().local);
        let range = range.start.max(local_start)..range.end;
        if range.start < range.end && !self.is_stale() {
            self.shared.add_damage(range.clone());
        }
        LogError::DataLoss { range }
    }
}

/// One segment as far as the view reaches.
struct Part<'a> {
    view: &'a Snapshot,
    segment: &'a Segment,
    end: Offset,
    size_bytes: u64,
}

impl<'a> Part<'a> {
    fn context(&self) -> Context<'a> {
        Context {
            epochs: Some(&self.view.epochs),
            end_max: self.end,
        }
    }

    fn file(&self) -> Result<Arc<dyn DiskFile>, LogError> {
        match self.segment.open(&self.view.env) {
            Err(LogError::Io { source, .. }) if self.is_lost(&source) => {
                Err(self.view.damaged(self.segment.base_offset()..self.end))
            }
            opened => opened,
        }
    }

    fn reader(&self, file: &Arc<dyn DiskFile>, chunk_bytes: usize) -> ChunkReader {
        let path = self.segment.log_path();
        ChunkReader::new(Arc::clone(file), path, self.size_bytes).chunk_bytes(chunk_bytes)
    }

    /// Whether the file is gone though nobody deleted it.
    fn is_lost(&self, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::NotFound
            && self.end > self.view.shared.durable().local
            && !self.view.is_stale()
    }

    fn read(&self, from: Offset, limit: Offset, bytes_max: usize) -> Result<ReadSlice, LogError> {
        let (view, segment) = (self.view, self.segment);
        // The file first: one that is gone is not an index to rebuild.
        let file = self.file()?;
        let place = segment.locate(&view.env, &view.epochs, from)?;
        let next = place
            .next_position
            .unwrap_or(place.position + READ_AHEAD_BYTES);
        let ahead = next.saturating_sub(place.position) as usize;
        let chunk_bytes = ahead.saturating_add(bytes_max).min(READ_BYTES_MAX);
        let mut reader = self.reader(&file, chunk_bytes);
        if let Some(first) = self.skip_to(&mut reader, place, from)?
            && let Some(slice) = self.collect(&mut reader, first, limit, bytes_max)?
        {
            return Ok(slice);
        }
        let first = self.search(&file, place, from)?;
        let slice = self.collect(&mut reader, first, limit, bytes_max)?;
        let damage = || view.damaged(first.1..self.end);
        slice.ok_or_else(damage)
    }

    fn read_now(&self, from: Offset, limit: Offset, bytes_max: usize) -> Option<ReadSlice> {
        let place = self.segment.locate_in_memory(from)?;
        if self.size_bytes.saturating_sub(place.position) > READ_NOW_BYTES_MAX as u64 {
            return None;
        }
        let file = self.view.env.files.get_open(&self.segment.log_path())?;
        let mut reader = self.reader(&file, READ_NOW_BYTES_MAX).memory_only();
        let first = self.skip_to(&mut reader, place, from).ok()??;
        let mut slice = self.collect(&mut reader, first, limit, bytes_max).ok()??;
        // What was read beside it must not stay in memory with it.
        slice.bytes = Bytes::copy_from_slice(&slice.bytes);
        Some(slice)
    }

    /// Position and base offset of the batch that holds `from`, by headers alone; `None` if one of them does not fit.
    fn skip_to(
        &self,
        reader: &mut ChunkReader,
        place: Place,
        from: Offset,
    ) -> Result<Option<(u64, Offset)>, LogError> {
        let (mut position, mut offset) = (place.position, place.offset);
        while offset <= from {
            let bytes = reader.get(position, BatchHeader::SIZE_BYTES)?;
            let Some(header) = self.context().header(&bytes, offset, true) else {
                return Ok(None);
            };
            if header.end_offset() > from {
                return Ok(Some((position, offset)));
            }
            position += header.size_bytes as u64;
            offset = header.end_offset();
        }
        Ok(None)
    }

    /// Sound batches from `first` on; `None` if there is not one.
    fn collect(
        &self,
        reader: &mut ChunkReader,
        first: (u64, Offset),
        limit: Offset,
        bytes_max: usize,
    ) -> Result<Option<ReadSlice>, LogError> {
        let (position, mut offset) = first;
        let head = reader.get(position, BatchHeader::SIZE_BYTES)?;
        let Some(header) = self.context().header(&head, offset, true) else {
            return Ok(None);
        };
        let bytes_max = bytes_max.min(BATCH_BYTES_MAX);
        let bytes = reader.get(position, header.size_bytes.max(bytes_max))?;
        let mut taken = 0;
        while offset < limit && taken < bytes.len() {
            let rest = bytes.slice(taken..);
            let Some(batch) = self.context().batch(&rest, offset) else {
                break;
            };
            taken += batch.header().size_bytes;
            offset = batch.header().end_offset();
        }
        Ok((taken > 0).then(|| ReadSlice {
            bytes: bytes.slice(..taken),
            next_offset: offset,
        }))
    }

    /// Looks for the batch that holds `from` the slow way: every batch verified, damage stepped over.
    fn search(
        &self,
        file: &Arc<dyn DiskFile>,
        place: Place,
        from: Offset,
    ) -> Result<(u64, Offset), LogError> {
        let mut walk = self.walk(file, place)?;
        loop {
            match self.sound_step(&mut walk)? {
                Sound::Batch(position, batch) if batch.header().end_offset() > from => {
                    return Ok((position, batch.header().base_offset));
                }
                Sound::Damage(range) if range.end > from => {
                    return Err(self.view.damaged(range));
                }
                Sound::End => return Err(self.view.damaged(from..self.end)),
                Sound::Batch(..) | Sound::Damage(_) => {}
            }
        }
    }

    /// A walk from `place`, or from the segment's beginning if no sound batch and no known damage is there: an index
    /// must never be believed over the log.
    fn walk(&self, file: &Arc<dyn DiskFile>, place: Place) -> Result<Walk<'a>, LogError> {
        let walk = |place: Place| {
            let reader = self.reader(file, SCAN_CHUNK_BYTES);
            Walk::new(reader, self.context(), place.position, place.offset)
        };
        let is_sound = matches!(walk(place).step()?, Step::Batch(..));
        if is_sound || self.view.shared.damage_at(place.offset).is_some() {
            return Ok(walk(place));
        }
        Ok(walk(self.segment.beginning()))
    }

    fn sound_step(&self, walk: &mut Walk<'_>) -> Result<Sound, LogError> {
        let begin = walk.offset;
        match walk.step()? {
            Step::Batch(position, batch) => return Ok(Sound::Batch(position, batch)),
            Step::End if begin >= self.end => return Ok(Sound::End),
            Step::End | Step::Invalid => {}
        }
        let range = match walk.resync()? {
            Some(offsets) => offsets,
            None => {
                walk.position = self.size_bytes;
                walk.offset = self.end;
                begin..self.end
            }
        };
        // For its side effect: the range is remembered.
        let _ = self.view.damaged(range.clone());
        Ok(Sound::Damage(range))
    }

    fn find_time(
        &self,
        timestamp_ms: i64,
        limit: Offset,
        decoded_bytes_max: usize,
    ) -> Result<Option<(Offset, i64)>, LogError> {
        let view = self.view;
        let located = self
            .segment
            .locate_time(&view.env, &view.epochs, timestamp_ms)?;
        let Some(place) = located else {
            return Ok(None);
        };
        let mut walk = self.walk(&self.file()?, place)?;
        loop {
            let batch = match self.sound_step(&mut walk)? {
                Sound::Batch(_, batch) => batch,
                Sound::Damage(_) => continue,
                Sound::End => return Ok(None),
            };
            let header = batch.header();
            if header.base_offset >= limit {
                return Ok(None);
            }
            let may_hold = header.max_timestamp_ms >= timestamp_ms
                && header.end_offset() > view.local_start
                && !header.is_control();
            if !may_hold {
                continue;
            }
            let failed = |source| LogError::Records {
                offset: header.base_offset,
                source,
            };
            for stored in batch.iter_records(decoded_bytes_max).map_err(failed)? {
                let stored = stored.map_err(failed)?;
                let found = stored.record.timestamp_ms >= timestamp_ms
                    && stored.offset >= view.local_start
                    && stored.offset < limit;
                if found {
                    return Ok(Some((stored.offset, stored.record.timestamp_ms)));
                }
            }
        }
    }
}

enum Sound {
    Batch(u64, Batch),
    Damage(Range<Offset>),
    End,
}

/// Most that one read takes into memory: the largest batch, and the way to it.
const READ_BYTES_MAX: usize = 2 * BATCH_BYTES_MAX;
