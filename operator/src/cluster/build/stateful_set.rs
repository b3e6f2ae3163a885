//! The StatefulSet: one pod with one claim. It never restarts anything by itself.

use std::collections::BTreeMap;

use headwater_crds::Cluster;
use k8s_openapi::api::apps::v1::{
    StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec,
    StatefulSetUpdateStrategy,
};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::VOLUME;
use super::network::headless_name;
use crate::cluster::validate::ValidCluster;

/// The StatefulSet, with claims of `size`.
pub(in crate::cluster) fn stateful_set(
    cluster: &Cluster,
    valid: &ValidCluster,
    size: &str,
) -> StatefulSet {
    let keep = || Some("Retain".to_owned());
    StatefulSet {
        metadata: super::metadata(cluster, valid, &valid.name),
        spec: Some(StatefulSetSpec {
            replicas: Some(cluster.spec.replicas),
            service_name: Some(headless_name(&valid.name)),
            selector: super::label_selector(&valid.name),
            pod_management_policy: Some("Parallel".to_owned()),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            persistent_volume_claim_retention_policy: Some(
                StatefulSetPersistentVolumeClaimRetentionPolicy {
                    when_deleted: keep(),
                    when_scaled: keep(),
                },
            ),
            template: super::pod::template(cluster, valid),
            volume_claim_templates: Some(vec![claim(cluster, valid, size)]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

/// Its labels are in the claim for good, so that the claim is found after everything else is gone.
fn claim(cluster: &Cluster, valid: &ValidCluster, size: &str) -> PersistentVolumeClaim {
    let request = ("storage".to_owned(), Quantity(size.to_owned()));
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(VOLUME.to_owned()),
            labels: Some(super::labels(&valid.name)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: cluster.spec.storage.class_name.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([request])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
