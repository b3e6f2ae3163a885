//! What a change does to records is told before it is asked for.

use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::stream::BoxStream;
use headwater_proto::internal::v1 as internal;
use headwater_proto::v1;
use uuid::Uuid;

use super::{actual, found, topic, valid};
use crate::brokers::{Answer, BrokerEndpoint, BrokerError, Brokers};
use crate::context::{Context, Settings};
use crate::fake::{Log, server};
use crate::metrics::Metrics;
use crate::topic::converge;
use crate::topic::validate::validate;

const DAY_MS: i64 = 86_400_000;

/// The settings of the cluster's topics where they say nothing themselves.
fn in_force(own: v1::TopicConfig) -> v1::TopicConfig {
    v1::TopicConfig {
        tiering: Some(own.tiering.unwrap_or(true)),
        retention_ms: Some(own.retention_ms.unwrap_or(7 * DAY_MS)),
        retention_bytes: Some(own.retention_bytes.unwrap_or(-1)),
        local_retention_ms: Some(own.local_retention_ms.unwrap_or(DAY_MS)),
        local_retention_bytes: Some(own.local_retention_bytes.unwrap_or(-1)),
        ..own
    }
}

/// A broker with the topic `shop/orders`, which has the default of everything.
struct Fake {
    log: Log,
    /// Events that there were when the change was asked for.
    known: Mutex<Option<Vec<[String; 3]>>>,
}

impl Fake {
    fn topic_with(config: v1::TopicConfig) -> v1::Topic {
        v1::Topic {
            effective_config: Some(in_force(config)),
            ..actual(config)
        }
    }
}

fn answer<T: Send + 'static>(value: T) -> Answer<T> {
    async { Ok(value) }.boxed()
}

fn unasked<T: Send + 'static>() -> Answer<T> {
    async { Err(BrokerError::Unreachable("nobody asks that".to_owned())) }.boxed()
}

impl Brokers for Fake {
    fn describe(&self, _: &BrokerEndpoint) -> Answer<internal::GetBrokerResponse> {
        unasked()
    }

    fn form(&self, _: &BrokerEndpoint, _: Uuid, _: String) -> Answer<i32> {
        unasked()
    }

    fn check_configuration(&self, _: &BrokerEndpoint, _: String) -> Answer<Vec<String>> {
        unasked()
    }

    fn topic(&self, _: &BrokerEndpoint, _: String) -> Answer<Option<v1::Topic>> {
        answer(Some(Fake::topic_with(v1::TopicConfig::default())))
    }

    fn create_topic(&self, _: &BrokerEndpoint, _: v1::Topic) -> Answer<v1::Topic> {
        unasked()
    }

    fn update_topic(
        &self,
        _: &BrokerEndpoint,
        topic: v1::Topic,
        _: Vec<String>,
    ) -> Answer<v1::Topic> {
        let before = self.known.lock().unwrap().replace(self.log.events());
        assert_eq!(before, None, "it is asked for once");
        assert_eq!(topic.revision, 41, "what was told about is what is changed");
        answer(Fake::topic_with(topic.config.unwrap()))
    }

    fn try_update_topic(
        &self,
        _: &BrokerEndpoint,
        topic: v1::Topic,
        _: Vec<String>,
    ) -> Answer<v1::Topic> {
        answer(Fake::topic_with(topic.config.unwrap()))
    }

    fn delete_topic(&self, _: &BrokerEndpoint, _: String, _: String) -> Answer<bool> {
        unasked()
    }

    fn partitions(&self, _: &BrokerEndpoint, _: String) -> Answer<Vec<v1::Partition>> {
        answer(Vec::new())
    }

    fn watch_metadata(
        &self,
        _: &BrokerEndpoint,
    ) -> BoxStream<'static, Result<v1::Metadata, BrokerError>> {
        Box::pin(futures::stream::empty())
    }
}

/// Declares the topic so; type and note of each event that was there before the change was asked for.
async fn told_before(spec: &str, has_tier: bool) -> Vec<[String; 2]> {
    let (client, log) = server(Vec::new());
    let known = Mutex::new(None);
    let brokers = Arc::new(Fake { log, known });
    let settings = Settings {
        namespace: "headwater".to_owned(),
        cluster_namespaces: vec!["shop".to_owned()],
        default_image: "headwater".to_owned(),
    };
    let context = Context::new(client, settings, brokers.clone(), Metrics::default());
    let mut valid = valid(spec);
    valid.has_tier = has_tier;
    converge(&context, &topic(spec), &valid).await.unwrap();
    let known = brokers.known.lock().unwrap().take();
    let known = known.expect("the change is asked for").into_iter();
    known
        .map(|[type_, reason, note]| {
            assert_eq!(reason, "RetentionChanges");
            [type_, note]
        })
        .collect()
}

async fn check(spec: &str, type_: &str, words: &[&str]) {
    let told = told_before(&format!("  partitions: 6\n{spec}"), true).await;
    let [[told_as, note]] = told.as_slice() else {
        panic!("one event, not {told:?}");
    };
    assert_eq!(told_as, type_, "{note}");
    for words in words {
        assert!(note.contains(words), "{words}: {note}");
    }
}

#[tokio::test]
async fn what_a_change_does_to_records_is_an_event_before_it_is_asked_for() {
    check(
        "  tiering: false\n",
        "Warning",
        &["nothing more is uploaded"],
    )
    .await;
    check(
        "  localRetention: {time: 1h}\n",
        "Normal",
        &["go 1h after the records were appended", "do not come back"],
    )
    .await;
    check(
        "  localRetention: {time: forever, size: 5Gi}\n",
        "Normal",
        &["while a partition takes more than 5Gi on a disk"],
    )
    .await;
    check(
        "  retention: {time: 2d}\n",
        "Warning",
        &["deleted 2d after they were appended"],
    )
    .await;
    check(
        "  tiering: false\n  retention: {size: 1Gi}\n",
        "Warning",
        &[
            "deleted 7d after they were appended, and earlier while a partition takes more than 1Gi",
            "; turning tiering off",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_change_that_takes_nothing_from_anywhere_is_told_by_itself_alone() {
    let none: [[String; 2]; 0] = [];
    let untold = async |spec: &str, has_tier| {
        assert_eq!(told_before(spec, has_tier).await, none, "{spec}");
    };
    untold("  partitions: 8\n", true).await;
    untold("  partitions: 6\n  compression: zstd\n", true).await;
    untold("  partitions: 6\n  retention: {time: 30d}\n", true).await;
    // Without a tier it makes no difference.
    untold("  partitions: 6\n  tiering: false\n", false).await;
}

#[test]
fn a_tier_is_known_from_the_resource_of_the_cluster() {
    use crate::context::Declared;
    let spec = "  partitions: 6\n";
    assert!(!valid(spec).has_tier);
    let mut found = found();
    let tier = "  tier: {backend: gcs, bucket: logs}\n";
    found.cluster = Declared::Is(super::cluster(tier));
    assert!(validate(&topic(spec), &found).unwrap().has_tier);
}
