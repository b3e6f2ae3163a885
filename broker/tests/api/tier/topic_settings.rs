//! Settings that change while records flow.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn tiering_goes_off_and_on_again_without_a_gap_or_an_overlap() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    harness.create_with("t", 1, small_segments()).await.unwrap();
    harness.fill("t", 0, 0..300).await;
    let before = harness.settle("t").await[0].clone();
    let tiering = |tiering| v1::TopicConfig {
        tiering: Some(tiering),
        ..v1::TopicConfig::default()
    };
    harness.configure("t", tiering(false)).await;
    harness.fill("t", 0, 300..700).await;
    // Long enough for several looks.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let off = harness.tier_of("t").await[0].clone();
    assert!(!off.tiering);
    assert_eq!(off.tier_end_offset, before.tier_end_offset);
    assert_eq!(
        off.backlog_segments, 0,
        "nothing waits for what is not to be"
    );
    // What is not in the tier stays, whatever local retention says.
    assert!(
        Some(off.local_start_offset) <= off.tier_end_offset,
        "{off:?}"
    );
    assert_eq!(harness.values("t", 0).await, values(0..700));
    let objects = bucket.segments();
    harness.configure("t", tiering(true)).await;
    harness.fill("t", 0, 700..900).await;
    let on = harness.settle("t").await[0].clone();
    assert!(on.tier_end_offset > off.tier_end_offset, "{on:?}");
    assert_eq!(harness.values("t", 0).await, values(0..900));
    let now = bucket.segments();
    assert_no_twins(&now);
    assert!(objects.iter().all(|object| now.contains(object)));
    assert_eq!(harness.verify(true).await.0, []);
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_without_tiering_never_gets_an_object() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    let config = v1::TopicConfig {
        tiering: Some(false),
        retention_bytes: Some(3 * SEGMENT_BYTES),
        ..small_segments()
    };
    harness.create_with("off", 1, config).await.unwrap();
    harness
        .create_with("on", 1, small_segments())
        .await
        .unwrap();
    harness.fill("off", 0, 0..500).await;
    harness.fill("on", 0, 0..300).await;
    harness.settle("on").await;
    let part = harness.tier_of("off").await[0].clone();
    assert_eq!((part.tiering, part.tier_end_offset), (false, None));
    until("retention without a tier", async || {
        harness.tier_of("off").await[0].local_bytes <= 4 * SEGMENT_BYTES
    })
    .await;
    let list = v1::ListTopicsRequest::default();
    let topics = harness.topics.list_topics(list).await.unwrap().into_inner();
    let off = topics
        .topics
        .iter()
        .find(|topic| topic.name == "default/off");
    let id = off.unwrap().topic_id.clone();
    let objects = bucket.segments();
    assert!(!objects.is_empty());
    assert!(objects.iter().all(|key| !key.contains(&id)), "{objects:?}");
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn local_retention_and_segment_size_follow_their_settings() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    let local = |bytes, ms| v1::TopicConfig {
        local_retention_bytes: Some(bytes),
        local_retention_ms: Some(ms),
        ..v1::TopicConfig::default()
    };
    let config = v1::TopicConfig {
        segment_bytes: Some(SEGMENT_BYTES),
        ..local(-1, -1)
    };
    harness.create_with("t", 1, config).await.unwrap();
    harness.fill("t", 0, 0..600).await;
    let all = harness.upload("t").await[0].clone();
    assert_eq!(
        all.local_start_offset, 0,
        "without a bound everything stays"
    );
    harness.configure("t", local(5 * SEGMENT_BYTES, -1)).await;
    // The start moves first, and the files go once that is durable.
    let some = harness
        .settle_if("t", |part| part.local_bytes < all.local_bytes)
        .await[0]
        .clone();
    assert!(some.local_bytes >= 5 * SEGMENT_BYTES, "{some:?}");
    assert!(some.local_bytes <= 7 * SEGMENT_BYTES, "{some:?}");
    harness.configure("t", local(-1, 0)).await;
    harness.settle("t").await;
    let larger = v1::TopicConfig {
        segment_bytes: Some(4 * SEGMENT_BYTES),
        ..v1::TopicConfig::default()
    };
    harness.configure("t", larger).await;
    harness.fill("t", 0, 600..1_400).await;
    let large = harness
        .settle_if("t", |part| part.local_bytes <= 4 * SEGMENT_BYTES)
        .await;
    let before = all.tiered_segments;
    let more = large[0].tiered_segments - before;
    assert!((2..=5).contains(&more), "{more} segments of 256 KiB");
    assert_eq!(harness.values("t", 0).await, values(0..1_400));
    harness.broker.stop().await.unwrap();
}
