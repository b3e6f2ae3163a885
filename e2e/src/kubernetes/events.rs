//! What the operator tells of a resource.

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;

use super::{Kubernetes, Object};

impl Kubernetes {
    /// The notes of all events of a reason about a resource of that name.
    pub async fn events<K: Object>(
        &self,
        namespace: &str,
        name: &str,
        reason: &str,
    ) -> Vec<String> {
        let kind = K::kind(&());
        let fields =
            format!("involvedObject.kind={kind},involvedObject.name={name},reason={reason}");
        let params = ListParams::default().fields(&fields);
        let events = self.api::<Event>(namespace).list(&params).await;
        let events = events.expect("events can be listed").items;
        events
            .into_iter()
            .map(|event| event.message.unwrap_or_default())
            .collect()
    }

    /// Waits for an event of a reason about a resource, and gives its note.
    pub async fn await_event<K: Object>(
        &self,
        namespace: &str,
        name: &str,
        reason: &str,
    ) -> String {
        let what = format!("event {reason} about {} {name}", K::kind(&()));
        let look = async || self.events::<K>(namespace, name, reason).await.pop();
        self.eventually(&what, look).await
    }
}
