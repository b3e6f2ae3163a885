//! Settings of one partition, derived from its topic's.

use headwater_log::LogConfig;

use crate::metadata::Durability;

/// What a replica needs to know of its topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicaConfig {
    /// When a batch counts as stored.
    pub durability: Durability,
    /// The largest batch, in bytes as stored.
    pub message_bytes_max: usize,
    /// How far ahead of this broker's wall clock a record's timestamp may be, in milliseconds.
    pub timestamp_ahead_ms_max: u64,
    /// How many in-sync replicas `Acks::All` and the high watermark demand.
    pub min_in_sync: usize,
    /// In class `replicated`, sync at most this long after the first unsynced byte, in
    /// milliseconds.
    pub background_sync_ms: u64,
    /// Sealed segments are uploaded to the tier, whose planner then decides on total retention.
    pub tiering: bool,
    /// Local copies of what is in the tier may go so long after they were appended, in
    /// milliseconds; `None` keeps them as long as the records.
    pub local_retention_ms: Option<u64>,
    /// The oldest local copies of what is in the tier may go while those that stay hold at least so
    /// many bytes; `None` keeps them as long as the records.
    pub local_retention_bytes: Option<u64>,
    /// Segments, retention, indexes.
    pub log: LogConfig,
}
