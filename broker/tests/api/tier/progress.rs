//! How far a check of the tier says it is.

use headwater_proto::v1::verify_tier_response::Event;

use super::*;
use crate::s3_server::{Fault, Strike};

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_takes_a_while_says_how_much_there_is_to_look_at_in_all() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    harness.create_with("t", 2, small_segments()).await.unwrap();
    for partition in 0..2 {
        harness.fill("t", partition, 0..300).await;
    }
    harness.settle("t").await;
    // The first look is asked for until the last attempt goes well, which takes some seconds.
    let busy = Fault::once(Strike::Throttled, "HeadObject").times(4);
    bucket.server.inject(busy);
    let request = v1::VerifyTierRequest::default();
    let mut told = harness.tier.verify_tier(request).await.unwrap();
    let mut progress = Vec::new();
    let summary = loop {
        match told.get_mut().message().await.unwrap().unwrap().event {
            Some(Event::Progress(far)) => progress.push(far),
            Some(Event::Summary(summary)) => break summary,
            other => panic!("{other:?}"),
        }
    };
    assert!(summary.objects > 4, "{summary:?}");
    assert!(!progress.is_empty());
    for far in progress {
        assert!(far.bytes < summary.bytes, "{far:?}");
        assert_eq!(far.objects_total, Some(summary.objects));
        assert_eq!(far.bytes_total, Some(summary.bytes));
    }
    harness.broker.stop().await.unwrap();
}
