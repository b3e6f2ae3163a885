//! How far the tier is read ahead of those who read it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use headwater_log::PartitionKey;
use headwater_tier::limits::CHUNK_BYTES;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::limits::TIER_READ_AHEADS_MAX;

/// How far ahead one partition is read at most.
const BYTES_MAX: u64 = 4 << 20;

/// A partition that nobody has read for so long is not being read.
const RECENT: Duration = Duration::from_secs(2);

/// Who reads, and how much of the cache may hold what they ask for next. More would throw out what was read ahead for
/// others before they come to it, and every chunk would be read several times.
pub struct ReadAhead {
    /// Half the cache: the other half is for what is being read.
    bytes: u64,
    at_once: Semaphore,
    recent: Mutex<HashMap<PartitionKey, Instant>>,
}

impl ReadAhead {
    /// For a cache of so many bytes.
    pub(super) fn new(cache_bytes: u64) -> ReadAhead {
        ReadAhead {
            bytes: cache_bytes / 2,
            at_once: Semaphore::new(TIER_READ_AHEADS_MAX),
            recent: Mutex::default(),
        }
    }

    /// Notes that a partition is read; whether to read ahead of its reader now, and how many bytes. Not if many are
    /// read ahead already: the readers themselves come first.
    pub fn permit(&self, key: PartitionKey, now: Instant) -> Option<(SemaphorePermit<'_>, u64)> {
        let bytes = self.share(key, now);
        let permit = self.at_once.try_acquire().ok()?;
        (bytes >= CHUNK_BYTES).then_some((permit, bytes))
    }

    fn share(&self, key: PartitionKey, now: Instant) -> u64 {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|_, read| now.duration_since(*read) < RECENT);
        recent.insert(key, now);
        (self.bytes / recent.len() as u64).min(BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn key(index: u32) -> PartitionKey {
        PartitionKey {
            topic: uuid::Uuid::nil(),
            index,
        }
    }

    #[test]
    fn readers_share_half_of_the_cache() {
        let ahead = ReadAhead::new(12 * MIB);
        let now = Instant::now();
        let shares: Vec<u64> = (0..4).map(|index| ahead.share(key(index), now)).collect();
        assert_eq!(shares, [4 * MIB, 3 * MIB, 2 * MIB, 3 * MIB / 2]);
    }

    #[test]
    fn who_has_stopped_reading_has_no_share() {
        let ahead = ReadAhead::new(6 * MIB);
        let now = Instant::now();
        ahead.share(key(0), now);
        assert_eq!(ahead.share(key(1), now), 3 * MIB / 2);
        assert_eq!(ahead.share(key(1), now + RECENT), 3 * MIB);
    }

    #[test]
    fn nothing_is_read_ahead_that_would_not_stay() {
        let ahead = ReadAhead::new(4 * MIB);
        let now = Instant::now();
        assert!(ahead.permit(key(0), now).is_some());
        assert!(ahead.permit(key(1), now).is_some());
        assert!(ahead.permit(key(2), now).is_none());
    }

    #[test]
    fn only_few_are_read_ahead_at_once() {
        let ahead = ReadAhead::new(1 << 30);
        let now = Instant::now();
        let permits: Vec<_> = (0..8)
            .filter_map(|index| ahead.permit(key(index), now))
            .collect();
        assert_eq!(permits.len(), TIER_READ_AHEADS_MAX);
    }
}
