//! What is said of a store that is unwell.

use super::*;
use crate::s3_server::{Fault, Strike};

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_a_finding_after_its_time_and_until_its_end() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    let retention = v1::TopicConfig {
        // Looks at what is in memory go well all the time; they are no sign of life.
        retention_bytes: Some(1 << 40),
        ..small_segments()
    };
    harness.create_with("t", 1, retention).await.unwrap();
    harness.fill("t", 0, 0..200).await;
    harness.settle("t").await;
    bucket
        .server
        .inject(Fault::every(Strike::Broken).on_key("-"));
    harness.fill("t", 0, 200..400).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(harness.finding("TIER_UNAVAILABLE").await, None, "too early");
    until("the finding", async || {
        harness.finding("TIER_UNAVAILABLE").await.is_some()
    })
    .await;
    let finding = harness.finding("TIER_UNAVAILABLE").await.unwrap();
    assert!(finding.subject.starts_with("s3://tier/p"), "{finding:?}");
    assert!(!finding.message.contains("good-secret"), "{finding:?}");
    bucket.server.clear_faults();
    harness.settle("t").await;
    until("its end", async || {
        harness.finding("TIER_UNAVAILABLE").await.is_none()
    })
    .await;
    assert_eq!(harness.values("t", 0).await, values(0..400));
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_met_an_outage_leaves_no_bad_name_behind() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    harness.create_with("t", 1, small_segments()).await.unwrap();
    harness.fill("t", 0, 0..200).await;
    harness.settle("t").await;
    let mut harness = bucket.restart(harness).await;
    // Whatever the start has to write is written.
    tokio::time::sleep(Duration::from_secs(1)).await;
    bucket.server.inject(Fault::every(Strike::Denied));
    let cold = harness.fetch("t", 0, earliest()).await.unwrap();
    assert_eq!(cold.error.unwrap().reason, "TIER_UNAVAILABLE");
    bucket.server.clear_faults();
    until("it is well again, with nobody reading", async || {
        let request = v1::GetTierStatusRequest::default();
        let status = harness.tier.get_tier_status(request).await.unwrap();
        status.into_inner().tier.unwrap().reachable
    })
    .await;
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_there_although_the_store_is_not() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    harness.create_with("t", 4, small_segments()).await.unwrap();
    for partition in 0..4 {
        harness.fill("t", partition, 0..150).await;
    }
    harness.settle("t").await;
    let mut harness = bucket.restart(harness).await;
    bucket
        .server
        .inject(Fault::every(Strike::Hang).on_key("/manifest/"));
    let asked = Instant::now();
    let status = harness.tier_of("t").await;
    assert!(asked.elapsed() < Duration::from_secs(12));
    assert_eq!(status.len(), 4);
    assert!(
        status.iter().all(|part| !part.last_error.is_empty()),
        "{status:?}"
    );
    bucket.server.clear_faults();
    let refused = harness.fetch("nope", 0, earliest()).await;
    drop(refused.map_err(|status| reason(&status)));
    harness.broker.stop().await.unwrap();
}
