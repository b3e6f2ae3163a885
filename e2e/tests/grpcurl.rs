//! grpcurl, with nothing but the address, can do what a simple client does.
#![allow(clippy::print_stderr, reason = "says what it needs")]

use std::process::{Command, Output};

use headwater_e2e::{Broker, everything};
use serde_json::{Value, json};

/// `hello` as JSON carries bytes.
const HELLO: &str = "aGVsbG8=";

#[test]
fn grpcurl_works_by_reflection_alone() {
    if !everything(" and grpcurl") || !installed() {
        return;
    }
    let broker = Broker::start();

    let services = text(&grpcurl(&broker, None, "list"));
    for service in [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "headwater.v1.ClusterService",
        "headwater.v1.ConsumerService",
        "headwater.v1.ProducerService",
        "headwater.v1.TopicService",
    ] {
        assert!(
            services.lines().any(|line| line == service),
            "{service} is not in:\n{services}"
        );
    }
    let described = text(&grpcurl(
        &broker,
        None,
        "describe headwater.v1.ProduceRequest",
    ));
    assert!(
        described.contains("optional int64 expected_offset = 7;"),
        "{described}"
    );

    let health = call(&broker, "grpc.health.v1.Health/Check", &json!({}));
    assert_eq!(health["status"], "SERVING");
    let topic = json!({"topic": {"name": "orders", "partitions": 2}});
    let created = call(&broker, "headwater.v1.TopicService/CreateTopic", &topic);
    assert_eq!(created["topic"]["name"], "default/orders");
    let produced = call(
        &broker,
        "headwater.v1.ProducerService/Produce",
        &json!({"topic": "orders", "partition": 1, "records": [{"key": HELLO, "value": HELLO}]}),
    );
    assert_eq!(produced["acks"][0]["partition"], 1);
    let fetched = call(
        &broker,
        "headwater.v1.ConsumerService/Fetch",
        &json!({"partitions": [{"topic": "orders", "partition": 1, "position": {"offset": 0}}]}),
    );
    assert_eq!(fetched["partitions"][0]["records"][0]["value"], HELLO);

    let unknown = json!({"topic": "nowhere", "records": [{"value": HELLO}]});
    let refused = grpcurl(
        &broker,
        Some(&unknown),
        "headwater.v1.ProducerService/Produce",
    );
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success());
    assert!(
        message.contains("NotFound") && message.contains("nowhere"),
        "{message}"
    );
}

/// Enough of the older reflection service to ask it for names. Servers do not describe it by the
/// newer one, and grpcurl only falls back to it.
const V1ALPHA: &str = r#"
syntax = "proto3";
package grpc.reflection.v1alpha;
service ServerReflection {
  rpc ServerReflectionInfo(stream Question) returns (stream Answer);
}
message Question { string list_services = 7; }
message Answer { Services list_services_response = 6; }
message Services { repeated Service service = 1; }
message Service { string name = 1; }
"#;

#[test]
fn older_clients_find_the_services_too() {
    if !everything(" and grpcurl") || !installed() {
        return;
    }
    let broker = Broker::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("v1alpha.proto"), V1ALPHA).unwrap();
    let answer = Command::new("grpcurl")
        .args(["-plaintext", "-proto", "v1alpha.proto", "-import-path"])
        .arg(folder.path())
        .args(["-d", r#"{"list_services": "*"}"#, &broker.endpoint()])
        .arg("grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        .output()
        .unwrap();
    assert!(
        text(&answer).contains("headwater.v1.ProducerService"),
        "{answer:?}"
    );
}

fn installed() -> bool {
    let there = Command::new("grpcurl").arg("-version").output().is_ok();
    if !there {
        eprintln!("not run: needs grpcurl");
    }
    there
}

fn call(broker: &Broker, method: &str, request: &Value) -> Value {
    let answer = text(&grpcurl(broker, Some(request), method));
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn grpcurl(broker: &Broker, request: Option<&Value>, words: &str) -> Output {
    let mut grpcurl = Command::new("grpcurl");
    grpcurl.args(["-plaintext", "-max-time", "30"]);
    if let Some(request) = request {
        grpcurl.arg("-d").arg(request.to_string());
    }
    grpcurl
        .arg(broker.endpoint())
        .args(words.split(' '))
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "grpcurl has failed: {talk}");
    String::from_utf8(output.stdout.clone()).unwrap()
}
