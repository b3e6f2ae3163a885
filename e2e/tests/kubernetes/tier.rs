//! Sealed segments of a Cluster go to a real S3 server in the same Kubernetes, and come back.

use std::time::Instant;

use headwater_client::types::PartitionTierStatus;
use headwater_crds::{Cluster, Reason, Topic};
use headwater_e2e::History;
use headwater_e2e::kubernetes::{
    Forward, Kubernetes, NAMESPACE, ObjectStorage, cluster, expect_intact, produce, topic, uid,
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Secret};

const PARTITIONS: u32 = 2;
/// Enough for some segments of the smallest size.
const RECORDS: u32 = 20_000;
const SEGMENT_BYTES: i64 = 64 << 10;
/// Small segments, and no waiting.
const QUICK: &str = "topicDefaults: {maxMessageBytes: 64Ki}, config: {topics.segment_bytes: 64KiB, tier.commit_interval: 250ms, \
                     storage.retention_check_interval: 200ms}";

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_tiered_to_s3_and_read_back_from_there() {
    let Some(kube) = Kubernetes::start(", and versitygw").await else {
        return;
    };
    let Some(storage) = kube.object_storage().await else {
        return;
    };
    let spec = spec(&storage.tier("e2e/tiered", "tier-key"));
    waits_for_its_secret(&kube, &storage, &spec).await;
    let mut history = tiered(&kube).await;

    // A pod that is deleted comes back to what is in the tier.
    let old = uid(&kube.broker("tiered").await);
    kube.delete::<Pod>(NAMESPACE, "tiered-0").await;
    kube.replaced("tiered", &old).await;
    intact(&kube, &history).await;
    let forward = kube.forward("tiered").await;
    let client = forward.client().await;
    history.merge(produce(&client, &full(), PARTITIONS, RECORDS).await);
    let before = settled(&forward).await;
    drop(forward);

    // The bucket outlives the Cluster.
    kube.delete::<Cluster>(NAMESPACE, "tiered").await;
    kube.await_gone::<Pod>(NAMESPACE, "tiered-0").await;
    kube.start_cluster("tiered", &spec).await;
    kube.ready::<Topic>(NAMESPACE, "tiered").await;
    intact(&kube, &history).await;
    let forward = kube.forward("tiered").await;
    let after = settled(&forward).await;
    assert_eq!(after[0].tiered_segments, before[0].tiered_segments);
    drop(forward);

    kube.delete::<Topic>(NAMESPACE, "tiered").await;
    kube.discard_cluster("tiered").await;
    kube.delete::<Secret>(NAMESPACE, "tier-key").await;
    kube.discard_object_storage().await;
}

/// A Cluster with that tier.
fn spec(tier: &str) -> String {
    format!("{{storage: {{size: 1Gi}}, {QUICK}, tier: {tier}}}")
}

fn full() -> String {
    format!("{NAMESPACE}/tiered")
}

async fn waits_for_its_secret(kube: &Kubernetes, storage: &ObjectStorage, spec: &str) {
    let applied = kube.apply(NAMESPACE, &cluster("tiered", spec)).await;
    applied.unwrap();
    let reason = Reason::TierCredentialsMissing;
    let message = kube.not_ready::<Cluster>(NAMESPACE, "tiered", reason).await;
    eprintln!("{}: {message}", reason.as_str());
    assert!(
        message.contains("kubectl create secret generic tier-key"),
        "{message}"
    );
    let secret = storage.secret("tier-key");
    kube.apply(NAMESPACE, &secret).await.unwrap();
    let start = Instant::now();
    kube.ready::<Cluster>(NAMESPACE, "tiered").await;
    eprintln!("ready {:.1?} after the Secret", start.elapsed());
}

