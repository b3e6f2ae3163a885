//! A cluster of brokers, declared.

#![allow(
    unreachable_pub,
    reason = "KubeSchema derives a private copy of each struct"
)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, Toleration, TopologySpreadConstraint};
use k8s_openapi::api::networking::v1::NetworkPolicyPeer;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{CLIENTS_FROM_MAX, CONFIG_KEYS_MAX, PARTITIONS_MAX, TOPIC_NAMESPACES_MAX};
use crate::quantity::{ConfigText, Quantity};
use crate::settings::{Compression, DeletionPolicy, Durability, LocalRetention, Retention, Size};
use crate::tier::TierSpec;

/// What a cluster shall be.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "headwater.dev",
    version = "v1alpha1",
    kind = "Cluster",
    namespaced,
    status = "ClusterStatus",
    derive = "PartialEq",
    shortname = "hwc",
    category = "headwater",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    doc = "A Headwater cluster: brokers that serve topics by gRPC on port 7650 of the Service of the same name. Deleting the resource stops the brokers and keeps their volumes unless spec.deletionPolicy is Delete.",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 44").message("metadata.name must be a DNS label of at most 44 characters that begins with a letter: Services and pods are named after it"),
    printcolumn(name = "Brokers", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Up", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Storage", type_ = "string", json_path = ".spec.storage.size"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.address", priority = 1),
    printcolumn(name = "Cluster ID", type_ = "string", json_path = ".status.clusterId", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.tier) || has(self.tier)").message("spec.tier cannot be removed: what is in the tier could no longer be read; to upload nothing more, set spec.topicDefaults.tiering or spec.tiering of Topics to false")
)]
pub struct ClusterSpec {
    /// How many brokers. This version runs clusters of one broker.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    #[x_kube(validation = Rule::new("self == 1").message("spec.replicas must be 1: this version runs clusters of one broker; replication follows in a later version"))]
    pub replicas: i32,

    /// Version of the broker. Unset: the operator's own at the creation of the cluster; it stays
    /// when the operator is upgraded, see `status.version`. Changing it restarts the broker, unless
    /// `image.reference` says what runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[0-9A-Za-z_][0-9A-Za-z._-]*$")
    )]
    pub version: Option<String>,

    /// Where the broker's image comes from, instead of the operator's own. Changing it restarts the
    /// broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,

    /// Leave everything as it is: the operator changes nothing while this is true. Brokers go on.
    #[serde(default)]
    pub paused: bool,

    /// The disk of each broker.
    pub storage: StorageSpec,

    /// CPU and memory of each broker. Changing them restarts the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,

    /// Everything else about the broker's pod. Changing it restarts the broker, all but
    /// `serviceAccountAnnotations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodSpec>,

    /// Where sealed segments go: a bucket of an object storage. Unset: nowhere, all stays on the
    /// brokers' disks. Can be added to a running Cluster, never be removed or moved. Changing it
    /// restarts the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<TierSpec>,

    /// The Service for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,

    /// What a topic has when its creator says nothing. Changing it restarts the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_defaults: Option<TopicDefaults>,

    /// Namespaces whose Topics this cluster takes; `*` for all. Unset: only its own. Taking a
    /// namespace away leaves its topics as they are, and no longer follows their resources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = TOPIC_NAMESPACES_MAX), extend("x-kubernetes-list-type" = "set"))]
    pub topic_namespaces: Vec<String>,

    /// The rest of the broker's configuration: a key such as `limits.connections_max` and its
    /// value, as in the reference of the broker's configuration. Changing it restarts the broker.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = CONFIG_KEYS_MAX))]
    #[x_kube(
        validation = Rule::new("!self.exists(k, k in ['data_dir', 'form', 'node_name', 'default_namespace', 'shutdown_grace', 'shutdown_delay'] || k.startsWith('listen.') || k.startsWith('internal.'))").message("spec.config cannot set data_dir, form, node_name, default_namespace, shutdown_grace, shutdown_delay, listen.* or internal.*: the operator sets them itself"),
        validation = Rule::new("!self.exists(k, k in ['tier.url', 'tier.credentials_dir'])").message("spec.config cannot set tier.url or tier.credentials_dir: they are made from spec.tier"),
        validation = Rule::new("!self.exists(k, k in ['topics.partitions', 'topics.retention_time', 'topics.retention_bytes', 'topics.durability', 'topics.compression', 'topics.message_bytes_max', 'topics.tiering', 'topics.local_retention_time', 'topics.local_retention_bytes'])").message("spec.config cannot set what spec.topicDefaults has a field for: partitions, retention, durability, compression, maxMessageBytes, tiering, localRetention")
    )]
    pub config: BTreeMap<String, ConfigText>,

    /// What becomes of the data when this resource is deleted: `Retain` keeps the volume claims and
    /// the Secret of the cluster, and applying the resource again opens the same data; `Delete`
    /// deletes them, for good. What is in the tier stays there with both.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn one() -> i32 {
    1
}

