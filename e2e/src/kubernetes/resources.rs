//! Clusters and Topics of tests.

use headwater_crds::Cluster;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Secret};
use kube::ResourceExt as _;

use super::{Kubernetes, NAMESPACE};

/// The Cluster that tests share which leave its pod alone.
pub const SHARED: &str = "shared";

/// A Cluster with that spec, which is written as `{storage: {size: 1Gi}}`.
pub fn cluster(name: &str, spec: &str) -> String {
    resource("Cluster", name, spec)
}

/// A Topic with that spec, which is written as `{clusterRef: {name: demo}}`.
pub fn topic(name: &str, spec: &str) -> String {
    resource("Topic", name, spec)
}

fn resource(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: headwater.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\n\
         spec: {spec}\n"
    )
}

impl Kubernetes {
    /// Makes sure that the shared Cluster is there, as small as a Cluster is.
    pub async fn shared(&self) -> Cluster {
        self.start_cluster(SHARED, "{storage: {size: 1Gi}}").await
    }

    /// Applies a Cluster and waits until it is ready.
    pub async fn start_cluster(&self, name: &str, spec: &str) -> Cluster {
        self.apply(NAMESPACE, &cluster(name, spec))
            .await
            .expect("a good Cluster is accepted");
        self.ready(NAMESPACE, name).await
    }

    /// Deletes a Cluster with all it had, and does not wait: no name is used twice.
    pub async fn discard_cluster(&self, name: &str) {
        let claim = format!("data-{name}-0");
        let secret = headwater_crds::internal_secret_name(name);
        self.delete::<Cluster>(NAMESPACE, name).await;
        self.delete::<PersistentVolumeClaim>(NAMESPACE, &claim)
            .await;
        self.delete::<Secret>(NAMESPACE, &secret).await;
    }

    /// The UUID of a Cluster that is ready.
    pub async fn cluster_id(&self, name: &str) -> String {
        let cluster: Cluster = self.ready(NAMESPACE, name).await;
        let status = cluster.status.as_ref();
        let id = status.and_then(|status| status.cluster_id.clone());
        id.unwrap_or_else(|| panic!("Cluster {} has no id", cluster.name_any()))
    }
}
