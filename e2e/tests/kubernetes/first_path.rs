//! The first five minutes: declare a cluster and a topic, send a day of flights, read it back.

use std::process::Command;
use std::time::{Duration, Instant};

use headwater_crds::{Cluster, Topic};
use headwater_e2e::kubernetes::{Forward, Kubernetes, NAMESPACE, cluster, helm, kubectl, topic};
use headwater_e2e::sample_day;
use serde_json::json;

const PARTITIONS: usize = 6;
/// What is promised for a quiet machine.
const PROMISED: Duration = Duration::from_secs(60);
/// What a machine that does much else besides may take.
const SANE: Duration = Duration::from_secs(180);

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_flights_goes_in_and_comes_back_through_one_forwarded_port() {
    let Some(kube) = Kubernetes::start(", and grpcurl").await else {
        return;
    };
    if !installed("grpcurl", "-version") {
        return;
    }
    let took = ready_together(&kube).await;
    eprintln!("Cluster and Topic of {PARTITIONS} partitions: Ready {took:?} after apply");
    assert!(took < SANE, "{PROMISED:?} are promised on a quiet machine");

    kubectl_shows_them();
    kubectl_waits_for_them();
    kubectl_scale_is_refused(&kube).await;

    let forward = kube.kubectl_forward("demo").await;
    let day = std::fs::read_to_string(sample_day()).unwrap();
    run(
        &forward,
        &[
            "produce",
            "flights",
            "--file",
            sample_day().to_str().unwrap(),
        ],
    );
    produce_one_by_grpcurl(&forward);
    let read = run(&forward, &["consume", "flights", "-o", "ndjson"]);
    same_but_for_one(&day, &read);
    drop(forward);

    let tested = kube.helm_test("demo");
    assert!(tested.contains("Succeeded"), "{tested}");
    kube.delete::<Topic>(NAMESPACE, "flights").await;
    kube.discard_cluster("demo").await;
}

/// Applies both at once; how long it took until both were ready.
async fn ready_together(kube: &Kubernetes) -> Duration {
    let both = cluster("demo", "{storage: {size: 1Gi}}")
        + &topic(
            "flights",
            &format!("{{clusterRef: {{name: demo}}, partitions: {PARTITIONS}}}"),
        );
    let start = Instant::now();
    kube.apply(NAMESPACE, &both).await.unwrap();
    let demo: Cluster = kube.ready(NAMESPACE, "demo").await;
    let flights: Topic = kube.ready(NAMESPACE, "flights").await;
    let took = start.elapsed();

    let status = demo.status.unwrap();
    assert_eq!((status.replicas, status.ready_replicas), (1, 1));
    assert_eq!(
        status.address.unwrap(),
        format!("demo.{NAMESPACE}.svc:7650")
    );
    let status = flights.status.unwrap();
    assert_eq!(status.topic_name.unwrap(), format!("{NAMESPACE}/flights"));
    assert_eq!(status.partitions, Some(PARTITIONS as i32));
    assert_eq!(status.in_sync_partitions, Some(PARTITIONS as i32));
    assert_eq!(status.leaders.len(), PARTITIONS);
    took
}

fn kubectl_shows_them() {
    let of = |words: &str| {
        let mut words: Vec<&str> = words.split(' ').collect();
        words.extend(["-n", NAMESPACE]);
        kubectl(&words).text()
    };
    let shows = |words: &str, parts: &[&str]| {
        let text = of(words);
        for part in parts {
            assert!(text.contains(part), "kubectl {words} lacks {part}:\n{text}");
        }
    };
    let clusters = [
        "NAME", "BROKERS", "UP", "READY", "REASON", "VERSION", "STORAGE", "AGE", "demo",
    ];
    shows("get clusters.headwater.dev", &clusters);
    shows(
        "get hwc -o wide",
        &[
            "ADDRESS",
            "CLUSTER ID",
            "MESSAGE",
            "demo.headwater.svc:7650",
        ],
    );
    let topics = [
        "NAME",
        "CLUSTER",
        "PARTITIONS",
        "REPLICAS",
        "IN-SYNC",
        "READY",
        "flights",
    ];
    shows("get topics.headwater.dev", &topics);
    shows(
        "get hwt -o wide",
        &["TOPIC", "TOPIC ID", "headwater/flights"],
    );
    let category = ["cluster.headwater.dev/demo", "topic.headwater.dev/flights"];
    shows("get headwater", &category);
    let conditions = [
        "Conditions:",
        "Reconciling",
        "Stalled",
        "Observed Generation",
    ];
    shows("describe clusters.headwater.dev demo", &conditions);
    shows(
        "describe clusters.headwater.dev demo",
        &["Events:", "ClusterFormed"],
    );
    shows(
        "describe topics.headwater.dev flights",
        &["Events:", "TopicCreated"],
    );

    for resource in ["clusters.headwater.dev", "topics.headwater.dev"] {
        for part in ["", ".spec", ".status"] {
            let text = kubectl(&["explain", &format!("{resource}{part}")]).text();
            assert!(
                !text.contains("<no description>"),
                "{resource}{part}:\n{text}"
            );
        }
    }
    let size = kubectl(&["explain", "clusters.headwater.dev.spec.storage.size"]).text();
    assert!(size.contains("such as `10Gi`"), "{size}");
}

