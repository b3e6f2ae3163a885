//! From objects to the screen.

use headwater_crds::{Cluster, Topic};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::gather::Findings;
use super::view::StatusView;
use crate::kubernetes::lease::Operator;
use crate::output::Answer;

const NOW: &str = "2026-01-01T12:00:00Z";

fn parse<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the object is sound")
}

fn conditions(ready: bool, stalled: bool, reason: &str, message: &str) -> Value {
    let condition = |kind: &str, value: bool| {
        json!({
            "type": kind, "status": if value { "True" } else { "False" }, "reason": reason,
            "message": message, "observedGeneration": 1, "lastTransitionTime": NOW,
        })
    };
    json!([
        condition("Ready", ready),
        condition("Reconciling", !ready && !stalled),
        condition("Stalled", stalled),
    ])
}

fn cluster(conditions: Value) -> Cluster {
    parse(json!({
        "apiVersion": "headwater.dev/v1alpha1", "kind": "Cluster",
        "metadata": {"name": "demo", "namespace": "shop", "generation": 1},
        "spec": {"storage": {"size": "10Gi"}},
        "status": {
            "conditions": conditions, "version": "0.1.0", "image": "headwater:0.1.0",
            "address": "demo.shop.svc:7650", "clusterId": "c1",
            "brokers": [{"pod": "demo-0", "brokerId": 1, "version": "0.1.0", "claim": "data-demo-0"}],
        },
    }))
}

fn topic(name: &str, conditions: Value, in_sync: i32) -> Topic {
    parse(json!({
        "apiVersion": "headwater.dev/v1alpha1", "kind": "Topic",
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {"clusterRef": {"name": "demo"}, "partitions": 6},
        "status": {"conditions": conditions, "partitions": 6, "inSyncPartitions": in_sync},
    }))
}

fn healthy() -> Findings {
    let labels = json!({"app.kubernetes.io/instance": "demo"});
    Findings {
        clusters: vec![cluster(conditions(true, false, "Ready", "1 broker serves"))],
        topics: vec![topic(
            "orders",
            conditions(true, false, "Ready", "6 partitions"),
            6,
        )],
        pods: vec![parse(json!({
            "metadata": {"name": "demo-0", "namespace": "shop", "labels": labels},
            "spec": {"containers": [], "nodeName": "node-a"},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
        }))],
        claims: vec![parse(json!({
            "metadata": {"name": "data-demo-0", "namespace": "shop"},
            "spec": {"resources": {"requests": {"storage": "10Gi"}}, "storageClassName": "standard"},
            "status": {"phase": "Bound", "capacity": {"storage": "10Gi"}},
        }))],
        operators: Some(vec![Operator {
            namespace: "headwater".into(),
            holder: "op-1".into(),
            acts: true,
            renewed_ago_seconds: 2,
        }]),
        ..Findings::default()
    }
}

fn view(findings: &Findings) -> StatusView {
    StatusView::new(findings, NOW.parse().expect("a time"))
}

#[test]
fn a_cluster_that_is_well_fits_on_a_screen() {
    let status = view(&healthy());
    assert_eq!(status.amiss(), Vec::<String>::new());
    assert_eq!(
        status.table(),
        "\
✓ Cluster shop/demo is Ready
  1 broker serves

  version      0.1.0
  image        headwater:0.1.0
  address      demo.shop.svc:7650
  cluster id   c1
  brokers      1 of 1 ready
  storage      10Gi each

  POD      STATE   BROKER   RESTARTS   VERSION   NODE
  demo-0   ready        1          0   0.1.0     node-a

  CLAIM         STATE   ASKED   CAPACITY   CLASS      USED BY
  data-demo-0   Bound    10Gi       10Gi   standard   none

  1 Topic: all Ready
  TOPIC         PARTITIONS   IN SYNC   STATE   REASON
  shop/orders            6         6   Ready

  a broker's own findings: not asked

✓ operator op-1 in namespace headwater, which renewed its Lease 2s ago"
    );
}

