//! The loop of Topics: dereference, validate, plan, apply, status.

mod delete;
mod dereference;
mod effect;
mod plan;
mod status;
#[cfg(test)]
mod tests;
mod validate;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use headwater_crds::{DeletionPolicy, Reason, TOPIC_FINALIZER, Topic, Verdict};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::plan::Step;
use self::validate::Refusal;
use crate::brokers::BrokerError;
use crate::context::{Context, Declared};
use crate::{RECONCILE_TIMEOUT, apply, events, follow, until};

/// Topics that are looked at together.
const CONCURRENCY: u16 = 16;
/// How soon to look again at what comes by itself, such as a broker that does not answer.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How soon to ask again for what the cluster has refused.
const REFUSED_RETRY_AFTER: Duration = Duration::from_secs(60);
/// How long to wait at the start for the Clusters of a namespace to be listed.
const CLUSTERS_WAIT: Duration = Duration::from_secs(10);

/// Why a reconciliation ended early.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The API server refused or did not answer.
    #[error("the API server: {0}")]
    Kubernetes(#[from] kube::Error),
    /// Something did not answer.
    #[error("not done within {} s", RECONCILE_TIMEOUT.as_secs())]
    Slow,
}

/// Runs until stopped.
pub(crate) async fn run(context: Arc<Context>, stopped: watch::Receiver<bool>) {
    let (changed, changes) = mpsc::unbounded_channel();
    let changes = futures::stream::unfold(changes, async |mut changes| {
        changes.recv().await.map(|topic| (topic, changes))
    });
    let all: Api<Topic> = Api::all(context.client.clone());
    let controller = Controller::new(all, watcher::Config::default())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .reconcile_on(changes)
        .graceful_shutdown_on(until(stopped));
    drop(context.topics.set(controller.store()));
    let mut following = JoinSet::new();
    let clusters = follow::clusters(&context, &changed, &mut following);
    following.spawn(follow::brokers(context.clone(), changed));
    // A Topic that is looked at before its Cluster is known would be told that there is none.
    let known = futures::future::join_all(clusters.values().map(|store| store.wait_until_ready()));
    if tokio::time::timeout(CLUSTERS_WAIT, known).await.is_err() {
        tracing::warn!(
            "the Clusters of some namespace cannot be listed; their Topics have to wait"
        );
    }
    drop(context.clusters.set(clusters.clone()));
    controller
        .run(reconcile, retry, context)
        .for_each(async |outcome| {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a Topic was not reconciled");
            }
        })
        .await;
}

fn retry(topic: Arc<Topic>, error: &Error, _: Arc<Context>) -> Action {
    tracing::warn!(topic = topic.full_name(), %error, "will try again");
    Action::requeue(RETRY_AFTER)
}

async fn reconcile(topic: Arc<Topic>, context: Arc<Context>) -> Result<Action, Error> {
    let started = std::time::Instant::now();
    let once = tokio::time::timeout(RECONCILE_TIMEOUT, reconcile_once(&topic, &context));
    let result = once.await.unwrap_or(Err(Error::Slow));
    if let Err(error) = &result {
        let namespace = topic.namespace().unwrap_or_default();
        let api = Api::namespaced(context.client.clone(), &namespace);
        let old = topic.status.clone().unwrap_or_default();
        let new = status::status(&old, &topic, &Verdict::error(error), None, &now());
        let told = apply::status(&api, &*topic, topic.status.as_ref(), &new);
        // If not even that can be said, the log has it.
        drop(tokio::time::timeout(RETRY_AFTER, told).await);
    }
    context
        .metrics
        .reconciled("Topic", result.is_ok(), started.elapsed());
    result
}

fn now() -> Time {
    Time(Timestamp::now())
}

