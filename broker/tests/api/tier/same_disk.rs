//! A tier on the disk of the data directory: a copy there and one in the log would only take the room twice.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn on_one_disk_a_copy_goes_with_the_head_however_long_copies_may_stay() {
    // In the data directory, and in a directory of its own on the same file system.
    let beside = tempfile::tempdir().unwrap();
    let url = format!("fs://{}", beside.path().display());
    for url in ["fs:", &url] {
        let settings = [("tier.url", url), QUICK[0], QUICK[1], QUICK[2]];
        let mut harness = Harness::start_with(&settings).await;
        let config = v1::TopicConfig {
            segment_bytes: Some(SEGMENT_BYTES),
            local_retention_ms: Some(-1),
            local_retention_bytes: Some(-1),
            ..v1::TopicConfig::default()
        };
        harness.create_with("t", 1, config).await.unwrap();
        harness.fill("t", 0, 0..600).await;
        let part = harness
            .settle_if("t", |part| {
                Some(part.local_start_offset) == part.tier_end_offset
            })
            .await
            .remove(0);
        assert!(part.local_start_offset > 400, "{part:?}");
        assert!(part.local_bytes <= SEGMENT_BYTES, "{part:?}");
        assert_eq!(harness.values("t", 0).await, values(0..600));
        harness.broker.stop().await.unwrap();
    }
}
