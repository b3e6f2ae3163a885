//! What is to be known of each Cluster.

use headwater_crds::{Cluster, READY, RECONCILING, STALLED, Topic, condition};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::ResourceExt as _;
use serde::Serialize;

use super::gather::Findings;
use super::pods::{BrokerView, ClaimView, belongs, brokers, claims};
use super::warnings::{WarningView, warnings};
use crate::commands::cluster::HealthView;
use crate::kubernetes::lease::Operator;
use crate::talk::Paint;
use crate::units::show_many;

/// The whole answer.
#[derive(Debug, Serialize)]
pub(super) struct StatusView {
    pub(super) clusters: Vec<ClusterView>,
    /// `None` if Leases may not be read.
    pub(super) operators: Option<Vec<Operator>>,
    /// What could not be read, and why.
    pub(super) unread: Vec<String>,
    #[serde(skip)]
    pub(super) paint: Paint,
}

/// One Cluster.
#[derive(Debug, Serialize)]
pub(super) struct ClusterView {
    pub(super) namespace: String,
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) standing: Standing,
    pub(super) paused: bool,
    pub(super) version: Option<String>,
    pub(super) image: Option<String>,
    pub(super) address: Option<String>,
    pub(super) cluster_id: Option<String>,
    /// How many brokers there shall be.
    pub(super) replicas: i32,
    /// How large each volume shall be.
    pub(super) storage_size: String,
    pub(super) brokers: Vec<BrokerView>,
    pub(super) claims: Vec<ClaimView>,
    pub(super) topics: Vec<TopicView>,
    pub(super) warnings: Vec<WarningView>,
    /// What a broker says itself.
    pub(super) health: Option<HealthView>,
    /// Why none was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health_unknown: Option<String>,
}

/// One Topic.
#[derive(Debug, Serialize)]
pub(super) struct TopicView {
    pub(super) namespace: String,
    pub(super) name: String,
    /// In the cluster.
    pub(super) topic: String,
    #[serde(flatten)]
    pub(super) standing: Standing,
    pub(super) partitions: Option<i32>,
    pub(super) in_sync_partitions: Option<i32>,
}

/// How it stands with a resource.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Standing {
    /// Whether all is as asked, by a status that is about the newest spec.
    pub(super) ready: bool,
    /// `Ready`, `Reconciling`, `Stalled`, or `Unknown` if the operator has not said.
    pub(super) state: &'static str,
    pub(super) reason: String,
    pub(super) message: String,
    /// Whether it is being deleted.
    pub(super) deleting: bool,
}

impl Standing {
    fn new(metadata: &ObjectMeta, conditions: &[Condition]) -> Standing {
        let deleting = metadata.deletion_timestamp.is_some();
        let Some(ready) = condition(conditions, READY) else {
            return Standing {
                ready: false,
                state: "Unknown",
                reason: "NoStatus".to_owned(),
                message: "the operator has written no status; does it run?".to_owned(),
                deleting,
            };
        };
        if ready.observed_generation != metadata.generation {
            return Standing {
                ready: false,
                state: "Unknown",
                reason: "StatusOutdated".to_owned(),
                message: format!(
                    "the operator has not seen the newest change; does it run? Before it said \
                     {}: {}",
                    ready.reason, ready.message
                ),
                deleting,
            };
        }
        let is = |kind| condition(conditions, kind).is_some_and(|found| found.status == "True");
        let state = match () {
            () if ready.status == "True" => READY,
            () if is(STALLED) => STALLED,
            () => RECONCILING,
        };
        Standing {
            ready: state == READY && !deleting,
            state,
            reason: ready.reason.clone(),
            message: ready.message.clone(),
            deleting,
        }
    }
}

impl StatusView {
    /// From what Kubernetes says; the brokers are asked later.
    pub(super) fn new(findings: &Findings, now: Timestamp) -> StatusView {
        let clusters = findings.clusters.iter();
        let mut clusters: Vec<_> = clusters
            .map(|cluster| ClusterView::new(cluster, findings, now))
            .collect();
        clusters.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        StatusView {
            clusters,
            operators: findings.operators.clone(),
            unread: findings.unread.clone(),
            paint: Paint::PLAIN,
        }
    }

    /// What is not well, one line each; empty if everything is.
    pub(super) fn amiss(&self) -> Vec<String> {
        let mut amiss = Vec::new();
        for cluster in &self.clusters {
            let name = format!("Cluster {}/{}", cluster.namespace, cluster.name);
            if !cluster.standing.ready {
                amiss.push(format!("{name} is not Ready ({})", cluster.standing.reason));
            }
            let topics = cluster.topics.iter().filter(|topic| !topic.standing.ready);
            match topics.count() {
                0 => {}
                count => {
                    let topics = show_many(count, "Topic");
                    let are = if count == 1 { "is" } else { "are" };
                    amiss.push(format!("{topics} of {name} {are} not Ready"));
                }
            }
            if cluster
                .health
                .as_ref()
                .is_some_and(|health| !health.healthy)
            {
                amiss.push(format!("a broker of {name} finds something critical"));
            }
        }
        amiss
    }
}

impl ClusterView {
    fn new(cluster: &Cluster, findings: &Findings, now: Timestamp) -> ClusterView {
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        let pods = findings.pods.iter().filter(|pod| belongs(*pod, cluster));
        let pods: Vec<&Pod> = pods.collect();
        let claims = claims(cluster, &pods, &findings.claims);
        let topics = topics(&namespace, &name, &findings.topics);
        let topics_here = topics.iter().filter(|topic| topic.namespace == namespace);
        let warnings = warnings(
            cluster,
            &topics_here
                .map(|topic| topic.name.as_str())
                .collect::<Vec<_>>(),
            &claims
                .iter()
                .map(|claim| claim.claim.as_str())
                .collect::<Vec<_>>(),
            &findings.events,
            now,
        );
        let status = cluster.status.clone().unwrap_or_default();
        let spec = &cluster.spec;
        let reference = spec
            .image
            .as_ref()
            .and_then(|image| image.reference.clone());
        ClusterView {
            standing: Standing::new(&cluster.metadata, &status.conditions),
            paused: spec.paused,
            version: status.version.or_else(|| spec.version.clone()),
            image: status.image.or(reference),
            address: status.address,
            cluster_id: status.cluster_id,
            replicas: spec.replicas,
            storage_size: spec.storage.size.to_string(),
            brokers: brokers(cluster, &pods),
            claims,
            topics,
            warnings,
            health: None,
            health_unknown: None,
            namespace,
            name,
        }
    }
}

/// The Topics that name the Cluster; those that are not Ready first.
fn topics(namespace: &str, name: &str, topics: &[Topic]) -> Vec<TopicView> {
    let ours = topics
        .iter()
        .filter(|topic| topic.cluster() == (namespace, name));
    let view = |topic: &Topic| {
        let status = topic.status.clone().unwrap_or_default();
        TopicView {
            namespace: topic.namespace().unwrap_or_default(),
            name: topic.name_any(),
            topic: topic.full_name(),
            standing: Standing::new(&topic.metadata, &status.conditions),
            partitions: status.partitions,
            in_sync_partitions: status.in_sync_partitions,
        }
    };
    let mut views: Vec<_> = ours.map(view).collect();
    views.sort_by(|a, b| {
        let key = |view: &TopicView| (view.standing.ready, view.topic.clone());
        key(a).cmp(&key(b))
    });
    views
}
