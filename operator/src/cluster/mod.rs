//! The loop of Clusters: dereference, validate, build, apply, status.

mod build;
mod claims;
mod converge;
mod delete;
mod dereference;
mod identity;
mod observe;
mod restart;
mod status;
#[cfg(test)]
mod tests;
mod validate;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use headwater_crds::{CLUSTER_FINALIZER, Cluster, DeletionPolicy, Reason, Verdict};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt as _;
use kube::api::Api;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use tokio::sync::watch;

use self::dereference::Found;
use crate::context::Context;
use crate::{RECONCILE_TIMEOUT, apply, events, until};

/// Clusters that are looked at together.
const CONCURRENCY: u16 = 4;
/// How soon to look again at what comes by itself and is not seen in any object, such as a broker
/// that opens its log.
const SOON: Duration = Duration::from_secs(2);
/// How soon to try again after an error.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How soon to look again at what a person has to mend outside of the objects that are watched.
const LATER: Duration = Duration::from_secs(30);

/// Why a reconciliation ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server refused or did not answer.
    #[error("the API server: {0}")]
    Kubernetes(#[from] kube::Error),
    /// Something did not answer.
    #[error("not done within {} s", RECONCILE_TIMEOUT.as_secs())]
    Slow,
    /// Our own resource cannot be written as JSON.
    #[error("a resource cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// Runs in every namespace until stopped.
pub(crate) async fn run(context: Arc<Context>, stopped: watch::Receiver<bool>) {
    let namespaces = context.settings.cluster_namespaces.iter();
    let loops =
        namespaces.map(|namespace| in_namespace(context.clone(), namespace, stopped.clone()));
    futures::future::join_all(loops).await;
}

async fn in_namespace(context: Arc<Context>, namespace: &str, stopped: watch::Receiver<bool>) {
    let client = &context.client;
    let clusters: Api<Cluster> = Api::namespaced(client.clone(), namespace);
    let all = watcher::Config::default;
    let ours = || all().labels(build::MANAGED_SELECTOR);
    let children = Children { client, namespace };
    Controller::new(clusters, all())
        .with_config(Config::default().concurrency(CONCURRENCY))
        .owns(children.api::<StatefulSet>(), ours())
        .owns(children.api::<Service>(), ours())
        .owns(children.api::<ConfigMap>(), ours())
        .owns(children.api::<ServiceAccount>(), ours())
        .owns(children.api::<NetworkPolicy>(), ours())
        .owns(children.api::<PodDisruptionBudget>(), ours())
        .watches(children.api::<Pod>(), ours(), |pod| of_instance(&pod))
        .watches(children.api::<PersistentVolumeClaim>(), ours(), |claim| {
            of_instance(&claim)
        })
        .graceful_shutdown_on(until(stopped))
        .run(reconcile, retry, context.clone())
        .for_each(async |outcome| {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a Cluster was not reconciled");
            }
        })
        .await;
}

/// The children of one namespace.
struct Children<'a> {
    client: &'a kube::Client,
    namespace: &'a str,
}

impl Children<'_> {
    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), self.namespace)
    }
}

/// The Cluster that an object belongs to by its labels.
fn of_instance<K: kube::ResourceExt>(object: &K) -> Option<ObjectRef<Cluster>> {
    let name = object.labels().get(build::INSTANCE_LABEL)?;
    Some(ObjectRef::new(name).within(&object.namespace()?))
}

fn retry(cluster: Arc<Cluster>, error: &Error, _: Arc<Context>) -> Action {
    tracing::warn!(cluster = cluster.name_any(), %error, "will try again");
    Action::requeue(RETRY_AFTER)
}

async fn reconcile(cluster: Arc<Cluster>, context: Arc<Context>) -> Result<Action, Error> {
    let started = Instant::now();
    let once = tokio::time::timeout(RECONCILE_TIMEOUT, reconcile_once(&cluster, &context));
    let result = once.await.unwrap_or(Err(Error::Slow));
    if let Err(error) = &result {
        let namespace = cluster.namespace().unwrap_or_default();
        let api = Api::namespaced(context.client.clone(), &namespace);
        let new = status::with_verdict(&cluster, &Verdict::error(error));
        let told = apply::status(&api, &*cluster, cluster.status.as_ref(), &new);
        // If not even that can be said, the log has it.
        drop(tokio::time::timeout(RETRY_AFTER, told).await);
    }
    context
        .metrics
        .reconciled("Cluster", result.is_ok(), started.elapsed());
    result
}

async fn reconcile_once(cluster: &Cluster, context: &Context) -> Result<Action, Error> {
    let namespace = cluster.namespace().unwrap_or_default();
    let api: Api<Cluster> = Api::namespaced(context.client.clone(), &namespace);
    if cluster.metadata.deletion_timestamp.is_some() {
        return delete::delete(context, &api, cluster).await;
    }
    let deletes = cluster.spec.deletion_policy == DeletionPolicy::Delete;
    if !cluster.spec.paused {
        apply::finalizer(&api, cluster, CLUSTER_FINALIZER, deletes).await?;
    }

    let found = dereference::dereference(context, cluster).await?;
    let key = (namespace, cluster.name_any());
    match found.is_another_cluster() {
        true => context.directory.gone(key),
        false => context.directory.looked(key, found.endpoint_if_serving()),
    }
    let outcome = match validate::validate(cluster, &found, &context.settings) {
        Err(refusal) => converge::Outcome::refused(refusal),
        Ok(_) if cluster.spec.paused => converge::Outcome::refused(validate::paused()),
        Ok(valid) => converge::converge(context, cluster, &valid, &found).await?,
    };
    let old = cluster.status.clone().unwrap_or_default();
    let new = status::status(&old, cluster, &outcome, &found);
    apply::status(&api, cluster, cluster.status.as_ref(), &new).await?;
    let verdict = &outcome.verdict;
    if let Verdict::Stalled { reason, message } = verdict
        && headwater_crds::ready_reason(&old.conditions) != Some(reason.as_str())
    {
        events::warning(context, cluster, reason.as_str(), message.clone()).await;
    }
    Ok(look_again(verdict, &found))
}

/// When to look again. What pods, claims and other children say comes as an event; what a broker
/// says does not.
fn look_again(verdict: &Verdict, found: &Found) -> Action {
    let serving = found.endpoint_if_serving().is_some();
    match verdict {
        Verdict::Ready { .. } => Action::await_change(),
        Verdict::Stalled {
            reason: Reason::Paused | Reason::InvalidSpec,
            ..
        } if serving => Action::await_change(),
        Verdict::Reconciling {
            reason: Reason::Unschedulable | Reason::ImagePullFailed | Reason::BrokerFailing,
            ..
        }
        | Verdict::Stalled { .. } => Action::requeue(LATER),
        // Nothing tells of a Secret: they are not watched.
        Verdict::Reconciling {
            reason: Reason::TierCredentialsMissing,
            ..
        } => Action::requeue(RETRY_AFTER),
        Verdict::Reconciling { .. } => Action::requeue(SOON),
    }
}
