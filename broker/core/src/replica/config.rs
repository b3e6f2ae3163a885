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
    /// Segments, retention, indexes.
    pub log: LogConfig,
}
