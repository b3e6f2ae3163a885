//! YAML in, resources out; and what is decided from what is found.

mod decisions;
mod deleting;
mod pods;
mod tier;

use headwater_crds::{Cluster, Reason, Verdict};
use serde_json::Value;

use super::build;
use super::dereference::{Found, InternalSecret};
use super::validate::{ValidCluster, validate};
use crate::context::Settings;

fn settings() -> Settings {
    Settings {
        namespace: "headwater".to_owned(),
        cluster_namespaces: vec!["headwater".to_owned()],
        default_image: "docker.io/headwater/headwater:0.1.0".to_owned(),
    }
}

fn cluster(yaml: &str) -> Cluster {
    serde_yaml::from_str(yaml).unwrap()
}

const MINIMAL: &str = include_str!("tests/minimal.yaml");
const EVERYTHING: &str = include_str!("tests/everything.yaml");

/// Nothing but a Secret with credentials for every tier.
fn found() -> Found {
    let keys = ["access_key_id", "secret_access_key", "credential.json"];
    Found {
        tier_keys: Some(keys.map(str::to_owned).into()),
        ..Found::default()
    }
}

fn valid(cluster: &Cluster) -> ValidCluster {
    validate(cluster, &found(), &settings()).unwrap()
}

/// All children as one YAML text.
fn children(cluster: &Cluster) -> String {
    let valid = valid(cluster);
    let mut all = build::around_the_pod(cluster, &valid).unwrap();
    let size = &cluster.spec.storage.size.0;
    all.push(serde_json::to_value(build::stateful_set(cluster, &valid, size)).unwrap());
    let texts: Vec<String> = all
        .iter()
        .map(|child| serde_yaml::to_string(child).unwrap())
        .collect();
    texts.join("---\n")
}

/// Compares with a committed file; `HEADWATER_BLESS=1` writes it anew.
fn check(cluster_yaml: &str, file: &str, golden: &str) {
    let made = children(&cluster(cluster_yaml));
    if std::env::var_os("HEADWATER_BLESS").is_some() {
        let path = format!("{}/src/cluster/tests/{file}", env!("CARGO_MANIFEST_DIR"));
        std::fs::write(path, &made).unwrap();
        return;
    }
    assert_eq!(
        made, golden,
        "{file}; a difference in the pod template or the configuration restarts every broker when its \
         operator is upgraded. HEADWATER_BLESS=1 writes the file anew; look at the difference before \
         you commit it"
    );
}

#[test]
fn a_minimal_cluster_becomes_these_children() {
    check(
        MINIMAL,
        "minimal-children.yaml",
        include_str!("tests/minimal-children.yaml"),
    );
}

#[test]
fn every_field_arrives_where_it_belongs() {
    check(
        EVERYTHING,
        "everything-children.yaml",
        include_str!("tests/everything-children.yaml"),
    );
}

#[test]
fn the_version_is_fixed_at_creation_and_does_not_follow_the_operator() {
    let mut declared = cluster(MINIMAL);
    assert_eq!(valid(&declared).image, settings().default_image);
    let pinned = "docker.io/headwater/headwater:0.0.9";
    declared.status = Some(headwater_crds::ClusterStatus {
        version: Some("0.0.9".to_owned()),
        image: Some(pinned.to_owned()),
        ..Default::default()
    });
    let old = valid(&declared);
    assert_eq!(
        (old.image.as_str(), old.version.as_str()),
        (pinned, "0.0.9")
    );
    declared.spec.version = Some("0.2.0".to_owned());
    assert_eq!(
        valid(&declared).image,
        "docker.io/headwater/headwater:0.2.0"
    );
}

#[test]
fn a_resource_that_lost_its_status_keeps_the_image_that_runs() {
    let declared = cluster(MINIMAL);
    let mut earlier = valid(&declared);
    earlier.image = "example.com/hw:7".to_owned();
    let found = Found {
        stateful_set: Some(build::stateful_set(&declared, &earlier, "1Gi")),
        ..Found::default()
    };
    let again = validate(&declared, &found, &settings()).unwrap();
    assert_eq!(again.image, "example.com/hw:7");
}

#[test]
fn a_changed_configuration_is_a_changed_template_and_other_changes_are_not() {
    let template = |declared: &Cluster| {
        let set = build::stateful_set(declared, &valid(declared), "1Gi");
        serde_json::to_value(set.spec.unwrap().template).unwrap()
    };
    let before = template(&cluster(MINIMAL));
    let mut declared = cluster(MINIMAL);
    declared.spec.topic_namespaces = vec!["shop".to_owned()];
    declared.spec.storage.size = headwater_crds::Quantity("9Gi".to_owned());
    assert_eq!(
        template(&declared),
        before,
        "nothing that the broker is started with"
    );
    let key = "limits.connections_max".to_owned();
    let text = headwater_crds::ConfigText("100".to_owned());
    declared.spec.config.insert(key, text);
    assert_ne!(template(&declared), before);
}

