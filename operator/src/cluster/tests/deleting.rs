//! What a Cluster takes with it, and what it must not.

use headwater_crds::Cluster;
use kube::api::Api;
use serde_json::{Value, json};

use crate::cluster::{build, delete};
use crate::fake::{Log, context, deleted_cluster};

const CLUSTER: &str = "/apis/headwater.dev/v1alpha1/namespaces/headwater/clusters/demo";
const SET: &str = "/apis/apps/v1/namespaces/headwater/statefulsets/demo";
const POD: &str = "/api/v1/namespaces/headwater/pods/demo-0";
const CLAIM: &str = "/api/v1/namespaces/headwater/persistentvolumeclaims/data-demo-0";
const SECRET: &str = "/api/v1/namespaces/headwater/secrets/demo-internal";

fn object(name: &str, ours: bool, owner: Value) -> Value {
    let secret = build::internal_secret("demo", "headwater", "x");
    let labels = if ours {
        json!(secret.metadata.labels)
    } else {
        json!({"app": "theirs"})
    };
    json!({
        "metadata": {"name": name, "uid": format!("uid of {name}"), "labels": labels,
            "ownerReferences": owner},
        "spec": {"selector": {}, "serviceName": "x", "template": {}, "containers": []},
    })
}

fn owned_by(uid: &str) -> Value {
    json!([{"apiVersion": "headwater.dev/v1alpha1", "kind": "Cluster", "name": "demo", "uid": uid,
        "controller": true}])
}

/// Lets one look at a Cluster that is being deleted happen; `now` is what the API server has of it.
async fn look(now: Option<Cluster>, mut objects: Vec<(&str, Value)>) -> Log {
    if let Some(now) = &now {
        objects.push((CLUSTER, serde_json::to_value(now).unwrap()));
    }
    let objects = objects
        .into_iter()
        .map(|(path, object)| (path.to_owned(), object));
    let (context, log) = context(objects.collect());
    let api = Api::namespaced(context.client.clone(), "headwater");
    delete::delete(&context, &api, &deleted_cluster())
        .await
        .unwrap();
    log
}

fn everything(ours: bool, owner: &str) -> Vec<(&'static str, Value)> {
    vec![
        (SET, object("demo", ours, owned_by(owner))),
        (CLAIM, object("data-demo-0", ours, json!([]))),
        (SECRET, object("demo-internal", ours, json!([]))),
    ]
}

#[tokio::test]
async fn claim_and_secret_go_after_the_pod_and_by_their_uid() {
    let mut with_pod = everything(true, "u1");
    let set = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "demo", "uid": "s"}]);
    with_pod.push((POD, object("demo-0", true, set)));
    let log = look(Some(deleted_cluster()), with_pod).await;
    assert_eq!(
        log.summary(),
        ["DELETE statefulsets/demo", "PATCH demo/status"]
    );

    let log = look(Some(deleted_cluster()), everything(true, "u1")).await;
    assert_eq!(
        log.summary(),
        [
            "DELETE statefulsets/demo",
            "DELETE persistentvolumeclaims/data-demo-0",
            "DELETE secrets/demo-internal",
            "PATCH clusters/demo",
        ]
    );
    for (_, path, body) in &log.writes()[..3] {
        let uid = &body["preconditions"]["uid"];
        assert!(
            uid.as_str().is_some_and(|uid| uid.starts_with("uid of")),
            "{path}: {body}"
        );
    }
}

#[tokio::test]
async fn objects_of_others_under_the_same_names_stay() {
    let log = look(Some(deleted_cluster()), everything(false, "somebody")).await;
    assert_eq!(
        log.summary(),
        ["PATCH clusters/demo"],
        "the finalizer and nothing else"
    );
}

#[tokio::test]
async fn a_policy_that_was_changed_in_time_counts() {
    let mut retained = deleted_cluster();
    retained.spec.deletion_policy = headwater_crds::DeletionPolicy::Retain;
    let log = look(Some(retained), everything(true, "u1")).await;
    assert_eq!(log.summary(), ["PATCH clusters/demo"]);
}

#[tokio::test]
async fn another_cluster_of_the_name_is_left_alone() {
    let mut another = deleted_cluster();
    another.metadata.uid = Some("u2".to_owned());
    let log = look(Some(another), everything(true, "u2")).await;
    assert!(log.writes().is_empty());
    let log = look(None, everything(true, "u1")).await;
    assert!(log.writes().is_empty(), "it is gone already");
}

#[tokio::test]
async fn a_pod_that_was_left_behind_as_an_orphan_is_evicted_by_its_uid() {
    let orphan = vec![(POD, object("demo-0", true, json!([])))];
    let log = look(Some(deleted_cluster()), orphan).await;
    assert_eq!(log.summary(), ["POST demo-0/eviction", "PATCH demo/status"]);
    let (_, _, body) = &log.writes()[0];
    assert_eq!(
        body["deleteOptions"]["preconditions"]["uid"],
        "uid of demo-0"
    );
}
