//! What the broker's pod says about itself, in one sentence for people. Pure.

use headwater_crds::{Reason, Verdict};
use headwater_proto::internal::v1::BrokerState;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;

use super::dereference::Found;

/// Reasons for which a container waits and will wait until somebody changes something.
const IMAGE_REASONS: [&str; 5] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImageInspectError",
];
/// Characters of a broker's last words that a condition shows.
const LAST_WORDS_CHARS_MAX: usize = 600;

/// Whether the pod's readiness probe succeeds.
pub(super) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|(status, _)| status == "True")
}

/// What keeps the broker from serving; none: it serves.
pub(super) fn obstacle(found: &Found) -> Option<Verdict> {
    let waits = |reason, message: String| Some(Verdict::Reconciling { reason, message });
    let Some(pod) = &found.pod else {
        return waits(
            Reason::BrokerNotReady,
            "waits for the StatefulSet to make the pod".to_owned(),
        );
    };
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        return waits(Reason::BrokerNotReady, format!("pod {name} is stopping"));
    }
    if let Some(("False", message)) = condition(pod, "PodScheduled") {
        return waits(
            Reason::Unschedulable,
            format!(
                "pod {name} cannot be placed: {message}. Free or add nodes, or change spec.resources, \
                 spec.pod or spec.storage"
            ),
        );
    }
    if let Some((reason, message)) = container(pod).and_then(fault) {
        return waits(reason, format!("pod {name}: {message}"));
    }
    match (&found.broker, &found.silence) {
        (Some(broker), _) => match broker.state() {
            BrokerState::Serving if is_ready(pod) => None,
            BrokerState::Serving => waits(
                Reason::BrokerNotReady,
                format!("pod {name} serves; waits for its readiness probe"),
            ),
            BrokerState::Unformed => waits(
                Reason::Forming,
                format!("pod {name} waits to be told which cluster to form"),
            ),
            BrokerState::Draining => {
                waits(Reason::BrokerNotReady, format!("pod {name} is stopping"))
            }
            BrokerState::Opening | BrokerState::Unspecified => {
                waits(Reason::BrokerNotReady, format!("pod {name} opens its log"))
            }
        },
        (None, Some(error)) => waits(
            Reason::BrokerNotReady,
            format!("pod {name} runs, and the operator cannot ask it: {error}"),
        ),
        (None, None) => waits(Reason::BrokerNotReady, format!("pod {name} starts")),
    }
}

/// Status and message of a condition.
fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions
        .iter()
        .find(|condition| condition.type_ == kind)?;
    let message = condition.message.as_deref().unwrap_or_default();
    Some((&condition.status, message))
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

/// Why a container does not run although it should.
fn fault(container: &ContainerStatus) -> Option<(Reason, String)> {
    let state = container.state.as_ref()?;
    let ended = |terminated: &k8s_openapi::api::core::v1::ContainerStateTerminated| {
        let words = last_words(terminated.message.as_deref().unwrap_or_default());
        let code = terminated.exit_code;
        let why = match (words.as_str(), terminated.reason.as_deref()) {
            (_, Some("OOMKilled")) => {
                "out of memory; raise spec.resources.limits.memory".to_owned()
            }
            ("", _) => "`kubectl logs --previous` shows its log".to_owned(),
            (words, _) => words.to_owned(),
        };
        format!("the broker ended with exit code {code}: {why}")
    };
    if let Some(terminated) = state
        .terminated
        .as_ref()
        .filter(|ended| ended.exit_code != 0)
    {
        return Some((Reason::BrokerFailing, ended(terminated)));
    }
    let waiting = state.waiting.as_ref()?;
    let reason = waiting.reason.as_deref().unwrap_or_default();
    let message = waiting.message.as_deref().unwrap_or_default();
    if IMAGE_REASONS.contains(&reason) {
        let image = &container.image;
        let message = format!(
            "the image {image} cannot be had ({reason}: {message}); correct spec.image, or load the \
             image into the nodes"
        );
        return Some((Reason::ImagePullFailed, message));
    }
    let last = container
        .last_state
        .as_ref()
        .and_then(|last| last.terminated.as_ref());
    match (reason, last) {
        ("CrashLoopBackOff", Some(last)) => Some((Reason::BrokerFailing, ended(last))),
        (
            "CrashLoopBackOff"
            | "CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError",
            _,
        ) => Some((Reason::BrokerFailing, format!("{reason}: {message}"))),
        _ => None,
    }
}

/// The last line that says anything of what a broker left behind.
fn last_words(log: &str) -> String {
    let line = log.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or_default()
        .trim()
        .chars()
        .take(LAST_WORDS_CHARS_MAX)
        .collect()
}
