//! Brokers and their volumes.

use headwater_crds::{BrokerStatus, Cluster};
use k8s_openapi::api::core::v1::{ContainerStatus, PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use serde::Serialize;

use crate::kubernetes::brokers::{INSTANCE_LABEL, is_ready, state};

/// A broker: its pod, and what the operator knows of it.
#[derive(Debug, Serialize)]
pub(super) struct BrokerView {
    pub(super) pod: String,
    pub(super) state: String,
    pub(super) ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) broker_id: Option<i32>,
    pub(super) restarts: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<String>,
    /// What Kubernetes says about a pod that is not ready or was started again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) remarks: Vec<String>,
}

/// A volume claim.
#[derive(Debug, Serialize)]
pub(super) struct ClaimView {
    pub(super) claim: String,
    pub(super) state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) asked: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) capacity: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) class: Option<String>,
    /// The pod that uses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pod: Option<String>,
}

/// Whether an object is labelled as the cluster's.
pub(super) fn belongs<K: kube::Resource>(object: &K, cluster: &Cluster) -> bool {
    let labels = object.meta().labels.as_ref();
    let instance = labels.and_then(|labels| labels.get(INSTANCE_LABEL));
    object.meta().namespace == cluster.metadata.namespace
        && instance.is_some_and(|instance| *instance == cluster.name_any())
}

/// The brokers: of all pods, and those of the status that have none.
pub(super) fn brokers(cluster: &Cluster, pods: &[&Pod]) -> Vec<BrokerView> {
    let known = cluster.status.iter().flat_map(|status| &status.brokers);
    let known: Vec<&BrokerStatus> = known.collect();
    let of = |name: &str| known.iter().find(|broker| broker.pod == name).copied();
    let mut views: Vec<_> = pods
        .iter()
        .map(|pod| view(pod, of(&pod.name_any())))
        .collect();
    for broker in known {
        if !views.iter().any(|view| view.pod == broker.pod) {
            views.push(BrokerView {
                pod: broker.pod.clone(),
                state: "missing".to_owned(),
                ready: false,
                broker_id: broker.broker_id,
                restarts: 0,
                node: None,
                version: broker.version.clone(),
                remarks: Vec::new(),
            });
        }
    }
    views.sort_by(|a, b| (a.pod.len(), &a.pod).cmp(&(b.pod.len(), &b.pod)));
    views
}

fn view(pod: &Pod, broker: Option<&BrokerStatus>) -> BrokerView {
    let containers = containers(pod);
    BrokerView {
        pod: pod.name_any(),
        state: state(pod),
        ready: is_ready(pod),
        broker_id: broker.and_then(|broker| broker.broker_id),
        restarts: containers
            .iter()
            .map(|container| container.restart_count)
            .sum(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        version: broker.and_then(|broker| broker.version.clone()),
        remarks: remarks(pod, &containers),
    }
}

fn containers(pod: &Pod) -> Vec<&ContainerStatus> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let all = [&status.init_container_statuses, &status.container_statuses];
    all.into_iter().flatten().flatten().collect()
}

fn remarks(pod: &Pod, containers: &[&ContainerStatus]) -> Vec<String> {
    let mut remarks = Vec::new();
    let status = pod.status.as_ref();
    let unscheduled = status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let unscheduled = unscheduled
        .filter(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    remarks.extend(unscheduled.filter_map(|condition| condition.message.clone()));
    remarks.extend(status.and_then(|status| status.message.clone()));
    for container in containers {
        let waiting = container
            .state
            .as_ref()
            .and_then(|state| state.waiting.as_ref());
        if let Some(message) = waiting.and_then(|waiting| waiting.message.clone()) {
            remarks.push(message);
        }
        let last = container
            .last_state
            .as_ref()
            .and_then(|state| state.terminated.as_ref());
        if let Some(last) = last {
            let reason = last.reason.as_deref().unwrap_or("an unknown reason");
            let mut remark = format!(
                "container {} ended before: {reason}, exit code {}",
                container.name, last.exit_code
            );
            if let Some(message) = &last.message {
                remark.push_str(&format!(", {message}"));
            }
            remarks.push(remark);
        }
    }
    remarks
}

/// The claims that are labelled as the cluster's, named in its status, or used by its pods.
pub(super) fn claims(
    cluster: &Cluster,
    pods: &[&Pod],
    claims: &[PersistentVolumeClaim],
) -> Vec<ClaimView> {
    let known = cluster.status.iter().flat_map(|status| &status.brokers);
    let known: Vec<&str> = known.filter_map(|broker| broker.claim.as_deref()).collect();
    let here = claims
        .iter()
        .filter(|claim| claim.metadata.namespace == cluster.metadata.namespace);
    let mut views: Vec<_> = here
        .filter_map(|claim| {
            let name = claim.name_any();
            let user = pods.iter().find(|pod| uses(pod, &name));
            let ours = belongs(claim, cluster) || known.contains(&name.as_str()) || user.is_some();
            ours.then(|| claim_view(claim, user.map(|pod| pod.name_any())))
        })
        .collect();
    views.sort_by(|a, b| (a.claim.len(), &a.claim).cmp(&(b.claim.len(), &b.claim)));
    views
}

fn uses(pod: &Pod, claim: &str) -> bool {
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| volume.persistent_volume_claim.as_ref())
        .any(|source| source.claim_name == claim)
}

fn claim_view(claim: &PersistentVolumeClaim, pod: Option<String>) -> ClaimView {
    let spec = claim.spec.as_ref();
    let status = claim.status.as_ref();
    let requests = spec
        .and_then(|spec| spec.resources.as_ref())
        .and_then(|resources| resources.requests.as_ref());
    let capacity = status.and_then(|status| status.capacity.as_ref());
    let leaving = claim.metadata.deletion_timestamp.is_some();
    let phase = status.and_then(|status| status.phase.clone());
    ClaimView {
        claim: claim.name_any(),
        state: match leaving {
            true => "terminating".to_owned(),
            false => phase.unwrap_or_else(|| "unknown".to_owned()),
        },
        asked: requests
            .and_then(|sizes| sizes.get("storage"))
            .map(|size| size.0.clone()),
        capacity: capacity
            .and_then(|sizes| sizes.get("storage"))
            .map(|size| size.0.clone()),
        class: spec.and_then(|spec| spec.storage_class_name.clone()),
        pod,
    }
}
