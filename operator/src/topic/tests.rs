//! Topics in, requests and conditions out.

mod effects;
mod refusals;

use std::sync::Arc;

use headwater_crds::{Cluster, Reason, Topic, TopicStatus, Verdict};
use headwater_proto::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::dereference::{self, Found};
use super::plan::{Step, plan};
use super::status::{self, Facts};
use super::validate::{Refusal, ValidTopic, validate};
use crate::brokers::BrokerEndpoint;
use crate::context::Declared;
use crate::directory::Whereabouts;

fn topic(spec: &str) -> Topic {
    let head = "metadata: {name: orders, namespace: shop, uid: a, generation: 3}\nspec:\n  clusterRef: {name: demo}\n";
    serde_yaml::from_str(&format!("{head}{spec}")).unwrap()
}

fn cluster(spec: &str) -> Arc<Cluster> {
    let head = "metadata: {name: demo, namespace: shop}\nspec:\n  storage: {size: 1Gi}\n";
    Arc::new(serde_yaml::from_str(&format!("{head}{spec}")).unwrap())
}

fn at() -> BrokerEndpoint {
    BrokerEndpoint {
        address: "10.0.0.1:7651".to_owned(),
        secret: "s".to_owned(),
    }
}

fn found() -> Found {
    Found {
        cluster: Declared::Is(cluster("")),
        brokers: Whereabouts::At(at()),
        rival: None,
    }
}

fn valid(spec: &str) -> ValidTopic {
    validate(&topic(spec), &found()).unwrap()
}

fn refusal(spec: &str, found: &Found) -> Verdict {
    let Refusal(verdict) = validate(&topic(spec), found).unwrap_err();
    verdict
}

#[test]
fn every_setting_arrives_in_the_words_of_the_contract() {
    let valid = valid(
        "  partitions: 6
  retention: {time: 7d, size: unlimited}
  durability: replicated
  compression: zstd
  maxMessageBytes: 2Mi
  tiering: true
  localRetention: {time: 0s, size: unlimited}
  config: {segment_bytes: 64MiB, segment_time: 1h, timestamp_ahead_max: 5m}
",
    );
    assert_eq!((valid.name.as_str(), valid.partitions), ("shop/orders", 6));
    let expected = v1::TopicConfig {
        retention_ms: Some(604_800_000),
        retention_bytes: Some(-1),
        segment_bytes: Some(64 << 20),
        segment_ms: Some(3_600_000),
        durability: Some(v1::Durability::Replicated.into()),
        compression: Some(v1::Compression::Zstd.into()),
        message_bytes_max: Some(2 << 20),
        timestamp_ahead_ms_max: Some(300_000),
        min_in_sync_replicas: None,
        tiering: Some(true),
        local_retention_ms: Some(0),
        local_retention_bytes: Some(-1),
    };
    assert_eq!(valid.config, expected);
}

#[test]
fn what_cannot_be_asked_for_says_what_to_change() {
    let check = |spec: &str, found: &Found, reason: Reason, words: &str| {
        let verdict = refusal(spec, found);
        assert_eq!(verdict.reason(), reason, "{}", verdict.message());
        assert!(
            verdict.message().contains(words),
            "{words}: {}",
            verdict.message()
        );
    };
    let with = |cluster| Found { cluster, ..found() };
    check(
        "",
        &with(Declared::Absent),
        Reason::ClusterNotFound,
        "no Cluster demo in namespace shop",
    );
    check(
        "",
        &with(Declared::NotOperated),
        Reason::ClusterNotOperated,
        "clusterNamespaces",
    );
    let elsewhere = Found {
        cluster: Declared::Is(cluster("  topicNamespaces: [bank]\n")),
        ..found()
    };
    check(
        "",
        &elsewhere,
        Reason::NamespaceNotAllowed,
        "spec.topicNamespaces",
    );
    let contested = Found {
        rival: Some("shop/older".to_owned()),
        ..found()
    };
    check("", &contested, Reason::Conflict, "shop/older");
    check(
        "  replicationFactor: 3\n",
        &found(),
        Reason::InvalidSpec,
        "has 1 broker",
    );
    check(
        "  minInSyncReplicas: 2\n",
        &found(),
        Reason::InvalidSpec,
        "lower it to 1",
    );
    let huge = "  retention: {time: 99999999999999d}\n";
    check(huge, &found(), Reason::InvalidSpec, "spec.retention.time");
    let paused = Found {
        cluster: Declared::Is(cluster("  paused: true\n")),
        ..found()
    };
    check("", &paused, Reason::Paused, "spec.paused");
    let starting = Found {
        brokers: Whereabouts::Nowhere,
        ..found()
    };
    check("", &starting, Reason::ClusterNotReady, "does not serve yet");
}