impl ClusterSpec {
    /// Whether Topics of `namespace` may name this cluster, which lives in `own`.
    pub fn takes_topics_of(&self, namespace: &str, own: &str) -> bool {
        match self.topic_namespaces.as_slice() {
            [] => namespace == own,
            listed => listed.iter().any(|name| name == "*" || name == namespace),
        }
    }
}

/// Where the broker's image comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec {
    /// The whole reference, such as `registry.example.com/headwater:0.1.0`, or with a digest.
    /// Unset: the operator's own image.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub reference: Option<String>,
    /// When the node pulls the image. Unset: what Kubernetes does by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Names of Secrets with logins for the registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub pull_secrets: Vec<String>,
}

/// When the node pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// At every start of a container.
    Always,
    /// When the node does not have it.
    IfNotPresent,
    /// Never: it must be there.
    Never,
}

/// The disk of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("quantity(string(self.size)).compareTo(quantity('1Gi')) >= 0").message("spec.storage.size must be at least 1Gi"),
    validation = Rule::new("quantity(string(self.size)).compareTo(quantity(string(oldSelf.size))) >= 0").message("spec.storage.size can only grow: volumes cannot be made smaller"),
    validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)").message("spec.storage.className cannot be changed: a volume does not move between classes")
)]
pub struct StorageSpec {
    /// How large, such as `10Gi`. Can be raised if the storage class allows it, never lowered.
    pub size: Quantity,
    /// The StorageClass. Unset: the default one. Cannot be changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
}

/// CPU and memory, as in a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourcesSpec {
    /// What the node must have. Unset memory: the limit. Unset CPU: `100m`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: BTreeMap<String, Quantity>,
    /// What the broker may use at most. Unset memory: `512Mi`; the broker divides it among its
    /// parts and refuses to start with too little. Unset CPU: no limit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: BTreeMap<String, Quantity>,
}

/// Everything about the broker's pod that has no field of its own elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodSpec {
    /// More labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// More annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the pod tolerates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerations: Vec<Toleration>,
    /// Where the pod may or should run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How brokers spread. Unset: over zones and nodes where that is possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_spread_constraints: Option<Vec<TopologySpreadConstraint>>,
    /// The PriorityClass.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// Annotations of the ServiceAccount, as cloud providers use them for identities.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub service_account_annotations: BTreeMap<String, String>,
    /// How long a broker may take to stop, in seconds. Unset: 120.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 30, max = 3600))]
    pub termination_grace_period_seconds: Option<i64>,
}

/// The Service for clients, and who may reach it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// How it is reached. Unset: `ClusterIP`. Whoever reaches it can read and write every topic.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub service_type: Option<ServiceType>,
    /// Annotations, as cloud providers use them for load balancers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who may reach the port of clients, as in a NetworkPolicy. Unset: everybody. Holds where the
    /// network enforces NetworkPolicies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = CLIENTS_FROM_MAX))]
    pub clients_from: Vec<NetworkPolicyPeer>,
}

/// How a Service is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ServiceType {
    /// Inside of the Kubernetes cluster.
    #[default]
    ClusterIP,
    /// On a port of every node.
    NodePort,
    /// By a load balancer of the cloud.
    LoadBalancer,
}

/// What a topic has when its creator says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicDefaults {
    /// Partitions of a topic that is created by a client without a count. Unset: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = PARTITIONS_MAX))]
    pub partitions: Option<i32>,
    /// How long records are kept. Unset: 7 days, of any size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// When a batch counts as stored. Unset: `fsync`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// How the broker compresses the batches that it builds itself. Unset: `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// The largest batch that is accepted, as stored. Unset: 1Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_bytes: Option<Size>,
    /// Whether sealed segments are uploaded to the tier. Unset: `true`. Without effect in a Cluster
    /// without `spec.tier`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiering: Option<bool>,
    /// How long copies of what is in the tier stay on the brokers' disks. Unset: 1 day, of any
    /// size.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_retention: Option<LocalRetention>,
}

/// What the cluster is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The cluster's UUID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Where clients inside of Kubernetes connect, `host:port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The broker's version while `spec.version` is unset: fixed at creation, and after that the last
    /// one that was asked for and has served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The broker's image while `spec.image.reference` and `spec.version` are unset: fixed at creation,
    /// and after that the last one that was asked for and has served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How many broker pods there are.
    #[serde(default)]
    pub replicas: i32,
    /// How many brokers serve.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Selects the broker's pods, for `kubectl scale` and autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The brokers, by pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["pod"]))]
    pub brokers: Vec<BrokerStatus>,
}

/// One broker. A pod's number and a broker's id are unrelated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatus {
    /// The pod.
    pub pod: String,
    /// The broker's id in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_id: Option<i32>,
    /// UUID of its data directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_id: Option<String>,
    /// The volume claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// UID of the volume claim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim_uid: Option<String>,
    /// Version of the program that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}
