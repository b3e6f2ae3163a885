//! A partitioned log, declared.

#![allow(
    unreachable_pub,
    reason = "KubeSchema derives a private copy of each struct"
)]
#![allow(
    clippy::duplicated_attributes,
    reason = "columns are alike in their parts"
)]

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::limits::{CONFIG_KEYS_MAX, PARTITIONS_MAX};
use crate::quantity::ConfigText;
use crate::settings::{Compression, DeletionPolicy, Durability, LocalRetention, Retention, Size};

/// What a topic shall be.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "headwater.dev",
    version = "v1alpha1",
    kind = "Topic",
    namespaced,
    status = "TopicStatus",
    derive = "PartialEq",
    shortname = "hwt",
    category = "headwater",
    selectable = ".spec.clusterRef.name",
    doc = "A topic of a Headwater cluster: a named log in partitions. Its name in the cluster is namespace/name. Deleting the resource keeps the records unless spec.deletionPolicy is Delete.",
    printcolumn(
        name = "Cluster",
        type_ = "string",
        json_path = ".spec.clusterRef.name"
    ),
    printcolumn(
        name = "Partitions",
        type_ = "integer",
        json_path = ".status.partitions"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        json_path = ".status.effective.replicationFactor"
    ),
    printcolumn(
        name = "In-Sync",
        type_ = "integer",
        json_path = ".status.inSyncPartitions"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Topic",
        type_ = "string",
        json_path = ".status.topicName",
        priority = 1
    ),
    printcolumn(
        name = "Topic ID",
        type_ = "string",
        json_path = ".status.topicId",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.topicName) == has(oldSelf.topicName)").message("spec.topicName cannot be added or removed: a topic cannot be renamed; declare a new Topic instead"),
    validation = Rule::new("!has(self.replicationFactor) || !has(self.minInSyncReplicas) || self.minInSyncReplicas <= self.replicationFactor").message("spec.minInSyncReplicas cannot exceed spec.replicationFactor: no batch could be stored")
)]
pub struct TopicSpec {
    /// The Cluster that holds the topic. Cannot be changed.
    #[x_kube(validation = Rule::new("self == oldSelf").message("spec.clusterRef cannot be changed: records do not move between clusters; declare a new Topic instead"))]
    pub cluster_ref: ClusterRef,

    /// Name of the topic in the cluster, within this resource's namespace: letters, digits, `.`,
    /// `_` and `-`. Unset: the resource's name. Cannot be changed. Names that begin with `_` are
    /// the cluster's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 249), regex(pattern = r"^[a-zA-Z0-9._-]+$"))]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("spec.topicName cannot be changed: a topic cannot be renamed; declare a new Topic instead"),
        validation = Rule::new("!self.startsWith('_') && self != '.' && self != '..'").message("spec.topicName cannot be `.` or `..` or begin with `_`: those names are the cluster's own")
    )]
    pub topic_name: Option<String>,

    /// How many partitions. Can be raised, never lowered. Raising it sends keys to other
    /// partitions from then on.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = PARTITIONS_MAX))]
    #[x_kube(validation = Rule::new("self >= oldSelf").message("spec.partitions can only grow: a partition that went away would take its records with it"))]
    pub partitions: i32,

    /// How many brokers hold each partition. Unset: the cluster's rule, shown in
    /// `status.effective`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 15))]
    pub replication_factor: Option<i32>,

    /// Refuse writes that ask for all acknowledgements while fewer replicas than this are in sync.
    /// Unset: the cluster's rule, shown in `status.effective`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 15))]
    pub min_in_sync_replicas: Option<i32>,

    /// How long records are kept. Changed without a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,

    /// Whether sealed segments are uploaded to the Cluster's tier. Turning it off uploads nothing
    /// more; what is in the tier stays there and stays readable until retention takes it. Without
    /// effect in a Cluster without `spec.tier`. Unset: the cluster's default. Changed without a
    /// restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiering: Option<bool>,

    /// How long copies of what is in the tier stay on the brokers' disks; after that they are read
    /// from the tier. Copies that are gone do not come back. Changed without a restart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_retention: Option<LocalRetention>,

    /// When a batch counts as stored: `fsync`, on the medium of every in-sync replica, or
    /// `replicated`, in the page cache of each. Unset: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,

    /// How the broker compresses the batches that it builds itself; batches of clients stay as they
    /// are. Unset: the cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,

    /// The largest batch that is accepted, as stored, such as `1Mi`; from 1Ki to 16Mi. Unset: the
    /// cluster's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message_bytes: Option<Size>,

    /// The rest of a topic's settings: `segment_bytes`, `segment_time` and `timestamp_ahead_max`,
    /// with values as in the broker's configuration, such as `64MiB` and `1d`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = CONFIG_KEYS_MAX))]
    #[x_kube(validation = Rule::new("self.all(k, k in ['segment_bytes', 'segment_time', 'timestamp_ahead_max'])").message("spec.config knows segment_bytes, segment_time and timestamp_ahead_max; everything else has a field of its own in spec"))]
    pub config: BTreeMap<String, ConfigText>,

    /// What becomes of the records when this resource is deleted: `Retain` keeps them, and applying
    /// the resource again finds them; `Delete` deletes the topic, for good.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

