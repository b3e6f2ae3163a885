//! A full disk refuses writes, loses nothing, and recovers when room is made.

use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_client::types::TopicConfig;
use headwater_client::{Client, Record};
use headwater_e2e::{Broker, BrokerOptions, History, SmallDisk, everything, is_root, read_all};

const PARTITIONS: u32 = 2;
const FULL: &str = "STORAGE_FULL";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_loses_nothing_and_recovers() {
    if !everything(" and root") || !is_root() {
        return;
    }
    let disk = SmallDisk::mount();
    let mut broker = Broker::start_with(BrokerOptions {
        data_dir: Some(disk.path().join("data")),
        settings: SmallDisk::settings(),
        ..BrokerOptions::default()
    });
    let client = broker.client().await;
    let admin = client.admin();
    admin
        .create_topic("kept", PARTITIONS, TopicConfig::default(), false)
        .await
        .unwrap();
    admin
        .create_topic("filler", 1, TopicConfig::default(), false)
        .await
        .unwrap();

    let mut history = History::default();
    for number in 0..64 {
        let partition = number % PARTITIONS;
        let ack = append(&client, "kept", partition, value(number))
            .await
            .unwrap();
        history.acked(partition, ack, value(number));
    }
    let filled = fill(&client, 1_000).await;
    assert!(20 < filled, "only {filled} batches of 256 KiB until {FULL}");
    assert_eq!(history.faults(&read_all(&client, "kept").await), [""; 0]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !admin
        .health()
        .await
        .unwrap()
        .findings
        .iter()
        .any(|finding| finding.reason == FULL)
    {
        assert!(Instant::now() < deadline, "health says nothing of it");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    // A full broker can be killed and comes back, full but for what its journals took: they went to the segments.
    broker.kill();
    broker.restart();
    assert_eq!(history.faults(&read_all(&client, "kept").await), [""; 0]);
    let filled = fill(&client, 1_000).await;
    assert!(filled < 20, "{filled} batches more");
    let refused = append(&client, "kept", 0, value(64)).await;
    assert_eq!(refused.unwrap_err(), FULL);

    // Deleting records makes room.
    let end = admin.list_partitions("filler").await.unwrap()[0].high_watermark as u64;
    admin
        .delete_records("filler", &[(0, Some(end))])
        .await
        .unwrap();
    recovers(&client).await;

    // So does retention.
    fill(&client, 2_000).await;
    let mut filler = admin.get_topic("filler").await.unwrap();
    filler.config = Some(TopicConfig {
        retention_bytes: Some(1 << 20),
        ..TopicConfig::default()
    });
    admin
        .update_topic(filler, &["config.retention_bytes"], false)
        .await
        .unwrap();
    recovers(&client).await;

    // So does deleting a topic.
    let mut filler = admin.get_topic("filler").await.unwrap();
    filler.config = Some(TopicConfig::default());
    admin
        .update_topic(filler, &["config.retention_bytes"], false)
        .await
        .unwrap();
    fill(&client, 3_000).await;
    admin.delete_topic("filler", None).await.unwrap();
    recovers(&client).await;

    let kept = read_all(&client, "kept").await;
    let faults = history.faults(&kept);
    assert_eq!(faults, [""; 0]);
}

/// A value that no other number has.
fn value(number: u32) -> Bytes {
    Bytes::from(format!("{number}-{}", "x".repeat(1_000)))
}

/// Appends to one partition; the offset, or the reason of the refusal.
async fn append(client: &Client, topic: &str, partition: u32, value: Bytes) -> Result<u64, String> {
    let record = Record {
        value: Some(value),
        ..Record::default()
    };
    let ack = client.append(topic, partition, None, vec![record]).await;
    ack.map(|ack| ack.base_offset.expect("acks are asked for"))
        .map_err(|error| error.reason().to_owned())
}

/// Appends to `filler` until the disk is full; how many batches that took.
async fn fill(client: &Client, batches_max: u32) -> u32 {
    let filling = Bytes::from(vec![7; 256 << 10]);
    for batches in 0..batches_max {
        match append(client, "filler", 0, filling.clone()).await {
            Ok(_) => {}
            Err(reason) if reason == FULL => return batches,
            Err(reason) => panic!("refused for {reason}"),
        }
    }
    panic!("{batches_max} batches did not fill the disk");
}

/// Waits until appends to `kept` are taken again.
async fn recovers(client: &Client) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let marker = || value(u32::MAX - next_number());
    while let Err(reason) = append(client, "kept", 0, marker()).await {
        assert_eq!(reason, FULL);
        assert!(
            Instant::now() < deadline,
            "room was made and the broker still refuses"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Numbers that do not return in one run.
fn next_number() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