#[test]
fn resources_that_no_pod_can_have_are_refused() {
    let judged = |yaml: &str| {
        let mut declared = cluster(MINIMAL);
        declared.spec.resources = Some(serde_yaml::from_str(yaml).unwrap());
        validate(&declared, &found(), &settings())
    };
    let refused = |yaml: &str, words: &str| {
        let verdict = judged(yaml).unwrap_err();
        assert_eq!(verdict.reason(), Reason::InvalidSpec, "{yaml}");
        assert!(verdict.message().contains(words), "{}", verdict.message());
    };
    refused(
        "requests: {memory: 1Gi}",
        "memory is requested with 1Gi and limited to 512Mi",
    );
    refused(
        "{requests: {cpu: 2}, limits: {cpu: 1500m}}",
        "lower spec.resources.requests.cpu",
    );
    refused("requests: {cpu: -1}", "spec.resources.requests: cpu is -1");
    refused(
        "limits: {memory: -1}",
        "spec.resources.limits: memory is -1",
    );
    // What nobody asked for gives way.
    let little = judged("limits: {cpu: 50m}").unwrap();
    assert_eq!(little.requests["cpu"], "50m");
    let much = judged("{requests: {memory: 1Gi}, limits: {memory: 2Gi}}").unwrap();
    assert_eq!(
        (&*much.requests["cpu"], &*much.limits["memory"]),
        ("100m", "2Gi")
    );
}

#[test]
fn what_cannot_be_is_refused_with_the_field_and_the_remedy() {
    let refused = |declared: &Cluster, found: &Found| {
        let verdict = validate(declared, found, &settings()).unwrap_err();
        assert!(matches!(verdict, Verdict::Stalled { .. }));
        (verdict.reason(), verdict.message().to_owned())
    };
    let mut declared = cluster(EVERYTHING);
    let pod = declared.spec.pod.as_mut().unwrap();
    let label = ("app.kubernetes.io/name".to_owned(), "mine".to_owned());
    pod.labels.extend([label]);
    let (reason, message) = refused(&declared, &found());
    assert_eq!(reason, Reason::InvalidSpec);
    assert!(
        message.starts_with("spec.pod.labels: app.kubernetes.io/name"),
        "{message}"
    );

    let found = Found {
        secret: Some(InternalSecret {
            secret: "hunter2".to_owned(),
            ..InternalSecret::default()
        }),
        ..Found::default()
    };
    let (reason, message) = refused(&cluster(MINIMAL), &found);
    assert_eq!(reason, Reason::NameTaken);
    assert!(
        message.contains("Secret demo-internal") && !message.contains("hunter2"),
        "{message}"
    );
}

#[test]
fn the_pod_meets_the_restricted_standard() {
    let declared = cluster(MINIMAL);
    let set = build::stateful_set(&declared, &valid(&declared), "1Gi");
    let pod = serde_json::to_value(set.spec.unwrap().template.spec.unwrap()).unwrap();
    let at = |path: &str| pod.pointer(path).cloned().unwrap_or(Value::Null);
    assert_eq!(at("/securityContext/runAsNonRoot"), true);
    assert_eq!(at("/securityContext/seccompProfile/type"), "RuntimeDefault");
    assert_eq!(
        at("/containers/0/securityContext/allowPrivilegeEscalation"),
        false
    );
    assert_eq!(
        at("/containers/0/securityContext/readOnlyRootFilesystem"),
        true
    );
    assert_eq!(
        at("/containers/0/securityContext/capabilities/drop/0"),
        "ALL"
    );
    assert_eq!(at("/automountServiceAccountToken"), false);
    assert_eq!(
        at("/enableServiceLinks"),
        false,
        "or they would be read as settings"
    );
}

#[test]
fn a_disk_of_another_cluster_is_told_from_this_ones() {
    let found = |known: Option<&str>, formed, on_disk: &str| Found {
        secret: Some(InternalSecret {
            cluster_id: known.map(str::to_owned),
            formed,
            ..InternalSecret::default()
        }),
        broker: Some(headwater_proto::internal::v1::GetBrokerResponse {
            cluster_id: on_disk.to_owned(),
            ..Default::default()
        }),
        ..Found::default()
    };
    assert!(found(Some("a"), true, "b").is_another_cluster());
    assert!(!found(Some("a"), true, "a").is_another_cluster());
    assert!(
        !found(Some("a"), false, "b").is_another_cluster(),
        "it was never formed"
    );
    assert!(!found(None, false, "b").is_another_cluster());
}

#[test]
fn a_configuration_is_judged_with_the_memory_that_it_will_have() {
    let mut declared = cluster(MINIMAL);
    let judged = valid(&declared).configuration_with_memory();
    assert!(
        judged.ends_with("memory.limit_bytes: 536870912\n"),
        "{judged}"
    );
    let key = "memory.limit_bytes".to_owned();
    let own = headwater_crds::ConfigText("300MiB".to_owned());
    declared.spec.config.insert(key, own);
    let judged = valid(&declared).configuration_with_memory();
    assert_eq!(judged.matches("memory.limit_bytes").count(), 1);
}

#[test]
fn an_image_that_never_served_is_not_pinned() {
    let failing = Verdict::Reconciling {
        reason: Reason::ImagePullFailed,
        message: String::new(),
    };
    let ready = Verdict::Ready {
        message: String::new(),
    };
    let mut declared = cluster(MINIMAL);
    assert!(
        super::converge::pins(&declared, &failing),
        "the operator's own, at creation"
    );
    declared.spec.version = Some("9.9.9".to_owned());
    assert!(!super::converge::pins(&declared, &failing));
    assert!(super::converge::pins(&declared, &ready));
}
