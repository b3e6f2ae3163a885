//! Sync marks: the recorded synced end of each partition (`docs/format/marks.md`).

mod open;
mod shard;
mod slot;
#[cfg(test)]
mod tests;

use crate::{Disk, LogError, PartitionKey};
use headwater_record::Offset;
use shard::Shard;
use slot::Mark;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use uuid::Uuid;

/// Directory of the mark files.
const MARKS_DIR: &str = "marks";

fn shard_path(shard: usize) -> PathBuf {
    Path::new(MARKS_DIR).join(format!("shard-{shard}"))
}

/// What the mark files say of a partition when its log is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkState {
    /// No mark was ever synced.
    Absent,
    /// The newest readable mark.
    Valid {
        /// Everything below it was on the medium.
        synced_end: Offset,
    },
    /// There is none, and there are slots that no longer decode, one of which may have been this partition's: the whole
    /// recovered log counts as below the mark.
    Lost,
}

/// Sync marks: `marks/shard-<n>`, two checksummed slots per partition.
///
/// Thread safe; the lock of a shard is held while marks are written, never while they are synced. A mark is on the
/// medium after `sync`, and until then the one synced before it still is. After a failed sync every call that would
/// write fails.
///
/// Whoever lowers a mark sees to it that no `write` of an older, higher end of that partition comes after.
pub struct MarkStore {
    disk: Arc<dyn Disk>,
    /// One file per shard.
    shards: Vec<Mutex<Shard>>,
    /// Generation of the last mark written.
    generation: AtomicU64,
    /// What could not be read at open, until `settle`.
    unreadable: Mutex<Unreadable>,
    failed: AtomicBool,
}

/// Pairs of slots in which no slot decodes though one was written.
#[derive(Default)]
struct Unreadable {
    /// (shard, pair) in files that are in use.
    pairs: Vec<(usize, u64)>,
    /// Shards whose file was cut: its length is not one that we write.
    cut: Vec<usize>,
    /// Files of shards that there no longer are, kept only because they hold such pairs.
    retired_files: Vec<PathBuf>,
    /// There are topics, but the directory of marks was gone.
    is_missing: bool,
}

impl Unreadable {
    fn is_empty(&self) -> bool {
        self.pairs.is_empty()
            && self.cut.is_empty()
            && self.retired_files.is_empty()
            && !self.is_missing
    }
}

impl MarkStore {
    /// Reads every mark file there is, past the page cache, and moves marks to their shard's file if the number of
    /// shards has changed. `shards` is at least 1.
    pub fn open(disk: Arc<dyn Disk>, shards: usize) -> Result<MarkStore, LogError> {
        open::open(disk, shards)
    }

    /// Shard of a partition: a hash that is the same on every broker and in every version.
    pub fn shard_of(&self, key: PartitionKey) -> usize {
        shard_of(key, self.shards.len())
    }

    /// Whether the whole directory of marks was gone although there are topics. True until `settle`.
    pub fn is_missing(&self) -> bool {
        self.lock_unreadable().is_missing
    }

    /// What the files say of the partition.
    pub fn get(&self, key: PartitionKey) -> MarkState {
        // Neither lock is taken under the other: `settle` takes them in the opposite order.
        let synced_end = self.lock(self.shard_of(key)).get(key);
        let any_unreadable = !self.lock_unreadable().is_empty();
        match synced_end {
            Some(synced_end) => MarkState::Valid { synced_end },
            None if any_unreadable => MarkState::Lost,
            None => MarkState::Absent,
        }
    }

    /// Writes (not syncs) new ends of a shard's partitions; rides the next `sync`.
    pub fn write(&self, shard: usize, ends: &[(PartitionKey, Offset)]) -> Result<(), LogError> {
        self.check_usable()?;
        let mut files = self.lock(shard);
        for &(key, synced_end) in ends {
            assert_eq!(
                self.shard_of(key),
                shard,
                "a partition's mark stands in its own shard"
            );
            if files.get(key) != Some(synced_end) {
                self.write_one(&mut files, key, synced_end)
                    .map_err(failed("write", shard))?;
            }
        }
        Ok(())
    }

