//! What readers at the end of a partition have just read, for the others that wait there.
//!
//! One append wakes all readers at the end, and they ask for the same bytes: the first reads and verifies them, the
//! others get what it read.

use headwater_log::ReadSlice;
use headwater_record::Offset;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::limits::{KIB, TAIL_CACHE_BYTES};

/// Names a read: two with the same name give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TailRead {
    /// The number of the partition's handle.
    pub(super) handle: u64,
    /// Of the view: after a truncation other records may stand at the same offsets.
    pub(super) generation: u64,
    pub(super) from: Offset,
    pub(super) limit: Offset,
}

/// The last reads at the ends of all partitions, within [`TAIL_CACHE_BYTES`].
pub struct TailCache(Cache<TailRead, ReadSlice, Weight>);

#[derive(Clone)]
struct Weight;

impl Weighter<TailRead, ReadSlice> for Weight {
    fn weight(&self, _: &TailRead, slice: &ReadSlice) -> u64 {
        slice.bytes.len() as u64 + KIB / 8
    }
}

impl Default for TailCache {
    fn default() -> TailCache {
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity((TAIL_CACHE_BYTES / (8 * KIB)) as usize)
            .weight_capacity(TAIL_CACHE_BYTES)
            .build()
            .expect("both capacities are given");
        TailCache(Cache::with_options(
            options,
            Weight,
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        ))
    }
}

impl TailCache {
    /// What was read under this name, or what `read` gives now; at most `bytes_max`, unless `read` gives more.
    pub(super) fn get(
        &self,
        name: TailRead,
        bytes_max: usize,
        read: impl FnOnce() -> Option<ReadSlice>,
    ) -> Option<ReadSlice> {
        let held = self.0.get(&name);
        if let Some(held) = held.filter(|held| held.bytes.len() <= bytes_max) {
            return Some(held);
        }
        let slice = read()?;
        self.0.insert(name, slice.clone());
        Some(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn slice(bytes: usize) -> Option<ReadSlice> {
        Some(ReadSlice {
            bytes: Bytes::from(vec![1; bytes]),
            next_offset: Offset::new(1),
        })
    }

    fn name(from: u64) -> TailRead {
        TailRead {
            handle: 0,
            generation: 0,
            from: Offset::new(from),
            limit: Offset::new(1_000),
        }
    }

    fn held(cache: &TailCache, name: TailRead, bytes_max: usize) -> Option<usize> {
        let held = cache.get(name, bytes_max, || None);
        held.map(|slice| slice.bytes.len())
    }

    #[test]
    fn what_one_has_read_the_next_need_not() {
        let cache = TailCache::default();
        assert_eq!(held(&cache, name(0), 100), None);
        cache.get(name(0), 100, || slice(100)).unwrap();
        assert_eq!(held(&cache, name(0), 100), Some(100));
        assert_eq!(held(&cache, name(0), 99), None, "more than was asked for");
        let others = [
            TailRead {
                handle: 1,
                ..name(0)
            },
            TailRead {
                generation: 1,
                ..name(0)
            },
            TailRead {
                limit: Offset::new(1_001),
                ..name(0)
            },
            name(1),
        ];
        for other in others {
            assert_eq!(held(&cache, other, 100), None, "{other:?}");
        }
    }

    #[test]
    fn it_holds_no_more_than_its_bound() {
        let cache = TailCache::default();
        for from in 0..1_000 {
            cache.get(name(from), 1 << 20, || slice(256 << 10)).unwrap();
            assert!(cache.0.weight() <= TAIL_CACHE_BYTES);
        }
        assert!(cache.0.len() > 1, "and does hold some");
    }
}
