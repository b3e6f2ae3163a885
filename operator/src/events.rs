//! Events: one for each thing that a person would ask about.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Resource;
use kube::runtime::events::{Event, EventType};

use crate::context::Context;

/// Bytes of a note that the API server accepts.
const NOTE_BYTES_MAX: usize = 1024;

/// Tells of something that was done.
pub(crate) async fn normal<K: Resource<DynamicType = ()>>(
    context: &Context,
    about: &K,
    reason: &str,
    note: String,
) {
    publish(context, about, EventType::Normal, reason, note).await;
}

/// Tells of something that somebody should look at.
pub(crate) async fn warning<K: Resource<DynamicType = ()>>(
    context: &Context,
    about: &K,
    reason: &str,
    note: String,
) {
    publish(context, about, EventType::Warning, reason, note).await;
}

/// An event that is lost is a pity and no error: what counts stands in the status.
async fn publish<K: Resource<DynamicType = ()>>(
    context: &Context,
    about: &K,
    type_: EventType,
    reason: &str,
    mut note: String,
) {
    let mut end = note.len().min(NOTE_BYTES_MAX);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    note.truncate(end);
    let event = Event {
        type_,
        reason: reason.to_owned(),
        note: Some(note),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    // Of events with one reason about one version of a resource the API server keeps the first, and counts the others.
    let reference = ObjectReference {
        resource_version: about.meta().resource_version.clone(),
        ..about.object_ref(&())
    };
    if let Err(error) = context.recorder.publish(&event, &reference).await {
        tracing::warn!(%error, reason, "an event could not be published");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{context, deleted_cluster};

    #[tokio::test]
    async fn what_is_said_of_another_version_of_a_resource_is_another_event() {
        let (context, log) = context(Vec::new());
        let mut cluster = deleted_cluster();
        for (version, note) in [("7", "one"), ("7", "one"), ("8", "two")] {
            cluster.metadata.resource_version = Some(version.to_owned());
            normal(&context, &cluster, "Changed", note.to_owned()).await;
        }
        let told = log.events().into_iter().map(|[_, _, note]| note);
        assert_eq!(told.collect::<Vec<_>>(), ["one", "two"]);
    }
}
