//! The operator, as one looks at it and does away with it.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;
use kube::core::params::DeleteParams;
use serde_json::json;

use super::{Kubernetes, NAMESPACE};

/// Selects the operator's pods.
const OPERATOR_LABELS: &str = "app.kubernetes.io/component=operator";
/// By which operators elect the one that acts.
const LEASE: &str = "headwater-operator";
/// How long somebody who does nothing holds the Lease.
const DEPOSED_SECONDS: u32 = 5;

impl Kubernetes {
    /// The operator's pods that are not on their way out.
    pub async fn operator_pods(&self) -> Vec<Pod> {
        let params = ListParams::default().labels(OPERATOR_LABELS);
        let pods = self.api::<Pod>(NAMESPACE).list(&params).await;
        let mut pods = pods.expect("pods can be listed").items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods
    }

    /// How often the operator's container was started again in its present pod.
    pub async fn operator_restarts(&self) -> i32 {
        let pods = self.operator_pods().await;
        let status = pods.first().and_then(|pod| pod.status.as_ref());
        let containers = status.and_then(|status| status.container_statuses.as_ref());
        let container = containers.and_then(|containers| containers.first());
        container.map_or(0, |container| container.restart_count)
    }

    /// Deletes the operator's pod with no time to stop; its Deployment makes another one.
    pub async fn kill_operator(&self) {
        for pod in self.operator_pods().await {
            let at_once = DeleteParams::default().grace_period(0);
            self.delete_with::<Pod>(NAMESPACE, &pod.name_any(), &at_once)
                .await;
        }
    }

    /// Takes the Lease away from the operator, which then ends by itself without finishing what it
    /// does. Its next process has to wait until the Lease is free.
    pub async fn depose_operator(&self) {
        let somebody = json!({"spec": {
            "holderIdentity": "somebody-who-does-nothing",
            "leaseDurationSeconds": DEPOSED_SECONDS,
        }});
        self.patch::<Lease>(NAMESPACE, LEASE, somebody).await;
    }
}
