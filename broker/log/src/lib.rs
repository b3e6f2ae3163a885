//! The storage engine: one `Log` per partition. Synchronous; no network, no clock, no randomness.
//!
//! API CONTRACT (skeleton; bodies to come). The calls below are what `headwater-core` and the broker shell use.
#![allow(clippy::todo, missing_docs)]
use bytes::Bytes;
use headwater_record::{Batch, LeaderEpoch, Offset};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use uuid::Uuid;

mod disk;
mod file_cache;
mod marks;

#[cfg(any(test, feature = "sim"))]
pub use disk::{sim, suite};
pub use disk::{Disk, DiskFile, DiskSpace, OsDisk};
pub use file_cache::FileCache;
pub use marks::{MarkState, MarkStore};

// ---- log.rs --------------------------------------------------------------------------------------------------------
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionKey { pub topic: Uuid, pub index: u32 }

/// Both clocks, read once per turn by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now { pub monotonic_ms: u64, pub wall_ms: i64 }

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub segment_bytes: u64,
    pub segment_ms: u64,
    /// `None` keeps for ever.
    pub retention_ms: Option<u64>,
    pub retention_bytes: Option<u64>,
    pub index_interval_bytes: u32,
    pub producers_max: usize,
}

/// What all partitions of a data directory share.
#[derive(Clone)]
pub struct LogEnv { pub disk: Arc<dyn Disk>, pub marks: Arc<MarkStore>, pub files: Arc<FileCache> }
/// One partition's log. `log_start <= synced_end <= end`.
pub struct Log { _p: () }

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended { pub base_offset: Offset, pub last_offset: Offset, pub append_time_ms: i64 }

