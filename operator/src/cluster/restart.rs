//! Whether the broker's pod has to be replaced for a change. Pure.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kube::ResourceExt as _;

/// Label by which a StatefulSet says which revision a pod was made from.
const REVISION_LABEL: &str = "controller-revision-hash";

/// What to do about the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It runs what it shall, or does not exist.
    Nothing,
    /// The StatefulSet's controller has not seen the last change yet.
    Wait,
    /// Evict it: it was made from an older template.
    Evict {
        /// Name of the pod.
        pod: String,
        /// Its UID, so that no other pod of that name is evicted.
        uid: String,
    },
}

/// Compares the pod with the StatefulSet as it was last applied.
pub(super) fn plan(set: &StatefulSet, pod: Option<&Pod>) -> Step {
    let Some(pod) = pod.filter(|pod| pod.metadata.deletion_timestamp.is_none()) else {
        return Step::Nothing;
    };
    let status = set.status.as_ref();
    let seen = status.and_then(|status| status.observed_generation);
    if seen.is_none() || seen != set.metadata.generation {
        return Step::Wait;
    }
    let newest = status.and_then(|status| status.update_revision.as_deref());
    let own = pod.labels().get(REVISION_LABEL).map(String::as_str);
    match (newest, pod.uid()) {
        (Some(newest), Some(uid)) if own != Some(newest) => Step::Evict {
            pod: pod.name_any(),
            uid,
        },
        _ => Step::Nothing,
    }
}

/// What is different in the new template, in words.
pub(super) fn change(set: &StatefulSet, pod: Option<&Pod>) -> String {
    let image_of = |spec: Option<&PodSpec>| spec?.containers.first()?.image.clone();
    let new = set
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let old = pod.and_then(|pod| pod.spec.as_ref());
    match (image_of(old), image_of(new)) {
        (Some(old), Some(new)) if old != new => format!("image {new} in place of {old}"),
        _ => "a changed configuration or pod".to_owned(),
    }
}