    /// Makes the marks written so far durable. Blocking.
    pub fn sync(&self, shard: usize) -> Result<(), LogError> {
        if self.is_dirty(shard) {
            self.sync_file(shard)
        } else {
            self.check_usable()
        }
    }

    /// Whether marks were written since the last sync of that shard.
    pub fn is_dirty(&self, shard: usize) -> bool {
        self.lock(shard).is_dirty()
    }

    /// Lowers a mark (or sets the first one), durable when this returns: before the log is cut. Both slots are written,
    /// so that later damage to one never brings the higher end back. Blocking.
    pub fn lower(&self, key: PartitionKey, end: Offset) -> Result<(), LogError> {
        let shard = self.shard_of(key);
        for _side in 0..2 {
            self.check_usable()?;
            self.write_one(&mut self.lock(shard), key, end)
                .map_err(failed("write", shard))?;
            self.sync(shard)?;
        }
        Ok(())
    }

    /// Forgets a partition that is no longer kept here; rides the next `sync`, after which its slots are used again.
    pub fn remove(&self, key: PartitionKey) -> Result<(), LogError> {
        self.check_usable()?;
        let shard = self.shard_of(key);
        self.lock(shard).remove(key).map_err(failed("write", shard))
    }

    /// Forgets all partitions of a topic, durable when this returns. Blocking.
    pub fn remove_topic(&self, topic: Uuid) -> Result<(), LogError> {
        for shard in 0..self.shards.len() {
            let keys = self.lock(shard).keys_of_topic(topic);
            keys.into_iter().try_for_each(|key| self.remove(key))?;
            self.sync(shard)?;
        }
        Ok(())
    }

    /// Clears the slots that could not be read at open; from here on a partition without a mark is `Absent` again. To
    /// be called once every partition has been opened and the ends of those with a lost mark have been written. Blocking.
    pub fn settle(&self) -> Result<(), LogError> {
        // First the new marks of those that had lost theirs: a crash in between must find them or the loss.
        (0..self.shards.len()).try_for_each(|shard| self.sync(shard))?;
        let mut unreadable = self.lock_unreadable();
        for (shard, pair) in unreadable.pairs.drain(..) {
            self.lock(shard)
                .clear(pair)
                .map_err(failed("write", shard))?;
        }
        for shard in unreadable.cut.drain(..) {
            self.lock(shard)
                .set_len()
                .map_err(failed("extend", shard))?;
        }
        open::remove_files(&*self.disk, &unreadable.retired_files)?;
        *unreadable = Unreadable::default();
        drop(unreadable);
        (0..self.shards.len()).try_for_each(|shard| self.sync_file(shard))
    }

    fn sync_file(&self, shard: usize) -> Result<(), LogError> {
        self.check_usable()?;
        let (file, writes) = {
            let files = self.lock(shard);
            (Arc::clone(&files.file), files.writes())
        };
        if let Err(error) = file.sync() {
            self.failed.store(true, Ordering::Release);
            return Err(failed("sync", shard)(error));
        }
        self.lock(shard).synced(writes);
        Ok(())
    }

    fn write_one(&self, shard: &mut Shard, key: PartitionKey, end: Offset) -> io::Result<()> {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        shard.write(&Mark {
            key,
            synced_end: end,
            generation,
        })
    }

    fn check_usable(&self) -> Result<(), LogError> {
        if self.failed.load(Ordering::Acquire) {
            Err(LogError::Failed)
        } else {
            Ok(())
        }
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard> {
        let shard = self.shards.get(shard).expect("shards are numbered from 0");
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_unreadable(&self) -> MutexGuard<'_, Unreadable> {
        self.unreadable
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn shard_of(key: PartitionKey, shards: usize) -> usize {
    let hash = crc32c::crc32c(key.topic.as_bytes());
    let hash = crc32c::crc32c_append(hash, &key.index.to_le_bytes());
    hash as usize % shards
}

fn failed(action: &'static str, shard: usize) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::Io {
        action,
        path: shard_path(shard),
        source,
    }
}
