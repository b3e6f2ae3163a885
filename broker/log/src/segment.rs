//! One segment: a `.log` file that is nothing but batches end to end, and its indexes.

use crate::config::{LogEnv, PartitionKey};
use crate::epochs::Epochs;
use crate::files::{self, INDEX, LOG, TIME_INDEX};
use crate::index::file::{self as index_file, IndexFile};
use crate::index::{Entry, SegmentIndex};
use crate::scan::{ChunkReader, Context, Step, Walk};
use crate::{DiskFile, LogError};
use headwater_record::Offset;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Shared by the log that writes it and the views that read it. Holds no descriptor; files open through the cache.
pub(crate) struct Segment {
    key: PartitionKey,
    base_offset: Offset,
    end_offset: AtomicU64,
    size_bytes: AtomicU64,
    /// In memory while the segment is appended to; the files serve otherwise. The lock is held for memory work only.
    index: RwLock<Option<SegmentIndex>>,
}

/// Where to start reading, and how far the next known place is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) offset: Offset,
    pub(crate) position: u64,
    pub(crate) next_position: Option<u64>,
}

impl Segment {
    pub(crate) fn new(
        key: PartitionKey,
        base_offset: Offset,
        end_offset: Offset,
        size_bytes: u64,
        index: Option<SegmentIndex>,
    ) -> Segment {
        assert!(base_offset <= end_offset, "a segment ends before it begins");
        Segment {
            key,
            base_offset,
            end_offset: AtomicU64::new(end_offset.get()),
            size_bytes: AtomicU64::new(size_bytes),
            index: RwLock::new(index),
        }
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Offset behind the last record (of a sealed segment: the base offset of the next one).
    pub(crate) fn end_offset(&self) -> Offset {
        Offset::new(self.end_offset.load(Ordering::Acquire))
    }

    /// Logical size: what lies behind it in the file is not part of the log.
    pub(crate) fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    pub(crate) fn set_end(&self, end_offset: Offset, size_bytes: u64) {
        self.size_bytes.store(size_bytes, Ordering::Release);
        self.end_offset.store(end_offset.get(), Ordering::Release);
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        files::at_offset(self.key, self.base_offset, LOG)
    }

    pub(crate) fn open(&self, env: &LogEnv) -> Result<Arc<dyn DiskFile>, LogError> {
        let path = self.log_path();
        let opened = env.files.get(&*env.disk, &path);
        opened.map_err(LogError::io("open", &path))
    }

    /// Runs `change` on the index in memory, if it is there.
    pub(crate) fn with_index<T>(&self, change: impl FnOnce(&mut SegmentIndex) -> T) -> Option<T> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.as_mut().map(change)
    }

