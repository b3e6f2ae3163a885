//! Every bound of this crate, with its reason.

use std::time::Duration;

/// HTTP/2 window of one stream: more than one batch and the bandwidth-delay product of a fast
/// network, and the most that a slow consumer makes us buffer.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 8 << 20;

/// HTTP/2 window of a connection: several streams at full speed. Also sets h2's budget for small
/// unread frames (half of it).
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;

/// HTTP/2 frame that we accept: at the default of 16 KiB a 1 MiB batch would be 64 frames.
pub(crate) const FRAME_BYTES_MAX: u32 = 1 << 20;

/// Largest message that we decode: the largest batch that a broker can be configured to store
/// (64 MiB) and its envelope.
pub(crate) const MESSAGE_BYTES_MAX: usize = (64 << 20) + (64 << 10);

/// Records of one batch after decompression, at most: a bound on what a hostile batch costs.
pub(crate) const BATCH_DECODED_BYTES_MAX: usize = 256 << 20;

/// Default size of a batch before compression: past this, throughput gains little.
pub(crate) const BATCH_BYTES_DEFAULT: usize = 256 << 10;

/// Default bound of bytes that a producer holds: 32 batches of a MiB.
pub(crate) const BUFFER_BYTES_DEFAULT: usize = 32 << 20;

/// Highest bound of bytes that a producer may hold.
pub(crate) const BUFFER_BYTES_MAX: usize = 2 << 30;

/// The leader remembers this many batches of a producer and so can tell a retry from a gap.
pub(crate) const BATCHES_IN_FLIGHT_MAX: usize = 16;

/// Nothing older is sent again: leaders forget idle producers after 15 minutes, and this stays
/// far below it.
pub(crate) const DELIVERY_TIMEOUT_MAX: Duration = Duration::from_secs(120);

/// Partition counts older than this are asked for again.
pub(crate) const METADATA_AGE_MAX: Duration = Duration::from_secs(300);

/// A keepalive probe that is not answered within this ends the connection.
pub(crate) const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
