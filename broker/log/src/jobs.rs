//! Work that must not run in a turn: it syncs. Each job carries what it needs, so it runs on another thread while turns
//! go on.

use crate::config::{LogEnv, PartitionKey};
use crate::files::{self, EPOCHS};
use crate::limits::JOURNAL_RUN_BYTES_MAX;
use crate::segment::Segment;
use crate::start::Starts;
use crate::{DiskFile, LogError};
use bytes::Bytes;
use headwater_record::{LeaderEpoch, Offset, batches};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a log shares with its jobs and views.
#[derive(Default)]
pub(crate) struct Shared {
    /// Grows before anything is cut off the log: views taken earlier may then read other bytes than they expect.
    pub(crate) generation: AtomicU64,
    /// What the `start` file holds, synced. Nothing at or above `local` may be unlinked.
    durable: Mutex<Starts>,
    /// Version of the epochs that the file holds, synced.
    epochs_written: Mutex<u64>,
    /// Held while the file is written; `durable` is held for memory work only.
    start_file: Mutex<()>,
    damaged: Mutex<Vec<Range<Offset>>>,
}

impl Shared {
    pub(crate) fn new(durable: Starts, damaged: Vec<Range<Offset>>) -> Shared {
        Shared {
            durable: Mutex::new(durable),
            damaged: Mutex::new(damaged),
            ..Shared::default()
        }
    }

    /// The starts that outlive a crash.
    pub(crate) fn durable(&self) -> Starts {
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `write`, one at a time, which gets the durable starts and makes durable those that it returns.
    pub(crate) fn write_starts(
        &self,
        write: impl FnOnce(Starts) -> Result<Starts, LogError>,
    ) -> Result<(), LogError> {
        let turn = self.start_file.lock();
        let _turn = turn.unwrap_or_else(PoisonError::into_inner);
        let written = write(self.durable())?;
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner) = written;
        Ok(())
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

    /// Forgets damage outside `local_start..end`.
    pub(crate) fn clip_damage(&self, local_start: Offset, end: Offset) {
        self.damaged_ranges().retain_mut(|range| {
            range.start = range.start.max(local_start);
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
    pub(crate) shared: Arc<Shared>,
    /// The log's generation when the job was taken.
    pub(crate) generation: u64,
    /// All that is to be synced, if it lies in one segment whose name is durable.
    pub(crate) run: Option<Run>,
}

/// Bytes of a segment that are not synced yet.
pub(crate) struct Run {
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) base: Offset,
    pub(crate) start: Offset,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl SyncJob {
    /// Bytes that the journal would have to take in place of a sync; `None` if they are too many for that, or if more
    /// than appends to one segment has to be synced.
    pub fn journal_bytes(&self) -> Option<u64> {
        let bytes = self.run.as_ref().map(|run| run.to - run.from)?;
        (bytes <= JOURNAL_RUN_BYTES_MAX).then_some(bytes)
    }

    /// Whether the log was cut since: then the job counts for nothing.
    pub(crate) fn is_cut(&self) -> bool {
        self.shared.generation.load(Ordering::Acquire) != self.generation
    }

    /// What is to be synced, read back. `None` if that is not for the journal, or not what was written: whoever syncs
    /// the file is told why.
    pub(crate) fn journal_run(&self) -> Result<Option<(&Run, Bytes)>, LogError> {
        let Some((run, len)) = self.run.as_ref().zip(self.journal_bytes()) else {
            return Ok(None);
        };
        let mut bytes = vec![0; len as usize];
        let got = run.file.read_at(&mut bytes, run.from);
        let got = got.map_err(|source| LogError::io("read", &run.segment.log_path())(source))?;
        bytes.truncate(got);
        let bytes = Bytes::from(bytes);
        let mut end = run.start;
        for batch in batches(bytes.clone()) {
            match batch {
                Ok(batch) if batch.header().base_offset == end => end = batch.header().end_offset(),
                _ => return Ok(None),
            }
        }
        Ok((end == self.end).then_some((run, bytes)))
    }

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

pub(crate) fn sync_dirs(env: &LogEnv, dirs: &[PathBuf]) -> Result<(), LogError> {
    // From the root down, so that no durable entry is ever without its parent.
    for dir in dirs.iter().rev() {
        env.disk.sync_dir(dir).map_err(LogError::io("sync", dir))?;
    }
    Ok(())
}
