//! The end of a Cluster. With policy `Retain` the resource has no finalizer, and Kubernetes removes
//! what it owns; claims and Secret stay. With `Delete` they go too, after the pod.

use headwater_crds::{CLUSTER_FINALIZER, Cluster, DeletionPolicy, Reason, Verdict, set_conditions};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, Preconditions};
use kube::runtime::controller::Action;

use super::{Error, SOON, build, status};
use crate::context::Context;
use crate::{apply, events};

/// Lets the resource go, after its data if that is the policy.
pub(super) async fn delete(
    context: &Context,
    api: &Api<Cluster>,
    cluster: &Cluster,
) -> Result<Action, Error> {
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    context.directory.gone((namespace.clone(), name.clone()));
    if !cluster
        .finalizers()
        .iter()
        .any(|present| present == CLUSTER_FINALIZER)
    {
        return Ok(Action::await_change());
    }
    if cluster.spec.deletion_policy == DeletionPolicy::Delete {
        let sets: Api<StatefulSet> = Api::namespaced(context.client.clone(), &namespace);
        gone(sets.delete(&name, &DeleteParams::background()).await)?;
        let of_cluster = ListParams::default().labels(&build::selector(&name));
        let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
        let running = pods.list_metadata(&of_cluster).await?.items;
        if let Some(pod) = running.first() {
            wait(api, cluster, &pod.name_any()).await?;
            return Ok(Action::requeue(SOON));
        }
        let claims: Api<PersistentVolumeClaim> =
            Api::namespaced(context.client.clone(), &namespace);
        for claim in claims.list_metadata(&of_cluster).await? {
            let this_one = DeleteParams::default().preconditions(Preconditions {
                uid: claim.uid(),
                resource_version: None,
            });
            gone(claims.delete(&claim.name_any(), &this_one).await)?;
            let note = format!("claim {} and all records in it", claim.name_any());
            events::normal(context, cluster, "ClaimDeleted", note).await;
        }
        let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &namespace);
        gone(
            secrets
                .delete(&status::secret_name(cluster), &DeleteParams::default())
                .await,
        )?;
    }
    gone(apply::finalizer(api, cluster, CLUSTER_FINALIZER, false).await)?;
    Ok(Action::await_change())
}

async fn wait(api: &Api<Cluster>, cluster: &Cluster, pod: &str) -> Result<(), Error> {
    let old = cluster.status.clone().unwrap_or_default();
    let verdict = Verdict::Reconciling {
        reason: Reason::Deleting,
        message: format!("waits for pod {pod} to stop; its claim is deleted after it"),
    };
    let mut new = old.clone();
    let now = Time(Timestamp::now());
    set_conditions(
        &mut new.conditions,
        &verdict,
        cluster.metadata.generation,
        &now,
    );
    apply::status(api, cluster, cluster.status.as_ref(), &new).await?;
    Ok(())
}

/// That something is gone already is what was wanted.
fn gone<T>(result: kube::Result<T>) -> kube::Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error),
    }
}
