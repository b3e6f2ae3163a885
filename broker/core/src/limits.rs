//! Every bound of this crate, with its reason.

use std::ops::RangeInclusive;

/// Batches of one idempotent producer that may be unanswered in one partition. The log keeps the
/// last 16 of each producer to recognise retries; more in flight could not be recognised.
pub const PRODUCER_BATCHES_UNACKED_MAX: usize = 16;

/// Bytes of `namespace/name`. Kafka's bound for a topic's name, so that `namespace.name` is one.
pub const NAME_BYTES_MAX: usize = 249;
/// Bytes of a namespace: a DNS label (RFC 1123), as Kubernetes has it.
pub const NAMESPACE_BYTES_MAX: usize = 63;
/// Bytes of a broker's node name: a DNS name (RFC 1123), as Kubernetes has it.
pub const NODE_NAME_BYTES_MAX: usize = 253;
/// Bytes of a broker's version text, which nobody but us writes.
pub const VERSION_BYTES_MAX: usize = 64;

/// Tier heads in one command: a broker commits all of its heads at once, each about 80 bytes, and
/// the command must stay well below [`COMMAND_BYTES_MAX`]. Who has more sends several.
pub const TIER_HEADS_PER_COMMAND_MAX: usize = 10_000;
/// Tier heads in the tombstones of all deleted topics, about 40 bytes each: what bounds the image
/// while the tier is down and topics come and go.
pub const TOMBSTONE_HEADS_MAX: usize = 1_000_000;

/// Topics of a cluster. Ten times what is measured; the image is held in memory by every broker.
pub const TOPICS_MAX: usize = 100_000;
/// Partitions of one topic. One command carries the assignment of all of them.
pub const TOPIC_PARTITIONS_MAX: u32 = 10_000;
/// Replicas on one broker: ten times the number that is measured (10,000), at most 8 KiB each.
pub const BROKER_PARTITIONS_MAX: usize = 100_000;
/// Brokers that ever registered. Ids are never reused and what is retired stays in the image.
pub const BROKERS_MAX: usize = 10_000;
/// Replicas of one partition. Kafka clusters use 3, some 5; the room is for moves.
pub const REPLICATION_FACTOR_MAX: u32 = 15;
/// Replicas of a partition where nobody says how many and there are as many brokers.
pub const REPLICATION_FACTOR_DEFAULT: u32 = 3;
/// Deleted topics whose data is not known to be gone. Each needs a broker to confirm it, so that
/// a broker that never comes back cannot grow the image without end.
pub const TOMBSTONES_MAX: usize = 100_000;
/// Numbers that rise by one with each change of the image: where the API's numbers end. None comes
/// near this; persisted ones above it are not ours.
pub const NUMBER_MAX: u32 = i32::MAX as u32;
/// Producer names of a cluster. They are kept for ever, about 300 bytes each.
pub const NAMED_PRODUCERS_MAX: usize = 100_000;
/// Producer ids handed to a broker at once: large enough that one command in a thousand
/// InitProducer calls reaches the metadata, small enough that ids lost with a process are few.
pub const PRODUCER_ID_BLOCK: u32 = 1_000;
/// Producer ids that one command may allocate.
pub const PRODUCER_ID_BLOCK_MAX: u32 = 1_000_000;
/// Incarnations that a data directory keeps unconfirmed. One is added at each start and once a
/// minute; a broker that cannot reach its metadata stops drawing new ones there.
pub const INCARNATIONS_MAX: usize = 1_024;

/// Bytes of one encoded command: ten times a topic of [`TOPIC_PARTITIONS_MAX`] partitions with
/// three replicas each, and what bounds the memory that a damaged length can ask for.
pub const COMMAND_BYTES_MAX: usize = 4 << 20;
/// Bytes of an encoded image: ten times 100,000 topics of about 300 bytes, and what bounds the
/// memory that a damaged length can ask for.
pub const IMAGE_BYTES_MAX: usize = 512 << 20;
/// The metadata log is rewritten once its commands take more than this and more than its image.
/// Replaying 8 MiB of commands takes about 0.1 s.
pub const METADATA_LOG_BYTES_COMPACT: u64 = 8 << 20;
/// Bytes of a metadata log: an image, commands up to as much again, and room for a failed
/// compaction. What is longer is not ours and is not read into memory.
pub const METADATA_LOG_BYTES_MAX: u64 = 4 * IMAGE_BYTES_MAX as u64;
/// Bytes of the identity file: the frame and [`INCARNATIONS_MAX`] ids fit ten times.
pub const IDENTITY_BYTES_MAX: usize = 256 << 10;
/// Bytes of a host's boot id. Linux has a UUID in text, 36.
pub const BOOT_ID_BYTES_MAX: usize = 256;
/// Bytes of the reason in a `poisoned` marker.
pub const POISON_REASON_BYTES_MAX: usize = 1_024;
/// How many names an error suggests.
pub const NEAREST_NAMES_MAX: usize = 3;

/// Longest time in a topic's settings: 100 years in milliseconds. Keeps sums of times far from
/// overflow; whoever wants longer wants -1.
pub const CONFIG_MS_MAX: u64 = 100 * 365 * 24 * 60 * 60 * 1_000;
/// Allowed `segment_bytes`. Below 64 KiB a partition is mostly files; above 2 GiB positions would
/// outgrow the 32 bits of an index entry.
pub const SEGMENT_BYTES: RangeInclusive<u64> = (64 << 10)..=2_147_483_647;
/// Allowed `segment_ms`: a minute to [`CONFIG_MS_MAX`]. More often would fill a directory with
/// small files.
pub const SEGMENT_MS: RangeInclusive<u64> = 60_000..=CONFIG_MS_MAX;
/// Allowed `message_bytes_max`: 1 KiB to 16 MiB. A batch is held in memory whole, several times
/// on its way, and fits a gRPC message with room to spare.
pub const MESSAGE_BYTES: RangeInclusive<u32> = (1 << 10)..=(16 << 20);
/// Names that are compared to find those: an unknown name must stay cheap to refuse.
pub const NEAREST_NAMES_COMPARED_MAX: usize = 1_000;