fn actual(config: v1::TopicConfig) -> v1::Topic {
    v1::Topic {
        name: "shop/orders".to_owned(),
        topic_id: "t".to_owned(),
        partitions: 6,
        replication_factor: 1,
        revision: 41,
        config: Some(config),
        ..v1::Topic::default()
    }
}

#[test]
fn a_topic_that_is_as_it_shall_be_is_left_alone() {
    let valid = valid("  partitions: 6\n  retention: {time: 7d}\n");
    let is = actual(valid.config);
    assert_eq!(plan(&valid, Some(is.clone())), Step::Nothing(is));
}

#[test]
fn only_what_differs_is_changed_and_only_if_nobody_was_faster() {
    let valid = valid("  partitions: 8\n  retention: {time: 7d}\n");
    let is = actual(v1::TopicConfig {
        segment_bytes: Some(1 << 20),
        ..v1::TopicConfig::default()
    });
    let Step::Update {
        wanted,
        paths,
        summary,
    } = plan(&valid, Some(is))
    else {
        panic!("a change is due");
    };
    assert_eq!(
        paths,
        ["partitions", "config.retention_ms", "config.segment_bytes"]
    );
    assert_eq!(wanted.revision, 41);
    assert_eq!(
        wanted.config.unwrap().segment_bytes,
        None,
        "absent is the default"
    );
    assert!(summary.starts_with("partitions from 6 to 8, "), "{summary}");
}

#[test]
fn tiering_is_changed_by_name_and_returns_to_the_default() {
    let summary = |spec: &str, is: v1::TopicConfig| {
        let step = plan(&valid(spec), Some(actual(is)));
        let Step::Update { paths, summary, .. } = step else {
            panic!("a change is due");
        };
        assert_eq!(paths, ["config.local_retention_ms", "config.tiering"]);
        summary
    };
    let default = v1::TopicConfig::default();
    let own = "  partitions: 6\n  tiering: false\n  localRetention: {time: 1h}\n";
    assert_eq!(
        summary(own, default),
        "config.local_retention_ms from default to 3600000, config.tiering from default to false"
    );
    let is = valid(own).config;
    assert!(summary("  partitions: 6\n", is).ends_with("config.tiering from false to default"));
}

#[test]
fn a_topic_that_is_missing_is_created_with_all_its_settings() {
    let valid = valid("  partitions: 6\n  durability: replicated\n");
    let Step::Create(wanted) = plan(&valid, None) else {
        panic!("it is missing");
    };
    assert_eq!(
        (wanted.name.as_str(), wanted.partitions),
        ("shop/orders", 6)
    );
    assert_eq!(wanted.config, Some(valid.config));
}

fn facts(leaders: &[i32]) -> Facts {
    let partition = |(index, leader): (usize, &i32)| v1::Partition {
        partition: index as i32,
        leader: *leader,
        replicas: vec![1],
        in_sync_replicas: if *leader < 0 { Vec::new() } else { vec![1] },
        ..v1::Partition::default()
    };
    let mut topic = actual(v1::TopicConfig::default());
    topic.effective_config = Some(v1::TopicConfig {
        retention_ms: Some(604_800_000),
        retention_bytes: Some(-1),
        durability: Some(v1::Durability::Fsync.into()),
        compression: Some(v1::Compression::None.into()),
        message_bytes_max: Some(1 << 20),
        min_in_sync_replicas: Some(1),
        tiering: Some(true),
        local_retention_ms: Some(0),
        local_retention_bytes: Some(-1),
        ..v1::TopicConfig::default()
    });
    Facts {
        topic,
        partitions: leaders.iter().enumerate().map(partition).collect(),
    }
}

fn told(facts: &Facts, old: &TopicStatus, second: i64) -> TopicStatus {
    let now = Time(Timestamp::from_second(second).unwrap());
    status::status(old, &topic(""), &status::verdict(facts), Some(facts), &now)
}

