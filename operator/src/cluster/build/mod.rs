//! From a valid Cluster to its children. Pure: what goes in is all that decides what comes out.

mod network;
mod pod;
mod stateful_set;

use std::collections::BTreeMap;

use headwater_crds::Cluster;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, ServiceAccount};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource as _;
use serde_json::Value;

pub(super) use self::pod::digest;
pub(super) use self::stateful_set::stateful_set;
use super::validate::ValidCluster;

/// Label with the name of the Cluster.
pub(super) const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";
/// Selects every child of every Cluster.
pub(super) const MANAGED_SELECTOR: &str = "app.kubernetes.io/managed-by=headwater-operator";
/// Who manages the children.
const MANAGED_BY: &str = "headwater-operator";
/// Name of the volume, and first part of the claim's name.
const VOLUME: &str = "data";
/// File in the ConfigMap.
const CONFIGURATION_FILE: &str = "broker.yaml";

/// Port of clients.
const CLIENT_PORT: i32 = 7650;
/// Port of the operator and, later, of peers.
const INTERNAL_PORT: i32 = super::dereference::INTERNAL_PORT as i32;
/// Port of metrics and health.
const HTTP_PORT: i32 = 7680;

/// Name of the broker's pod.
pub(super) fn pod_name(cluster: &str) -> String {
    format!("{cluster}-0")
}

/// Name of the claim that the StatefulSet's controller makes for that pod.
pub(super) fn claim_name(cluster: &str) -> String {
    format!("{VOLUME}-{}", pod_name(cluster))
}

/// Selects the pods and claims of a cluster.
pub(super) fn selector(cluster: &str) -> String {
    let labels = selector_labels(cluster);
    let pairs: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

fn selector_labels(cluster: &str) -> BTreeMap<String, String> {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    BTreeMap::from([
        pair("app.kubernetes.io/name", "headwater"),
        pair(INSTANCE_LABEL, cluster),
        pair("app.kubernetes.io/component", "broker"),
    ])
}

/// Labels of every child. No version among them: a change of it would touch every child, and the
/// pod template's would restart the broker.
fn labels(cluster: &str) -> BTreeMap<String, String> {
    let mut labels = selector_labels(cluster);
    labels.insert(
        "app.kubernetes.io/managed-by".to_owned(),
        MANAGED_BY.to_owned(),
    );
    labels.insert(
        "app.kubernetes.io/part-of".to_owned(),
        "headwater".to_owned(),
    );
    labels
}

/// Names and labels of a child that goes with the Cluster.
fn metadata(cluster: &Cluster, valid: &ValidCluster, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(valid.namespace.clone()),
        labels: Some(labels(&valid.name)),
        owner_references: cluster.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    }
}

fn label_selector(cluster: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Some(selector_labels(cluster)),
        match_expressions: None,
    }
}

/// A map, if there is anything in it: what is empty is left out, so that nobody sees it as drift.
fn unless_empty<K, V>(map: BTreeMap<K, V>) -> Option<BTreeMap<K, V>> {
    (!map.is_empty()).then_some(map)
}

/// Every child but the StatefulSet, which needs more than the resource, in the order in which they
/// are applied.
pub(super) fn around_the_pod(
    cluster: &Cluster,
    valid: &ValidCluster,
) -> serde_json::Result<Vec<Value>> {
    Ok(vec![
        serde_json::to_value(service_account(cluster, valid))?,
        serde_json::to_value(config_map(cluster, valid))?,
        serde_json::to_value(network::client_service(cluster, valid))?,
        serde_json::to_value(network::headless_service(cluster, valid))?,
        serde_json::to_value(network::policy(cluster, valid))?,
        serde_json::to_value(disruption_budget(cluster, valid))?,
    ])
}

/// The brokers' account. They ask the API server nothing, so it has no rights and no token.
fn service_account(cluster: &Cluster, valid: &ValidCluster) -> ServiceAccount {
    let pod = cluster.spec.pod.clone().unwrap_or_default();
    ServiceAccount {
        metadata: ObjectMeta {
            annotations: unless_empty(pod.service_account_annotations),
            ..metadata(cluster, valid, &valid.name)
        },
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

fn config_map(cluster: &Cluster, valid: &ValidCluster) -> ConfigMap {
    let file = (CONFIGURATION_FILE.to_owned(), valid.configuration.clone());
    ConfigMap {
        metadata: metadata(cluster, valid, &valid.name),
        data: Some(BTreeMap::from([file])),
        ..ConfigMap::default()
    }
}

/// With one broker there is no quorum to ask: a drain of its node may take it, and it comes back
/// elsewhere. A broker that does not serve may always be taken.
fn disruption_budget(cluster: &Cluster, valid: &ValidCluster) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(cluster, valid, &valid.name),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(label_selector(&valid.name)),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }
}

/// The Secret of a cluster, without an owner: it outlives the resource, as the claims do.
pub(super) fn internal_secret(cluster: &str, namespace: &str, secret: &str) -> Secret {
    let value = ByteString(secret.as_bytes().to_vec());
    Secret {
        metadata: ObjectMeta {
            name: Some(headwater_crds::internal_secret_name(cluster)),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels(cluster)),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("secret".to_owned(), value)])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}

/// The digest of the configuration that a StatefulSet's pods are made with.
pub(super) fn configuration_of(set: &StatefulSet) -> Option<&String> {
    let metadata = set.spec.as_ref()?.template.metadata.as_ref()?;
    metadata
        .annotations
        .as_ref()?
        .get(pod::CONFIGURATION_ANNOTATION)
}

/// The memory limit that a StatefulSet's pods are made with.
pub(super) fn memory_of(set: &StatefulSet) -> Option<&str> {
    let pod = set.spec.as_ref()?.template.spec.as_ref()?;
    let resources = pod.containers.first()?.resources.as_ref()?;
    let memory = resources.limits.as_ref()?.get("memory")?;
    Some(&memory.0)
}

/// Whether an object carries every label of a cluster's children.
pub(super) fn is_of_cluster(object: &impl kube::ResourceExt, cluster: &str) -> bool {
    let has = |(key, value): (&String, &String)| object.labels().get(key) == Some(value);
    labels(cluster).iter().all(has)
}
