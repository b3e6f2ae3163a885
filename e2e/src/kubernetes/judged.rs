//! What the operator says of a resource.

use headwater_crds::{Cluster, READY, RECONCILING, Reason, STALLED, Topic, condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::{Kubernetes, Object};

/// A resource whose status has conditions.
pub trait Judged: Object {
    /// The conditions.
    fn conditions(&self) -> &[Condition];

    /// `Ready`, if it is about the present spec.
    fn verdict(&self) -> Option<&Condition> {
        let ready = condition(self.conditions(), READY)?;
        (ready.observed_generation == self.meta().generation).then_some(ready)
    }

    /// Whether all is as the present spec asks, and nothing says otherwise.
    fn is_ready(&self) -> bool {
        let is_false = |kind| {
            condition(self.conditions(), kind).is_some_and(|condition| condition.status == "False")
        };
        self.verdict().is_some_and(|ready| ready.status == "True")
            && is_false(RECONCILING)
            && is_false(STALLED)
    }
}

impl Judged for Cluster {
    fn conditions(&self) -> &[Condition] {
        let status = self.status.as_ref();
        status.map_or(&[], |status| &status.conditions)
    }
}

impl Judged for Topic {
    fn conditions(&self) -> &[Condition] {
        let status = self.status.as_ref();
        status.map_or(&[], |status| &status.conditions)
    }
}

impl Kubernetes {
    /// Waits until a resource is as its present spec asks.
    pub async fn ready<K: Judged>(&self, namespace: &str, name: &str) -> K {
        self.await_condition(namespace, name, "is Ready", K::is_ready)
            .await
    }

    /// Waits until a resource is not ready for a reason, and gives the message.
    pub async fn not_ready<K: Judged>(
        &self,
        namespace: &str,
        name: &str,
        reason: Reason,
    ) -> String {
        let stands = |object: &K| {
            let verdict = object.verdict();
            verdict.is_some_and(|ready| ready.status == "False" && ready.reason == reason.as_str())
        };
        let what = format!("is not ready for {}", reason.as_str());
        let object = self.await_condition(namespace, name, &what, stands).await;
        let verdict = object.verdict().expect("it was looked at");
        verdict.message.clone()
    }
}
