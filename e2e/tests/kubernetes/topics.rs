//! A Topic resource is what its topic becomes, through every change and every mistake.

use std::time::Duration;

use headwater_client::Client;
use headwater_client::types::{Topic as Found, TopicConfig};
use headwater_crds::{Reason, Topic};
use headwater_e2e::History;
use headwater_e2e::kubernetes::{
    Forward, Kubernetes, NAMESPACE, SHARED, cluster, expect_intact, produce, topic,
};
use kube::ResourceExt as _;

/// A Kubernetes with the shared Cluster, and a way to it.
struct Bench {
    kube: Kubernetes,
    client: Client,
    _forward: Forward,
}

impl Bench {
    async fn start() -> Option<Bench> {
        let kube = Kubernetes::start("").await?;
        kube.shared().await;
        let forward = kube.forward(SHARED).await;
        let client = forward.client().await;
        Some(Bench {
            kube,
            client,
            _forward: forward,
        })
    }

    /// Applies a Topic of the shared Cluster, with more of a spec, and waits until it is ready.
    async fn declare(&self, name: &str, more: &str) -> Topic {
        let yaml = topic(name, &format!("{{clusterRef: {{name: {SHARED}}}, {more}}}"));
        self.kube.apply(NAMESPACE, &yaml).await.unwrap();
        self.kube.ready(NAMESPACE, name).await
    }

    /// The topic as the cluster has it.
    async fn found(&self, name: &str) -> Option<Found> {
        match self.client.admin().get_topic(&full(name)).await {
            Ok(topic) => Some(topic),
            Err(error) if error.reason() == "TOPIC_NOT_FOUND" => None,
            Err(error) => panic!("getting {name}: {error}"),
        }
    }

    async fn is_gone(&self, name: &str) {
        let gone = async || self.found(name).await.is_none().then_some(());
        self.kube
            .eventually(&format!("topic {name} goes"), gone)
            .await;
    }

    async fn produce(&self, name: &str, partitions: u32) -> History {
        produce(&self.client, &full(name), partitions, 300).await
    }

    async fn expect_intact(&self, name: &str, history: &History) {
        expect_intact(&self.client, &full(name), history).await;
    }

    async fn delete(&self, name: &str) {
        self.kube.delete::<Topic>(NAMESPACE, name).await;
        self.kube.await_gone::<Topic>(NAMESPACE, name).await;
    }

    /// Deletes the resource and the topic.
    async fn discard(&self, name: &str) {
        self.delete(name).await;
        let deleted = self.client.admin().delete_topic(&full(name), None).await;
        deleted.unwrap();
    }

    async fn told(&self, name: &str, reason: &str) -> String {
        self.kube
            .await_event::<Topic>(NAMESPACE, name, reason)
            .await
    }
}

fn full(name: &str) -> String {
    format!("{NAMESPACE}/{name}")
}