#[test]
fn trouble_is_said_with_its_reason_and_in_the_exit_code() {
    let mut findings = healthy();
    let why = conditions(false, true, "ImagePullFailed", "pull access denied");
    findings.clusters = vec![cluster(why)];
    let why = conditions(
        false,
        false,
        "PartitionsNotInSync",
        "2 partitions lack replicas",
    );
    findings.topics.push(topic("clicks", why, 4));
    findings.operators = Some(Vec::new());
    let container = json!({
        "name": "headwater", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m"}},
        "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
    });
    let pod = &mut findings.pods[0];
    pod.status = Some(parse(
        json!({"phase": "Running", "containerStatuses": [container]}),
    ));
    let status = view(&findings);
    let text = status.table();
    for part in [
        "✗ Cluster shop/demo is Stalled (ImagePullFailed)\n  why: pull access denied",
        "demo-0   CrashLoopBackOff        1          3",
        "demo-0: back-off 5m",
        "demo-0: container headwater ended before: OOMKilled, exit code 137",
        "2 Topics: 1 not Ready",
        "shop/clicks            6         4   Reconciling   PartitionsNotInSync",
        "shop/clicks: 2 partitions lack replicas",
        "✗ no operator is at work",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    assert_eq!(
        status.amiss(),
        [
            "Cluster shop/demo is not Ready (ImagePullFailed)",
            "1 Topic of Cluster shop/demo is not Ready"
        ]
    );
}

#[test]
fn a_status_that_is_missing_or_old_is_not_taken_for_ready() {
    let check = |change: &dyn Fn(&mut Cluster), reason: &str| {
        let mut findings = healthy();
        change(&mut findings.clusters[0]);
        let status = view(&findings);
        let standing = &status.clusters[0].standing;
        assert_eq!((standing.ready, standing.reason.as_str()), (false, reason));
    };
    check(&|cluster| cluster.status = None, "NoStatus");
    check(
        &|cluster| cluster.metadata.generation = Some(2),
        "StatusOutdated",
    );
    let leaving = |cluster: &mut Cluster| {
        cluster.metadata.deletion_timestamp = Some(parse(json!(NOW)));
    };
    check(&leaving, "Ready");
}

#[test]
fn of_many_topics_those_that_are_ready_are_counted() {
    let mut findings = healthy();
    let ready = conditions(true, false, "Ready", "");
    findings.topics = (0..30)
        .map(|number| topic(&format!("t{number}"), ready.clone(), 6))
        .collect();
    let text = view(&findings).table();
    assert!(
        text.contains("30 Topics: all Ready") && !text.contains("shop/t1"),
        "{text}"
    );
    let stalled = conditions(false, true, "Refused", "no");
    findings.topics.push(topic("bad", stalled, 0));
    let text = view(&findings).table();
    assert!(text.contains("31 Topics: 1 not Ready"), "{text}");
    assert!(
        text.contains("shop/bad") && !text.contains("shop/t1"),
        "{text}"
    );
}

#[test]
fn only_topics_that_name_the_cluster_are_its_own() {
    let mut findings = healthy();
    let mut elsewhere = findings.topics[0].clone();
    elsewhere.metadata.namespace = Some("bank".into());
    let mut from_afar = elsewhere.clone();
    from_afar.spec.cluster_ref.namespace = Some("shop".into());
    findings.topics.extend([elsewhere, from_afar]);
    let status = view(&findings);
    let names: Vec<_> = status.clusters[0]
        .topics
        .iter()
        .map(|topic| topic.topic.as_str())
        .collect();
    assert_eq!(names, ["bank/orders", "shop/orders"]);
}

#[test]
fn warnings_of_the_last_hour_are_shown_newest_first() {
    let event = |kind: &str, name: &str, at: &str, message: &str| {
        parse(json!({
            "metadata": {"name": "e", "namespace": "shop"}, "type": "Warning", "reason": "BackOff",
            "involvedObject": {"kind": kind, "name": name}, "message": message, "count": 5,
            "lastTimestamp": at,
        }))
    };
    let mut findings = healthy();
    findings.events = vec![
        event(
            "Pod",
            "demo-0",
            "2026-01-01T11:50:00Z",
            "starts\nagain \u{1b}[2J",
        ),
        event("Cluster", "demo", "2026-01-01T11:58:00Z", "newer"),
        event("Pod", "demo-0", "2026-01-01T10:00:00Z", "old"),
        event("Pod", "demo-operator-1", "2026-01-01T11:58:00Z", "other"),
        event("Pod", "demo2-0", "2026-01-01T11:58:00Z", "other"),
        event("Topic", "unknown", "2026-01-01T11:58:00Z", "other"),
    ];
    let text = view(&findings).table();
    let part = "\
  Warnings of the last hour
  2m ago, Cluster/demo: BackOff (5 times): newer
  10m ago, Pod/demo-0: BackOff (5 times): starts again [2J
";
    assert!(text.contains(part), "{text}");
    assert!(!text.contains("other"), "{text}");
}

#[test]
fn programs_get_everything_with_the_words_of_the_api() {
    let value = serde_json::to_value(view(&healthy())).expect("it is JSON");
    let cluster = &value["clusters"][0];
    assert_eq!(cluster["ready"], true);
    assert_eq!(cluster["brokers"][0]["broker_id"], 1);
    assert_eq!(cluster["topics"][0]["in_sync_partitions"], 6);
    assert_eq!(cluster["claims"][0]["capacity"], "10Gi");
    let now: Timestamp = NOW.parse().expect("a time");
    assert!(
        StatusView::new(&Findings::default(), now)
            .names()
            .is_empty()
    );
}
