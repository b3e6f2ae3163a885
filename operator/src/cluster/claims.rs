//! Growing the disk. Pure. The claim comes first, whatever the health of the broker: a full disk is
//! why people grow it.

use headwater_crds::Quantity;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

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

/// The size in a StatefulSet's template, which cannot be changed: another one needs another
/// StatefulSet, with the pod left as it is.
pub(super) fn template_size(set: &StatefulSet) -> Option<&str> {
    let template = set
        .spec
        .as_ref()?
        .volume_claim_templates
        .as_ref()?
        .first()?;
    let requests = template
        .spec
        .as_ref()?
        .resources
        .as_ref()?
        .requests
        .as_ref()?;
    requests.get("storage").map(|size| size.0.as_str())
}

/// Whether one quantity is less than another. What cannot be read is not.
pub(super) fn is_smaller(quantity: &str, than: &str) -> bool {
    let amount = |text: &str| Quantity(text.to_owned()).amount();
    amount(quantity)
        .zip(amount(than))
        .is_some_and(|(one, other)| one < other)
}
