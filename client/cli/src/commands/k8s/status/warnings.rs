//! Recent warnings about a Cluster and what belongs to it.

use std::time::Duration;

use headwater_crds::Cluster;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::ResourceExt as _;
use serde::Serialize;

/// Events that are older tell of another time. Kubernetes keeps them for an hour by default.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// A warning.
#[derive(Debug, Serialize)]
pub(super) struct WarningView {
    /// `Pod/demo-0`.
    pub(super) object: String,
    pub(super) reason: String,
    pub(super) message: String,
    /// How often it was said.
    pub(super) count: i32,
    pub(super) last_seen: Timestamp,
    #[serde(skip)]
    pub(super) age: Duration,
}

/// Those of the last hour about the Cluster, its Topics in its namespace, and everything that is
/// named after it: StatefulSet, pods, claims, Services. The newest first.
pub(super) fn warnings(
    cluster: &Cluster,
    topics: &[&str],
    claims: &[&str],
    events: &[Event],
    now: Timestamp,
) -> Vec<WarningView> {
    let name = cluster.name_any();
    let about = |event: &&Event| {
        let object = &event.involved_object;
        let other = object.name.as_deref().unwrap_or_default();
        let kind = object.kind.as_deref().unwrap_or_default();
        let ours = match kind {
            "Topic" => topics.contains(&other),
            "PersistentVolumeClaim" => claims.contains(&other),
            "Pod" => other
                .strip_prefix(&name)
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit())),
            _ => {
                let after = other.strip_prefix(&name);
                after.is_some_and(|rest| rest.is_empty() || rest == "-brokers")
            }
        };
        ours && event.metadata.namespace == cluster.metadata.namespace
    };
    let warning = |event: &Event| {
        let last_seen = last_seen(event);
        WarningView {
            object: format!(
                "{}/{}",
                event.involved_object.kind.as_deref().unwrap_or("Object"),
                event.involved_object.name.as_deref().unwrap_or_default()
            ),
            reason: event.reason.clone().unwrap_or_default(),
            message: event.message.clone().unwrap_or_default(),
            count: count(event),
            last_seen,
            age: now.duration_since(last_seen).try_into().unwrap_or_default(),
        }
    };
    let warnings = events
        .iter()
        .filter(|event| event.type_.as_deref() == Some("Warning"));
    let mut warnings: Vec<_> = warnings.filter(about).map(warning).collect();
    warnings.retain(|warning| warning.age <= AGE_MAX);
    warnings.sort_by_key(|warning| std::cmp::Reverse(warning.last_seen));
    warnings
}

/// Old and new kinds of events say it in different places.
fn last_seen(event: &Event) -> Timestamp {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref());
    let times = [
        series.map(|time| time.0),
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0),
    ];
    times
        .into_iter()
        .flatten()
        .max()
        .unwrap_or(Timestamp::UNIX_EPOCH)
}

fn count(event: &Event) -> i32 {
    let series = event.series.as_ref().and_then(|series| series.count);
    series.or(event.count).unwrap_or(1).max(1)
}