impl Log {
    /// Where a partition lives: `topics/<uuid>/<index>`.
    pub fn dir(_key: PartitionKey) -> PathBuf { todo!() }
    /// Opens, creating an empty log if the directory is absent; recovers. `clean`: the broker stopped cleanly last time
    /// (files were synced and closed), so that the tail need not be scanned.
    pub fn open(_env: &LogEnv, _key: PartitionKey, _config: LogConfig, _now: Now, _clean: bool) -> Result<(Log, RecoveryReport), LogError> { todo!() }
    pub fn key(&self) -> PartitionKey { todo!() }
    pub fn config(&self) -> &LogConfig { todo!() }
    pub fn set_config(&mut self, _config: LogConfig) { todo!() }
    pub fn log_start(&self) -> Offset { todo!() }
    pub fn end(&self) -> Offset { todo!() }
    pub fn synced_end(&self) -> Offset { todo!() }
    /// Bytes and segments on disk.
    pub fn size_bytes(&self) -> u64 { todo!() }
    pub fn segment_count(&self) -> usize { todo!() }
    /// Epoch of the last entry in the epochs file.
    pub fn last_epoch(&self) -> Option<LeaderEpoch> { todo!() }
    /// Where an epoch ended: (largest epoch <= asked, its end), for divergence checks (KIP-101/279).
    pub fn epoch_end(&self, _epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> { todo!() }

    /// Must be called, its job run off the turn and `epoch_begun` called, before the first append under a new epoch.
    pub fn begin_epoch(&mut self, _epoch: LeaderEpoch) -> EpochJob { todo!() }
    pub fn epoch_begun(&mut self, _epoch: LeaderEpoch) { todo!() }

    /// Writes one batch at the end, stamped; rolls first if due. Never syncs. Panics (broken invariant) unless
    /// `leader_epoch` was begun. After an I/O error the log refuses every further append.
    pub fn append(&mut self, _batch: &Batch, _leader_epoch: LeaderEpoch, _now: Now) -> Result<Appended, LogError> { todo!() }
    /// Producer state: classification of a batch before it is appended (pure).
    pub fn check_producer(&self, _batch: &Batch, _now: Now) -> ProducerCheck { todo!() }

    /// Everything not yet synced; run it off the turn, then call `synced(job.end)`. `None` if all is synced.
    pub fn sync_job(&mut self) -> Option<SyncJob> { todo!() }
    pub fn synced(&mut self, _end: Offset) { todo!() }

    /// A snapshot for readers; cheap. Take a new one after append, roll, truncate, delete.
    pub fn view(&self) -> LogView { todo!() }

    /// Segments that time or size retention would remove now, up to `committed` (never the active one).
    pub fn retention_plan(&self, _now: Now, _committed: Offset) -> Option<Offset> { todo!() }
    /// Moves the log start (never back, never past `end`). Durable when the returned job has run. Whole segments below are
    /// unlinked by `reclaim`.
    pub fn advance_start(&mut self, _to: Offset) -> Result<StartJob, LogError> { todo!() }
    /// Unlinks at most `segments_max` dead segments; returns whether more remain. Off-turn work.
    pub fn reclaim(&mut self, _segments_max: usize) -> Result<bool, LogError> { todo!() }
    /// Rolls by age or when asked for. Empty segments never roll.
    pub fn roll_if_due(&mut self, _now: Now) -> Result<bool, LogError> { todo!() }
    /// Cuts everything at and above `end`: lowers the mark and the epochs file and syncs both, then cuts and syncs.
    pub fn truncate(&mut self, _end: Offset) -> Result<(), LogError> { todo!() }
    /// Clean stop: index, producer snapshot, tail trimmed, all synced, mark written.
    pub fn close(self) -> Result<(), LogError> { todo!() }
}

/// Files and directories to sync; carries clones, so it runs on another thread while turns go on.
pub struct SyncJob { pub key: PartitionKey, pub end: Offset, _p: () }
impl SyncJob { pub fn run(&self) -> Result<(), LogError> { todo!() } }
pub struct EpochJob { pub key: PartitionKey, pub epoch: LeaderEpoch, _p: () }
impl EpochJob { pub fn run(&self) -> Result<(), LogError> { todo!() } }
pub struct StartJob { pub key: PartitionKey, pub log_start: Offset, _p: () }
impl StartJob { pub fn run(&self) -> Result<(), LogError> { todo!() } }

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProducerCheck {
    /// No identity, or the next in sequence, or the first of a new producer (sequence 0) or epoch.
    Fresh,
    /// Same sequence range and same CRC as one of the last 16.
    Duplicate(Appended),
    /// The same sequence range with other bytes.
    SequenceReused { base_sequence: i32 },
    OutOfOrder { expected: i32, got: i32 },
    Fenced { current_epoch: i16 },
    /// Non-zero sequence of a producer that this partition does not know (expired or never seen).
    Unknown,
    TooManyProducers { max: usize },
}

// ---- view.rs -------------------------------------------------------------------------------------------------------
#[derive(Clone)]
pub struct LogView { _p: Arc<()> }
impl LogView {
    pub fn log_start(&self) -> Offset { todo!() }
    pub fn end(&self) -> Offset { todo!() }
    /// Whole batches from the one that holds `from`, below `limit` (batches that begin at or above it are left out), at most `bytes_max`
    /// but at least one batch. Every batch is verified by CRC and context. Blocking.
    pub fn read(&self, _from: Offset, _limit: Offset, _bytes_max: usize) -> Result<ReadSlice, LogError> { todo!() }
    /// First record at or after `from` with timestamp >= `timestamp_ms`, below `limit`: (offset, its timestamp).
    /// Opens the one batch it ends in, within `decoded_bytes_max`.
    pub fn find_time(&self, _timestamp_ms: i64, _limit: Offset, _decoded_bytes_max: usize) -> Result<Option<(Offset, i64)>, LogError> { todo!() }
}
#[derive(Clone, Debug)]
pub struct ReadSlice { pub bytes: Bytes, pub next_offset: Offset }

// ---- recovery.rs ---------------------------------------------------------------------------------------------------
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    pub scanned_bytes: u64,
    /// The log was cut above the mark.
    pub cut: Option<Cut>,
    /// Ranges below the mark that cannot be read.
    pub damaged: Vec<Range<Offset>>,
    pub epochs_rebuilt: bool,
    /// Both mark slots were bad: the whole recovered log counts as below the mark.
    pub mark_lost: bool,
    pub producers_rebuilt: bool,
    pub indexes_rebuilt: usize,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut { pub offset: Offset, pub bytes: u64, pub nonzero_bytes: u64 }

// ---- error.rs ------------------------------------------------------------------------------------------------------
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    #[error("{action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} is damaged: {detail}")]
    Damaged { path: PathBuf, detail: String },
    #[error("offset {asked} is out of range {start}..={end}")]
    OutOfRange { asked: Offset, start: Offset, end: Offset },
    #[error("records {}..{} are damaged", range.start, range.end)]
    DataLoss { range: Range<Offset> },
    #[error("the log refused further work after an earlier I/O error")]
    Failed,
}
impl LogError {
    /// ENOSPC or EDQUOT.
    pub fn is_full(&self) -> bool { matches!(self, LogError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull || source.kind() == io::ErrorKind::QuotaExceeded) }
}

