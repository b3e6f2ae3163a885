//! Whether an operator acts: the holder of the Lease by which operators elect one.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt as _;
use kube::api::ListParams;
use serde::Serialize;

use super::{Kubernetes, Refusal};

/// An operator that held the Lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Operator {
    /// Namespace of the Lease, and of the operator.
    pub(crate) namespace: String,
    /// Its pod.
    pub(crate) holder: String,
    /// Whether the Lease was renewed within its duration, by this machine's clock.
    pub(crate) acts: bool,
    /// How long ago it was renewed.
    pub(crate) renewed_ago_seconds: u64,
}

impl Operator {
    /// `operator X in namespace Y, which renewed its Lease 2s ago`.
    pub(crate) fn describe(&self) -> String {
        let ago = Duration::from_secs(self.renewed_ago_seconds);
        format!(
            "operator {} in namespace {}, which renewed its Lease {} ago",
            self.holder,
            self.namespace,
            crate::units::show_age(ago)
        )
    }
}

/// The holders of all Leases of operators; they cannot be read by everybody.
pub(crate) async fn operators(kubernetes: &Kubernetes) -> Result<Vec<Operator>, Refusal> {
    let params = ListParams::default().labels(headwater_crds::LEASE_SELECTOR);
    let leases: Vec<Lease> = kubernetes.list("Leases", None, &params).await?;
    let now = Timestamp::now();
    Ok(leases
        .iter()
        .filter_map(|lease| judge(lease, now))
        .collect())
}

/// Who holds the Lease; `None` if it was given back.
fn judge(lease: &Lease, now: Timestamp) -> Option<Operator> {
    let spec = lease.spec.as_ref()?;
    let holder = spec
        .holder_identity
        .clone()
        .filter(|holder| !holder.is_empty())?;
    let renewed = spec
        .renew_time
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let seconds = now.duration_since(renewed).as_secs();
    let duration = i64::from(spec.lease_duration_seconds.unwrap_or(0));
    Some(Operator {
        namespace: lease.namespace().unwrap_or_default(),
        holder,
        acts: seconds <= duration,
        renewed_ago_seconds: u64::try_from(seconds).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_acts_while_its_lease_was_renewed_within_its_duration() {
        let lease = |holder: &str| {
            serde_json::from_value::<Lease>(serde_json::json!({
                "metadata": {"name": "headwater-operator", "namespace": "headwater"},
                "spec": {
                    "holderIdentity": holder, "leaseDurationSeconds": 15,
                    "renewTime": "2026-01-01T00:00:00.000000Z",
                },
            }))
            .unwrap()
        };
        let acts = |now: &str| judge(&lease("op-1"), now.parse().unwrap()).unwrap().acts;
        assert!(acts("2026-01-01T00:00:14Z"));
        assert!(!acts("2026-01-01T00:01:00Z"));
        // A clock that goes a little slow.
        assert!(acts("2025-12-31T23:59:50Z"));
        let now = "2026-01-01T00:00:02Z".parse().unwrap();
        assert!(judge(&lease(""), now).is_none());
        assert_eq!(
            judge(&lease("op-1"), now).unwrap().describe(),
            "operator op-1 in namespace headwater, which renewed its Lease 2s ago"
        );
    }
}
