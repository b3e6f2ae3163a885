//! What a Cluster's status says. Pure.

use headwater_crds::{
    BrokerStatus, Cluster, ClusterStatus, Verdict, internal_secret_name, set_conditions,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::converge::Outcome;
use super::dereference::Found;
use super::{build, observe};

/// The status after a reconciliation.
pub(super) fn status(
    old: &ClusterStatus,
    cluster: &Cluster,
    outcome: &Outcome,
    found: &Found,
) -> ClusterStatus {
    let now = Time(Timestamp::now());
    let generation = cluster.metadata.generation;
    let mut conditions = old.conditions.clone();
    set_conditions(&mut conditions, &outcome.verdict, generation, &now);
    let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
    let pinned = outcome.pinned.as_ref();
    let ready = found.pod.as_ref().is_some_and(observe::is_ready);
    ClusterStatus {
        observed_generation: generation,
        conditions,
        cluster_id: found
            .secret
            .as_ref()
            .and_then(|secret| secret.cluster_id.clone())
            .or_else(|| old.cluster_id.clone()),
        address: Some(format!("{name}.{namespace}.svc:7650")),
        version: pinned
            .map(|pinned| pinned.version.clone())
            .or_else(|| old.version.clone()),
        image: pinned
            .map(|pinned| pinned.image.clone())
            .or_else(|| old.image.clone()),
        replicas: i32::from(found.pod.is_some()),
        ready_replicas: i32::from(ready),
        selector: Some(build::selector(&name)),
        brokers: brokers(old, found),
    }
}

/// The status that was there with other conditions: nothing else is known anew.
pub(super) fn with_verdict(cluster: &Cluster, verdict: &Verdict) -> ClusterStatus {
    let mut status = cluster.status.clone().unwrap_or_default();
    let now = Time(Timestamp::now());
    let generation = cluster.metadata.generation;
    set_conditions(&mut status.conditions, verdict, generation, &now);
    status
}

/// The brokers by pod. What a broker that does not answer said last stays.
fn brokers(old: &ClusterStatus, found: &Found) -> Vec<BrokerStatus> {
    let Some(pod) = found.pod.as_ref().map(kube::ResourceExt::name_any) else {
        return old.brokers.clone();
    };
    let known = old.brokers.iter().find(|broker| broker.pod == pod).cloned();
    let mut broker = known.unwrap_or_default();
    broker.pod = pod;
    if let Some(claim) = &found.claim {
        broker.claim = Some(claim.name_any());
        broker.claim_uid = claim.uid();
    }
    if let Some(described) = &found.broker {
        broker.broker_id = described.broker_id.or(broker.broker_id);
        broker.storage_id = Some(described.storage_id.clone());
        broker.version = Some(described.version.clone());
    }
    vec![broker]
}

/// What a Secret that keeps a cluster's identity is called, for messages.
pub(super) fn secret_name(cluster: &Cluster) -> String {
    internal_secret_name(&cluster.name_any())
}