/// A Topic whose records leave the broker's disk at once; all it was given can be read.
async fn tiered(kube: &Kubernetes) -> History {
    let of = format!(
        "{{clusterRef: {{name: tiered}}, partitions: {PARTITIONS}, tiering: true, \
         localRetention: {{time: 0s}}}}"
    );
    kube.apply(NAMESPACE, &topic("tiered", &of)).await.unwrap();
    let topic: Topic = kube.ready(NAMESPACE, "tiered").await;
    let status = serde_yaml::to_string(&topic.status).unwrap();
    assert!(status.contains("tiering: true"), "{status}");
    assert!(status.contains("localRetentionTime: 0"), "{status}");

    let forward = kube.forward("tiered").await;
    let client = forward.client().await;
    let start = Instant::now();
    let history = produce(&client, &full(), PARTITIONS, RECORDS).await;
    let status = settled(&forward).await;
    eprintln!(
        "{RECORDS} records stored and tiered in {:.1?}",
        start.elapsed()
    );
    for partition in &status {
        assert!(2 < partition.tiered_segments, "{partition:#?}");
        assert_eq!(
            Some(partition.local_start_offset),
            partition.tier_end_offset
        );
    }
    intact(kube, &history).await;
    let shown = headwater(&forward, &["tier", "status", &full()]);
    eprintln!("{shown}");
    assert!(shown.contains("s3://tier/e2e/tiered?"), "{shown}");
    history
}

/// Everything can be read, and everything in the tier is whole.
async fn intact(kube: &Kubernetes, history: &History) {
    let forward = kube.forward("tiered").await;
    expect_intact(&forward.client().await, &full(), history).await;
    headwater(&forward, &["tier", "verify"]);
}

/// Waits until only active segments are on the disk.
async fn settled(forward: &Forward) -> Vec<PartitionTierStatus> {
    let admin = forward.client().await.admin();
    let start = Instant::now();
    loop {
        let status = admin.tier_status(&[&full()]).await.unwrap().partitions;
        let is_settled = |partition: &PartitionTierStatus| {
            partition.backlog_segments == 0
                && partition.uploading_segments == 0
                && partition.local_bytes <= SEGMENT_BYTES
        };
        if status.iter().all(is_settled) {
            return status;
        }
        assert!(start.elapsed().as_secs() < 60, "{status:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

fn headwater(forward: &Forward, arguments: &[&str]) -> String {
    let output = headwater_e2e::headwater(&forward.endpoint(), arguments);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "headwater {arguments:?} has failed: {talk}"
    );
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_stays_where_it_is_and_a_wrong_one_says_so() {
    let Some(kube) = Kubernetes::start(", and versitygw").await else {
        return;
    };
    let Some(storage) = kube.object_storage().await else {
        return;
    };
    // The bucket of a running Cluster is for good; this one never runs, for its Secret is missing.
    let tier = storage.tier("e2e/kept", "no-key");
    let apply = async |tier: &str| kube.apply(NAMESPACE, &cluster("kept", &spec(tier))).await;
    apply(&tier).await.unwrap();
    for (changed, said) in [
        (
            tier.replace("bucket: tier", "bucket: other"),
            "backend, bucket and prefix cannot be",
        ),
        (
            tier.replace("e2e/kept", "e2e/moved"),
            "backend, bucket and prefix cannot be",
        ),
        (
            tier.replace("prefix: e2e/kept, ", ""),
            "backend, bucket and prefix cannot be",
        ),
        (
            tier.replace("backend: s3", "backend: gcs"),
            "backend, bucket and prefix cannot be",
        ),
    ] {
        let refusal = apply(&changed).await.unwrap_err();
        assert!(refusal.message.contains(said), "{changed}: {refusal:?}");
    }
    let removed = cluster("kept", "{storage: {size: 1Gi}}");
    let refusal = kube.apply(NAMESPACE, &removed).await.unwrap_err();
    assert!(
        refusal.message.contains("spec.tier cannot be removed"),
        "{refusal:?}"
    );
    kube.discard_cluster("kept").await;

    // A bucket that is not there.
    kube.apply(NAMESPACE, &storage.secret("other-key"))
        .await
        .unwrap();
    let tier = storage.tier("e2e/lost", "other-key");
    let lost = spec(&tier.replace("bucket: tier", "bucket: nowhere"));
    kube.apply(NAMESPACE, &cluster("lost", &lost))
        .await
        .unwrap();
    let reason = Reason::BrokerFailing;
    let message = kube.not_ready::<Cluster>(NAMESPACE, "lost", reason).await;
    eprintln!("{}: {message}", reason.as_str());
    assert!(message.contains("bucket"), "{message}");
    kube.delete::<Cluster>(NAMESPACE, "lost").await;
    kube.await_gone::<Pod>(NAMESPACE, "lost-0").await;
    kube.discard_cluster("lost").await;
    kube.await_gone::<PersistentVolumeClaim>(NAMESPACE, "data-lost-0")
        .await;
    kube.delete::<Secret>(NAMESPACE, "other-key").await;
    kube.discard_object_storage().await;
}
