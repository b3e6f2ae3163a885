//! The memory limit and its division.
//!
//! [`MemoryLimit::detect`] finds the limit; [`MemorySplit::divide`] is a function of the limit and
//! of the settings that need memory, and of nothing else.

mod detect;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

use crate::limits::{KIB, MIB};

/// The process itself: code, runtime, metadata, allocator slack. The goal for an idle broker is
/// 40 MB resident, of which the code pages are shared and can be dropped.
pub const BASELINE_BYTES: u64 = 32 * MIB;

/// The goal for one idle partition, all state included.
pub const PARTITION_BYTES: u64 = 8 * KIB;

/// One idle connection: HTTP/2 state, its task, and socket buffers charged to the control group.
pub const CONNECTION_BYTES: u64 = 32 * KIB;

/// One upload: two parts on their way, and one that is being filled.
pub const UPLOAD_BYTES: u64 = 16 * MIB;

/// The least room for produced and for fetched bytes: below this a few clients with large batches
/// would wait for each other.
pub const IN_FLIGHT_BYTES_MIN: u64 = 16 * MIB;

/// Of what is left after all minima, the hundredth parts that produce and fetch get each.
const SHARE_PERCENT: u64 = 30;

/// A memory limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Bytes that this process may use.
    pub bytes: u64,
    /// Where the number came from.
    pub source: LimitSource,
}

/// Where a memory limit came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitSource {
    /// The setting `memory.limit_bytes`.
    Setting,
    /// A control group, by the file that holds the limit.
    Cgroup(PathBuf),
    /// There is no limit: half of the machine's memory, for the broker is rarely alone and the
    /// page cache serves its reads.
    HalfOfMachine,
}

impl fmt::Display for LimitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitSource::Setting => f.write_str("memory.limit_bytes"),
            LimitSource::Cgroup(path) => path.display().fmt(f),
            LimitSource::HalfOfMachine => f.write_str("half of this machine's memory"),
        }
    }
}

/// What the settings need memory for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// The most partitions on this broker.
    pub partitions_max: u64,
    /// The most client connections at once.
    pub connections_max: u64,
    /// The largest batch that new topics accept by default.
    pub message_bytes_max: u64,
    /// The most bytes that one fetch answers with.
    pub fetch_bytes_max: u64,
    /// What is kept of the tier; 0 without one.
    pub tier_cache_bytes: u64,
    /// Segments that are uploaded at once.
    pub tier_uploads: u64,
}

/// The memory limit, divided. The parts add up to `limit.bytes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemorySplit {
    /// What was divided.
    pub limit: MemoryLimit,
    /// The process itself.
    pub baseline_bytes: u64,
    /// State of partitions: the most partitions times [`PARTITION_BYTES`].
    pub partitions_bytes: u64,
    /// Idle connections: the most connections times [`CONNECTION_BYTES`].
    pub connections_bytes: u64,
    /// What is kept of the tier, and uploads under way: [`UPLOAD_BYTES`] each.
    pub tier_bytes: u64,
    /// Batches received and not yet answered, over all connections.
    pub produce_bytes: u64,
    /// Batches read and not yet taken by the client, over all connections.
    pub fetch_bytes: u64,
    /// Not given out: room for the page cache.
    pub unassigned_bytes: u64,
}

/// The memory limit is smaller than what the settings need.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the memory limit of {} MiB ({}) is too small: these settings need at least {} MiB ({} MiB for \
     the process, {} MiB for limits.partitions_max, {} MiB for limits.connections_max, {} MiB for \
     batches in flight, {} MiB for the tier). Raise the limit, or lower limits.partitions_max, \
     limits.connections_max, topics.message_bytes_max, limits.fetch_bytes_max, tier.cache_bytes or \
     tier.upload_concurrency",
    limit.bytes / MIB,
    limit.source,
    minimum_bytes.div_ceil(MIB),
    BASELINE_BYTES / MIB,
    partitions_bytes.div_ceil(MIB),
    connections_bytes.div_ceil(MIB),
    in_flight_bytes.div_ceil(MIB),
    tier_bytes.div_ceil(MIB)
)]
pub struct TooSmall {
    /// The limit.
    pub limit: MemoryLimit,
    /// The least limit that these settings work with.
    pub minimum_bytes: u64,
    /// What partitions need of it.
    pub partitions_bytes: u64,
    /// What connections need of it.
    pub connections_bytes: u64,
    /// What produce and fetch need of it together.
    pub in_flight_bytes: u64,
    /// What the tier needs of it.
    pub tier_bytes: u64,
}

impl MemorySplit {
    /// Divides a limit.
    ///
    /// Produce must hold four of the largest batches and fetch two of the largest answers, each at
    /// least [`IN_FLIGHT_BYTES_MIN`], so that one client cannot take all of it. What is left after
    /// these minima goes to produce, fetch and the page cache.
    ///
    /// # Errors
    /// When the parts do not fit.
    pub fn divide(limit: &MemoryLimit, needs: &Needs) -> Result<MemorySplit, TooSmall> {
        let partitions_bytes = needs.partitions_max * PARTITION_BYTES;
        let connections_bytes = needs.connections_max * CONNECTION_BYTES;
        let produce_bytes_min = IN_FLIGHT_BYTES_MIN.max(4 * needs.message_bytes_max);
        let fetch_bytes_min = IN_FLIGHT_BYTES_MIN.max(2 * needs.fetch_bytes_max);
        let in_flight_bytes = produce_bytes_min + fetch_bytes_min;
        let tier_bytes = needs.tier_cache_bytes + needs.tier_uploads * UPLOAD_BYTES;
        let minimum_bytes =
            BASELINE_BYTES + partitions_bytes + connections_bytes + in_flight_bytes + tier_bytes;
        let Some(left) = limit.bytes.checked_sub(minimum_bytes) else {
            return Err(TooSmall {
                limit: limit.clone(),
                minimum_bytes,
                partitions_bytes,
                connections_bytes,
                in_flight_bytes,
                tier_bytes,
            });
        };
        let share = left / 100 * SHARE_PERCENT;
        Ok(MemorySplit {
            limit: limit.clone(),
            baseline_bytes: BASELINE_BYTES,
            partitions_bytes,
            connections_bytes,
            tier_bytes,
            produce_bytes: produce_bytes_min + share,
            fetch_bytes: fetch_bytes_min + share,
            unassigned_bytes: left - 2 * share,
        })
    }

    /// The parts with what each is for, in the order of the fields.
    pub fn parts(&self) -> [(&'static str, u64); 7] {
        [
            ("the process itself", self.baseline_bytes),
            ("partitions", self.partitions_bytes),
            ("idle connections", self.connections_bytes),
            ("the tier", self.tier_bytes),
            ("produce in flight", self.produce_bytes),
            ("fetch in flight", self.fetch_bytes),
            ("page cache", self.unassigned_bytes),
        ]
    }
}
