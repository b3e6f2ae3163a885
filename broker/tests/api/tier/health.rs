//! What is said of a store that is unwell.

use headwater_broker::config::Settings;

use super::*;
use crate::s3_server::{Fault, Strike};

impl Harness {
    /// The tier's metrics come to say this; they are told now and then.
    async fn assert_numbers(&self, expected: &[(&str, i64)]) {
        for (name, value) in expected {
            let metric = format!("headwater_tier_{name}");
            until(&format!("{metric} is {value}"), async || {
                self.metric(&metric).await == *value as f64
            })
            .await;
        }
    }
}

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
async fn what_waits_too_long_for_its_upload_is_a_finding_and_in_the_numbers_until_it_is_uploaded() {
    const TOLERATED: Duration = Duration::from_secs(3);
    let bucket = Bucket::start().await;
    let settings = bucket.settings();
    let dir = tempfile::tempdir().unwrap();
    let impatient = |settings: &mut Settings| {
        settings.tier.as_mut().unwrap().backlog_tolerated = TOLERATED;
    };
    let mut harness = Harness::start_changed(dir, &borrowed(&settings), impatient).await;
    harness.create_with("t", 1, small_segments()).await.unwrap();
    harness.fill("t", 0, 0..200).await;
    harness.settle("t").await;
    harness
        .assert_numbers(&[("unreachable", 0), ("backlog_segments", 0)])
        .await;
    assert!(harness.metric("headwater_tier_cache_bytes").await > 0.0);

    bucket.server.inject(Fault::every(Strike::Denied));
    harness.fill("t", 0, 200..400).await;
    until("the finding", async || {
        harness.finding("TIER_BACKLOG").await.is_some()
    })
    .await;
    let finding = harness.finding("TIER_BACKLOG").await.unwrap();
    assert_eq!(finding.severity(), v1::Severity::Warning);
    assert!(finding.subject.starts_with("s3://tier/p"), "{finding:?}");
    let part = harness.tier_of("t").await[0].clone();
    let (segments, bytes) = (part.backlog_segments, part.backlog_bytes);
    assert!(segments >= 2, "{part:?}");
    let words = format!("{segments} sealed segments");
    assert!(finding.message.starts_with(&words), "{finding:?}");
    let waiting = [
        ("unreachable", 1),
        ("backlog_segments", segments.into()),
        ("backlog_bytes", bytes),
    ];
    harness.assert_numbers(&waiting).await;
    let old = TOLERATED.as_secs_f64() + 2.0;
    until("they grow old", async || {
        harness.metric("headwater_tier_backlog_age_seconds").await >= old
    })
    .await;

    bucket.server.clear_faults();
    harness.settle("t").await;
    let none = [
        ("unreachable", 0),
        ("backlog_segments", 0),
        ("backlog_bytes", 0),
        ("backlog_age_seconds", 0),
    ];
    harness.assert_numbers(&none).await;
    assert_eq!(harness.finding("TIER_BACKLOG").await, None);
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_met_an_outage_leaves_no_bad_name_behind() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.cold(200).await;
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
