//! Work that must not run in a turn: it syncs. Each job carries what it needs, so it runs on another thread while turns
//! go on.

use crate::config::{LogEnv, PartitionKey};
use crate::files::{self, EPOCHS, START, frame};
use crate::segment::Segment;
use crate::{DiskFile, LogError};
use headwater_record::{LeaderEpoch, Offset};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) const START_MAGIC: [u8; 4] = *b"HWST";

/// What a log shares with its jobs and views.
#[derive(Default)]
pub(crate) struct Shared {
    /// Grows before anything is cut off the log: views taken earlier may then read other bytes than they expect.
    pub(crate) generation: AtomicU64,
    /// The log start that the `start` file holds, synced.
    durable_start: AtomicU64,
    /// Version of the epochs that the file holds, synced.
    epochs_written: Mutex<u64>,
    start_file: Mutex<()>,
    damaged: Mutex<Vec<Range<Offset>>>,
}

impl Shared {
    pub(crate) fn new(durable_start: Offset, damaged: Vec<Range<Offset>>) -> Shared {
        Shared {
            durable_start: AtomicU64::new(durable_start.get()),
            damaged: Mutex::new(damaged),
            ..Shared::default()
        }
    }

    pub(crate) fn durable_start(&self) -> Offset {
        Offset::new(self.durable_start.load(Ordering::Acquire))
    }

    fn damaged_ranges(&self) -> MutexGuard<'_, Vec<Range<Offset>>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ranges known to be unreadable, in order.
    pub(crate) fn damaged(&self) -> Vec<Range<Offset>> {
        self.damaged_ranges().clone()
    }

    /// The damaged range that holds `offset`.
    pub(crate) fn damage_at(&self, offset: Offset) -> Option<Range<Offset>> {
        let damaged = self.damaged_ranges();
        damaged
            .iter()
            .find(|range| range.contains(&offset))
            .cloned()
    }

    /// Remembers damage, so that it is looked for once.
    pub(crate) fn add_damage(&self, range: Range<Offset>) {
        let mut damaged = self.damaged_ranges();
        if !damaged.contains(&range) {
            damaged.push(range);
            damaged.sort_by_key(|range| range.start);
        }
    }

    /// Forgets damage outside `log_start..end`.
    pub(crate) fn clip_damage(&self, log_start: Offset, end: Offset) {
        self.damaged_ranges().retain_mut(|range| {
            range.start = range.start.max(log_start);
            range.end = range.end.min(end);
            range.start < range.end
        });
    }
}

/// Files and directories to sync so that everything below `end` is durable.
pub struct SyncJob {
    /// The partition.
    pub key: PartitionKey,
    /// What [`crate::Log::synced`] is told when the job has run.
    pub end: Offset,
    pub(crate) env: Arc<LogEnv>,
    pub(crate) files: Vec<(Arc<Segment>, Arc<dyn DiskFile>)>,
    /// Innermost first.
    pub(crate) dirs: Vec<PathBuf>,
}

impl SyncJob {
    /// Syncs. After an error nothing is known of what is durable: the data directory is lost for this process.
    pub fn run(&self) -> Result<(), LogError> {
        for (segment, file) in &self.files {
            file.sync()
                .map_err(|source| LogError::io("sync", &segment.log_path())(source))?;
        }
        sync_dirs(&self.env, &self.dirs)
    }
}

/// Writes the epochs file and syncs it, before the first append of an epoch.
#[must_use]
pub struct EpochJob {
    /// The partition.
    pub key: PartitionKey,
    /// What [`crate::Log::epoch_begun`] is told when the job has run.
    pub epoch: LeaderEpoch,
    pub(crate) env: Arc<LogEnv>,
    pub(crate) shared: Arc<Shared>,
    /// Version and contents; `None` if the file holds the epoch already.
    pub(crate) file: Option<(u64, Vec<u8>)>,
    /// Above the partition's own, innermost first.
    pub(crate) dirs: Vec<PathBuf>,
}

impl EpochJob {
    /// Writes and syncs, unless a later version has been written already.
    pub fn run(&self) -> Result<(), LogError> {
        match &self.file {
            None => Ok(()),
            Some((version, bytes)) => {
                write_epochs(&self.env, &self.shared, self.key, *version, bytes)?;
                sync_dirs(&self.env, &self.dirs)
            }
        }
    }
}

pub(crate) fn write_epochs(
    env: &LogEnv,
    shared: &Shared,
    key: PartitionKey,
    version: u64,
    bytes: &[u8],
) -> Result<(), LogError> {
    let written = shared.epochs_written.lock();
    let mut written = written.unwrap_or_else(PoisonError::into_inner);
    if *written < version {
        files::replace(&*env.disk, &files::named(key, EPOCHS), bytes, true)?;
        *written = version;
    }
    Ok(())
}

/// Makes a log start durable.
#[must_use]
pub struct StartJob {
    /// The partition.
    pub key: PartitionKey,
    /// The log start offset.
    pub log_start: Offset,
    pub(crate) env: Arc<LogEnv>,
    pub(crate) shared: Arc<Shared>,
    /// Above the partition's own, innermost first.
    pub(crate) dirs: Vec<PathBuf>,
}

impl StartJob {
    /// Writes and syncs, unless a later log start has been written already.
    pub fn run(&self) -> Result<(), LogError> {
        let turn = self.shared.start_file.lock();
        let _turn = turn.unwrap_or_else(PoisonError::into_inner);
        if self.shared.durable_start() >= self.log_start {
            return Ok(());
        }
        let path = files::named(self.key, START);
        let bytes = encode_start(self.log_start);
        files::replace(&*self.env.disk, &path, &bytes, true)?;
        sync_dirs(&self.env, &self.dirs)?;
        let durable = &self.shared.durable_start;
        durable.store(self.log_start.get(), Ordering::Release);
        Ok(())
    }
}

/// The same frame twice: nothing else holds this number, so one flipped bit must not lose it.
fn encode_start(log_start: Offset) -> Vec<u8> {
    let copy = frame(START_MAGIC, &log_start.get().to_le_bytes());
    [copy.clone(), copy].concat()
}

/// The log start, from whichever copy is sound.
pub(crate) fn decode_start(bytes: &[u8]) -> Option<Offset> {
    let copy_bytes = encode_start(Offset::ZERO).len() / 2;
    let mut copies = bytes.chunks(copy_bytes).filter_map(|copy| {
        let payload = files::unframe(START_MAGIC, copy)?;
        files::Fields(payload).offset()
    });
    copies.next()
}

pub(crate) fn sync_dirs(env: &LogEnv, dirs: &[PathBuf]) -> Result<(), LogError> {
    // From the root down, so that no durable entry is ever without its parent.
    for dir in dirs.iter().rev() {
        env.disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    }
    Ok(())
}
