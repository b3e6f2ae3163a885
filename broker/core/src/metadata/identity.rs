//! Who a data directory is, and how its broker stopped last time.

use std::sync::Arc;

use headwater_log::Disk;

use super::error::MetadataError;
use crate::ids::{BrokerId, ClusterId, IncarnationId, StorageId};

/// Identity of a broker that has registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ids {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The data directory.
    pub storage_id: StorageId,
    /// The broker.
    pub broker_id: BrokerId,
}

/// What opening the data directory found. Reported again at every start until a registration was
/// confirmed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opened {
    /// The directory was empty.
    pub created: bool,
    /// The last stop was clean: all was synced and closed.
    pub clean: bool,
    /// The host has booted since the last confirmed registration: unsynced writes may be lost.
    pub other_boot: bool,
    /// An earlier run could not sync, and why.
    pub poisoned: Option<String>,
    /// The wall clock when the identity was last written, in milliseconds since the epoch.
    pub last_wall_ms: Option<i64>,
}

/// See the module.
pub struct Identity {
    disk: Arc<dyn Disk>,
    opened: Opened,
}

impl Identity {
    /// Reads the identity, or makes one with `fresh` where the directory is empty. `boot_id` is the
    /// host's of now.
    pub fn open(
        disk: Arc<dyn Disk>,
        fresh: StorageId,
        boot_id: &str,
    ) -> Result<Identity, MetadataError> {
        todo!()
    }

    /// What opening found.
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Whether the directory belongs to a cluster.
    pub fn is_formed(&self) -> bool {
        self.cluster().is_some()
    }

    /// The cluster that the directory belongs to.
    pub fn cluster(&self) -> Option<ClusterId> {
        todo!()
    }

    /// The directory itself.
    pub fn storage(&self) -> StorageId {
        todo!()
    }

    /// All ids, once the broker has registered for the first time.
    pub fn ids(&self) -> Option<Ids> {
        todo!()
    }

    /// Every incarnation since the last confirmed one, oldest first, that one included: what
    /// `RegisterBroker` carries.
    pub fn incarnations(&self) -> &[IncarnationId] {
        todo!()
    }

    /// Makes the directory the cluster's, durably, before `FormCluster` is proposed. The same
    /// cluster again changes nothing.
    pub fn form(&mut self, cluster: ClusterId) -> Result<(), MetadataError> {
        todo!()
    }

    /// Records a new incarnation, durably: before each registration, and once a minute before
    /// `ConfirmIncarnation`. Takes the clean-stop marker away, so that it comes before the first
    /// append.
    pub fn begin_incarnation(
        &mut self,
        incarnation: IncarnationId,
        wall_ms: i64,
    ) -> Result<(), MetadataError> {
        todo!()
    }

    /// The metadata has accepted that incarnation as this broker's: forgets those before it, and
    /// what opening found, the recorded boot id and the poison marker included.
    pub fn confirm(
        &mut self,
        incarnation: IncarnationId,
        broker: BrokerId,
    ) -> Result<(), MetadataError> {
        todo!()
    }

    /// The last act of a clean stop, after all logs were synced and closed.
    pub fn mark_clean(&mut self, wall_ms: i64) -> Result<(), MetadataError> {
        todo!()
    }

    /// Leaves the marker that a sync has failed. Best effort, from any thread.
    pub fn poison(disk: &dyn Disk, reason: &str) -> Result<(), MetadataError> {
        todo!()
    }
}
