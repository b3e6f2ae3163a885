//! Bounds on what settings and clients can ask for, each with its reason.

use std::time::Duration;

/// Storage threads. Each owns partitions and one sync at a time; beyond this a disk gains nothing.
pub const SHARDS_MAX: usize = 64;

/// The largest batch a topic may accept. A batch is held whole in memory and travels as one
/// message; gRPC clients commonly refuse messages far smaller than this.
pub const MESSAGE_BYTES_MAX: u64 = *headwater_core::limits::MESSAGE_BYTES.end() as u64;

/// 1,024 bytes.
pub const KIB: u64 = 1 << 10;
/// 1,024 KiB.
pub const MIB: u64 = 1 << 20;
/// 1,024 MiB.
pub const GIB: u64 = 1 << 30;
/// 1,024 GiB.
pub const TIB: u64 = 1 << 40;

/// The most bytes of one request: the largest batch, and room for the fields around it.
pub const REQUEST_BYTES_MAX: usize = MESSAGE_BYTES_MAX as usize + 64 * 1024;

/// Connections to the internal listener: the operator has one or two, and peers will have a few
/// each.
pub const INTERNAL_CONNECTIONS_MAX: usize = 256;
/// Bytes of one request to the broker's own service on the internal listener; a configuration file
/// is a few thousand.
pub const INTERNAL_REQUEST_BYTES_MAX: usize = 1 << 20;

/// What a request costs beside its bytes, for the in-flight budget.
pub const REQUEST_OVERHEAD_BYTES: u64 = KIB;

/// Partitions that one request or subscription may name. Bounds the work and the answer of one
/// call; a client with more opens another.
pub const REQUEST_PARTITIONS_MAX: usize = 10_000;

/// Partitions that one produce stream may write to: each keeps its order's state until the end.
pub const STREAM_PARTITIONS_MAX: usize = 20_000;

/// Unacknowledged batches of one produce stream; the broker reads no further until some are taken.
/// Ten thousand partitions with one batch each go on at full speed, and a client that never reads
/// its acks holds a few MiB.
pub const STREAM_BATCHES_UNACKED_MAX: usize = 16_384;

/// Acks that travel in one message.
pub const STREAM_ACKS_PER_MESSAGE_MAX: usize = 1_024;

/// Headers of one record that the broker puts into a batch.
pub const HEADERS_MAX: usize = 1_000;

/// Topics on one page of a listing.
pub const LIST_PAGE_SIZE_MAX: usize = 500;

/// Bytes of opened records in one answer, and what a single batch may open to: what a batch of the
/// largest size may hold, and no more, so that a well compressed one cannot fill the memory.
pub const DECODED_BYTES_MAX: usize = MESSAGE_BYTES_MAX as usize;

/// Batches that are opened for answers at once. While one is, it takes as much again as it opens to and what its codec
/// needs, 28 MiB at most, beyond the budget for answers. Encoding an answer takes longer than opening it.
pub const OPENINGS_MAX: usize = 2;

/// Records, and their headers, of one answer with opened records: each takes a hundred bytes of memory, whatever is in
/// it. Those of 160 bytes or more are bounded by [`DECODED_BYTES_MAX`] before.
pub const FETCH_RECORDS_MAX: usize = 100_000;

/// What a fetch reads when the budget for answers is used up: little, but progress.
pub const FETCH_STARVED_BYTES: usize = 16 * 1024;

/// One message of a subscription, if the client does not say.
pub const SUBSCRIBE_BYTES: usize = MIB as usize;

/// Sign of life of a subscription, if the client does not say.
pub const HEARTBEAT_DEFAULT: Duration = Duration::from_secs(5);

/// The least that a client may ask for: a heartbeat names every partition.
pub const HEARTBEAT_MIN: Duration = Duration::from_millis(100);

/// A long poll ends this much before the caller's deadline, so that the answer is in time.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(50);

/// How long a client should wait before it connects again to a broker that stops.
pub const DRAIN_RECONNECT: Duration = Duration::from_millis(500);

/// Messages that a shard takes before its replicas take their turns: bounds the time until the
/// first of them is answered.
pub const SHARD_MESSAGES_PER_TURN_MAX: usize = 1_024;

/// How long a shard sleeps when nothing happens.
pub const SHARD_TICK: Duration = Duration::from_millis(100);

/// How often a shard looks at its partitions while the disk is full, so that what the tier holds makes room soon.
pub const SHARD_TICK_FULL: Duration = Duration::from_secs(1);

/// Reads of the tier at once, over all fetches. Each holds its part of a budgeted answer, or the one batch that it
/// reads at least if that is larger, and on the way to it the chunks that it is joined from: as much again, whatever is
/// asked. Enough for hundreds of MiB a second from a store that takes 50 ms.
pub const TIER_READS_MAX: usize = 16;

/// Reads ahead of readers at once. More would only throw each other out of the cache.
pub const TIER_READ_AHEADS_MAX: usize = 4;

/// How long a reader waits for the tier before it is told to try again. Far less than the shortest grace
/// (`headwater_tier::limits::GRACE_MS_MIN`), for which what the reader is about to read stays.
pub const TIER_READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Of the memory for answers, the part that cold reads share: as long as they wait for a store, the rest is there for
/// all others.
pub const COLD_BUDGET_PART: u64 = 4;

/// How long a broker that starts waits for the tier's store to show that it can be a tier's.
pub const TIER_PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a store is asked whether it is well again, where nobody else asks it for anything.
pub const TIER_PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// How often the tier looks for partitions with something to do, at least.
pub const TIER_TICK_MAX: Duration = Duration::from_secs(1);

