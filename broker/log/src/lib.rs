//! The storage engine: one [`Log`] per partition. Synchronous; no network, no clock, no randomness.
//!
//! A log is appended to by one owner, in turns that never sync: what is due is handed out as jobs ([`SyncJob`],
//! [`EpochJob`], [`StartJob`]) to be run elsewhere. Readers take a [`LogView`] and wait for nobody. Files are described
//! in `docs/format/log.md`, sync marks in `docs/format/marks.md`, the journal in `docs/format/journal.md`. Every byte goes
//! through [`Disk`].
#![deny(clippy::unwrap_used, clippy::indexing_slicing)]

mod append_times;
mod close;
mod config;
mod disk;
mod epochs;
mod error;
mod file_cache;
mod files;
mod frame;
mod guard;
mod index;
mod jobs;
mod journal;
pub mod limits;
mod local;
mod log;
mod marks;
pub mod planted;
mod producers;
mod recovery;
mod retention;
mod roll;
mod scan;
mod sealed;
mod seed;
mod segment;
mod start;
mod trash;
mod truncate;
mod view;

pub use config::{LogConfig, LogEnv, Now, PartitionKey};
pub use disk::{Disk, DiskFile, DiskSpace, OsDisk};
#[cfg(any(test, feature = "sim"))]
pub use disk::{sim, suite};
pub use epochs::Epochs;
pub use error::LogError;
pub use file_cache::FileCache;
pub use frame::{FrameError, frame, unframe};
pub use guard::{DiskGuard, DiskState, GuardLimits};
pub use jobs::{EpochJob, SyncJob};
pub use journal::{Checkpoint, Journal, JournalLimits, JournalReport};
pub use local::LocalRetention;
pub use log::{Appended, Log};
pub use marks::{MarkState, MarkStore};
pub use producers::{ProducerCheck, highest_producer_id, producers_after};
pub use recovery::{Cut, RecoveryReport};
pub use sealed::{SealedSegment, SegmentContext};
pub use seed::LogSeed;
pub use start::StartJob;
pub use trash::{TopicFate, Trash, TrashStep, quarantined};
pub use view::{LogView, ReadSlice};
