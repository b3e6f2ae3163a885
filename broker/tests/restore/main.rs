//! A new broker from a bucket alone, beside whole brokers in this process.

mod adopt;
mod harness;
mod hold;
mod source;
mod unfinished;

use std::collections::BTreeMap;

use headwater_broker::restore::{RestoreOptions, restore};

use harness::{Bucket, TestBroker, batch_values, value};

#[tokio::test(flavor = "multi_thread")]
async fn everything_up_to_the_tiers_end_is_there_and_goes_on_from_there() {
    let bucket = Bucket::new();
    let mut old = TestBroker::start(&bucket).await;
    old.create("orders", 2).await;
    old.create("empty", 1).await;
    old.create("payments", 1).await;
    let producer = old.init_producer().await;
    for number in 0..60 {
        old.produce_as(producer, "orders", 0, number).await.unwrap();
    }
    for number in 0..40 {
        old.fill("orders", 1, number).await;
        old.fill("payments", 0, number).await;
    }
    old.settle(&["payments"]).await;
    // The log start is above zero in one of them; the next upload takes it along.
    old.delete_records("payments", 0, 150).await;
    for number in 40..60 {
        old.fill("payments", 0, number).await;
    }
    let status = old.settle(&["orders", "payments"]).await;
    let ends: BTreeMap<_, _> = status
        .iter()
        .map(|p| {
            (
                (p.topic.clone(), p.partition),
                p.tier_end_offset.unwrap_or(0),
            )
        })
        .collect();
    let old_cluster = old.cluster_id().await;
    let old_id = old.topic_id("orders").await;
    old.stop().await;
    let objects = bucket.objects();

    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("new");
    let report = restore(RestoreOptions::new(&bucket.url(), data_dir.clone()))
        .await
        .unwrap();
    assert_eq!(report.problems_total, 0, "{report:#?}");
    assert_eq!(report.cluster_id.to_string(), old_cluster);
    assert!(report.snapshot_revision.is_some());
    assert!(
        report
            .start_command
            .contains(&format!("tier.url={}", bucket.url()))
    );
    let names: Vec<_> = report
        .topics
        .iter()
        .map(|topic| topic.topic.as_str())
        .collect();
    assert_eq!(
        names,
        ["default/empty", "default/orders", "default/payments"]
    );
    for topic in &report.topics {
        for partition in &topic.partitions {
            let key = (topic.topic.clone(), partition.partition as i32);
            let end = ends.get(&key).copied().unwrap_or(0);
            assert_eq!(partition.end_offset as i64, end, "{key:?}");
        }
    }

    let mut new = TestBroker::start_on(data_dir, &bucket, &[]).await;
    assert_eq!(new.cluster_id().await, report.new_cluster_id.to_string());
    assert_eq!(new.topic_id("orders").await, old_id);
    for (topic, partition, start) in [("orders", 0, 0), ("orders", 1, 0), ("payments", 0, 150)] {
        let end = ends[&(format!("default/{topic}"), partition)];
        assert!(end > 200, "{topic}/{partition} ends at {end}");
        assert_eq!(
            new.offsets(topic, partition).await,
            (start, end),
            "{topic}/{partition}"
        );
        let expected: Vec<String> = (start..end).map(|n| value(n as usize)).collect();
        assert_eq!(
            new.values(topic, partition).await,
            expected,
            "{topic}/{partition}"
        );
    }
    assert_eq!(new.offsets("empty", 0).await, (0, 0));

    // The last batch that is in the tier is known to have been appended, and the next one in sequence follows.
    let end = ends[&("default/orders".to_owned(), 0)];
    let last = end as usize / 10 - 1;
    let ack = new.produce_as(producer, "orders", 0, last).await.unwrap();
    assert!(ack.duplicate, "{ack:?}");
    assert_eq!(ack.base_offset, last as i64 * 10);
    let ack = new
        .produce_as(producer, "orders", 0, last + 1)
        .await
        .unwrap();
    assert!(!ack.duplicate);
    assert_eq!(ack.base_offset, end);
    let fresh = new.init_producer().await;
    assert!(fresh > producer + 1_000_000, "{fresh} after {producer}");

    // What is new goes up under the new UUID; nothing of the old cluster has changed.
    for number in last + 2..last + 40 {
        new.fill("orders", 0, number).await;
    }
    let status = new.settle(&["orders"]).await;
    assert!(status[0].tier_end_offset.unwrap() > end);
    let expected: Vec<String> = (0..(last + 40) * 10).map(value).collect();
    assert_eq!(new.values("orders", 0).await, expected);
    let mut new = new.restart(&bucket).await;
    assert_eq!(new.values("orders", 0).await, expected);
    let after = bucket.objects();
    for (key, bytes) in &objects {
        assert_eq!(after.get(key), Some(bytes), "{key}");
    }
    let is_new = |key: &&String| key.starts_with(&report.new_cluster_id.to_string());
    let segments = format!("{}/{old_id}/0/0000", report.new_cluster_id);
    assert!(after.keys().any(|key| key.starts_with(&segments)));
    let others = after.keys().filter(|key| !is_new(key));
    let others: Vec<&String> = others.filter(|key| !objects.contains_key(*key)).collect();
    let hold = format!("{old_cluster}/hold-{}", report.new_cluster_id);
    assert_eq!(others, [&hold], "nothing else is written there");
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_cluster_beside_the_restored_one_harms_it_not_nor_is_harmed() {
    let bucket = Bucket::new();
    let mut old = TestBroker::start(&bucket).await;
    old.create("t", 1).await;
    for number in 0..30 {
        old.fill("t", 0, number).await;
    }
    old.settle(&["t"]).await;
    let dir = tempfile::tempdir().unwrap();
    let report = restore(RestoreOptions::new(&bucket.url(), dir.path().to_owned()))
        .await
        .unwrap();
    let end = report.topics[0].partitions[0].end_offset as usize;
    let mut new = TestBroker::start_on(dir.path().to_owned(), &bucket, &[]).await;
    for number in end / 10..end / 10 + 30 {
        new.fill("t", 0, number).await;
    }
    for number in 30..60 {
        old.fill("t", 0, number).await;
    }
    new.settle(&["t"]).await;
    old.settle(&["t"]).await;
    assert_eq!(new.values("t", 0).await, batch_values(0..end / 10 + 30));
    assert_eq!(old.values("t", 0).await, batch_values(0..60));
    // What the new one deletes is its own alone.
    new.delete_topic("t").await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(old.values("t", 0).await, batch_values(0..60));
    new.stop().await;
    old.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_cluster_is_restored_again_with_what_both_wrote() {
    let bucket = Bucket::new();
    let mut first = TestBroker::start(&bucket).await;
    first.create("t", 1).await;
    for number in 0..30 {
        first.fill("t", 0, number).await;
    }
    first.settle(&["t"]).await;
    first.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let (second_dir, third_dir) = (dir.path().join("2"), dir.path().join("3"));
    let report = restore(RestoreOptions::new(&bucket.url(), second_dir.clone()))
        .await
        .unwrap();
    let end = report.topics[0].partitions[0].end_offset as usize / 10;
    let mut second = TestBroker::start_on(second_dir, &bucket, &[]).await;
    for number in end..end + 30 {
        second.fill("t", 0, number).await;
    }
    second.settle(&["t"]).await;
    second.stop().await;
    let options = RestoreOptions {
        cluster: Some(report.new_cluster_id),
        checksums: true,
        ..RestoreOptions::new(&bucket.url(), third_dir.clone())
    };
    let again = restore(options).await.unwrap();
    assert_eq!(again.problems_total, 0, "{again:#?}");
    let last = again.topics[0].partitions[0].end_offset as usize / 10;
    assert!(last > end);
    let mut third = TestBroker::start_on(third_dir, &bucket, &[]).await;
    assert_eq!(third.values("t", 0).await, batch_values(0..last));
    third.stop().await;
}