/// How soon it looks again at a partition of which something has come back. Others that come back by then are looked
/// at together.
pub const TIER_WAKE_DELAY: Duration = Duration::from_millis(20);

/// Partitions that are looked at in one tick: bounds what a tick holds and how long it takes. The others' turn comes.
pub const TIER_PARTITIONS_PER_TICK_MAX: usize = 1_000;

/// Partitions whose shards are asked at once.
pub const TIER_VIEWS_AT_ONCE: usize = 128;

/// Segments that are uploaded or wait for one of the few places, over all partitions: bounds the memory of a broker
/// that takes over many partitions.
pub const TIER_UPLOADS_WAITING_MAX: usize = 256;

/// How long `tier status` waits for manifests that are not in memory.
pub const TIER_STATUS_TIMEOUT: Duration = Duration::from_secs(5);

/// Manifests, looks at retention and sweeps at once, over all partitions.
pub const TIER_SMALL_REQUESTS_MAX: usize = 16;

/// Objects of a deleted topic that are deleted in one step.
pub const TIER_OBJECTS_PER_STEP: usize = 1_000;

/// How often the tier looks at a partition where nothing seems to happen: settings, retention and sweeps.
pub const TIER_LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// How long the tier's store may fail before that is a finding.
pub const TIER_FAILING_TOLERATED: Duration = Duration::from_secs(30);

/// How long sealed segments may wait for their upload before that is a finding.
pub const TIER_BACKLOG_TOLERATED: Duration = Duration::from_secs(15 * 60);

/// Sync marks that no later round carries along are synced after this long.
pub const SYNC_MARKS_IDLE: Duration = Duration::from_millis(50);

/// A block of a shard's journal, of which there are two, takes this part of the disk over the number of shards, between
/// these bounds. What fits into
/// one is synced together with all the segments it belongs to once more, so that larger blocks are fewer syncs.
pub const JOURNAL_DISK_SHARE: u64 = 128;
/// See [`JOURNAL_DISK_SHARE`].
pub const JOURNAL_BLOCK_BYTES_MIN: u64 = 1 << 20;
/// See [`JOURNAL_DISK_SHARE`].
pub const JOURNAL_BLOCK_BYTES_MAX: u64 = 64 << 20;

/// Segments that may wait for a checkpoint of a shard's journal, at most and at least: their descriptors are held. It
/// begins at half.
pub const JOURNAL_FILES_MAX: usize = 8192;
/// See [`JOURNAL_FILES_MAX`].
pub const JOURNAL_FILES_MIN: usize = 64;

/// Partitions with data that one fetch reads on the thread that serves it, from memory: 2 MiB are looked at, at most.
pub const READ_NOW_PARTITIONS_MAX: usize = 8;

/// What the last reads at the ends of partitions may hold for other readers: a part of what the process itself has.
/// Readers that wait ask within milliseconds, so little is enough.
pub const TAIL_CACHE_BYTES: u64 = 4 * MIB;

/// What the journal holds is synced where it belongs after this long: deleted segments are held until then.
pub const JOURNAL_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// Threads that sync the files of one round side by side.
pub const SYNC_THREADS_PER_ROUND_MAX: usize = 8;

/// How often the disk's space is looked at.
pub const DISK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// How often the data directory records that the broker runs, and the wall clock with it.
pub const INCARNATION_CONFIRM_INTERVAL: Duration = Duration::from_secs(60);

/// A wall clock that has moved further than this against the monotonic one is not trusted.
pub const CLOCK_JUMP_MAX: Duration = Duration::from_secs(600);

/// A lone broker that was off for longer does not trust its wall clock at once.
pub const CLOCK_OFF_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long time retention waits then.
pub const CLOCK_GAP_WAIT: Duration = Duration::from_secs(3600);

/// Window of one HTTP/2 stream: never stalls a batch of ordinary size.
pub const HTTP2_STREAM_WINDOW_BYTES: u32 = 8 << 20;

/// Window of a connection. Also keeps h2's budget for small frames large, see its changelog of
/// 0.4.16.
pub const HTTP2_CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// Largest frame that clients may send: one batch of ordinary size is one frame.
pub const HTTP2_FRAME_BYTES: u32 = 1 << 20;

/// How often an idle connection is asked for a sign of life.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);

/// How long it has to answer.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Files of deleted topics that are unlinked between two commands of the metadata.
pub const TRASH_FILES_PER_STEP: usize = 64;

/// Bytes of a segment between two entries of its sparse indexes: a lookup scans at most this much.
pub const INDEX_INTERVAL_BYTES: u32 = 16 * 1024;

/// Idempotent producers that one partition remembers, see the design of idempotence in
/// `headwater-log`.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 1_000;

/// The least window of a connection, where memory is short: one batch of ordinary size.
pub const HTTP2_CONNECTION_WINDOW_BYTES_MIN: u32 = 1 << 20;

/// Commands of the metadata that share one round of syncs: bounds the time until the first of
/// them is answered.
pub const METADATA_COMMANDS_PER_GROUP_MAX: usize = 128;

/// How long a broker that is operated waits for another one to let go of its data directory: a
/// process that was told to stop has ended by then, or will not.
pub const DIRECTORY_WAIT: Duration = Duration::from_secs(120);
/// How often it looks.
pub const DIRECTORY_LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// How long a stop waits for threads that are about to end to let go of the data directory.
pub const RELEASE_WAIT: Duration = Duration::from_secs(2);