#[test]
fn a_status_says_what_is_in_force_and_does_not_move_with_time() {
    let first = told(&facts(&[1, 1, 1]), &TopicStatus::default(), 1);
    assert_eq!(
        told(&facts(&[1, 1, 1]), &first, 2),
        first,
        "nothing new, nothing to write"
    );
    let effective = first.effective.unwrap();
    assert_eq!(effective.retention_time, "7d");
    assert_eq!(effective.retention_size, "unlimited");
    assert_eq!(
        (
            effective.durability.as_str(),
            effective.compression.as_str()
        ),
        ("fsync", "none")
    );
    assert_eq!(effective.max_message_bytes, "1Mi");
    assert_eq!(
        (
            effective.tiering,
            effective.local_retention_time.as_deref(),
            effective.local_retention_size.as_deref()
        ),
        (Some(true), Some("0s"), Some("unlimited"))
    );
    assert_eq!(
        (first.in_sync_partitions, first.leaders),
        (Some(3), vec![1, 1, 1])
    );
}

#[test]
fn partitions_without_a_leader_are_named_up_to_a_bound() {
    let status = told(&facts(&[-1; 40]), &TopicStatus::default(), 1);
    assert_eq!(status.in_sync_partitions, Some(0));
    assert_eq!(status.problem_partitions.len(), 16);
    assert_eq!(status.problem_partitions[0].problem, "has no leader");
    assert_eq!(
        headwater_crds::ready_reason(&status.conditions),
        Some("PartitionsNotInSync")
    );
    let many = told(&facts(&[1; 65]), &TopicStatus::default(), 1);
    assert!(many.leaders.is_empty(), "leaders only up to 64 partitions");
}

#[test]
fn of_two_resources_for_one_topic_the_older_counts() {
    let born = |name: &str, uid: &str, second: i64| -> Topic {
        let mut topic = topic("  topicName: orders\n");
        topic.metadata.name = Some(name.to_owned());
        topic.metadata.uid = Some(uid.to_owned());
        topic.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).unwrap()));
        topic
    };
    let (old, young, twin) = (
        born("old", "b", 1),
        born("young", "a", 2),
        born("twin", "c", 1),
    );
    let all = [&old, &young, &twin];
    let rival = |topic| dereference::rival(topic, all.into_iter());
    assert_eq!(rival(&old), None);
    assert_eq!(rival(&young).as_deref(), Some("shop/old"));
    assert_eq!(
        rival(&twin).as_deref(),
        Some("shop/old"),
        "of the same second, by UID"
    );
    let mut elsewhere = young.clone();
    elsewhere.metadata.namespace = Some("bank".to_owned());
    assert_eq!(rival(&elsewhere), None, "bank/orders is another topic");
    let mut leaving = old.clone();
    leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
    assert_eq!(dereference::rival(&young, [&leaving].into_iter()), None);
}

#[test]
fn a_topic_is_deleted_only_from_a_cluster_that_stays_and_by_the_resource_that_counts() {
    assert!(found().may_delete());
    let may = |change: fn(&mut Found)| {
        let mut found = found();
        change(&mut found);
        found.may_delete()
    };
    assert!(!may(|found| found.rival = Some("shop/older".to_owned())));
    assert!(!may(|found| found.cluster = Declared::Absent));
    assert!(!may(|found| found.cluster = Declared::NotOperated));
    assert!(!may(|found| {
        let mut going = Cluster::clone(&cluster(""));
        going.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        found.cluster = Declared::Is(Arc::new(going));
    }));
}

#[test]
fn nothing_is_said_before_the_clusters_were_listed_and_looked_at() {
    assert!(!found().is_early());
    let with = |cluster, brokers| Found {
        cluster,
        brokers,
        rival: None,
    };
    let is = || Declared::Is(cluster(""));
    assert!(with(Declared::NotListed, Whereabouts::NotLooked).is_early());
    assert!(with(is(), Whereabouts::NotLooked).is_early());
    assert!(!with(is(), Whereabouts::Nowhere).is_early());
    assert!(!with(Declared::Absent, Whereabouts::NotLooked).is_early());
}

#[test]
fn what_another_operator_has_said_is_left_alone() {
    let said = |reason| {
        let mut status = TopicStatus::default();
        let message = String::new();
        let verdict = Verdict::Stalled { reason, message };
        let now = Time(Timestamp::UNIX_EPOCH);
        headwater_crds::set_conditions(&mut status.conditions, &verdict, None, &now);
        status::is_of_another_operator(&status)
    };
    assert!(said(Reason::Refused) && said(Reason::ClusterNotFound));
    assert!(
        !said(Reason::ClusterNotOperated),
        "that one may be our own word"
    );
    assert!(!status::is_of_another_operator(&TopicStatus::default()));
}
