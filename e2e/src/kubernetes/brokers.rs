//! The broker behind a Cluster: its pod and its Secret.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt as _;

use super::{Kubernetes, NAMESPACE, Object};

/// The UID of a resource.
pub fn uid<K: Object>(object: &K) -> String {
    object
        .uid()
        .expect("the API server gives every resource one")
}

impl Kubernetes {
    /// The broker's pod, which is there.
    pub async fn broker(&self, cluster: &str) -> Pod {
        self.get(NAMESPACE, &format!("{cluster}-0")).await
    }

    /// Waits until another pod than that of `uid` is the broker, and is ready.
    pub async fn replaced(&self, cluster: &str, uid: &str) -> Pod {
        let other = |pod: &Pod| pod.uid().as_deref() != Some(uid) && is_ready(pod);
        let what = format!("is another pod than {uid} and ready");
        self.await_condition(NAMESPACE, &format!("{cluster}-0"), &what, other)
            .await
    }

    /// What the cluster's Secret says, as text by key.
    pub async fn secret(&self, cluster: &str) -> BTreeMap<String, String> {
        let name = headwater_crds::internal_secret_name(cluster);
        let secret: Secret = self.get(NAMESPACE, &name).await;
        let data = secret.data.into_iter().flatten();
        data.map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned()))
            .collect()
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| &status.conditions);
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
