//! Which partitions this broker has.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use headwater_log::PartitionKey;

use super::handle::PartitionHandle;
use super::shard::ShardMailbox;

/// All partitions of this broker by key, and the shards that own them.
pub struct Registry {
    shards: Vec<ShardMailbox>,
    partitions: RwLock<HashMap<PartitionKey, Arc<PartitionHandle>>>,
}

impl Registry {
    /// No partitions yet.
    pub fn new(shards: Vec<ShardMailbox>) -> Registry {
        Registry {
            shards,
            partitions: RwLock::default(),
        }
    }

    /// The partition's handle, if this broker has it.
    pub fn get(&self, key: PartitionKey) -> Option<Arc<PartitionHandle>> {
        self.partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned()
    }

    /// Adds handles at once; their shards still have to open them.
    pub fn insert(&self, handles: impl IntoIterator<Item = Arc<PartitionHandle>>) {
        let mut partitions = self
            .partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        partitions.extend(handles.into_iter().map(|handle| (handle.key, handle)));
    }

    /// Forgets a partition.
    pub fn remove(&self, key: PartitionKey) {
        self.partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
    }

    /// The mailbox of a shard.
    pub fn shard(&self, index: usize) -> &ShardMailbox {
        &self.shards[index]
    }

    /// All shards.
    pub fn shards(&self) -> &[ShardMailbox] {
        &self.shards
    }

    /// How many partitions there are.
    pub fn len(&self) -> usize {
        self.partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All handles.
    pub fn handles(&self) -> Vec<Arc<PartitionHandle>> {
        let partitions = self
            .partitions
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        partitions.values().cloned().collect()
    }
}
