//! Ends of all kinds, and what is there after them.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use headwater_proto::v1::producer_service_client::ProducerServiceClient;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_tier_is_there_after_a_restart_and_goes_up_once() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    harness.create_with("t", 1, small_segments()).await.unwrap();
    for round in 0..4 {
        harness.fill("t", 0, round * 200..(round + 1) * 200).await;
        // In the middle of whatever it does.
        tokio::time::sleep(Duration::from_millis(150 * round as u64)).await;
        harness = bucket.restart(harness).await;
        let all = values(0..(round + 1) * 200);
        assert_eq!(harness.values("t", 0).await, all);
    }
    let status = harness.settle("t").await;
    let (problems, summary) = harness.verify(true).await;
    assert_eq!(
        (problems, summary.objects),
        (vec![], status[0].tiered_segments)
    );
    let objects = bucket.segments();
    let mut harness = bucket.restart(harness).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(harness.settle("t").await, status);
    assert_eq!(bucket.segments(), objects);
    harness.broker.stop().await.unwrap();
}

/// A broker in a process of its own, and where it listens.
fn serve(dir: &Path, bucket: &[(String, String)]) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater-broker"));
    command
        .env_clear()
        .stderr(Stdio::piped())
        .arg("--data-dir")
        .arg(dir);
    command.args(["--form", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]);
    command.args(["--set", "disk_guard.reserve_bytes=1MiB"]);
    for (key, text) in bucket {
        command.arg("--set").arg(format!("{key}={text}"));
    }
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().unwrap().contains("serving"));
    let line = line.expect("it serves").unwrap();
    // Or it would stand still with a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    let (_, address) = line.split_once("client=").expect("it says where");
    let address = address.split_whitespace().next().unwrap();
    (child, format!("http://{address}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_any_two_steps_loses_nothing_and_names_nothing_twice() {
    let bucket = Bucket::start().await;
    let settings = bucket.settings();
    let harness = bucket.broker().await;
    let mut harness = harness;
    harness.create_with("t", 1, small_segments()).await.unwrap();
    let Harness { dir, broker, .. } = harness;
    broker.stop().await.unwrap();
    let mut acknowledged = 0;
    for round in 0..6_u64 {
        let (mut child, address) = serve(dir.path(), &settings);
        let mut producer = ProducerServiceClient::connect(address).await.unwrap();
        let until = Instant::now() + Duration::from_millis(300 + round * 170);
        while Instant::now() < until {
            let records = (acknowledged..acknowledged + 10).map(|n| v1::Record {
                value: Some(value(n).into()),
                ..v1::Record::default()
            });
            let request = v1::ProduceRequest {
                topic: "t".to_owned(),
                partition: Some(0),
                records: records.collect(),
                ..v1::ProduceRequest::default()
            };
            producer.produce(request).await.unwrap();
            acknowledged += 10;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut harness = Harness::start_on(dir, &borrowed(&settings)).await;
    assert_eq!(harness.values("t", 0).await, values(0..acknowledged));
    let status = harness.settle("t").await;
    assert!(
        status[0].tier_end_offset > Some(acknowledged as i64 - 100),
        "{status:?}"
    );
    assert_eq!(harness.values("t", 0).await, values(0..acknowledged));
    let (problems, summary) = harness.verify(true).await;
    assert_eq!(
        (problems, summary.objects),
        (vec![], status[0].tiered_segments)
    );
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_tier_a_broker_says_what_is_missing_and_drops_nothing_more() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    let config = v1::TopicConfig {
        local_retention_bytes: Some(4 * SEGMENT_BYTES),
        ..small_segments()
    };
    harness.create_with("t", 1, config).await.unwrap();
    let gone = harness
        .create_with("gone", 1, small_segments())
        .await
        .unwrap();
    harness.fill("t", 0, 0..600).await;
    harness.fill("gone", 0, 0..200).await;
    harness.settle("gone").await;
    let settled = harness
        .settle_if("t", |part| part.local_start_offset >= 300)
        .await;
    let local = settled[0].local_start_offset;
    let mut harness = harness.restart(&QUICK[1..2]).await;
    let finding = harness.finding("TIER_NOT_CONFIGURED").await.unwrap();
    assert!(finding.remedy.contains("tier.url"), "{finding:?}");
    let cold = harness.fetch("t", 0, earliest()).await.unwrap();
    let error = cold.error.unwrap();
    assert_eq!(error.reason, "TIER_NOT_CONFIGURED");
    assert!(error.message.contains("tier.url"), "{error:?}");
    let refused = harness
        .tier
        .verify_tier(v1::VerifyTierRequest::default())
        .await;
    assert_eq!(reason(&refused.unwrap_err()), "TIER_NOT_CONFIGURED");
    harness.fill("t", 0, 600..900).await;
    // Copies of what is in the tier are all there is now.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (rest, _, error) = harness.read_on("t", 0, local).await;
    assert_eq!((rest, error), (values(local as usize..900), None));
    let request = v1::DeleteTopicRequest {
        name: "gone".to_owned(),
        ..v1::DeleteTopicRequest::default()
    };
    harness.topics.delete_topic(request).await.unwrap();
    // It is back: everything is there again, and what was deleted meanwhile goes.
    let left = || {
        let segments = bucket.segments().into_iter();
        segments.filter(|key| key.contains(&gone.topic_id)).count()
    };
    assert!(left() > 0);
    let mut harness = bucket.restart(harness).await;
    assert_eq!(harness.values("t", 0).await, values(0..900));
    until("objects of what was deleted go", async || left() == 0).await;
    assert_eq!(harness.finding("TIER_NOT_CONFIGURED").await, None);
    harness.broker.stop().await.unwrap();
}
