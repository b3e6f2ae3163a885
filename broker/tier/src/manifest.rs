//! A manifest: everything of a partition that counts in the tier. See `docs/format/tier.md`.

mod codec;
#[cfg(test)]
mod tests;

pub use codec::decode_page;
pub(crate) use codec::{encode_page, offset, read_epochs, uuid, wire_epochs};
use headwater_log::planted::{self, Bug};
use headwater_log::{Epochs, PartitionKey};
use headwater_record::{LeaderEpoch, Offset};
use uuid::Uuid;

use crate::keys;
use crate::object::TRAILER_BYTES;

/// Which manifest counts for a partition. Kept in the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the manifest.
    pub number: u64,
    /// The leadership that made it the head.
    pub leader_epoch: LeaderEpoch,
    /// First offset in the tier.
    pub start: Offset,
    /// Offset behind the last in the tier.
    pub end: Offset,
}

/// One segment in the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Offset of the object's first record.
    pub base_offset: Offset,
    /// The leadership that uploaded it.
    pub leader_epoch: LeaderEpoch,
    /// Drawn for this very upload: no two objects share it.
    pub upload: Uuid,
    /// The cluster that wrote it.
    pub origin: Uuid,
    /// First offset that it counts for.
    pub start: Offset,
    /// Offset behind the last that it counts for.
    pub end: Offset,
    /// Bytes of batches.
    pub segment_bytes: u64,
    /// Bytes of the footer's frame.
    pub footer_bytes: u32,
    /// CRC-32C of all before the trailer.
    pub crc: u32,
    /// Largest timestamp of its records.
    pub max_timestamp_ms: i64,
    /// A time that none of its records was appended after.
    pub latest_append_ms: Option<i64>,
}

impl Entry {
    /// Length of the object.
    pub fn object_bytes(&self) -> u64 {
        self.segment_bytes + u64::from(self.footer_bytes) + TRAILER_BYTES
    }

    /// Bytes that surely are those of its own range. An object that begins lower, because its segment grew after it had
    /// been uploaded once, holds some that another entry counts for as well; it counts for none, so that retention never
    /// takes more than it may.
    pub fn counted_bytes(&self) -> u64 {
        match self.base_offset < self.start && !planted::is(Bug::RetainCountsOverlap) {
            true => 0,
            false => self.segment_bytes,
        }
    }

    /// Key of the object.
    pub fn object_key(&self, key: PartitionKey) -> String {
        keys::segment(
            self.origin,
            key,
            self.base_offset,
            self.leader_epoch,
            self.upload,
        )
    }
}

/// A sealed page of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRef {
    /// Number of the manifest that it was made for.
    pub number: u64,
    /// Drawn for this very page.
    pub upload: Uuid,
    /// The cluster that wrote it.
    pub origin: Uuid,
    /// First offset that it covers.
    pub start: Offset,
    /// Offset behind the last that it covers.
    pub end: Offset,
    /// How many entries it holds.
    pub entries: u32,
    /// Bytes of batches that they count for, see [`Entry::counted_bytes`].
    pub segment_bytes: u64,
    /// Length of the page's frame.
    pub frame_bytes: u64,
    /// CRC-32C of the page's frame.
    pub crc: u32,
    /// Largest timestamp of all records.
    pub max_timestamp_ms: i64,
    /// A time that none of the records was appended after.
    pub latest_append_ms: Option<i64>,
}

impl PageRef {
    /// Key of the page.
    pub fn object_key(&self, key: PartitionKey) -> String {
        keys::page(self.origin, key, self.number, self.upload)
    }
}

/// What a partition has in the tier, as of one number. Ranges are contiguous from `start` to `end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The cluster that wrote it.
    pub cluster: Uuid,
    /// The partition.
    pub key: PartitionKey,
    /// Its number.
    pub number: u64,
    /// The head that it was made from.
    pub parent: Option<u64>,
    /// The leadership that wrote it.
    pub leader_epoch: LeaderEpoch,
    /// First offset in the tier. The first page or entry may begin lower.
    pub start: Offset,
    /// Offset behind the last in the tier.
    pub end: Offset,
    /// Epochs of what is in the tier.
    pub epochs: Epochs,
    /// Sealed pages, oldest first.
    pub pages: Vec<PageRef>,
    /// The tail, oldest first.
    pub entries: Vec<Entry>,
}

