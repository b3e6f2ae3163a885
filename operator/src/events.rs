//! Events: one for each thing that a person would ask about.

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
    if let Err(error) = context
        .recorder
        .publish(&event, &about.object_ref(&()))
        .await
    {
        tracing::warn!(%error, reason, "an event could not be published");
    }
}
