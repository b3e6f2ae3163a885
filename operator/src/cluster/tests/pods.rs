//! Pods as Kubernetes shows them, and what a condition says of them.

use headwater_crds::{Reason, Verdict};
use headwater_proto::internal::v1::{BrokerState, GetBrokerResponse};
use serde_json::{Value, json};

use crate::brokers::BrokerError;
use crate::cluster::dereference::Found;
use crate::cluster::observe::obstacle;

fn found(status: Value, broker: Option<BrokerState>) -> Found {
    let pod = json!({"metadata": {"name": "demo-0"}, "status": status});
    let broker = broker.map(|state| GetBrokerResponse {
        state: state.into(),
        ..GetBrokerResponse::default()
    });
    Found {
        pod: Some(serde_json::from_value(pod).unwrap()),
        broker,
        ..Found::default()
    }
}

fn container(state: Value, last: Value) -> Value {
    json!({"containerStatuses": [{
        "name": "broker", "image": "hw:1", "imageID": "", "ready": false, "restartCount": 1,
        "state": state, "lastState": last,
    }]})
}

fn check(found: &Found, reason: Reason, words: &[&str]) {
    let verdict = obstacle(found).unwrap();
    assert!(
        matches!(verdict, Verdict::Reconciling { .. }),
        "it may pass by itself: {verdict:?}"
    );
    assert_eq!(verdict.reason(), reason);
    for word in words {
        assert!(
            verdict.message().contains(word),
            "{word}: {}",
            verdict.message()
        );
    }
}

#[test]
fn a_pod_that_cannot_be_placed_says_why_and_what_would_help() {
    let status = json!({"conditions": [{
        "type": "PodScheduled", "status": "False", "message": "0/1 nodes: Insufficient memory",
    }]});
    check(
        &found(status, None),
        Reason::Unschedulable,
        &["Insufficient memory", "spec.resources"],
    );
}

#[test]
fn an_image_that_cannot_be_had_is_named() {
    let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}});
    let found = found(container(waiting, json!({})), None);
    check(&found, Reason::ImagePullFailed, &["hw:1", "spec.image"]);
}

#[test]
fn a_broker_that_ends_again_and_again_has_its_last_words_in_the_condition() {
    let log = "one\nheadwater-broker: the memory limit of 64 MiB is too small\n\n";
    let ended = json!({"terminated": {"exitCode": 2, "message": log}});
    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}});
    let looping = found(container(waiting, ended.clone()), None);
    check(
        &looping,
        Reason::BrokerFailing,
        &["exit code 2", "64 MiB is too small"],
    );
    let just_ended = found(container(ended, json!({})), None);
    check(&just_ended, Reason::BrokerFailing, &["64 MiB is too small"]);
    let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let killed = found(container(killed, json!({})), None);
    check(
        &killed,
        Reason::BrokerFailing,
        &["spec.resources.limits.memory"],
    );
}

#[test]
fn a_stopped_broker_that_ended_well_only_starts_again() {
    let ended = json!({"terminated": {"exitCode": 0}});
    check(
        &found(container(ended, json!({})), None),
        Reason::BrokerNotReady,
        &["starts"],
    );
}

#[test]
fn a_broker_on_its_way_says_where_it_is() {
    let running = || container(json!({"running": {}}), json!({}));
    let at = |state| found(running(), Some(state));
    check(
        &at(BrokerState::Unformed),
        Reason::Forming,
        &["which cluster"],
    );
    check(
        &at(BrokerState::Opening),
        Reason::BrokerNotReady,
        &["opens its log"],
    );
    check(
        &at(BrokerState::Draining),
        Reason::BrokerNotReady,
        &["stopping"],
    );
    check(
        &at(BrokerState::Serving),
        Reason::BrokerNotReady,
        &["readiness probe"],
    );
    let mut silent = found(running(), None);
    silent.silence = Some(BrokerError::Unreachable("no route".to_owned()));
    check(&silent, Reason::BrokerNotReady, &["no route"]);
    check(&Found::default(), Reason::BrokerNotReady, &["StatefulSet"]);
}

#[test]
fn a_broker_that_serves_and_is_ready_is_no_obstacle() {
    let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    assert_eq!(obstacle(&found(status, Some(BrokerState::Serving))), None);
}
