//! What every reconciliation may use.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use futures::FutureExt as _;
use headwater_crds::{Cluster, Topic};
use kube::runtime::events::{Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};

use crate::brokers::Brokers;
use crate::directory::Directory;
use crate::metrics::Metrics;

/// What the operator was started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator's own namespace.
    pub namespace: String,
    /// Where Clusters are operated.
    pub cluster_namespaces: Vec<String>,
    /// Image of brokers whose Cluster names none.
    pub default_image: String,
}

/// What is known of a Cluster resource.
#[derive(Clone, Debug)]
pub(crate) enum Declared {
    /// Clusters of its namespace are not this operator's.
    NotOperated,
    /// The Clusters of its namespace could not be listed yet: nothing can be said.
    NotListed,
    /// There is none.
    Absent,
    /// There is one.
    Is(Arc<Cluster>),
}

/// What every reconciliation may use.
pub struct Context {
    /// The API server.
    pub client: kube::Client,
    /// What the operator was started with.
    pub settings: Settings,
    /// The brokers.
    pub brokers: Arc<dyn Brokers>,
    /// Where each cluster's brokers are.
    pub directory: Directory,
    /// Takes events.
    pub recorder: Recorder,
    /// Every number of this operator.
    pub metrics: Metrics,
    /// All Clusters, by namespace. Set when the loop of Topics starts.
    pub clusters: OnceLock<HashMap<String, Store<Cluster>>>,
    /// All Topics. Set when the loop of Topics starts.
    pub topics: OnceLock<Store<Topic>>,
}

impl Context {
    /// A context without stores.
    pub fn new(
        client: kube::Client,
        settings: Settings,
        brokers: Arc<dyn Brokers>,
        metrics: Metrics,
    ) -> Arc<Context> {
        let reporter = Reporter {
            controller: "headwater-operator".to_owned(),
            instance: Some(crate::lease::own_identity()),
        };
        Arc::new(Context {
            recorder: Recorder::new(client.clone(), reporter),
            client,
            settings,
            brokers,
            directory: Directory::default(),
            metrics,
            clusters: OnceLock::new(),
            topics: OnceLock::new(),
        })
    }

    /// The Cluster of that name, as last seen.
    pub(crate) fn cluster(&self, namespace: &str, name: &str) -> Declared {
        if !self
            .settings
            .cluster_namespaces
            .iter()
            .any(|operated| operated == namespace)
        {
            return Declared::NotOperated;
        }
        let store = self.clusters.get().and_then(|stores| stores.get(namespace));
        // A store is ready once everything was listed.
        match store.filter(|store| store.wait_until_ready().now_or_never().is_some()) {
            None => Declared::NotListed,
            Some(store) => match store.get(&ObjectRef::new(name).within(namespace)) {
                Some(cluster) => Declared::Is(cluster),
                None => Declared::Absent,
            },
        }
    }

    /// Every Topic, as last seen.
    pub fn all_topics(&self) -> Vec<Arc<Topic>> {
        self.topics.get().map(Store::state).unwrap_or_default()
    }
}
