//! The data directory's state, shared by all who write to it: well, full, or failed for good.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use headwater_core::metadata::Identity;
use headwater_log::{DiskGuard, DiskSpace, DiskState, LogEnv, LogError, PartitionKey};
use tokio::sync::watch;

use crate::partition::shard::{Message, ShardMailbox};

/// Whether the data directory is well. A failed write or sync is final: no shard confirms anything
/// after it, a marker is left for the next start, and the broker stops.
pub struct Storage {
    log: LogEnv,
    guard: Mutex<DiskGuard>,
    full: AtomicBool,
    /// Bytes that may be written before the low water mark is reached, as of the last look at the
    /// disk, less what was taken since.
    headroom_bytes: AtomicI64,
    /// Bytes of these that are kept for copies: those under way, and those that the last look at the disk may not have
    /// seen.
    reserved_bytes: AtomicI64,
    /// Bytes kept for copies that are done: the next look sees what they have taken.
    copied_bytes: AtomicI64,
    low_water_bytes: u64,
    failed: AtomicBool,
    failure: watch::Sender<Option<String>>,
    shards: Mutex<Vec<ShardMailbox>>,
}

impl Storage {
    /// A directory that is well so far.
    pub fn new(log: LogEnv, guard: DiskGuard, low_water_bytes: u64) -> Arc<Storage> {
        Arc::new(Storage {
            log,
            guard: Mutex::new(guard),
            full: AtomicBool::new(false),
            headroom_bytes: AtomicI64::new(i64::MAX),
            reserved_bytes: AtomicI64::new(0),
            copied_bytes: AtomicI64::new(0),
            low_water_bytes,
            failed: AtomicBool::new(false),
            failure: watch::channel(None).0,
            shards: Mutex::default(),
        })
    }

    /// Those who have to know when the directory fails.
    pub fn set_shards(&self, shards: Vec<ShardMailbox>) {
        *self.shards.lock().unwrap_or_else(PoisonError::into_inner) = shards;
    }

    /// The shard that owns a partition.
    pub fn shard_of(&self, key: PartitionKey) -> usize {
        self.log.marks.shard_of(key)
    }

    /// Whether the disk guard refuses new records.
    pub fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    /// Whether the directory has failed.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Turns to the reason when the directory fails.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failure.subscribe()
    }

    /// The directory has failed. Only the first report counts; nothing is confirmed after it.
    pub fn fail(&self, error: &LogError) {
        self.fail_with(&error.to_string());
    }

    /// The same, for what has no log error.
    pub fn fail_with(&self, reason: &str) {
        if self.failed.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::error!(reason, "the data directory has failed; the broker stops");
        if let Err(error) = Identity::poison(&*self.log.disk, reason) {
            tracing::warn!(%error, "the failure could not be noted in the data directory");
        }
        self.failure.send_replace(Some(reason.to_owned()));
        for shard in self
            .shards
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            shard.send(Message::StorageFailed);
        }
    }

    /// Looks at the disk's space and decides anew whether records are refused. Blocks.
    pub fn check_space(&self) -> Result<(), LogError> {
        let copied_bytes = self.copied_bytes.load(Ordering::SeqCst);
        let state = self
            .guard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .check()?;
        let full = state == DiskState::Full;
        let headroom = self.space().free_bytes.saturating_sub(self.low_water_bytes);
        self.headroom_bytes.store(
            i64::try_from(headroom).unwrap_or(i64::MAX),
            Ordering::SeqCst,
        );
        self.copied_bytes.fetch_sub(copied_bytes, Ordering::SeqCst);
        self.reserved_bytes
            .fetch_sub(copied_bytes, Ordering::SeqCst);
        self.set_full(full);
        Ok(())
    }

    /// Refuses or takes records from now on, and says so if that is new.
    fn set_full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) == full {
            return;
        }
        let free_bytes = self.space().free_bytes;
        if full {
            tracing::error!(free_bytes, "the disk is full; produce is refused");
        } else {
            tracing::info!(free_bytes, "the disk has room again; produce is taken");
        }
    }

    /// Counts bytes that are about to be written. The space is looked at once a second, which is long
    /// enough to write far below the low water mark.
    pub fn charge(&self, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        if self.headroom_bytes.fetch_sub(bytes, Ordering::Relaxed) < bytes && !self.is_full() {
            self.met_full();
        }
    }

    /// Keeps room for a copy of so many bytes; `None` if it cannot be written, beside all that room is kept for, without
    /// records being refused for it.
    pub fn reserve(self: &Arc<Storage>, bytes: u64) -> Option<Room> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let reserved_bytes = self.reserved_bytes.fetch_add(bytes, Ordering::SeqCst);
        let headroom_bytes = self.headroom_bytes.load(Ordering::SeqCst);
        if self.is_full() || headroom_bytes.saturating_sub(reserved_bytes) < bytes {
            self.reserved_bytes.fetch_sub(bytes, Ordering::SeqCst);
            return None;
        }
        let storage = self.clone();
        Some(Room { storage, bytes })
    }

    /// Size of the data directory's file system and what is left of it; zeros if it cannot be had.
    pub fn space(&self) -> DiskSpace {
        self.log.disk.space().unwrap_or(DiskSpace {
            total_bytes: 0,
            free_bytes: 0,
        })
    }

    /// A write has met a full disk, whatever the last check has found.
    pub fn met_full(&self) {
        self.guard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .met_full();
        self.set_full(true);
    }

    /// Gives the reserve's room to what frees or guards data. Blocks.
    pub fn release_reserve(&self) -> Result<(), LogError> {
        self.set_full(true);
        self.guard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .release_reserve()?;
        Ok(())
    }
}

