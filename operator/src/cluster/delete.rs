//! The end of a Cluster. With policy `Retain` the resource has no finalizer, and Kubernetes removes
//! what it owns; claims and Secret stay. With `Delete` they go too, after the pod.

use headwater_crds::{CLUSTER_FINALIZER, Cluster, DeletionPolicy, Reason, Verdict};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams};
use kube::runtime::controller::Action;

use super::{Error, SOON, build, status};
use crate::apply::Whose;
use crate::context::Context;
use crate::{apply, events};

/// Lets the resource go, after its data if that is the policy.
pub(super) async fn delete(
    context: &Context,
    api: &Api<Cluster>,
    cluster: &Cluster,
) -> Result<Action, Error> {
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    context.directory.gone((namespace, name.clone()));
    // What cannot be taken back is decided on what is there now, not on what was seen last.
    let Some(cluster) = api
        .get_opt(&name)
        .await?
        .filter(|now| now.uid() == cluster.uid())
    else {
        return Ok(Action::await_change());
    };
    if !apply::has_finalizer(&cluster, CLUSTER_FINALIZER) {
        return Ok(Action::await_change());
    }
    if cluster.spec.deletion_policy == DeletionPolicy::Delete
        && let Some(pod) = remove(context, &cluster).await?
    {
        wait(api, &cluster, &pod).await?;
        return Ok(Action::requeue(SOON));
    }
    apply::finalizer(api, &cluster, CLUSTER_FINALIZER, false).await?;
    Ok(Action::await_change())
}

/// Removes what a Cluster leaves behind otherwise, and nothing that is not its own. A pod that still
/// runs is waited for: its name.
async fn remove(context: &Context, cluster: &Cluster) -> Result<Option<String>, Error> {
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    let client = &context.client;
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), &namespace);
    let set = sets.get_opt(&name).await?;
    let set = set.filter(|set| apply::whose(set, cluster) == Whose::Ours);
    if let Some(set) = &set {
        let this_one = DeleteParams::background().preconditions(apply::uid_of(set));
        apply::or_gone(sets.delete(&name, &this_one).await)?;
    }
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    if let Some(pod) = pods.get_opt(&build::pod_name(&name)).await?
        && build::is_of_cluster(&pod, &name)
    {
        // One that was left behind as an orphan is stopped by nobody else.
        if pod.owner_references().is_empty() && pod.metadata.deletion_timestamp.is_none() {
            let uid = pod.uid().unwrap_or_default();
            apply::or_gone(apply::evict(client, &namespace, &pod.name_any(), &uid).await)?;
        }
        return Ok(Some(pod.name_any()));
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &namespace);
    let claim = claims.get_opt(&build::claim_name(&name)).await?;
    if let Some(claim) = claim.filter(|claim| build::is_of_cluster(claim, &name)) {
        let this_one = DeleteParams::default().preconditions(apply::uid_of(&claim));
        apply::or_gone(claims.delete(&claim.name_any(), &this_one).await)?;
        let note = format!("claim {} and all records in it", claim.name_any());
        events::normal(context, cluster, "ClaimDeleted", note).await;
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let secret = secrets.get_opt(&status::secret_name(cluster)).await?;
    if let Some(secret) = secret.filter(|secret| build::is_of_cluster(secret, &name)) {
        let this_one = DeleteParams::default().preconditions(apply::uid_of(&secret));
        apply::or_gone(secrets.delete(&secret.name_any(), &this_one).await)?;
    }
    Ok(None)
}

async fn wait(api: &Api<Cluster>, cluster: &Cluster, pod: &str) -> Result<(), Error> {
    let verdict = Verdict::Reconciling {
        reason: Reason::Deleting,
        message: format!("waits for pod {pod} to stop; its claim is deleted after it"),
    };
    let new = status::with_verdict(cluster, &verdict);
    apply::status(api, cluster, cluster.status.as_ref(), &new).await?;
    Ok(())
}