fn one() -> i32 {
    1
}

impl Topic {
    /// Namespace and name of the topic in the cluster.
    pub fn names(&self) -> (&str, &str) {
        let namespace = self.metadata.namespace.as_deref().unwrap_or_default();
        let own = self.metadata.name.as_deref().unwrap_or_default();
        (namespace, self.spec.topic_name.as_deref().unwrap_or(own))
    }

    /// The topic's name in the cluster, `namespace/name`.
    pub fn full_name(&self) -> String {
        let (namespace, name) = self.names();
        format!("{namespace}/{name}")
    }

    /// Namespace and name of the Cluster that it refers to.
    pub fn cluster(&self) -> (&str, &str) {
        let own = self.metadata.namespace.as_deref().unwrap_or_default();
        let reference = &self.spec.cluster_ref;
        (
            reference.namespace.as_deref().unwrap_or(own),
            &reference.name,
        )
    }
}

/// Names a Cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRef {
    /// Name of the Cluster.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// Namespace of the Cluster. Unset: that of this resource. The Cluster must allow it by
    /// `spec.topicNamespaces`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// What the topic is. Holds nothing that moves with traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatus {
    /// The generation of the spec that this status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The topic's name in the cluster, `namespace/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// The topic's UUID. A topic that is deleted and made again has another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic_id: Option<String>,
    /// How many partitions there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<i32>,
    /// How many of them have a leader and all replicas in sync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_sync_partitions: Option<i32>,
    /// The first 16 partitions that are not in sync.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problem_partitions: Vec<ProblemPartition>,
    /// Broker ids of the leaders in the order of the partitions, up to 64 partitions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaders: Vec<i32>,
    /// The settings in force, defaults included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<EffectiveTopic>,
}

/// A partition that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemPartition {
    /// Its number.
    pub partition: i32,
    /// What is wrong with it.
    pub problem: String,
}

/// Settings in force. Times and sizes are written as in the spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveTopic {
    /// How many brokers hold each partition.
    pub replication_factor: i32,
    /// Fewer in-sync replicas than this, and writes are refused.
    pub min_in_sync_replicas: i32,
    /// Records are deleted this long after they were appended.
    pub retention_time: String,
    /// The oldest segments are deleted while a partition is larger than this.
    pub retention_size: String,
    /// When a batch counts as stored.
    pub durability: String,
    /// How the broker compresses the batches that it builds itself.
    pub compression: String,
    /// The largest batch that is accepted.
    pub max_message_bytes: String,
    /// Whether sealed segments are uploaded, if the Cluster has a tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tiering: Option<bool>,
    /// Copies of what is in the tier leave the brokers' disks this long after the records were
    /// appended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_retention_time: Option<String>,
    /// The oldest copies of what is in the tier leave a broker's disk while a partition takes more
    /// than this there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_retention_size: Option<String>,
}
