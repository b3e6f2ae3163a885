//! Identity, restart and growth: every row of every table.

use headwater_crds::Reason;
use headwater_proto::internal::v1::{BrokerState, GetBrokerResponse};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use crate::cluster::dereference::InternalSecret;
use crate::cluster::{claims, identity, restart};

const OURS: &str = "11111111-2222-4333-8444-555555555555";
const OTHER: &str = "99999999-2222-4333-8444-555555555555";

fn secret(cluster_id: Option<&str>, formed: bool) -> InternalSecret {
    InternalSecret {
        secret: "a".repeat(64),
        version: None,
        cluster_id: cluster_id.map(str::to_owned),
        formed,
    }
}

fn broker(cluster_id: Option<&str>, disk_empty: bool) -> GetBrokerResponse {
    let state = match cluster_id {
        Some(_) => BrokerState::Serving,
        None => BrokerState::Unformed,
    };
    GetBrokerResponse {
        state: state.into(),
        storage_id: "disk".to_owned(),
        cluster_id: cluster_id.unwrap_or_default().to_owned(),
        disk_empty,
        ..GetBrokerResponse::default()
    }
}

fn plan(secret: &InternalSecret, broker: &GetBrokerResponse) -> identity::Step {
    identity::plan("demo", "data-demo-0", secret, broker)
}

fn stops(secret: &InternalSecret, broker: &GetBrokerResponse, reason: Reason) {
    match plan(secret, broker) {
        identity::Step::Stop(verdict) => {
            assert_eq!(verdict.reason(), reason);
            let message = verdict.message();
            assert!(message.contains("data-demo-0"), "{message}");
        }
        step => panic!("{step:?} where {reason:?} was expected"),
    }
}

#[test]
fn a_cluster_is_formed_only_on_an_empty_disk_and_after_its_uuid_is_stored() {
    let empty = broker(None, true);
    assert_eq!(plan(&secret(None, false), &empty), identity::Step::Choose);
    let form = identity::Step::Form {
        cluster_id: OURS.to_owned(),
        storage_id: "disk".to_owned(),
    };
    assert_eq!(plan(&secret(Some(OURS), false), &empty), form);
    stops(
        &secret(None, false),
        &broker(None, false),
        Reason::StorageLost,
    );
    stops(
        &secret(Some(OURS), false),
        &broker(None, false),
        Reason::StorageLost,
    );
}

#[test]
fn a_disk_that_belongs_to_a_cluster_is_that_cluster() {
    let remember = |id: &str| identity::Step::Remember {
        cluster_id: id.to_owned(),
    };
    let found = broker(Some(OURS), false);
    assert_eq!(
        plan(&secret(None, false), &found),
        remember(OURS),
        "the Secret was lost"
    );
    assert_eq!(
        plan(&secret(Some(OURS), false), &found),
        remember(OURS),
        "an operator died between"
    );
    assert_eq!(
        plan(&secret(Some(OTHER), false), &found),
        remember(OURS),
        "never formed"
    );
    assert_eq!(
        plan(&secret(Some(OURS), true), &found),
        identity::Step::Agreed
    );
}

#[test]
fn a_lost_or_foreign_disk_is_for_a_person_to_decide() {
    let formed = secret(Some(OURS), true);
    stops(&formed, &broker(None, true), Reason::StorageLost);
    stops(
        &secret(None, true),
        &broker(None, true),
        Reason::StorageLost,
    );
    stops(&formed, &broker(None, false), Reason::StorageLost);
    stops(
        &formed,
        &broker(Some(OTHER), false),
        Reason::ClusterIdMismatch,
    );
}

fn set(generation: i64, observed: i64, revision: &str) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": {"name": "demo", "generation": generation},
        "spec": {"selector": {}, "serviceName": "x", "template": {}},
        "status": {"observedGeneration": observed, "updateRevision": revision, "replicas": 1},
    }))
    .unwrap()
}

fn pod(metadata: Value) -> Pod {
    serde_json::from_value(json!({"metadata": metadata})).unwrap()
}

#[test]
fn a_pod_of_an_older_template_is_evicted_by_its_uid_and_no_other() {
    let old = pod(json!({
        "name": "demo-0", "uid": "u", "labels": {"controller-revision-hash": "demo-1"},
    }));
    let evict = restart::Step::Evict {
        pod: "demo-0".to_owned(),
        uid: "u".to_owned(),
    };
    assert_eq!(restart::plan(&set(2, 2, "demo-2"), Some(&old)), evict);
    assert_eq!(
        restart::plan(&set(2, 2, "demo-1"), Some(&old)),
        restart::Step::Nothing
    );
    assert_eq!(
        restart::plan(&set(3, 2, "demo-1"), Some(&old)),
        restart::Step::Wait
    );
    assert_eq!(
        restart::plan(&set(2, 2, "demo-2"), None),
        restart::Step::Nothing
    );
    let leaving = pod(json!({
        "name": "demo-0", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z",
    }));
    assert_eq!(
        restart::plan(&set(2, 2, "demo-2"), Some(&leaving)),
        restart::Step::Nothing
    );
}

#[test]
fn a_template_of_another_size_or_class_needs_another_stateful_set() {
    let set = |size: &str, class: Option<&str>| -> StatefulSet {
        serde_json::from_value(json!({"spec": {
            "selector": {}, "serviceName": "x", "template": {},
            "volumeClaimTemplates": [{"spec": {
                "storageClassName": class, "resources": {"requests": {"storage": size}},
            }}],
        }}))
        .unwrap()
    };
    let differs = |size, class| claims::is_another_template(&set("1Gi", Some("a")), size, class);
    assert!(!differs("1Gi", Some("a")) && !differs("1024Mi", Some("a")));
    assert!(differs("2Gi", Some("a")) && differs("512Mi", Some("a")));
    assert!(differs("1Gi", None) && differs("1Gi", Some("b")));
}

#[test]
fn a_claim_grows_and_never_shrinks() {
    let claim = |requested: &str, capacity: &str| -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "spec": {"resources": {"requests": {"storage": requested}}},
            "status": {"capacity": {"storage": capacity}},
        }))
        .unwrap()
    };
    let check = |requested, capacity, wanted, expected| {
        assert_eq!(
            claims::plan(Some(&claim(requested, capacity)), wanted),
            expected
        );
    };
    let from = "1Gi".to_owned();
    check("1Gi", "1Gi", "2Gi", claims::Step::Grow { from });
    let capacity = "1Gi".to_owned();
    check("2Gi", "1Gi", "2Gi", claims::Step::Growing { capacity });
    check("2Gi", "2Gi", "2048Mi", claims::Step::Nothing);
    check("2Gi", "2Gi", "1Gi", claims::Step::Nothing);
    // A volume larger than asked is common: providers round up.
    check("1Gi", "4Gi", "1Gi", claims::Step::Nothing);
    assert_eq!(claims::plan(None, "1Gi"), claims::Step::Nothing);
}
