//! Every bound of the tier, with its reason.

/// Entries that a sealed page holds, and the most that a manifest's tail does.
pub const PAGE_ENTRIES: usize = 1_000;

/// Pages that one manifest may name: a hundred million segments. Bounds what a damaged manifest can ask for.
pub const PAGES_MAX: usize = 100_000;

/// Largest frame that is read into memory: a manifest with [`PAGES_MAX`] pages. More is damage.
pub const FRAME_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Largest footer: two index places every 64 KiB of the largest segment, append-time marks and a producer snapshot.
pub const FOOTER_BYTES_MAX: u64 = 24 * 1024 * 1024;

/// A place in the index every so many bytes: what a reader steps over at most to find its batch.
pub const INDEX_INTERVAL_BYTES: u64 = 64 * 1024;

/// What the cache holds and one ranged read asks for. Large enough that a store's latency does not rule, small enough
/// that a reader of one record does not pay for many.
pub const CHUNK_BYTES: u64 = 1024 * 1024;

/// Chunks of one read that are under way at once.
pub const CHUNKS_AT_ONCE: usize = 8;

/// How much of a local segment is read, verified and handed to the store at once.
pub const UPLOAD_PIECE_BYTES: usize = 1024 * 1024;

/// How much is read back at once to verify an object.
pub const VERIFY_PIECE_BYTES: u64 = 4 * 1024 * 1024;

/// Objects that one listing asks for: what S3 gives at most.
pub const LIST_PAGE: usize = 1_000;

/// Numbers that are tried for one manifest. Each that is taken was an attempt whose answer got lost, so this many in a
/// row are not met.
pub const MANIFEST_NUMBERS_TRIED_MAX: u64 = 1_000;

/// Segments of one partition that are uploaded at once.
pub const PARTITION_UPLOADS_MAX: usize = 2;

/// First pause after a failure of the store; it doubles with each further one.
pub const RETRY_MS_MIN: u64 = 500;

/// Longest pause after failures of the store.
pub const RETRY_MS_MAX: u64 = 30_000;

/// A log start that moved by delete-records is taken over by the tier at most so often.
pub const TRIM_INTERVAL_MS: u64 = 60_000;

/// How old, by the own clock, the last look for a fence and for a later owner may be when a head is committed or an object
/// deleted; and the last look for holds when an object is deleted. No longer than [`GRACE_MS_MIN`]: what a hold keeps that
/// was put meanwhile was named within the grace, and what a later owner has put is younger.
pub const FENCE_AGE_MS_MAX: u64 = 60_000;

/// Owners of a cluster's objects of which the object stays: more than could start while a listing lags, so that none takes
/// a number anew.
pub const OWNERS_KEPT: u64 = 100;

/// Numbers that are tried when objects are taken over. Those behind what a listing shows were taken since, so this many
/// are not met.
pub const OWNER_NUMBERS_TRIED_MAX: u64 = OWNERS_KEPT;

/// How long an adopter waits behind its fence before it looks at what it adopts: ten times [`FENCE_AGE_MS_MAX`].
pub const ADOPT_WAIT_MS: u64 = 10 * FENCE_AGE_MS_MAX;

/// How often a cluster looks whether its objects are held, also when it has none to delete: people are to know.
pub const HOLD_LOOK_INTERVAL_MS: u64 = 60_000;

/// Shortest grace: longer than any fetch may hold a head.
pub const GRACE_MS_MIN: u64 = 60_000;
