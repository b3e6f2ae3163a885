//! The broker pods of a Cluster, and which of them a connection goes to.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::ListParams;

use super::{Kubernetes, Refusal};
use crate::failure::Failure;

/// Port of a broker for clients.
pub(crate) const CLIENT_PORT: u16 = 7650;
/// Port of a broker for metrics and health.
pub(crate) const HTTP_PORT: u16 = 7680;

/// What all broker pods carry.
pub(crate) const BROKER_LABELS: &str =
    "app.kubernetes.io/name=headwater,app.kubernetes.io/component=broker";
/// The label that names the Cluster.
pub(crate) const INSTANCE_LABEL: &str = "app.kubernetes.io/instance";

/// The brokers of one Cluster.
#[derive(Clone, Debug)]
pub(crate) struct Brokers {
    /// Where.
    pub(crate) kubernetes: Kubernetes,
    /// Namespace of the Cluster.
    pub(crate) namespace: String,
    /// Name of the Cluster.
    pub(crate) cluster: String,
}

/// A pod that can be talked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Its name.
    pub(crate) name: String,
    /// A pod that replaces another may have the same name, and has another UID.
    pub(crate) uid: String,
}

impl Brokers {
    /// `namespace/cluster`.
    pub(crate) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.cluster)
    }

    /// All its pods.
    pub(crate) async fn pods(&self) -> Result<Vec<Pod>, Refusal> {
        let labels = format!("{BROKER_LABELS},{INSTANCE_LABEL}={}", self.cluster);
        let params = ListParams::default().labels(&labels);
        self.kubernetes
            .list("pods", Some(&self.namespace), &params)
            .await
    }

    /// Its ready pods, `preferred` first.
    ///
    /// # Errors
    /// If there are none.
    pub(crate) async fn ready(&self, preferred: Option<&str>) -> Result<Vec<Chosen>, Refusal> {
        let pods = self.pods().await?;
        let ready = pick(&pods, preferred);
        if !ready.is_empty() {
            return Ok(ready);
        }
        let states: Vec<_> = pods
            .iter()
            .map(|pod| format!("{} is {}", pod.name_any(), state(pod)))
            .collect();
        let why = match states.is_empty() {
            true => "it has no pods".to_owned(),
            false => states.join(", "),
        };
        let Brokers {
            namespace, cluster, ..
        } = self;
        let context = self.kubernetes.context();
        let context = context.map(|name| format!(" --kube-context {name}"));
        let failure = Failure::new(format!(
            "no broker of Cluster {} is ready",
            self.full_name()
        ));
        let failure = failure.why(why).fix(format!(
            "`headwater k8s status {cluster} -n {namespace}{}` shows what keeps it",
            context.unwrap_or_default()
        ));
        Err(failure.into())
    }
}

/// The ready pods, the one with the UID `preferred` first, the others by name.
fn pick(pods: &[Pod], preferred: Option<&str>) -> Vec<Chosen> {
    let mut ready: Vec<_> = pods
        .iter()
        .filter(|pod| is_ready(pod))
        .map(|pod| Chosen {
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
        })
        .collect();
    ready.sort_by(|a, b| {
        let other = |chosen: &Chosen| Some(chosen.uid.as_str()) != preferred;
        (other(a), &a.name).cmp(&(other(b), &b.name))
    });
    ready
}

/// Whether clients can use it: one that is on its way out is not ready, whatever its condition says.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| &status.conditions);
    pod.metadata.deletion_timestamp.is_none()
        && conditions
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// How it stands with a pod, in a word or two.
pub(crate) fn state(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "terminating".to_owned();
    }
    if is_ready(pod) {
        return "ready".to_owned();
    }
    let Some(status) = &pod.status else {
        return "unknown".to_owned();
    };
    let containers = [&status.init_container_statuses, &status.container_statuses];
    let waiting = containers
        .into_iter()
        .flatten()
        .flatten()
        .find_map(|container| {
            let waiting = container.state.as_ref()?.waiting.as_ref()?;
            waiting.reason.clone()
        });
    let unscheduled = status.conditions.iter().flatten().find_map(|condition| {
        let unscheduled = condition.type_ == "PodScheduled" && condition.status == "False";
        unscheduled.then(|| condition.reason.clone()).flatten()
    });
    let phase = status.phase.clone().unwrap_or_else(|| "unknown".to_owned());
    match (waiting, unscheduled, status.reason.clone()) {
        (Some(reason), _, _) | (None, Some(reason), _) | (None, None, Some(reason)) => reason,
        (None, None, None) if phase == "Running" => "not ready".to_owned(),
        (None, None, None) => phase,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A pod with this in its status.
    pub(crate) fn pod(name: &str, uid: &str, status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": uid, "namespace": "shop"},
            "status": status,
        }))
        .unwrap()
    }

    /// The status of a pod that is ready, or not.
    pub(crate) fn running(ready: bool) -> Value {
        let ready = if ready { "True" } else { "False" };
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]})
    }

    fn leaving(mut pod: Pod) -> Pod {
        let when = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        pod.metadata.deletion_timestamp = Some(when);
        pod
    }

    #[test]
    fn connections_go_to_ready_pods_and_stay_with_the_one_they_had() {
        let pods = [
            pod("demo-2", "c", running(true)),
            pod("demo-1", "b", running(true)),
            pod("demo-0", "a", running(false)),
            leaving(pod("demo-3", "d", running(true))),
        ];
        let check = |preferred: Option<&str>, want: &[&str]| {
            let got: Vec<_> = pick(&pods, preferred)
                .into_iter()
                .map(|pod| pod.name)
                .collect();
            assert_eq!(got, want);
        };
        check(None, &["demo-1", "demo-2"]);
        check(Some("c"), &["demo-2", "demo-1"]);
        check(Some("a"), &["demo-1", "demo-2"]);
    }

    #[test]
    fn the_state_of_a_pod_is_what_keeps_it() {
        let check = |status: Value, want: &str| assert_eq!(state(&pod("p", "u", status)), want);
        check(running(true), "ready");
        check(running(false), "not ready");
        check(json!({"phase": "Pending"}), "Pending");
        check(json!({"phase": "Failed", "reason": "Evicted"}), "Evicted");
        let unscheduled =
            json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable"});
        check(
            json!({"phase": "Pending", "conditions": [unscheduled]}),
            "Unschedulable",
        );
        let container = json!({
            "name": "headwater", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        });
        check(
            json!({"phase": "Running", "containerStatuses": [container]}),
            "CrashLoopBackOff",
        );
        assert_eq!(state(&leaving(pod("p", "u", running(true)))), "terminating");
    }
}
