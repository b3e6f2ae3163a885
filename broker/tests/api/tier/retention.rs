//! What goes, from both places.

use headwater_broker::config::Settings;

use super::*;

/// Shorter than any file may say.
const GRACE: Duration = Duration::from_secs(2);

fn hasty(settings: &mut Settings) {
    let tier = settings.tier.as_mut().unwrap();
    tier.gc_grace = GRACE;
    tier.gc_interval = GRACE;
}

async fn hasty_broker(bucket: &Bucket) -> Harness {
    let settings = bucket.settings();
    let dir = tempfile::tempdir().unwrap();
    Harness::start_changed(dir, &borrowed(&settings), hasty).await
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_counts_both_places_and_objects_go_after_the_grace() {
    let bucket = Bucket::start().await;
    let mut harness = hasty_broker(&bucket).await;
    harness.create_with("t", 1, small_segments()).await.unwrap();
    harness.fill("t", 0, 0..900).await;
    harness.settle("t").await;
    let before = bucket.segments().len();
    let retention = v1::TopicConfig {
        retention_bytes: Some(6 * SEGMENT_BYTES),
        ..v1::TopicConfig::default()
    };
    harness.configure("t", retention).await;
    until("the log start", async || {
        harness.tier_of("t").await[0].log_start_offset > 400
    })
    .await;
    let part = harness.tier_of("t").await[0].clone();
    let start = part.log_start_offset;
    let kept = part.tiered_bytes + part.local_bytes;
    assert!(kept >= 6 * SEGMENT_BYTES, "{part:?}");
    assert_eq!(harness.values("t", 0).await, values(start as usize..900));
    until("the objects go", async || bucket.segments().len() <= 7).await;
    assert!(before > 10);
    let gone = before - bucket.segments().len();
    until("they are counted", async || {
        harness.metric("headwater_tier_objects_deleted_total").await >= gone as f64
    })
    .await;
    // What is left is what is named, and manifests do not pile up.
    assert_eq!(harness.verify(true).await.0, []);
    assert_eq!(harness.values("t", 0).await, values(start as usize..900));
    until("old manifests go", async || {
        let keys = bucket.server.keys().into_iter();
        keys.filter(|key| key.contains("/manifest/")).count() <= 2
    })
    .await;

    let age = v1::TopicConfig {
        retention_ms: Some(1_000),
        ..v1::TopicConfig::default()
    };
    harness.configure("t", age).await;
    until("all goes by age", async || {
        harness.tier_of("t").await[0].log_start_offset >= 840
    })
    .await;
    let for_ever = v1::TopicConfig {
        retention_ms: Some(-1),
        ..v1::TopicConfig::default()
    };
    harness.configure("t", for_ever).await;
    // A look that was under way is over by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    harness.fill("t", 0, 900..1_000).await;
    let start = harness.tier_of("t").await[0].log_start_offset;
    let (rest, end, error) = harness.read_on("t", 0, start).await;
    assert_eq!((end, error), (1_000, None));
    assert_eq!(rest, values(start as usize..1_000));
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_leaves_no_object_and_its_tombstone_goes_after_the_objects() {
    let bucket = Bucket::start().await;
    let mut harness = hasty_broker(&bucket).await;
    harness.create_with("t", 2, small_segments()).await.unwrap();
    let topic = harness
        .create_with("kept", 1, small_segments())
        .await
        .unwrap();
    harness.fill("t", 0, 0..300).await;
    harness.fill("t", 1, 0..300).await;
    harness.fill("kept", 0, 0..200).await;
    harness.settle("t").await;
    harness.settle("kept").await;
    let request = v1::DeleteTopicRequest {
        name: "t".to_owned(),
        ..v1::DeleteTopicRequest::default()
    };
    harness.topics.delete_topic(request).await.unwrap();
    assert_eq!(harness.broker.image().tombstones().count(), 1);
    let of_others = |bucket: &Bucket| {
        let keys = bucket.server.keys().into_iter();
        let keys = keys.filter(|key| is_segment(key) || key.contains("/topic-"));
        keys.filter(|key| !key.contains(&topic.topic_id)).count()
    };
    let deleted = Instant::now();
    until("the objects go", async || of_others(&bucket) == 0).await;
    // Something that was on its way when the topic was deleted comes late, and goes as well.
    assert!(deleted.elapsed() < Duration::from_secs(20));
    until("the tombstone goes", async || {
        harness.broker.image().tombstones().count() == 0
    })
    .await;
    // Nothing of it was left before, for a whole grace.
    assert!(deleted.elapsed() >= GRACE);
    assert_eq!(of_others(&bucket), 0);
    assert!(!bucket.segments().is_empty());
    assert_eq!(harness.values("kept", 0).await, values(0..200));
    // A topic of that name is another one.
    harness.create_with("t", 1, small_segments()).await.unwrap();
    harness.fill("t", 0, 0..5).await;
    assert_eq!(harness.values("t", 0).await, values(0..5));
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_deleted_in_the_tier_at_any_offset() {
    let mut harness = Harness::start_with(&FS).await;
    harness.create_with("t", 1, small_segments()).await.unwrap();
    harness.fill("t", 0, 0..500).await;
    harness.settle("t").await;
    for before in [1, 77, 400] {
        let request = v1::DeleteRecordsRequest {
            topic: "t".to_owned(),
            partitions: vec![v1::DeleteRecordsPartition {
                partition: 0,
                before_offset: before,
            }],
        };
        harness.topics.delete_records(request).await.unwrap();
        let from = before as usize..500;
        assert_eq!(harness.values("t", 0).await, values(from));
    }
    let mut harness = harness.restart(&FS).await;
    assert_eq!(harness.values("t", 0).await, values(400..500));
    // All of it, the active segment included; and on from there.
    let request = v1::DeleteRecordsRequest {
        topic: "t".to_owned(),
        partitions: vec![v1::DeleteRecordsPartition {
            partition: 0,
            before_offset: -1,
        }],
    };
    harness.topics.delete_records(request).await.unwrap();
    harness.fill("t", 0, 500..900).await;
    harness.settle("t").await;
    assert_eq!(harness.values("t", 0).await, values(500..900));
    assert_eq!(harness.verify(true).await.0, []);
    harness.broker.stop().await.unwrap();
}
