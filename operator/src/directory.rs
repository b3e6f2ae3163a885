//! Where each cluster's brokers are: told by the Cluster loop, asked by the Topic loop.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use tokio::sync::broadcast;

use crate::brokers::BrokerEndpoint;

/// Namespace and name of a Cluster.
pub(crate) type ClusterKey = (String, String);

/// Changes that a slow listener may lag behind; one that lags looks at everything.
const CHANGES_MAX: usize = 256;

/// What is known of where a cluster's brokers are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// This operator has not looked yet; nothing can be said.
    NotLooked,
    /// They do not serve and have not served.
    Nowhere,
    /// A broker serves here, or did when it was last seen: one that restarts comes back.
    At(BrokerEndpoint),
}

/// Where each cluster's brokers are.
pub struct Directory {
    known: Mutex<HashMap<ClusterKey, Whereabouts>>,
    changes: broadcast::Sender<ClusterKey>,
}

impl Default for Directory {
    fn default() -> Directory {
        Directory {
            known: Mutex::default(),
            changes: broadcast::channel(CHANGES_MAX).0,
        }
    }
}

impl Directory {
    /// Says what a look at a cluster has found. That a broker does not serve just now does not
    /// make its place unknown.
    pub(crate) fn looked(&self, cluster: ClusterKey, serving: Option<BrokerEndpoint>) {
        let known = self.lock();
        let new = match (serving, known.get(&cluster)) {
            (Some(endpoint), _) => Whereabouts::At(endpoint),
            (None, None | Some(Whereabouts::NotLooked)) => Whereabouts::Nowhere,
            (None, Some(_)) => return,
        };
        self.put(known, cluster, new);
    }

    /// Says that a cluster is being deleted.
    pub(crate) fn gone(&self, cluster: ClusterKey) {
        self.put(self.lock(), cluster, Whereabouts::Nowhere);
    }

    fn put(
        &self,
        mut known: MutexGuard<'_, HashMap<ClusterKey, Whereabouts>>,
        cluster: ClusterKey,
        new: Whereabouts,
    ) {
        let old = known.insert(cluster.clone(), new.clone());
        drop(known);
        if old != Some(new) {
            // Nobody listening is nobody to tell.
            drop(self.changes.send(cluster));
        }
    }

    /// Where a cluster's brokers are.
    pub(crate) fn get(&self, cluster: &ClusterKey) -> Whereabouts {
        self.lock()
            .get(cluster)
            .cloned()
            .unwrap_or(Whereabouts::NotLooked)
    }

    /// Every cluster that was looked at.
    pub(crate) fn clusters(&self) -> Vec<ClusterKey> {
        self.lock().keys().cloned().collect()
    }

    /// Tells of clusters whose entry has changed.
    pub(crate) fn changes(&self) -> broadcast::Receiver<ClusterKey> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClusterKey, Whereabouts>> {
        self.known.lock().unwrap_or_else(|dead| dead.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> BrokerEndpoint {
        BrokerEndpoint {
            address: address.to_owned(),
            secret: "s".to_owned(),
        }
    }

    #[test]
    fn a_broker_that_restarts_keeps_its_place_and_a_deleted_cluster_has_none() {
        let directory = Directory::default();
        let key = ("a".to_owned(), "demo".to_owned());
        let mut changes = directory.changes();
        assert_eq!(directory.get(&key), Whereabouts::NotLooked);
        directory.looked(key.clone(), None);
        assert_eq!(directory.get(&key), Whereabouts::Nowhere);
        directory.looked(key.clone(), Some(at("1")));
        directory.looked(key.clone(), None);
        assert_eq!(directory.get(&key), Whereabouts::At(at("1")));
        directory.gone(key.clone());
        assert_eq!(directory.get(&key), Whereabouts::Nowhere);
        // Three changes, and nothing for what said nothing new.
        let told = std::iter::from_fn(|| changes.try_recv().ok()).count();
        assert_eq!(told, 3);
    }
}