async fn reconcile_once(topic: &Topic, context: &Context) -> Result<Action, Error> {
    let namespace = topic.namespace().unwrap_or_default();
    let api: Api<Topic> = Api::namespaced(context.client.clone(), &namespace);
    let found = dereference::dereference(context, topic);
    if found.is_early() {
        // What there is to say comes when the Clusters were listed and looked at.
        return Ok(Action::requeue(RETRY_AFTER));
    }
    let old = topic.status.clone().unwrap_or_default();
    let operated = !matches!(found.cluster, Declared::NotOperated);
    if !operated && status::is_of_another_operator(&old) {
        return Ok(Action::await_change());
    }
    if topic.metadata.deletion_timestamp.is_some() {
        return delete::delete(context, &api, topic, &found).await;
    }
    // Without a cluster there is nothing to delete, and nothing may wait for it.
    let deletes = topic.spec.deletion_policy == DeletionPolicy::Delete
        && matches!(found.cluster, Declared::Is(_));
    apply::finalizer(&api, topic, TOPIC_FINALIZER, deletes).await?;

    let (verdict, facts) = match validate::validate(topic, &found) {
        Err(Refusal(verdict)) => (verdict, None),
        Ok(valid) => match converge(context, topic, &valid).await {
            Ok(facts) => (status::verdict(&facts), Some(facts)),
            Err(error) => (failed(&error), None),
        },
    };
    let new = status::status(&old, topic, &verdict, facts.as_ref(), &now());
    apply::status(&api, topic, topic.status.as_ref(), &new).await?;
    if let Verdict::Stalled { reason, message } = &verdict
        && headwater_crds::ready_reason(&old.conditions) != Some(reason.as_str())
    {
        events::warning(context, topic, reason.as_str(), message.clone()).await;
    }
    Ok(match verdict {
        Verdict::Reconciling { .. } => Action::requeue(RETRY_AFTER),
        // A full disk or a limit that was met may have passed, an older resource may have gone, and
        // nothing tells.
        Verdict::Stalled {
            reason: Reason::Refused | Reason::Conflict,
            ..
        } => Action::requeue(REFUSED_RETRY_AFTER),
        // A change of the resource, of its Cluster or of the topic comes as an event.
        Verdict::Ready { .. } | Verdict::Stalled { .. } => Action::await_change(),
    })
}

/// Brings the topic to what the resource asks, and says what it is then.
async fn converge(
    context: &Context,
    topic: &Topic,
    valid: &validate::ValidTopic,
) -> Result<status::Facts, BrokerError> {
    let at = &valid.endpoint;
    let brokers = &context.brokers;
    let actual = brokers.topic(at, valid.name.clone()).await?;
    let had = topic
        .status
        .as_ref()
        .and_then(|status| status.topic_id.clone());
    let before = actual.as_ref().and_then(|topic| topic.effective_config);
    let actual = match plan::plan(valid, actual) {
        Step::Nothing(actual) => actual,
        Step::Create(wanted) => {
            let created = brokers.create_topic(at, wanted).await?;
            let note = format!(
                "topic {} with {} partitions",
                created.name, created.partitions
            );
            match had {
                None => events::normal(context, topic, "TopicCreated", note).await,
                Some(old) => {
                    let note =
                        format!("{note}; the one before, {old}, was deleted with its records");
                    events::warning(context, topic, "TopicMadeAgain", note).await;
                }
            }
            created
        }
        Step::Update {
            wanted,
            paths,
            summary,
        } => {
            if effect::is_possible(&paths) {
                let after = brokers.try_update_topic(at, wanted.clone(), paths.clone());
                let after = after.await?.effective_config.unwrap_or_default();
                let before = before.unwrap_or_default();
                if let Some(told) = effect::told(&before, &after, valid.has_tier) {
                    told.publish(context, topic).await;
                }
            }
            let updated = brokers.update_topic(at, wanted, paths).await?;
            let was_so = topic.status.as_ref().is_some_and(|status| {
                headwater_crds::is_ready(&status.conditions, topic.metadata.generation)
            });
            let reason = match had {
                None => "TopicAdopted",
                // The resource is as it was when the topic was as it says: somebody went past it.
                Some(_) if was_so => "DriftRepaired",
                Some(_) => "TopicChanged",
            };
            events::normal(context, topic, reason, summary).await;
            updated
        }
    };
    let partitions = brokers.partitions(at, valid.name.clone()).await?;
    Ok(status::Facts {
        topic: actual,
        partitions,
    })
}

/// What a broker's answer means for the resource.
fn failed(error: &BrokerError) -> Verdict {
    match error {
        BrokerError::Unreachable(_) | BrokerError::Stale(_) => Verdict::Reconciling {
            reason: Reason::ClusterNotReady,
            message: error.to_string(),
        },
        BrokerError::Refused { reason, message } => Verdict::Stalled {
            reason: match reason.as_str() {
                "PARTITIONS_SHRINK" => Reason::PartitionsCannotShrink,
                _ => Reason::Refused,
            },
            message: message.clone(),
        },
    }
}
