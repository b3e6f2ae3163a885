//! A store that is down.

use super::*;
use crate::s3_server::{Fault, Strike};
use crate::{position, start_broker};

/// While the store fails in one way or another. How long it took.
pub(super) async fn hot_path_goes_on(harness: &mut Harness, topic: &str, at: usize) -> Duration {
    let started = Instant::now();
    harness.fill(topic, 0, at..at + 100).await;
    let last = v1::position::Position::LastN(20);
    let data = harness.fetch(topic, 0, position(last)).await.unwrap();
    assert_eq!(data.error, None);
    assert_eq!(data.records.len(), 20);
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    took
}

#[tokio::test(flavor = "multi_thread")]
async fn produce_and_hot_reads_do_not_feel_a_store_that_is_down() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.cold(300).await;
    let mut at = 300;
    for strike in [
        Strike::Broken,
        Strike::Throttled,
        Strike::Denied,
        Strike::LostAnswer,
        Strike::Hang,
    ] {
        bucket.server.inject(Fault::every(strike));
        hot_path_goes_on(&mut harness, "t", at).await;
        at += 100;
        let asked = Instant::now();
        let cold = harness.fetch("t", 0, earliest()).await.unwrap();
        let error = cold.error.expect("nothing of it can be had");
        assert_eq!(error.reason, "TIER_UNAVAILABLE", "{strike:?}: {error:?}");
        assert_eq!(error.code, tonic::Code::Unavailable as i32, "{error:?}");
        assert!(error.retriable, "{error:?}");
        // A reader is told in time, whatever the store does.
        assert!(asked.elapsed() < Duration::from_secs(25), "{strike:?}");
        bucket.server.clear_faults();
    }
    let status = harness.settle("t").await;
    assert!(status[0].tier_end_offset > Some(600), "{status:?}");
    assert_eq!(harness.values("t", 0).await, values(0..at));
    // Every object that is named is there; an attempt whose answer was lost is named by nobody.
    let (problems, summary) = harness.verify(true).await;
    assert_eq!(problems, []);
    assert_eq!(summary.objects, status[0].tiered_segments);
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_name_nothing_twice_and_lose_nothing() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    harness.create_with("t", 2, small_segments()).await.unwrap();
    for operation in ["PutObject", "GetObject", "HeadObject"] {
        for skip in [1, 4, 9, 16] {
            let fault = Fault::once(Strike::LostAnswer, operation);
            bucket.server.inject(fault.after(skip).times(3));
        }
    }
    harness.fill("t", 0, 0..500).await;
    harness.fill("t", 1, 0..300).await;
    harness.settle("t").await;
    assert_eq!(harness.values("t", 0).await, values(0..500));
    assert_eq!(harness.values("t", 1).await, values(0..300));
    assert_eq!(harness.verify(true).await.0, []);
    let mut harness = bucket.restart(harness).await;
    assert_eq!(harness.values("t", 0).await, values(0..500));
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_stops_in_time_while_its_store_hangs() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    harness.create_with("t", 1, small_segments()).await.unwrap();
    harness.fill("t", 0, 0..200).await;
    harness.settle("t").await;
    bucket.server.inject(Fault::every(Strike::Hang));
    harness.fill("t", 0, 200..400).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let started = Instant::now();
    let Harness { dir, broker, .. } = harness;
    broker.stop().await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    bucket.server.clear_faults();
    let settings = bucket.settings();
    let mut harness = Harness::start_on(dir, &borrowed(&settings)).await;
    harness.settle("t").await;
    assert_eq!(harness.values("t", 0).await, values(0..400));
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_at_the_start_is_no_reason_not_to_serve() {
    for strike in [Strike::Broken, Strike::Hang] {
        let bucket = Bucket::start().await;
        bucket.server.inject(Fault::every(strike));
        let started = Instant::now();
        let mut harness = bucket.broker().await;
        assert!(started.elapsed() < Duration::from_secs(20), "{strike:?}");
        harness.create_with("t", 1, small_segments()).await.unwrap();
        harness.fill("t", 0, 0..300).await;
        let request = v1::GetTierStatusRequest::default();
        let status = harness.tier.get_tier_status(request).await.unwrap();
        let tier = status.into_inner().tier.unwrap();
        assert!(!tier.reachable, "{tier:?}");
        assert_ne!(tier.last_error, "");
        bucket.server.clear_faults();
        harness.settle("t").await;
        assert_eq!(harness.values("t", 0).await, values(0..300));
        harness.broker.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_is_refused_with_the_reason() {
    let bucket = Bucket::start().await;
    bucket.server.ignore_conditions();
    let settings = bucket.settings();
    let dir = tempfile::tempdir().unwrap();
    let refused = start_broker(dir.path(), &borrowed(&settings)).await;
    let error = format!("{:#}", refused.err().expect("it would write over objects"));
    assert!(error.contains("If-None-Match"), "{error}");
    assert!(
        error.contains("use a store with conditional writes"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_shows_only_later_that_it_ignores_them_gets_nothing() {
    let bucket = Bucket::start().await;
    bucket.server.ignore_conditions();
    bucket.server.inject(Fault::every(Strike::Broken));
    let mut harness = bucket.broker().await;
    harness.create_with("t", 1, small_segments()).await.unwrap();
    harness.fill("t", 0, 0..200).await;
    bucket.server.clear_faults();
    until("a finding", async || {
        harness.finding("TIER_UNUSABLE").await.is_some()
    })
    .await;
    assert_eq!(bucket.segments(), Vec::<String>::new());
    assert_eq!(harness.values("t", 0).await, values(0..200));
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_in_the_middle_leaves_no_parts_to_be_paid_for() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    let config = v1::TopicConfig {
        segment_bytes: Some(16 << 20),
        ..small_segments()
    };
    harness.create_with("t", 1, config).await.unwrap();
    let denied = Fault::once(Strike::Denied, "UploadPart");
    bucket.server.inject(denied.after(1).times(2));
    let large = "x".repeat(900_000);
    for _ in 0..40 {
        harness.produce("t", 0, &[&large]).await;
    }
    harness
        .settle_if("t", |part| part.local_start_offset > 30)
        .await;
    assert!(bucket.server.requests("AbortMultipartUpload") > 0);
    assert_eq!(bucket.server.uploads(), 0);
    assert_eq!(harness.values("t", 0).await, vec![large; 40]);
    harness.broker.stop().await.unwrap();
}