fn kubectl_waits_for_them() {
    let wait = [
        "wait",
        "-n",
        NAMESPACE,
        "--for=condition=Ready",
        "--timeout=60s",
    ];
    let both = [
        "clusters.headwater.dev/demo",
        "topics.headwater.dev/flights",
    ];
    kubectl(&[&wait[..], &both[..]].concat()).text();
}

async fn kubectl_scale_is_refused(kube: &Kubernetes) {
    let scale = [
        "scale",
        "-n",
        NAMESPACE,
        "clusters.headwater.dev/demo",
        "--replicas=3",
    ];
    let refusal = kubectl(&scale).refusal();
    assert!(
        refusal.contains("spec.replicas must be 1: this version runs clusters of one broker"),
        "{refusal}"
    );
    let demo: Cluster = kube.get(NAMESPACE, "demo").await;
    assert_eq!(demo.spec.replicas, 1);
    // To what it is already, it may be scaled: the subresource works.
    let scale = [
        "scale",
        "-n",
        NAMESPACE,
        "clusters.headwater.dev/demo",
        "--replicas=1",
    ];
    kubectl(&scale).text();
}

/// A value as JSON carries bytes, and as the command-line tool shows it.
const ONE: (&str, &str) = ("b25lIG1vcmU=", "one more");

fn produce_one_by_grpcurl(forward: &Forward) {
    let request = json!({"topic": "flights", "partition": 0, "records": [{"value": ONE.0}]});
    let output = Command::new("grpcurl")
        .args(["-plaintext", "-max-time", "30", "-d", &request.to_string()])
        .args([&forward.endpoint(), "headwater.v1.ProducerService/Produce"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// The lines of a file came back, each byte of them, and one record more.
fn same_but_for_one(file: &str, read: &str) {
    let mut expected: Vec<&str> = file.lines().collect();
    let mut found: Vec<&str> = read.lines().collect();
    expected.sort_unstable();
    found.sort_unstable();
    let one = found.iter().position(|line| line.contains(ONE.1));
    found.remove(one.expect("the record of grpcurl was read"));
    assert_eq!(found.len(), expected.len(), "records read");
    let different = found.iter().zip(&expected).find(|(a, b)| a != b);
    assert!(different.is_none(), "{different:#?}");
}

fn run(forward: &Forward, arguments: &[&str]) -> String {
    let output = headwater_e2e::headwater(&forward.endpoint(), arguments);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "headwater {arguments:?} has failed: {talk}"
    );
    String::from_utf8(output.stdout).unwrap()
}

fn installed(program: &str, argument: &str) -> bool {
    let there = Command::new(program).arg(argument).output().is_ok();
    if !there {
        eprintln!("not run: needs {program}");
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_chart_says_after_an_installation_is_about_this_very_one() {
    if Kubernetes::start("").await.is_none() {
        return;
    }
    let notes = helm(&["get", "notes", "headwater", "-n", NAMESPACE]).text();
    for part in [
        "kubectl apply -n headwater",
        "rollout status deployment/headwater-operator",
    ] {
        assert!(notes.contains(part), "the notes lack {part}:\n{notes}");
    }
}