fn id(topic: &Topic) -> String {
    topic.status.as_ref().unwrap().topic_id.clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_topic_is_changed_in_the_cluster_with_its_records_in_place() {
    let Some(bench) = Bench::start().await else {
        return;
    };
    let first = bench
        .declare("altered", "partitions: 2, retention: {time: 1d}")
        .await;
    let settings = bench.found("altered").await.unwrap().config.unwrap();
    assert_eq!(settings.retention_ms, Some(86_400_000));
    let history = bench.produce("altered", 2).await;

    let more = "partitions: 4, retention: {time: 36h, size: 1Gi}, compression: zstd, \
                maxMessageBytes: 2Mi, config: {segment_bytes: 64MiB, segment_time: 1h}";
    let second = bench.declare("altered", more).await;
    let found = bench.found("altered").await.unwrap();
    let settings = found.config.unwrap();
    assert_eq!(found.partitions, 4);
    assert_eq!(settings.retention_ms, Some(129_600_000));
    assert_eq!(settings.retention_bytes, Some(1 << 30));
    assert_eq!(settings.message_bytes_max, Some(2 << 20));
    assert_eq!(settings.segment_bytes, Some(64 << 20));
    assert_eq!(settings.segment_ms, Some(3_600_000));
    assert_eq!(id(&first), id(&second));
    let status = second.status.unwrap();
    let effective = status.effective.unwrap();
    assert_eq!(
        (status.partitions, status.in_sync_partitions),
        (Some(4), Some(4))
    );
    assert_eq!(effective.retention_time, "36h");
    assert_eq!(effective.compression, "zstd");
    let note = bench.told("altered", "TopicChanged").await;
    assert!(
        note.contains("retention_ms from 86400000 to 129600000"),
        "{note}"
    );
    bench.expect_intact("altered", &history).await;

    // What is not said any more has the default again.
    bench.declare("altered", "partitions: 4").await;
    let settings = bench.found("altered").await.unwrap().config.unwrap();
    assert_eq!(settings, TopicConfig::default());
    let fewer = topic(
        "altered",
        &format!("{{clusterRef: {{name: {SHARED}}}, partitions: 3}}"),
    );
    let refusal = bench.kube.apply(NAMESPACE, &fewer).await.unwrap_err();
    assert!(
        refusal.message.contains("spec.partitions can only grow"),
        "{refusal:?}"
    );
    bench.discard("altered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_by_mistake_has_its_records_when_it_is_applied_again() {
    let Some(bench) = Bench::start().await else {
        return;
    };
    let first = bench.declare("mistaken", "partitions: 3").await;
    assert!(first.finalizers().is_empty(), "{:?}", first.finalizers());
    let history = bench.produce("mistaken", 3).await;
    bench.delete("mistaken").await;
    bench.expect_intact("mistaken", &history).await;

    let second = bench.declare("mistaken", "partitions: 3").await;
    assert_eq!(id(&first), id(&second));
    bench.expect_intact("mistaken", &history).await;
    bench.discard("mistaken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_policy_delete_goes_with_its_records() {
    let Some(bench) = Bench::start().await else {
        return;
    };
    let declared = bench.declare("dropped", "deletionPolicy: Delete").await;
    assert_eq!(declared.finalizers(), [headwater_crds::TOPIC_FINALIZER]);
    bench.produce("dropped", 1).await;
    bench.delete("dropped").await;
    assert!(bench.found("dropped").await.is_none());
    bench.told("dropped", "TopicDeleted").await;

    // The policy that counts is the last one.
    bench.declare("dropped", "deletionPolicy: Delete").await;
    let kept = bench.declare("dropped", "deletionPolicy: Retain").await;
    assert!(kept.finalizers().is_empty(), "{:?}", kept.finalizers());
    bench.delete("dropped").await;
    assert!(bench.found("dropped").await.is_some());
    bench
        .client
        .admin()
        .delete_topic(&full("dropped"), None)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_changed_past_its_resource_is_repaired() {
    let Some(bench) = Bench::start().await else {
        return;
    };
    bench.declare("drifted", "retention: {time: 1d}").await;
    let admin = bench.client.admin();
    let mut changed = bench.found("drifted").await.unwrap();
    changed.config = Some(TopicConfig {
        retention_ms: Some(1_000),
        ..TopicConfig::default()
    });
    changed.revision = 0;
    admin
        .update_topic(changed, &["config.retention_ms"], false)
        .await
        .unwrap();
    let note = bench.told("drifted", "DriftRepaired").await;
    assert!(
        note.contains("retention_ms from 1000 to 86400000"),
        "{note}"
    );
    let settings = bench.found("drifted").await.unwrap().config.unwrap();
    assert_eq!(settings.retention_ms, Some(86_400_000));

    // One that was deleted past its resource is made again, empty, and that is told.
    let old = id(&bench.kube.ready(NAMESPACE, "drifted").await);
    admin.delete_topic(&full("drifted"), None).await.unwrap();
    let note = bench.told("drifted", "TopicMadeAgain").await;
    assert!(note.contains(&old), "{note}");
    let other = |topic: &Topic| id(topic) != old;
    let topics = &bench.kube;
    topics
        .await_condition(NAMESPACE, "drifted", "has another id", other)
        .await;
    bench.discard("drifted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_exists_is_adopted_with_its_records() {
    let Some(bench) = Bench::start().await else {
        return;
    };
    let admin = bench.client.admin();
    let made = admin
        .create_topic(&full("adopted"), 3, TopicConfig::default(), false)
        .await
        .unwrap();
    let history = bench.produce("adopted", 3).await;
    let declared = bench
        .declare("adopted", "partitions: 3, retention: {time: 2d}")
        .await;
    assert_eq!(id(&declared), made.topic_id);
    bench.told("adopted", "TopicAdopted").await;
    let settings = bench.found("adopted").await.unwrap().config.unwrap();
    assert_eq!(settings.retention_ms, Some(172_800_000));
    bench.expect_intact("adopted", &history).await;

    // One with more partitions than the resource says is left as it is, and the resource says so.
    admin
        .create_topic(&full("larger"), 5, TopicConfig::default(), false)
        .await
        .unwrap();
    let smaller = topic(
        "larger",
        &format!("{{clusterRef: {{name: {SHARED}}}, partitions: 2}}"),
    );
    bench.kube.apply(NAMESPACE, &smaller).await.unwrap();
    let reason = Reason::PartitionsCannotShrink;
    let message = bench
        .kube
        .not_ready::<Topic>(NAMESPACE, "larger", reason)
        .await;
    assert!(message.contains('5'), "{message}");
    bench.declare("larger", "partitions: 5").await;
    bench.discard("adopted").await;
    bench.discard("larger").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_takes_topics_of_the_namespaces_that_it_names() {
    let Some(bench) = Bench::start().await else {
        return;
    };
    let kube = &bench.kube;
    let shared = |namespaces: &str| {
        let spec = format!("{{storage: {{size: 1Gi}}, topicNamespaces: [{namespaces}]}}");
        cluster(SHARED, &spec)
    };
    kube.with_namespace("apart", async |apart: &str| {
        let reference = format!("{{name: {SHARED}, namespace: {NAMESPACE}}}");
        let far = topic("far", &format!("{{clusterRef: {reference}}}"));
        kube.apply(apart, &far).await.unwrap();
        let reason = Reason::NamespaceNotAllowed;
        let message = kube.not_ready::<Topic>(apart, "far", reason).await;
        for part in [apart, SHARED, "spec.topicNamespaces"] {
            assert!(message.contains(part), "{message} lacks {part}");
        }
        let pod = kube.broker(SHARED).await;

        kube.apply(NAMESPACE, &shared(&format!("{NAMESPACE}, {apart}")))
            .await
            .unwrap();
        let taken: Topic = kube.ready(apart, "far").await;
        let name = format!("{apart}/far");
        assert_eq!(taken.status.unwrap().topic_name, Some(name.clone()));
        let history = produce(&bench.client, &name, 1, 100).await;

        // Taken away again: the resource is followed no longer, and the topic stays.
        kube.apply(NAMESPACE, &shared("")).await.unwrap();
        kube.not_ready::<Topic>(apart, "far", reason).await;
        expect_intact(&bench.client, &name, &history).await;
        kube.shared().await;
        assert_eq!(
            kube.broker(SHARED).await.uid(),
            pod.uid(),
            "the broker was restarted"
        );
        bench
            .client
            .admin()
            .delete_topic(&name, None)
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_resources_for_one_topic_the_older_counts() {
    let Some(bench) = Bench::start().await else {
        return;
    };
    let kube = &bench.kube;
    let older = bench
        .declare("older", "topicName: contested, partitions: 2")
        .await;
    // Times of creation are in whole seconds.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let spec = format!(
        "{{clusterRef: {{name: {SHARED}}}, topicName: contested, partitions: 3, \
         deletionPolicy: Delete}}"
    );
    kube.apply(NAMESPACE, &topic("younger", &spec))
        .await
        .unwrap();
    let message = kube
        .not_ready::<Topic>(NAMESPACE, "younger", Reason::Conflict)
        .await;
    assert!(message.contains(&full("older")), "{message}");
    assert_eq!(bench.found("contested").await.unwrap().partitions, 2);

    // The topic is not the younger one's to delete.
    bench.delete("younger").await;
    assert_eq!(bench.found("contested").await.unwrap().topic_id, id(&older));

    // When the older one goes, the younger takes its place, with the same topic.
    kube.apply(NAMESPACE, &topic("younger", &spec))
        .await
        .unwrap();
    kube.not_ready::<Topic>(NAMESPACE, "younger", Reason::Conflict)
        .await;
    bench.delete("older").await;
    let heir: Topic = kube.ready(NAMESPACE, "younger").await;
    assert_eq!(id(&heir), id(&older));
    bench.delete("younger").await;
    bench.is_gone("contested").await;
}
