//! A partition's log: appended to at the end, synced in the background, read through views.

use crate::append_times::{AppendTimes, MarkWrite};
use crate::config::{LogConfig, LogEnv, Now, PartitionKey};
use crate::epochs::Epochs;
use crate::error::is_full;
use crate::files::{self, APPEND_TIMES, STATE};
use crate::jobs::{EpochJob, Run, Shared, SyncJob};
use crate::limits::BATCH_BYTES_MAX;
use crate::producers::{ProducerCheck, Producers};
use crate::recovery::{self, RecoveryReport};
use crate::segment::Segment;
use crate::view::LogView;
use crate::{DiskFile, LogError};
use headwater_record::{Batch, BatchHeader, LeaderEpoch, Offset};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// One partition's log.
///
/// ```text
///  log start     local start          synced end       end
///      |- in the tier -|----- durable -----|-- written --|
///                  [ segment ][ segment ][ active segment ... ]
/// ```
///
/// `log_start <= local_start <= end` and `synced_end <= end` always. Offsets are dense: the next batch begins at `end`.
pub struct Log {
    pub(crate) env: Arc<LogEnv>,
    pub(crate) key: PartitionKey,
    pub(crate) config: LogConfig,
    pub(crate) shared: Arc<Shared>,
    /// In order of base offset, never empty; the last one is active. Those wholly below the local start wait for
    /// [`Log::reclaim`].
    pub(crate) segments: Arc<Vec<Arc<Segment>>>,
    pub(crate) log_start: Offset,
    /// Never below `log_start`; everything between the two is in the tier.
    pub(crate) local_start: Offset,
    pub(crate) synced_end: Offset,
    pub(crate) end: Offset,
    pub(crate) epochs: Arc<Epochs>,
    /// Grows with every change of `epochs`.
    pub(crate) epochs_version: u64,
    /// The epoch that may append.
    pub(crate) begun: Option<LeaderEpoch>,
    pub(crate) producers: Producers,
    pub(crate) append_times: AppendTimes,
    /// Segments with bytes at or above `synced_end`, with their handles: a handle that closed could take the error of
    /// a failed write-back with it.
    pub(crate) unsynced: Vec<(Arc<Segment>, Arc<dyn DiskFile>)>,
    /// The directory entry of the segment with this base is not durable yet.
    pub(crate) unsynced_entry: Option<Offset>,
    /// Base of the segment that holds `synced_end`, and its position there.
    pub(crate) synced_at: (Offset, u64),
    /// The sync jobs taken and not reported.
    pub(crate) sync_jobs: VecDeque<TakenSync>,
    /// Monotonic time of the active segment's first append.
    pub(crate) active_since_ms: Option<u64>,
    /// The `state` file still says what is.
    pub(crate) unchanged: bool,
    pub(crate) failed: bool,
}

/// A sync job that somebody runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakenSync {
    pub(crate) end: Offset,
    /// Where the end is, as [`Log::synced_at`].
    pub(crate) at: (Offset, u64),
    /// What it syncs was cut since.
    pub(crate) is_cut: bool,
}

/// Where and when a batch was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset of the last record.
    pub last_offset: Offset,
    /// Wall clock of the append in milliseconds; never earlier than an earlier batch's, to the minute.
    pub append_time_ms: i64,
}

impl Log {
    /// Where a partition lives: `topics/<uuid>/<index>`.
    pub fn dir(key: PartitionKey) -> PathBuf {
        files::partition_dir(key)
    }

    /// Opens, creating an empty log if the directory is absent; recovers. `clean`: the broker stopped cleanly last time
    /// (files were synced and closed), so that the tail need not be scanned.
    pub fn open(
        env: &LogEnv,
        key: PartitionKey,
        config: LogConfig,
        now: Now,
        clean: bool,
    ) -> Result<(Log, RecoveryReport), LogError> {
        recovery::open(env, key, config, now, clean)
    }

    /// The partition.
    pub fn key(&self) -> PartitionKey {
        self.key
    }

