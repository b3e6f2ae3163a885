//! How far this broker has come on its way from a disk to a member of a cluster. Startup tells it,
//! the internal listener shows it.

use headwater_core::ids::{BrokerId, ClusterId, StorageId};
use tokio::sync::{mpsc, watch};

/// The stations of a broker's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Station {
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
pub struct Standing {
    /// Where it is.
    pub station: Station,
    /// The cluster that its disk belongs to.
    pub cluster: Option<ClusterId>,
    /// Its id there, once it has registered.
    pub broker: Option<BrokerId>,
}

/// What the internal listener needs of a broker that is perhaps not formed yet.
#[derive(Clone, Debug)]
pub struct Member {
    /// UUID of the data directory.
    pub storage: StorageId,
    /// Whether the directory held nothing but that UUID when it was opened.
    pub disk_empty: bool,
    /// Followed by those who wait for a station.
    pub standing: watch::Receiver<Standing>,
    /// Takes the cluster to form; the first one counts. Nobody listens once it is formed.
    pub form: mpsc::Sender<ClusterId>,
}
