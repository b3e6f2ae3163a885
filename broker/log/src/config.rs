//! What a log is told: its key, its settings, the clocks, and what it shares with the other logs of a data directory.

use crate::{Disk, FileCache, Journal, MarkStore};
use std::sync::Arc;
use uuid::Uuid;

/// Names a partition for ever: topic ids are never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PartitionKey {
    /// Id of the topic.
    pub topic: Uuid,
    /// Number of the partition in the topic, from 0.
    pub index: u32,
}

/// Both clocks, read once per turn by the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970.
    pub wall_ms: i64,
}

impl Now {
    /// Whether what was appended at `latest_ms` at the latest has been kept for `kept_ms`. Never where one of them is not
    /// known: what is kept for ever, and what may be of this moment.
    pub fn is_past(self, latest_ms: Option<i64>, kept_ms: Option<u64>) -> bool {
        let (Some(latest_ms), Some(kept_ms)) = (latest_ms, kept_ms) else {
            return false;
        };
        let kept_ms = i64::try_from(kept_ms).unwrap_or(i64::MAX);
        latest_ms.saturating_add(kept_ms) <= self.wall_ms
    }
}

/// Settings of one log; they may change at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment is rolled before it grows larger (one batch may be larger alone).
    pub segment_bytes: u64,
    /// A segment is rolled when its first record was appended so long ago.
    pub segment_ms: u64,
    /// Records appended longer ago may go; `None` keeps for ever.
    pub retention_ms: Option<u64>,
    /// Oldest segments may go while those that stay hold at least so much; `None` keeps all.
    pub retention_bytes: Option<u64>,
    /// Bytes of a segment between two entries of its indexes.
    pub index_interval_bytes: u32,
    /// Producers whose sequences are known at once.
    pub producers_max: usize,
}

/// What all partitions of a data directory share.
#[derive(Clone)]
pub struct LogEnv {
    /// The data directory.
    pub disk: Arc<dyn Disk>,
    /// Its sync marks.
    pub marks: Arc<MarkStore>,
    /// Its journals.
    pub journal: Arc<Journal>,
    /// Its open segment files.
    pub files: Arc<FileCache>,
}