    pub(crate) fn set_index(&self, index: Option<SegmentIndex>) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = index;
    }

    pub(crate) fn has_index(&self) -> bool {
        self.read_index(|_| ()).is_some()
    }

    fn read_index<T>(&self, read: impl FnOnce(&SegmentIndex) -> T) -> Option<T> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.as_ref().map(read)
    }

    /// The last place known at or below `offset`, if the index is in memory.
    pub(crate) fn locate_in_memory(&self, offset: Offset) -> Option<Place> {
        let relative_offset = offset.since(self.base_offset);
        let found = self.read_index(|index| index.at_offset(relative_offset));
        found.map(|(entry, next)| self.place(entry, next))
    }

    /// The last place known at or below `offset`.
    pub(crate) fn locate(
        &self,
        env: &LogEnv,
        epochs: &Epochs,
        offset: Offset,
    ) -> Result<Place, LogError> {
        if let Some(place) = self.locate_in_memory(offset) {
            return Ok(place);
        }
        let relative_offset = offset.since(self.base_offset);
        let place = |(entry, next): (Entry, Option<u64>)| self.place(entry, next);
        if let Some(found) = self.locate_in_file(env, relative_offset)? {
            return Ok(place(found));
        }
        let index = self.rebuild_index(env, epochs)?;
        Ok(place(index.at_offset(relative_offset)))
    }

    /// The last place known below which every timestamp is less; `None` if that holds for the whole segment.
    pub(crate) fn locate_time(
        &self,
        env: &LogEnv,
        epochs: &Epochs,
        timestamp_ms: i64,
    ) -> Result<Option<Place>, LogError> {
        let find = |index: &SegmentIndex| {
            (index.max_timestamp_ms >= timestamp_ms).then(|| index.at_time(timestamp_ms))
        };
        let place = |entry: Entry| self.place(entry, None);
        if let Some(found) = self.read_index(find) {
            return Ok(found.map(place));
        }
        if let Some(found) = self.locate_time_in_file(env, timestamp_ms)? {
            return Ok(found.map(place));
        }
        let index = self.rebuild_index(env, epochs)?;
        Ok(find(&index).map(place))
    }

    /// The segment's beginning: where to start when an index leads astray.
    pub(crate) fn beginning(&self) -> Place {
        self.place(Entry::FIRST, None)
    }

    fn place(&self, entry: Entry, next_position: Option<u64>) -> Place {
        Place {
            offset: self.base_offset.plus(u64::from(entry.relative_offset)),
            position: u64::from(entry.position),
            next_position,
        }
    }

    fn locate_in_file(
        &self,
        env: &LogEnv,
        relative_offset: u64,
    ) -> Result<Option<(Entry, Option<u64>)>, LogError> {
        let (base, end, size) = (self.base_offset, self.end_offset(), self.size_bytes());
        let Some(file) = IndexFile::offsets(env, self.key, base, end, size)? else {
            return Ok(None);
        };
        let later = index_file::partition_point(file.head.entries, |at| {
            let entry = file.offset_entry(at)?;
            Ok(entry.map(|entry| u64::from(entry.relative_offset) <= relative_offset))
        })?;
        let Some(later) = later else {
            return Ok(None);
        };
        let mut found = Entry::FIRST;
        if let Some(at) = later.checked_sub(1) {
            let Some(entry) = file.offset_entry(at)? else {
                return Ok(None);
            };
            found.relative_offset = entry.relative_offset;
            found.position = entry.position;
        }
        let next = match later < file.head.entries {
            true => file.offset_entry(later)?,
            false => None,
        };
        Ok(Some((found, next.map(|next| u64::from(next.position)))))
    }

    fn locate_time_in_file(
        &self,
        env: &LogEnv,
        timestamp_ms: i64,
    ) -> Result<Option<Option<Entry>>, LogError> {
        let (base, end, size) = (self.base_offset, self.end_offset(), self.size_bytes());
        let Some(file) = IndexFile::times(env, self.key, base, end, size)? else {
            return Ok(None);
        };
        if file.head.max_timestamp_ms < timestamp_ms {
            return Ok(Some(None));
        }
        let later = index_file::partition_point(file.head.entries, |at| {
            let entry = file.time_entry(at)?;
            Ok(entry.map(|entry| entry.max_before_ms < timestamp_ms))
        })?;
        let Some(later) = later else {
            return Ok(None);
        };
        let Some(at) = later.checked_sub(1) else {
            return Ok(Some(Some(Entry::FIRST)));
        };
        let Some(time) = file.time_entry(at)? else {
            return Ok(None);
        };
        let found = self.locate_in_file(env, u64::from(time.relative_offset))?;
        Ok(found.map(|(entry, _)| Some(entry)))
    }

    /// Reads the segment from its beginning and writes its index files anew, if the disk has room.
    pub(crate) fn rebuild_index(
        &self,
        env: &LogEnv,
        epochs: &Epochs,
    ) -> Result<SegmentIndex, LogError> {
        let (end, size) = (self.end_offset(), self.size_bytes());
        let reader = ChunkReader::new(self.open(env)?, self.log_path(), size);
        let context = Context {
            epochs: Some(epochs),
            end_max: end,
        };
        let mut walk = Walk::new(reader, context, 0, self.base_offset);
        let mut index = SegmentIndex::new(REBUILT_INTERVAL_BYTES);
        loop {
            match walk.step()? {
                Step::Batch(position, batch) => {
                    let relative_offset = batch.header().base_offset.since(self.base_offset);
                    index.note(relative_offset, position, batch.header());
                }
                Step::Invalid if walk.resync()?.is_some() => {}
                Step::Invalid | Step::End => break,
            }
        }
        self.write_index(env, &index);
        Ok(index)
    }

    /// Reads the index into memory, to go on appending.
    pub(crate) fn load_index(
        &self,
        env: &LogEnv,
        epochs: &Epochs,
        interval_bytes: u32,
    ) -> Result<(), LogError> {
        let (base, end, size) = (self.base_offset, self.end_offset(), self.size_bytes());
        let loaded = index_file::load(env, self.key, base, end, size, interval_bytes)?;
        let index = match loaded {
            Some(index) => index,
            None if size == 0 => SegmentIndex::new(interval_bytes),
            None => self.rebuild_index(env, epochs)?,
        };
        self.set_index(Some(index));
        Ok(())
    }

    /// Writes the index files. They are derived, so a failure costs only time later.
    pub(crate) fn write_index(&self, env: &LogEnv, index: &SegmentIndex) {
        let (end, size) = (self.end_offset(), self.size_bytes());
        self.forget_index_files(env);
        let disk = &*env.disk;
        if let Err(error) = index_file::write(disk, self.key, self.base_offset, end, size, index) {
            tracing::warn!(%error, "index not written; it will be rebuilt when needed");
        }
    }

    /// Writes the index in memory to its files and drops it from memory.
    pub(crate) fn seal_index(&self, env: &LogEnv) {
        let mut guard = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let index = guard.take();
        drop(guard);
        if let Some(index) = index {
            self.write_index(env, &index);
        }
    }

    fn forget_index_files(&self, env: &LogEnv) {
        for extension in [INDEX, TIME_INDEX] {
            env.files
                .forget(&files::at_offset(self.key, self.base_offset, extension));
        }
    }

    /// Unlinks the index files, before the log that they describe is cut.
    pub(crate) fn remove_index_files(&self, env: &LogEnv) -> Result<(), LogError> {
        [INDEX, TIME_INDEX]
            .iter()
            .try_for_each(|extension| self.remove_file(env, extension))
    }

    /// Unlinks the segment's files, the log last, so that no index is ever without its log.
    pub(crate) fn remove_files(&self, env: &LogEnv) -> Result<(), LogError> {
        self.remove_index_files(env)?;
        self.remove_file(env, LOG)
    }

    fn remove_file(&self, env: &LogEnv, extension: &str) -> Result<(), LogError> {
        let path = files::at_offset(self.key, self.base_offset, extension);
        env.files.forget(&path);
        files::remove(&*env.disk, &path)
    }
}

/// Interval of an index that is rebuilt while nobody says another.
const REBUILT_INTERVAL_BYTES: u32 = 4096;
