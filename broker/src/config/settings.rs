//! What the broker runs with. Every value here was parsed and found in range.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use headwater_core::metadata::Durability;
use headwater_core::metadata::{EffectiveConfig, Retention};
use headwater_record::Compression;

use crate::memory::MemorySplit;

/// The settings of one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Directory with everything this broker stores.
    pub data_dir: PathBuf,
    /// Name for people, in logs and in `ListBrokers`. Never identity.
    pub node_name: String,
    /// Form a new cluster if the data directory belongs to none.
    pub form: bool,
    /// Namespace of a topic name that has none.
    pub default_namespace: String,
    /// How long a graceful stop may take before connections are cut.
    pub shutdown_grace: Duration,
    /// How long a broker that was told to stop goes on serving, no longer ready.
    pub shutdown_delay: Duration,
    /// Addresses.
    pub listen: Listen,
    /// File with the secret of the cluster; without it there is no internal listener.
    pub internal_secret_file: Option<PathBuf>,
    /// Storage threads and files.
    pub storage: Storage,
    /// When the disk counts as full.
    pub disk_guard: DiskGuard,
    /// What a topic has when its creator says nothing.
    pub topics: TopicDefaults,
    /// Object storage for sealed segments; `None` keeps everything on the disk.
    pub tier: Option<Tier>,
    /// Bounds on what clients can ask for.
    pub limits: Limits,
    /// The memory limit, divided.
    pub memory: MemorySplit,
    /// What is logged and how.
    pub logging: Logging,
}

/// Addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// gRPC for clients. Port 0 takes a free one.
    pub client: SocketAddr,
    /// gRPC for the operator. Port 0 takes a free one.
    pub internal: SocketAddr,
    /// Metrics and health. Port 0 takes a free one.
    pub http: SocketAddr,
    /// `host:port` that clients are told, if it is not the address that is listened on.
    pub advertised: Option<String>,
}

/// Storage threads and files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Threads that own partitions; 1 to [`crate::limits::SHARDS_MAX`].
    pub shards: usize,
    /// Segment files open at once.
    pub open_files_max: usize,
    /// A partition of durability `replicated` is synced at most this long after its first
    /// unsynced byte.
    pub background_sync_interval: Duration,
    /// How often retention looks at every partition.
    pub retention_check_interval: Duration,
}

/// When the disk counts as full. `low_water_bytes < high_water_bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskGuard {
    /// Size of the file that keeps room for metadata and deletes; 0 keeps none.
    pub reserve_bytes: u64,
    /// With less free space than this, produce is refused with STORAGE_FULL.
    pub low_water_bytes: u64,
    /// Produce is accepted again once this much is free.
    pub high_water_bytes: u64,
}

/// Object storage for sealed segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Where it is.
    pub url: String,
    /// Directory with credentials as files.
    pub credentials_dir: Option<PathBuf>,
    /// Segments that are uploaded at once.
    pub upload_concurrency: usize,
    /// Memory for what is read.
    pub cache_bytes: u64,
    /// How often uploaded segments are committed.
    pub commit_interval: Duration,
    /// How long an object that nothing names stays.
    pub gc_grace: Duration,
    /// How often each partition is swept.
    pub gc_interval: Duration,
    /// How often changed metadata is written.
    pub snapshot_interval: Duration,
    /// How long sealed segments may wait for their upload before that is a finding; always
    /// [`crate::limits::TIER_BACKLOG_TOLERATED`], but for tests.
    pub backlog_tolerated: Duration,
}

/// What a topic has when its creator says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDefaults {
    /// Partitions of a topic created without a count.
    pub partitions: u32,
    /// Records are deleted this long after they were appended; `None` keeps them for ever.
    pub retention_ms: Option<u64>,
    /// Oldest segments are deleted while a partition is larger; `None` is without bound.
    pub retention_bytes: Option<u64>,
    /// A segment of this size is followed by a new one.
    pub segment_bytes: u64,
    /// A segment of this age is followed by a new one.
    pub segment_ms: u64,
    /// When a batch counts as stored.
    pub durability: Durability,
    /// How the broker compresses the batches that it builds itself.
    pub compression: Compression,
    /// The largest batch that is accepted, as stored.
    pub message_bytes_max: u32,
    /// Records with a timestamp further ahead of the leader's clock are refused.
    pub timestamp_ahead_ms_max: u64,
    /// Upload sealed segments, if there is a tier.
    pub tiering: bool,
    /// What is in the tier stays on the disk this long as well; `None` is as long as retention.
    pub local_retention_ms: Option<u64>,
    /// What is in the tier leaves the disk while a partition takes more of it; `None` is without
    /// bound.
    pub local_retention_bytes: Option<u64>,
}

impl TopicDefaults {
    /// The settings of a topic that has none of its own.
    pub fn effective(&self) -> EffectiveConfig {
        let retention = |bound: Option<u64>| bound.map_or(Retention::Unbounded, Retention::Bounded);
        EffectiveConfig {
            retention_ms: retention(self.retention_ms),
            retention_bytes: retention(self.retention_bytes),
            segment_bytes: self.segment_bytes,
            segment_ms: self.segment_ms,
            durability: self.durability,
            compression: self.compression,
            message_bytes_max: self.message_bytes_max,
            timestamp_ahead_ms_max: self.timestamp_ahead_ms_max,
            min_in_sync_replicas: 1,
            tiering: self.tiering,
            local_retention_ms: retention(self.local_retention_ms),
            local_retention_bytes: retention(self.local_retention_bytes),
        }
    }
}

/// Bounds on what clients can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Client connections at once; more are closed at once.
    pub connections_max: usize,
    /// Streams (calls) at once on one connection.
    pub streams_per_connection_max: u32,
    /// The longest a fetch waits for records, whatever it asks.
    pub fetch_wait_max: Duration,
    /// The most bytes one fetch answers with, whatever it asks (one batch may exceed it).
    pub fetch_bytes_max: usize,
    /// Bytes a ProduceStream may have sent that are not acknowledged.
    pub produce_stream_credit_bytes: usize,
    /// Bytes a Subscribe may have been sent ahead of what it took.
    pub subscribe_buffer_bytes: usize,
    /// Partitions on this broker, over all topics.
    pub partitions_max: usize,
}

/// Form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// Form of a line.
    pub format: LogFormat,
    /// A level, or directives such as `info,headwater_log=debug`.
    pub level: String,
}
