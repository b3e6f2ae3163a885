//! Growing the disk. Pure. The claim comes first, whatever the health of the broker: a full disk is
//! why people grow it.

use headwater_crds::Quantity;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::apply::is_same_amount;

/// What to do about the size of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is as asked, or does not exist yet.
    Nothing,
    /// Ask for more in the claim.
    Grow {
        /// What it asks for now.
        from: String,
    },
    /// The claim asks for it and the volume is not that large yet.
    Growing {
        /// What the volume has.
        capacity: String,
    },
}

/// Compares a claim with the size that is asked for.
pub(super) fn plan(claim: Option<&PersistentVolumeClaim>, wanted: &str) -> Step {
    let Some(claim) = claim else {
        return Step::Nothing;
    };
    let requested = claim.spec.as_ref().and_then(|spec| {
        spec.resources
            .as_ref()?
            .requests
            .as_ref()?
            .get("storage")
            .cloned()
    });
    if let Some(requested) = requested.filter(|requested| is_smaller(&requested.0, wanted)) {
        return Step::Grow { from: requested.0 };
    }
    let capacity = claim
        .status
        .as_ref()
        .and_then(|status| status.capacity.as_ref()?.get("storage").cloned());
    match capacity.filter(|capacity| is_smaller(&capacity.0, wanted)) {
        Some(capacity) => Step::Growing {
            capacity: capacity.0,
        },
        None => Step::Nothing,
    }
}

/// Whether a StatefulSet's template has another size or class. A template cannot be changed: another
/// one needs another StatefulSet, with the pod left as it is.
pub(super) fn is_another_template(set: &StatefulSet, size: &str, class: Option<&str>) -> bool {
    let template = || set.spec.as_ref()?.volume_claim_templates.as_ref()?.first();
    let Some(claim) = template().and_then(|claim| claim.spec.as_ref()) else {
        return false;
    };
    let requests = claim
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref());
    let has = requests.and_then(|requests| requests.get("storage"));
    let same_size = has.is_some_and(|has| is_same_amount(&has.0, size));
    !same_size || claim.storage_class_name.as_deref() != class
}

/// Whether one quantity is less than another. What cannot be read is not.
fn is_smaller(quantity: &str, than: &str) -> bool {
    let amount = |text: &str| Quantity(text.to_owned()).amount();
    amount(quantity)
        .zip(amount(than))
        .is_some_and(|(one, other)| one < other)
}