    /// The settings in force.
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Changes the settings from now on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.config = config;
    }

    /// First offset that may be read, from this disk or from the tier.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Offset of the next record.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// Everything below is durable.
    pub fn synced_end(&self) -> Offset {
        self.synced_end
    }

    /// Bytes of all segments on disk, those that wait to be reclaimed included.
    pub fn size_bytes(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.size_bytes())
            .sum()
    }

    /// Segments on disk, those that wait to be reclaimed included.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Ranges known to be unreadable, found when the log was opened or read since.
    pub fn damaged(&self) -> Vec<Range<Offset>> {
        self.shared.damaged()
    }

    /// Epoch of the last entry in the epochs file.
    pub fn last_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.last()
    }

    /// Where an epoch ended: (largest epoch <= asked, its end), for divergence checks (KIP-101/279).
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_of(epoch, self.end)
    }

    /// Must be called, its job run off the turn and `epoch_begun` called, before the first append under a new epoch.
    /// Nothing may be appended in between. Panics if `epoch` is below the last one.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) -> EpochJob {
        self.begun = None;
        let mut file = None;
        if self.epochs.last() != Some(epoch) {
            let epochs = Arc::make_mut(&mut self.epochs);
            epochs.begin(epoch, self.end);
            // Not the log start alone: the batches before it in the first segment are read on the way to it. And not that
            // segment alone: replicas ask about epochs whose records are in the tier.
            let first = self.segments.first().expect("a log has a segment");
            epochs.forget_below(first.base_offset().min(self.log_start));
            self.epochs_version += 1;
            file = Some((self.epochs_version, self.epochs.encode()));
            self.forget_state();
        }
        EpochJob {
            key: self.key,
            epoch,
            env: Arc::clone(&self.env),
            shared: Arc::clone(&self.shared),
            file,
            dirs: self.unsynced_dirs_above(),
        }
    }

    /// The epoch's job has run: the epoch may append.
    pub fn epoch_begun(&mut self, epoch: LeaderEpoch) {
        assert_eq!(self.epochs.last(), Some(epoch), "another epoch began since");
        self.begun = Some(epoch);
    }

    /// Producer state: classification of a batch before it is appended (pure).
    pub fn check_producer(&self, batch: &Batch, now: Now) -> ProducerCheck {
        let header = batch.header();
        self.producers
            .check(header, self.config.producers_max, now.wall_ms)
    }

    /// Writes one batch at the end, stamped; rolls first if due. Never syncs. Panics (broken invariant) unless
    /// `leader_epoch` was begun. After an I/O error the log refuses every further append, except when the disk was
    /// full: then nothing has changed and the append may be tried again.
    pub fn append(
        &mut self,
        batch: &Batch,
        leader_epoch: LeaderEpoch,
        now: Now,
    ) -> Result<Appended, LogError> {
        self.check_usable()?;
        assert_eq!(
            self.begun,
            Some(leader_epoch),
            "append under an epoch not begun"
        );
        let header = BatchHeader {
            base_offset: self.end,
            leader_epoch,
            ..*batch.header()
        };
        if header.size_bytes > BATCH_BYTES_MAX {
            return Err(LogError::TooLarge {
                got: header.size_bytes,
                max: BATCH_BYTES_MAX,
            });
        }
        self.forget_state();
        if self.must_roll_before(&header) || self.is_old(now) {
            self.roll()?;
        }
        let (segment, file) = self.writer()?;
        let position = segment.size_bytes();
        let stamp = batch.stamp(self.end, leader_epoch);
        let rest = batch.bytes().get(stamp.len()..).unwrap_or_default();
        if let Err(source) = file.write_at(&[&stamp, rest], position) {
            return Err(self.write_failed(&segment, &*file, source));
        }
        segment.with_index(|index| {
            index.note(self.end.since(segment.base_offset()), position, &header);
        });
        segment.set_end(header.end_offset(), position + header.size_bytes as u64);
        self.end = header.end_offset();
        self.active_since_ms.get_or_insert(now.monotonic_ms);
        let append_time_ms = self.note_append_time(header.base_offset, now);
        self.producers
            .apply(&header, self.config.producers_max, append_time_ms);
        Ok(Appended {
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            append_time_ms,
        })
    }

    /// Everything not yet synced; run it off the turn, then call `synced(job.end)`. `None` if all is synced.
    pub fn sync_job(&mut self) -> Option<SyncJob> {
        if self.synced_end == self.end {
            return None;
        }
        let active = self.active();
        self.sync_jobs.push_back(TakenSync {
            end: self.end,
            at: (active.base_offset(), active.size_bytes()),
            is_cut: false,
        });
        let dirs = self.unsynced_dirs();
        Some(SyncJob {
            key: self.key,
            end: self.end,
            env: Arc::clone(&self.env),
            files: self.unsynced.clone(),
            run: dirs.is_empty().then(|| self.unsynced_run()).flatten(),
            dirs,
            shared: Arc::clone(&self.shared),
            generation: self.shared.generation.load(Ordering::Acquire),
        })
    }

    /// What is not synced, if all of it is in the active segment.
    fn unsynced_run(&self) -> Option<Run> {
        let [(segment, file)] = self.unsynced.as_slice() else {
            return None;
        };
        let base = segment.base_offset();
        let (synced_base, synced_position) = self.synced_at;
        let from = match (synced_base == base, self.synced_end == base) {
            (true, _) => synced_position,
            (false, true) => 0,
            (false, false) => return None,
        };
        Arc::ptr_eq(segment, self.active()).then(|| Run {
            segment: Arc::clone(segment),
            file: Arc::clone(file),
            base,
            start: self.synced_end,
            from,
            to: segment.size_bytes(),
        })
    }

    /// The job with this end has run. Jobs are reported in the order in which they were taken; one whose bytes were cut
    /// meanwhile counts for nothing.
    pub fn synced(&mut self, end: Offset) {
        let reported = self.sync_jobs.iter().position(|taken| taken.end == end);
        let reported = reported.expect("a sync is reported once, for a job that was taken");
        let at = self.sync_jobs.get(reported).map(|taken| taken.at);
        if self.sync_jobs.drain(..=reported).any(|taken| taken.is_cut) {
            return;
        }
        assert!(
            end <= self.end,
            "synced to {end}, but the log ends at {}",
            self.end
        );
        if end > self.synced_end {
            self.synced_end = end;
            self.synced_at = at.expect("it was found there");
        }
        self.unsynced
            .retain(|(segment, _)| segment.end_offset() > end);
        if self.unsynced_entry.is_some_and(|base| base < end) {
            self.unsynced_entry = None;
        }
    }

    /// A snapshot for readers; cheap. Take a new one after append, roll, truncate, delete.
    pub fn view(&self) -> LogView {
        LogView::new(self)
    }

    pub(crate) fn active(&self) -> &Arc<Segment> {
        self.segments.last().expect("a log has a segment")
    }

    pub(crate) fn check_usable(&self) -> Result<(), LogError> {
        match self.failed {
            true => Err(LogError::Failed),
            false => Ok(()),
        }
    }

    /// Before the first change: what the `state` file says is about to be untrue. That a broker did not stop cleanly
    /// protects from it as well, so the removal need not be durable.
    pub(crate) fn forget_state(&mut self) {
        if std::mem::take(&mut self.unchanged) {
            let removed = files::remove(&*self.env.disk, &files::named(self.key, STATE));
            if let Err(error) = removed {
                tracing::warn!(%error, "state file not removed");
            }
        }
    }

    pub(crate) fn unsynced_dirs(&self) -> Vec<PathBuf> {
        match self.unsynced_entry {
            Some(_) => files::dirs_to_root(self.key),
            None => Vec::new(),
        }
    }

    /// Those above the partition's own, which a job that replaces a file in it syncs anyway.
    pub(crate) fn unsynced_dirs_above(&self) -> Vec<PathBuf> {
        self.unsynced_dirs().into_iter().skip(1).collect()
    }

    /// The active segment and its handle, which is held until its bytes are synced.
    fn writer(&mut self) -> Result<(Arc<Segment>, Arc<dyn DiskFile>), LogError> {
        let active = Arc::clone(self.active());
        if let Some((segment, file)) = self.unsynced.last()
            && Arc::ptr_eq(segment, &active)
        {
            return Ok((active, Arc::clone(file)));
        }
        if !active.has_index() {
            active.load_index(&self.env, &self.epochs, self.config.index_interval_bytes)?;
        }
        let file = active.open(&self.env)?;
        self.unsynced.push((Arc::clone(&active), Arc::clone(&file)));
        Ok((active, file))
    }

    /// Cuts back what a failed write may have left. Only a full disk leaves the handle trustworthy.
    fn write_failed(
        &mut self,
        segment: &Segment,
        file: &dyn DiskFile,
        source: io::Error,
    ) -> LogError {
        let cut = file.truncate(segment.size_bytes());
        if !is_full(&source) || cut.is_err() {
            self.failed = true;
        }
        LogError::io("write", &segment.log_path())(source)
    }

    fn note_append_time(&mut self, offset: Offset, now: Now) -> i64 {
        let (append_time_ms, write) = self.append_times.note(offset, now.wall_ms);
        if let Some(write) = write {
            self.write_append_mark(write);
        }
        append_time_ms
    }

    /// Best effort: a mark that is lost only makes retention later.
    pub(crate) fn write_append_mark(&self, write: MarkWrite) {
        let path = files::named(self.key, APPEND_TIMES);
        let disk = &*self.env.disk;
        let written = match write {
            MarkWrite::At(position, bytes) => disk
                .open(&path, true)
                .and_then(|file| file.write_at(&[&bytes], position))
                .map_err(LogError::io("write", &path)),
            MarkWrite::Replace(bytes) => files::replace(disk, &path, &bytes, false),
        };
        if let Err(error) = written {
            tracing::warn!(%error, "append-time mark not written; retention will be later");
        }
    }
}