/// Where an offset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// In a page.
    Page(&'a PageRef),
    /// In the tail.
    Entry(&'a Entry),
}

impl Manifest {
    /// The first manifest of a partition, still empty.
    pub fn first(cluster: Uuid, key: PartitionKey, epoch: LeaderEpoch, start: Offset) -> Manifest {
        Manifest {
            cluster,
            key,
            number: 0,
            parent: None,
            leader_epoch: epoch,
            start,
            end: start,
            epochs: Epochs::default(),
            pages: Vec::new(),
            entries: Vec::new(),
        }
    }

    /// A manifest that goes on from this one, by `cluster` under `epoch`; its number is still its parent's.
    pub fn child(&self, cluster: Uuid, epoch: LeaderEpoch) -> Manifest {
        Manifest {
            cluster,
            parent: Some(self.number),
            leader_epoch: epoch,
            ..self.clone()
        }
    }

    /// The head that this is, once it is one.
    pub fn head(&self) -> Head {
        Head {
            number: self.number,
            leader_epoch: self.leader_epoch,
            start: self.start,
            end: self.end,
        }
    }

    /// Adds an entry that begins at the end. One that begins later may only follow where all before is gone
    /// ([`Manifest::advance`]).
    pub fn push(&mut self, entry: Entry, epochs: &Epochs) {
        if self.start == self.end && self.pages.is_empty() && self.entries.is_empty() {
            self.start = self.start.max(entry.start);
            self.end = self.start;
        }
        assert_eq!(entry.start, self.end, "entries are contiguous");
        self.epochs.extend(epochs, entry.start);
        self.end = entry.end;
        self.entries.push(entry);
    }

    /// Moves the start, and forgets what lies wholly below it.
    pub fn advance(&mut self, start: Offset) {
        self.start = self.start.max(start);
        self.end = self.end.max(self.start);
        self.pages.retain(|page| page.end > self.start);
        self.entries.retain(|entry| entry.end > self.start);
        self.epochs.forget_below(self.start);
    }

    /// Where `offset` is; `None` outside of `start..end`.
    pub fn locate(&self, offset: Offset) -> Option<Place<'_>> {
        if offset < self.start || offset >= self.end {
            return None;
        }
        let page = self.pages.partition_point(|page| page.end <= offset);
        if let Some(page) = self.pages.get(page) {
            return Some(Place::Page(page));
        }
        locate(&self.entries, offset).map(Place::Entry)
    }

    /// What is not as it must be.
    pub fn check(&self) -> Result<(), String> {
        let pages = self.pages.iter().map(|page| (page.start, page.end));
        let entries = self.entries.iter().map(|entry| (entry.start, entry.end));
        let mut at = None;
        for (start, end) in pages.chain(entries) {
            if start >= end {
                return Err(format!("has the empty range {start}..{end}"));
            }
            if at.is_some_and(|at| at != start) {
                return Err(format!("is not contiguous at {start}"));
            }
            if at.is_none() && start > self.start {
                return Err(format!("begins at {start}, not at {}", self.start));
            }
            at = Some(end);
        }
        if at.unwrap_or(self.start) != self.end {
            return Err(format!("does not reach its end {}", self.end));
        }
        let mut uploads: Vec<Uuid> = self.entries.iter().map(|entry| entry.upload).collect();
        uploads.extend(self.pages.iter().map(|page| page.upload));
        let named = uploads.len();
        uploads.sort_unstable();
        uploads.dedup();
        if uploads.len() < named {
            return Err("names an object twice".to_owned());
        }
        Ok(())
    }
}

/// The entry that holds `offset`.
pub(crate) fn locate(entries: &[Entry], offset: Offset) -> Option<&Entry> {
    let at = entries.partition_point(|entry| entry.end <= offset);
    entries.get(at).filter(|entry| entry.start <= offset)
}
