//! All the judgement that needs no broker: what the resource asks for, as the cluster says it.

use headwater_core::names::TopicName;
use headwater_crds::{Compression, Durability, Reason, Size, TimeSpan, Topic, ValueError, Verdict};
use headwater_proto::v1;

use super::dereference::Found;
use crate::brokers::BrokerEndpoint;
use crate::context::Declared;
use crate::directory::Whereabouts;

/// A topic that can be asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ValidTopic {
    /// Where to ask for it.
    pub(super) endpoint: BrokerEndpoint,
    /// `namespace/name`.
    pub(super) name: String,
    pub(super) partitions: i32,
    /// Only if the resource says it.
    pub(super) replication_factor: Option<i32>,
    /// All of it: what is absent shall have the default.
    pub(super) config: v1::TopicConfig,
    /// Whether the cluster has a tier.
    pub(super) has_tier: bool,
}

/// Why it cannot be asked for.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal(pub(super) Verdict);

fn stalled(reason: Reason, message: String) -> Refusal {
    Refusal(Verdict::Stalled { reason, message })
}

fn waits(reason: Reason, message: String) -> Refusal {
    Refusal(Verdict::Reconciling { reason, message })
}

/// Judges a Topic with what it refers to.
pub(super) fn validate(topic: &Topic, found: &Found) -> Result<ValidTopic, Refusal> {
    let spec = &topic.spec;
    let (cluster_namespace, cluster_name) = topic.cluster();
    let own = topic.metadata.namespace.as_deref().unwrap_or_default();
    let cluster = match &found.cluster {
        Declared::Is(cluster) => cluster,
        Declared::Absent | Declared::NotListed => {
            let message = format!(
                "there is no Cluster {cluster_name} in namespace {cluster_namespace}; create it, or \
                 declare the Topic again with another spec.clusterRef"
            );
            return Err(waits(Reason::ClusterNotFound, message));
        }
        Declared::NotOperated => {
            let message = format!(
                "no operator looks after Clusters in namespace {cluster_namespace}; add it to \
                 clusterNamespaces in the chart's values, or declare the Topic again with another \
                 spec.clusterRef.namespace"
            );
            return Err(stalled(Reason::ClusterNotOperated, message));
        }
    };
    if !cluster.spec.takes_topics_of(own, cluster_namespace) {
        let message = format!(
            "Cluster {cluster_name} does not take topics of namespace {own}; add it to \
             spec.topicNamespaces of the Cluster"
        );
        return Err(stalled(Reason::NamespaceNotAllowed, message));
    }
    if let Some(rival) = &found.rival {
        let message = format!(
            "the older Topic {rival} declares {} already; delete one of the two, or give this one \
             another topicName",
            topic.full_name()
        );
        return Err(stalled(Reason::Conflict, message));
    }
    let invalid = |message: String| stalled(Reason::InvalidSpec, message);
    let name = TopicName::parse(&topic.full_name(), own)
        .map_err(|error| invalid(format!("spec.topicName: {error}; set another topicName")))?;
    let brokers = cluster.spec.replicas;
    if let Some(factor) = spec.replication_factor.filter(|factor| *factor > brokers) {
        return Err(invalid(format!(
            "spec.replicationFactor is {factor}, but Cluster {cluster_name} has {brokers} broker; \
             unset it to have as many replicas as the cluster can give"
        )));
    }
    if let Some(least) = spec.min_in_sync_replicas.filter(|least| *least > brokers) {
        return Err(invalid(format!(
            "spec.minInSyncReplicas is {least}, but Cluster {cluster_name} has {brokers} broker, so \
             that no batch could be stored; unset it or lower it to {brokers}"
        )));
    }
    let config = config(topic).map_err(invalid)?;
    if cluster.spec.paused {
        let message = format!("Cluster {cluster_name} is paused: unset its spec.paused to go on");
        return Err(stalled(Reason::Paused, message));
    }
    let Whereabouts::At(endpoint) = &found.brokers else {
        let message = format!(
            "Cluster {cluster_name} does not serve yet; `kubectl get clusters.headwater.dev \
             {cluster_name} -n {cluster_namespace} -o wide` says why"
        );
        return Err(waits(Reason::ClusterNotReady, message));
    };
    Ok(ValidTopic {
        endpoint: endpoint.clone(),
        name: name.as_str().to_owned(),
        partitions: spec.partitions,
        replication_factor: spec.replication_factor,
        config,
        has_tier: cluster.spec.tier.is_some(),
    })
}

/// The settings, as the wire has them. The cluster judges the ranges itself.
fn config(topic: &Topic) -> Result<v1::TopicConfig, String> {
    let spec = &topic.spec;
    let retention = spec.retention.as_ref();
    let named = |field: &'static str| move |error: ValueError| format!("{field}: {error}");
    let time = retention.and_then(|retention| retention.time.as_ref());
    let size = retention.and_then(|retention| retention.size.as_ref());
    let local = spec.local_retention.as_ref();
    let local_time = local.and_then(|local| local.time.as_ref());
    let local_size = local.and_then(|local| local.size.as_ref());
    let bytes = spec.max_message_bytes.as_ref();
    let bytes = bytes.map(|bytes| bytes.value().map_err(named("spec.maxMessageBytes")));
    let bytes = bytes.transpose()?.map(i32::try_from).transpose();
    let rest = |key: &str| spec.config.get(key).map(|text| text.0.clone());
    let span = |key: &'static str, field: &'static str| {
        let value = rest(key).map(|text| TimeSpan(text).value().map_err(named(field)));
        value.transpose()
    };
    Ok(v1::TopicConfig {
        retention_ms: time
            .map(|time| time.value().map_err(named("spec.retention.time")))
            .transpose()?,
        retention_bytes: size
            .map(|size| size.value().map_err(named("spec.retention.size")))
            .transpose()?,
        segment_bytes: rest("segment_bytes")
            .map(|text| {
                Size(text)
                    .value()
                    .map_err(named("spec.config.segment_bytes"))
            })
            .transpose()?,
        segment_ms: span("segment_time", "spec.config.segment_time")?,
        durability: spec.durability.map(|durability| {
            match durability {
                Durability::Fsync => v1::Durability::Fsync,
                Durability::Replicated => v1::Durability::Replicated,
            }
            .into()
        }),
        compression: spec.compression.map(|compression| {
            match compression {
                Compression::None => v1::Compression::None,
                Compression::Gzip => v1::Compression::Gzip,
                Compression::Snappy => v1::Compression::Snappy,
                Compression::Lz4 => v1::Compression::Lz4,
                Compression::Zstd => v1::Compression::Zstd,
            }
            .into()
        }),
        message_bytes_max: bytes
            .map_err(|_| "spec.maxMessageBytes is more than a batch can be; write up to 16Mi")?,
        timestamp_ahead_ms_max: span("timestamp_ahead_max", "spec.config.timestamp_ahead_max")?,
        min_in_sync_replicas: spec.min_in_sync_replicas,
        tiering: spec.tiering,
        local_retention_ms: local_time
            .map(|time| time.value().map_err(named("spec.localRetention.time")))
            .transpose()?,
        local_retention_bytes: local_size
            .map(|size| size.value().map_err(named("spec.localRetention.size")))
            .transpose()?,
    })
}
