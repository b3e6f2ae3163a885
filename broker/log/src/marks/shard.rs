//! One mark file while it is in use: which pair of slots is whose, and which slot of each pair may be overwritten.

use super::slot::{Mark, SLOT_BYTES};
use crate::{DiskFile, PartitionKey};
use headwater_record::Offset;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// The first slots of 64 pairs fill a page, their second slots the next one: losing a page loses no pair.
const PAGE_BYTES: u64 = 4096;
pub(super) const PAIRS_PER_PAGE: u64 = PAGE_BYTES / SLOT_BYTES as u64;

/// A file grows, and is measured, in pages of first slots with their page of second slots.
pub(super) const PAGE_PAIR_BYTES: u64 = 2 * PAGE_BYTES;

/// Where a slot of a pair stands. `side` is 0 or 1.
pub(super) fn slot_position(pair: u64, side: u8) -> u64 {
    let (page, place) = (pair / PAIRS_PER_PAGE, pair % PAIRS_PER_PAGE);
    page * PAGE_PAIR_BYTES + u64::from(side) * PAGE_BYTES + place * SLOT_BYTES as u64
}

/// A mark file. Invariant: of each pair in use, the slot named `durable_side` is on the medium and is not touched
/// until the other one is too.
pub(super) struct Shard {
    pub(super) file: Arc<dyn DiskFile>,
    entries: BTreeMap<PartitionKey, Entry>,
    /// Pairs whose slots are zero on the medium.
    free: Vec<u64>,
    /// Pairs there is room for.
    pairs: u64,
    /// Writes so far; numbers `Entry::unsynced` and `cleared`.
    writes: u64,
    /// Partitions with an unsynced mark; may name one twice or one that is gone.
    dirty: Vec<PartitionKey>,
    /// Pairs cleared by the write of that number; free once that is synced.
    cleared: Vec<(u64, u64)>,
}

struct Entry {
    pair: u64,
    synced_end: Offset,
    durable_side: Option<u8>,
    /// Number of the last write that no sync has covered yet.
    unsynced: Option<u64>,
}

impl Entry {
    fn writable_side(&self) -> u8 {
        self.durable_side.map_or(0, |side| 1 - side)
    }
}

impl Shard {
    /// A file with room for `pairs`, all of them taken by something unknown.
    pub(super) fn new(file: Arc<dyn DiskFile>, pairs: u64) -> Shard {
        Shard {
            file,
            entries: BTreeMap::new(),
            free: Vec::new(),
            pairs,
            writes: 0,
            dirty: Vec::new(),
            cleared: Vec::new(),
        }
    }

    /// Takes over a mark that stands durable in the file.
    pub(super) fn adopt(&mut self, mark: &Mark, pair: u64, side: u8) {
        let entry = Entry {
            pair,
            synced_end: mark.synced_end,
            durable_side: Some(side),
            unsynced: None,
        };
        let known = self.entries.insert(mark.key, entry);
        assert!(known.is_none(), "a partition has one pair of slots");
    }

    pub(super) fn adopt_free(&mut self, pair: u64) {
        self.free.push(pair);
    }

    pub(super) fn get(&self, key: PartitionKey) -> Option<Offset> {
        self.entries.get(&key).map(|entry| entry.synced_end)
    }

    pub(super) fn keys_of_topic(&self, topic: uuid::Uuid) -> Vec<PartitionKey> {
        self.entries
            .keys()
            .filter(|key| key.topic == topic)
            .copied()
            .collect()
    }

    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.cleared.is_empty()
    }

    /// Writes a mark over the slot of its pair that is not the durable one.
    pub(super) fn write(&mut self, mark: &Mark) -> io::Result<()> {
        let (pair, side) = match self.entries.get(&mark.key) {
            Some(entry) => (entry.pair, entry.writable_side()),
            None => (self.take_pair()?, 0),
        };
        if let Err(error) = self
            .file
            .write_at(&[&mark.encode()], slot_position(pair, side))
        {
            if !self.entries.contains_key(&mark.key) {
                // Whatever stands there now, the next partition to take the pair writes over it first.
                self.free.push(pair);
            }
            return Err(error);
        }
        self.writes += 1;
        let entry = self.entries.entry(mark.key).or_insert(Entry {
            pair,
            synced_end: mark.synced_end,
            durable_side: None,
            unsynced: None,
        });
        entry.synced_end = mark.synced_end;
        if entry.unsynced.replace(self.writes).is_none() {
            self.dirty.push(mark.key);
        }
        Ok(())
    }

    /// Clears the pair of a partition.
    pub(super) fn remove(&mut self, key: PartitionKey) -> io::Result<()> {
        let Some(entry) = self.entries.get(&key) else {
            return Ok(());
        };
        let pair = entry.pair;
        self.clear(pair)?;
        self.entries.remove(&key);
        Ok(())
    }

    /// Clears a pair, which is free from the next sync on.
    pub(super) fn clear(&mut self, pair: u64) -> io::Result<()> {
        for side in [0, 1] {
            self.file
                .write_at(&[&[0; SLOT_BYTES]], slot_position(pair, side))?;
        }
        self.writes += 1;
        self.cleared.push((pair, self.writes));
        Ok(())
    }

    /// Number of the last write: what a sync that begins now will cover.
    pub(super) fn writes(&self) -> u64 {
        self.writes
    }

    /// A sync that began after write number `writes` has succeeded.
    pub(super) fn synced(&mut self, writes: u64) {
        let entries = &mut self.entries;
        self.dirty.retain(|key| {
            let Some(entry) = entries.get_mut(key) else {
                return false;
            };
            match entry.unsynced {
                Some(number) if number > writes => true,
                Some(_) => {
                    entry.durable_side = Some(entry.writable_side());
                    entry.unsynced = None;
                    false
                }
                None => false,
            }
        });
        let free = &mut self.free;
        self.cleared.retain(|(pair, number)| {
            let covered = *number <= writes;
            if covered {
                free.push(*pair);
            }
            !covered
        });
    }

    /// Makes the file as long as its pairs need.
    pub(super) fn set_len(&self) -> io::Result<()> {
        let len = self.pairs / PAIRS_PER_PAGE * PAGE_PAIR_BYTES;
        // Space first, so that a full disk refuses a new partition and never the mark of one that is there.
        self.file.allocate(len)?;
        self.file.truncate(len)
    }

    fn take_pair(&mut self) -> io::Result<u64> {
        if let Some(pair) = self.free.pop() {
            return Ok(pair);
        }
        self.pairs += PAIRS_PER_PAGE;
        if let Err(error) = self.set_len() {
            self.pairs -= PAIRS_PER_PAGE;
            return Err(error);
        }
        // Lowest first, so that a file with few partitions touches few pages.
        self.free
            .extend((self.pairs - PAIRS_PER_PAGE..self.pairs).rev());
        Ok(self.free.pop().expect("a page of pairs was just added"))
    }
}
