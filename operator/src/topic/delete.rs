//! The end of a Topic. With policy `Delete` the topic goes before the resource may: never another
//! topic than the one that this resource had, and the resource never waits for ever.

use std::time::Duration;

use headwater_crds::{DeletionPolicy, Reason, TOPIC_FINALIZER, Topic, Verdict};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::Action;

use super::dereference::{self, Found};
use super::{Error, RETRY_AFTER, now, status};
use crate::brokers::BrokerError;
use crate::context::Context;
use crate::directory::Whereabouts;
use crate::{apply, events};

/// How long a Topic in a namespace that is going waits for brokers that do not answer.
const TERMINATING_WAIT: Duration = Duration::from_secs(30);

/// Lets the resource go, after its topic if that is the policy.
pub(super) async fn delete(
    context: &Context,
    api: &Api<Topic>,
    topic: &Topic,
    found: &Found,
) -> Result<Action, Error> {
    if !apply::has_finalizer(topic, TOPIC_FINALIZER) {
        return Ok(Action::await_change());
    }
    // What cannot be taken back is decided on what is there now, not on what was seen last.
    let current = api.get_opt(&topic.name_any()).await?;
    let Some(topic) = current.filter(|current| current.uid() == topic.uid()) else {
        return Ok(Action::await_change());
    };
    let deletes = topic.spec.deletion_policy == DeletionPolicy::Delete;
    if deletes && apply::has_finalizer(&topic, TOPIC_FINALIZER) && found.may_delete() {
        match remove(context, &topic, found).await {
            Ok((reason, note)) => events::normal(context, &topic, reason, note).await,
            Err(error) if waits(context, &topic).await => {
                let message = format!(
                    "waits for the cluster to delete the topic: {error}; `headwater k8s unstick` \
                     lets the resource go and leaves the records"
                );
                let verdict = Verdict::Reconciling {
                    reason: Reason::Deleting,
                    message,
                };
                let old = topic.status.clone().unwrap_or_default();
                let new = status::status(&old, &topic, &verdict, None, &now());
                apply::status(api, &topic, topic.status.as_ref(), &new).await?;
                return Ok(Action::requeue(RETRY_AFTER));
            }
            Err(_) => {
                let note = format!(
                    "the namespace is going and the cluster did not answer; topic {} stays there",
                    topic.full_name()
                );
                events::warning(context, &topic, "TopicRetained", note).await;
            }
        }
    }
    apply::finalizer(api, &topic, TOPIC_FINALIZER, false).await?;
    Ok(Action::await_change())
}

/// Deletes the topic that this resource had. What there is to tell: reason and note.
async fn remove(
    context: &Context,
    topic: &Topic,
    found: &Found,
) -> Result<(&'static str, String), BrokerError> {
    let name = topic.full_name();
    let Whereabouts::At(at) = &found.brokers else {
        return Err(BrokerError::Unreachable(
            "its address is not known".to_owned(),
        ));
    };
    let status = topic.status.as_ref();
    let Some(id) = status.and_then(|status| status.topic_id.clone()) else {
        let note = format!("this resource never had a topic; {name}, if there is one, stays");
        return Ok(("TopicRetained", note));
    };
    Ok(
        match context
            .brokers
            .delete_topic(at, name.clone(), id.clone())
            .await?
        {
            true => (
                "TopicDeleted",
                format!("topic {name}, id {id}, and its records"),
            ),
            false => {
                let note = format!("there is no topic {name} with id {id} any more");
                ("TopicRetained", note)
            }
        },
    )
}

/// Whether to wait for brokers that do not answer. A namespace that is going is held up for a while
/// only.
async fn waits(context: &Context, topic: &Topic) -> bool {
    let since = topic.metadata.deletion_timestamp.as_ref();
    let waited = since.map(|since| Timestamp::now().duration_since(since.0).as_secs());
    let enough = waited.is_some_and(|waited| waited > TERMINATING_WAIT.as_secs() as i64);
    !(enough && dereference::is_terminating(context, topic).await)
}
