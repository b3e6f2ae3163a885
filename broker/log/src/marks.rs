//! Sync marks: the recorded synced end of each partition (`docs/format/marks.md`).

use crate::{Disk, LogError, PartitionKey};
use headwater_record::Offset;
use std::sync::Arc;

/// What the mark files say of a partition when its log is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkState {
    /// No mark was ever synced: nothing of the partition had been reported as synced.
    Absent,
    /// The newest readable mark.
    Valid {
        /// Everything below it was on the medium.
        synced_end: Offset,
    },
    /// The mark may have stood in a slot that no longer decodes: the whole recovered log counts as below the mark.
    Lost,
}

/// Sync marks: `marks/shard-<n>`, two checksummed slots per partition. Interior mutability, thread safe.
pub struct MarkStore {
    _p: (),
}

impl MarkStore {
    /// Reads every mark file there is (the number of shards may have changed).
    pub fn open(_disk: Arc<dyn Disk>, _shards: usize) -> Result<MarkStore, LogError> {
        todo!()
    }
    /// Shard of a partition: a stable hash.
    pub fn shard_of(&self, _key: PartitionKey) -> usize {
        todo!()
    }
    /// What the files say of the partition.
    pub fn get(&self, _key: PartitionKey) -> MarkState {
        todo!()
    }
    /// Writes (not syncs) new ends of a shard's partitions; rides the next `sync`.
    pub fn write(&self, _shard: usize, _ends: &[(PartitionKey, Offset)]) -> Result<(), LogError> {
        todo!()
    }
    /// Makes the marks written durable.
    pub fn sync(&self, _shard: usize) -> Result<(), LogError> {
        todo!()
    }
    /// Whether marks were written since the last sync of that shard.
    pub fn is_dirty(&self, _shard: usize) -> bool {
        todo!()
    }
    /// Writes one mark and syncs it at once: before a truncation, and after a recovery.
    pub fn lower(&self, _key: PartitionKey, _end: Offset) -> Result<(), LogError> {
        todo!()
    }
    /// Frees the slots of a partition whose directory is gone.
    pub fn remove(&self, _key: PartitionKey) -> Result<(), LogError> {
        todo!()
    }
}