/// Fails the directory if the thread that holds this panics: who waits for it would wait for ever.
pub struct FailsOnPanic(pub Arc<Storage>);

impl Drop for FailsOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail_with("a thread of the log has panicked");
        }
    }
}

/// Room on the disk that is kept for a copy until this is dropped.
#[must_use]
pub struct Room {
    storage: Arc<Storage>,
    bytes: i64,
}

impl Drop for Room {
    fn drop(&mut self) {
        // What the copy has taken is missing before the next look at the disk finds out.
        let copied_bytes = &self.storage.copied_bytes;
        copied_bytes.fetch_add(self.bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
impl Storage {
    /// A directory on a disk, with room for so many bytes.
    pub(crate) fn with_room(disk: Arc<dyn headwater_log::Disk>, room_bytes: u64) -> Arc<Storage> {
        use headwater_log::{FileCache, GuardLimits, Journal, JournalLimits, MarkStore};

        let marks = Arc::new(MarkStore::open(disk.clone(), 1).unwrap());
        let (journal, _) = Journal::open(disk.clone(), &marks, 1, JournalLimits::SMALL, 1).unwrap();
        let log = LogEnv {
            disk: disk.clone(),
            marks,
            journal: Arc::new(journal),
            files: Arc::new(FileCache::new(16)),
        };
        let free_bytes = disk.space().unwrap().free_bytes;
        let limits = GuardLimits {
            reserve_bytes: 0,
            low_bytes: free_bytes.saturating_sub(room_bytes),
            high_bytes: free_bytes,
        };
        let guard = DiskGuard::open(disk, limits).unwrap();
        let storage = Storage::new(log, guard, limits.low_bytes);
        storage.check_space().unwrap();
        storage
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use headwater_log::sim::SimDisk;
    use headwater_log::{Disk, OsDisk};

    use super::*;

    #[test]
    fn writing_stops_at_the_low_water_mark_and_not_at_the_next_look_at_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(OsDisk::open(dir.path()).unwrap());
        let storage = Storage::with_room(disk, 1 << 30);
        storage.charge(1 << 20);
        assert!(!storage.is_full(), "about 1 GiB is left");
        storage.charge(2 << 30);
        assert!(storage.is_full());
    }

    #[test]
    fn a_thread_that_panics_fails_the_directory() {
        let storage = Storage::with_room(Arc::new(SimDisk::new(1)), 1 << 20);
        let end = |panics: bool| {
            let holds = FailsOnPanic(storage.clone());
            let thread = std::thread::spawn(move || {
                let _holds = holds;
                assert!(!panics, "planned");
            });
            assert_eq!(thread.join().is_err(), panics);
            storage.has_failed()
        };
        assert!(!end(false));
        assert!(end(true));
    }

    #[test]
    fn copies_that_are_made_together_have_room_together() {
        const ROOM: u64 = 1 << 20;
        let disk = SimDisk::new(1);
        disk.set_capacity(1 << 30);
        let storage = Storage::with_room(Arc::new(disk), ROOM);
        let first = storage.reserve(ROOM / 2).unwrap();
        let second = storage.reserve(ROOM / 4).unwrap();
        assert!(storage.reserve(ROOM / 3).is_none(), "a quarter is left");
        drop(second);
        assert!(
            storage.reserve(ROOM / 3).is_none(),
            "how much the copy has taken is not known yet"
        );
        storage.check_space().unwrap();
        let third = storage.reserve(ROOM / 3).unwrap();
        assert!(
            storage.reserve(ROOM / 4).is_none(),
            "a look at the disk forgets nothing"
        );
        drop((first, third));
        storage.check_space().unwrap();
        assert!(storage.reserve(ROOM / 2).is_some());
        assert!(!storage.is_full(), "records are taken all along");
    }

    #[test]
    fn a_copy_that_the_last_look_has_seen_takes_no_room_from_records() {
        const ROOM: u64 = 1 << 20;
        let disk = SimDisk::new(1);
        disk.set_capacity(1 << 30);
        let storage = Storage::with_room(Arc::new(disk.clone()), ROOM);
        let copy = storage.reserve(ROOM / 2).unwrap();
        let file = disk.open(Path::new("copy"), true).unwrap();
        file.write_at(&[&vec![7; ROOM as usize / 2]], 0).unwrap();
        storage.check_space().unwrap();
        drop(copy);
        storage.charge(ROOM as usize / 4);
        assert!(!storage.is_full(), "a quarter is left");
        storage.charge(ROOM as usize / 2);
        assert!(storage.is_full());
    }
}
