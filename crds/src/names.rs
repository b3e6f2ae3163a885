//! Names that the operator, the CLI and the chart agree on.

/// The API group.
pub const GROUP: &str = "headwater.dev";
/// The API version.
pub const VERSION: &str = "v1alpha1";
/// Who owns the fields that the operator applies.
pub const FIELD_MANAGER: &str = "headwater-operator";
/// Holds a Cluster with deletion policy `Delete` until its claims are gone.
pub const CLUSTER_FINALIZER: &str = "headwater.dev/cluster";
/// Holds a Topic with deletion policy `Delete` until its records are gone.
pub const TOPIC_FINALIZER: &str = "headwater.dev/topic";

/// Selects the Leases by which operators elect the one that acts, whatever they are called.
pub const LEASE_SELECTOR: &str = "app.kubernetes.io/managed-by=headwater-operator";

/// The Secret of a cluster: keys `secret`, `clusterId` and `formed`. Nothing owns it, so that a
/// Cluster that is applied again opens the data it had.
pub fn internal_secret_name(cluster: &str) -> String {
    format!("{cluster}-internal")
}
