//! How far this broker has come on its way from a disk to a member of a cluster. Startup tells it,
//! the internal listener shows it.

use headwater_core::ids::{BrokerId, ClusterId, StorageId};
use tokio::sync::{mpsc, watch};

/// The stations of a broker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Station {
    /// It belongs to no cluster and waits to be told.
    Unformed,
    /// It belongs to a cluster and opens its log.
    Opening,
    /// It serves clients.
    Serving,
    /// It is about to stop.
    Draining,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Where it is.
    pub(crate) station: Station,
    /// The cluster that its disk belongs to.
    pub(crate) cluster: Option<ClusterId>,
    /// Its id there, once it has registered.
    pub(crate) broker: Option<BrokerId>,
}

/// What the internal listener needs of a broker that is perhaps not formed yet.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// UUID of the data directory.
    pub(crate) storage: StorageId,
    /// Whether the directory held nothing but that UUID when it was opened.
    pub(crate) disk_empty: bool,
    /// Followed by those who wait for a station.
    pub(crate) standing: watch::Receiver<Standing>,
    /// Takes the cluster to form; the first one counts. Nobody listens once it is formed.
    pub(crate) form: mpsc::Sender<ClusterId>,
}
