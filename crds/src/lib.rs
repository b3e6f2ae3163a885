//! The resources that people declare: [`Cluster`] and [`Topic`] in `headwater.dev/v1alpha1`.
//!
//! Types, their schema, the words of their status and of what a change of a Topic does; no client and no logic of the
//! reconcilers.
//! The YAML beside `src` is made from these types by `cargo xtask codegen` and holds every rule
//! that needs nothing but the resource itself, so that most mistakes are refused at `kubectl apply`.

mod cluster;
mod conditions;
mod keeping;
mod limits;
mod names;
mod quantity;
mod settings;
mod tier;
mod topic;

pub use cluster::{
    BrokerStatus, Cluster, ClusterSpec, ClusterStatus, ImageSpec, PodSpec, PullPolicy,
    ResourcesSpec, ServiceSpec, ServiceType, StorageSpec, TopicDefaults,
};
pub use conditions::{
    READY, RECONCILING, Reason, STALLED, Verdict, condition, is_ready, ready_reason, set_conditions,
};
pub use keeping::{Effect, Keeping, Units, delete_effect, move_effect};
pub use names::{
    CLUSTER_FINALIZER, FIELD_MANAGER, GROUP, LEASE_SELECTOR, TOPIC_FINALIZER, VERSION,
    internal_secret_name,
};
pub use quantity::{ConfigText, Quantity};
pub use settings::{
    Compression, DeletionPolicy, Durability, LocalRetention, Retention, RetentionSize,
    RetentionTime, Size, TimeSpan, ValueError,
};
pub use tier::{CredentialsSecret, TierBackend, TierSpec};
pub use topic::{ClusterRef, EffectiveTopic, ProblemPartition, Topic, TopicSpec, TopicStatus};

use kube::CustomResourceExt as _;

/// The definitions as YAML, by file name: what `kubectl apply -f crds/` reads.
pub fn definitions() -> [(&'static str, String); 2] {
    let yaml = |definition| {
        let text = serde_yaml::to_string(&definition).expect("a definition is plain data");
        format!("# Made from crds/src by `cargo xtask codegen`.\n{text}")
    };
    [
        ("cluster.yaml", yaml(Cluster::crd())),
        ("topic.yaml", yaml(Topic::crd())),
    ]
}

#[cfg(test)]
mod tests;
