//! Every bound of the engine in one place, with its reason.

/// Largest batch that the engine stores. The broker's own limit is far lower; this one only keeps a damaged length
/// field from asking for memory.
pub const BATCH_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Largest segment: positions in the offset index are 32 bits wide.
pub const SEGMENT_BYTES_MAX: u64 = u32::MAX as u64;

/// Most records between a segment's base offset and its end: relative offsets in the indexes are 32 bits wide.
pub const SEGMENT_OFFSETS_MAX: u64 = u32::MAX as u64;

/// Index entries held for an active segment: 256 KiB. When they are full every other one is dropped and the interval
/// doubles, so that 1 GiB is indexed every 64 KiB.
pub(crate) const INDEX_ENTRIES_MAX: usize = 16 * 1024;

/// Batches remembered for each producer, to tell duplicates: what a producer may have in flight.
pub(crate) const PRODUCER_BATCHES_MAX: usize = 16;

/// A producer that was idle for less never expires. Far above the delivery timeout (2 minutes), after which a batch is
/// never sent again.
pub(crate) const PRODUCER_IDLE_MS_MIN: i64 = 15 * 60 * 1000;

/// Producer snapshots kept; a truncation that reaches below all of them reads the log instead.
pub(crate) const PRODUCER_SNAPSHOTS_MAX: usize = 3;

/// Least time between two append-time marks.
pub(crate) const APPEND_MARK_MS_MIN: i64 = 60 * 1000;

/// Append-time marks held for a partition: 32 KiB. When they are full every other one is dropped; what is dropped makes
/// retention later, never earlier.
pub(crate) const APPEND_MARKS_MAX: usize = 2048;

/// Largest of the small files (epochs, producers, marks, state) that is read into memory: more is damage.
pub(crate) const SMALL_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How much a scan reads at once.
pub(crate) const SCAN_CHUNK_BYTES: usize = 1024 * 1024;

/// Most that is read by a thread that must not wait, from memory: checked and copied in some 50 µs.
pub const READ_NOW_BYTES_MAX: usize = 256 * 1024;

/// Largest run of appends to a partition that the journal takes: what is larger is synced where it is as fast.
pub const JOURNAL_RUN_BYTES_MAX: u64 = 64 * 1024;

/// Larger groups of appends become several frames of the journal: so much is held in memory at once.
pub(crate) const JOURNAL_FRAME_BYTES_MAX: u64 = 4 * 1024 * 1024;
