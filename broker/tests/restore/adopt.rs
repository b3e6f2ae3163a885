//! Taking the old cluster's objects over.

use std::time::Duration;

use headwater_broker::restore::{RestoreOptions, Testing, restore};
use headwater_log::PartitionKey;
use headwater_proto::v1::position::Position;
use headwater_record::{LeaderEpoch, Offset};
use headwater_tier::{CacheLimits, FenceWatch, SweepJob, Tier, bucket, keys};
use tempfile::TempDir;
use uuid::Uuid;

use super::harness::{Bucket, TestBroker, batch_values};

/// With so short a wait behind the fence as no real cluster may have.
fn adopting(bucket: &Bucket, dir: &TempDir) -> RestoreOptions {
    RestoreOptions {
        adopt: true,
        testing: Testing {
            adopt_wait: Some(Duration::from_millis(100)),
            stop_before: None,
        },
        ..RestoreOptions::new(&bucket.url(), dir.path().join("new"))
    }
}

/// A cluster with a topic `t` of which three hundred records and more are in the tier.
async fn filled(bucket: &Bucket) -> TestBroker {
    let mut old = TestBroker::start(bucket).await;
    old.create("t", 1).await;
    for number in 0..40 {
        old.fill("t", 0, number).await;
    }
    old.settle(&["t"]).await;
    old
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_cluster_writes_no_more_and_its_garbage_goes_after_the_grace() {
    let bucket = Bucket::new();
    let mut old = filled(&bucket).await;
    let id = old.topic_id("t").await;
    let dir = tempfile::tempdir().unwrap();
    let report = restore(adopting(&bucket, &dir)).await.unwrap();
    assert!(report.adopted);
    assert_eq!(report.problems_total, 0);
    let end = report.topics[0].partitions[0].end_offset;

    // A broker that starts looks for its fence before its first head.
    let mut old = old.restart(&bucket).await;
    for number in 40..60 {
        old.fill("t", 0, number).await;
    }
    for _ in 0..200 {
        if old.findings().await.contains(&"TIER_FENCED".to_owned()) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(old.findings().await.contains(&"TIER_FENCED".to_owned()));
    assert_eq!(
        old.status(&["t"]).await[0].tier_end_offset,
        Some(end as i64)
    );
    assert_eq!(old.values("t", 0).await, batch_values(0..60));
    old.stop().await;

    // Only the new one is left to restore, once it has said what it is.
    let mut new = TestBroker::start_on(dir.path().join("new"), &bucket, &[]).await;
    new.settle(&["t"]).await;
    let again = tempfile::tempdir().unwrap();
    let options = RestoreOptions {
        cluster: Some(report.cluster_id),
        ..RestoreOptions::new(&bucket.url(), again.path().to_owned())
    };
    let error = restore(options).await.unwrap_err().to_string();
    assert!(
        error.contains(&format!("adopted by cluster {}", report.new_cluster_id)),
        "{error}"
    );
    let options = RestoreOptions {
        dry_run: true,
        ..RestoreOptions::new(&bucket.url(), again.path().to_owned())
    };
    assert_eq!(
        restore(options).await.unwrap().cluster_id,
        report.new_cluster_id
    );

    let key = PartitionKey {
        topic: id.parse().unwrap(),
        index: 0,
    };
    let store = bucket.store();
    let newest = bucket::newest_manifest(&*store, report.new_cluster_id, key)
        .await
        .unwrap();
    let head = newest.found.unwrap().number;
    let limits = CacheLimits {
        chunk_bytes: 1 << 20,
        meta_bytes: 1 << 20,
    };
    let tier = Tier::new(store, report.new_cluster_id, limits);
    let garbage = keys::segment(
        report.cluster_id,
        key,
        Offset::new(7),
        LeaderEpoch(9),
        Uuid::from_u128(7),
    );
    tier.store()
        .put_if_absent(&garbage, "nothing".into())
        .await
        .unwrap();
    let watch = FenceWatch::default();
    watch.take_over(&tier, u64::MAX).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let before = bucket.objects();
    let sweep = |grace_ms| SweepJob {
        key,
        planned_ms: 0,
        keep: vec![head],
        in_progress: Default::default(),
        grace_ms,
        clusters: vec![report.new_cluster_id, report.cluster_id],
        clock: Uuid::new_v4(),
    };
    let young = tier.sweep(&sweep(600_000), &watch, &|| 0).await.unwrap();
    assert_eq!(young.deleted, 0);
    assert!(young.waiting > 1, "{young:?}");
    assert_eq!(bucket.objects(), before);
    let old_enough = tier.sweep(&sweep(1), &watch, &|| 0).await.unwrap();
    assert_eq!(old_enough.deleted, young.waiting);
    assert_eq!(bucket.keys(&garbage), [""; 0]);
    let of_partition = keys::partition_prefix(report.cluster_id, key);
    let named = report.topics[0].partitions[0].objects as usize;
    assert_eq!(bucket.keys(&of_partition).len(), named);
    assert_eq!(new.values("t", 0).await, batch_values(0..end as usize / 10));
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_object_is_found_and_costs_its_own_records_alone() {
    let bucket = Bucket::new();
    let mut old = filled(&bucket).await;
    let prefix = format!(
        "{}/{}/0/0000",
        old.cluster_id().await,
        old.topic_id("t").await
    );
    old.stop().await;
    let segments = bucket.keys(&prefix);
    bucket.truncate(&segments[1]);
    let dir = tempfile::tempdir().unwrap();
    let report = restore(adopting(&bucket, &dir)).await.unwrap();
    assert!(report.adopted);
    assert_eq!(report.problems_total, 1);
    let problem = &report.topics[0].partitions[0].problems[0];
    assert_eq!(
        (problem.kind, &problem.object_key),
        ("length", &segments[1])
    );
    let mut new = TestBroker::start_on(dir.path().join("new"), &bucket, &[]).await;
    let lost = Position::Offset(problem.end_offset as i64 - 1);
    let data = new.fetch("t", 0, lost).await.unwrap();
    assert!(data.error.is_some(), "{data:?}");
    let behind = Position::Offset(problem.end_offset as i64);
    let data = new.fetch("t", 0, behind).await.unwrap();
    assert_eq!(data.records[0].offset, problem.end_offset as i64);
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_object_is_found_when_checksums_are_asked_for() {
    let bucket = Bucket::new();
    let mut old = filled(&bucket).await;
    let prefix = format!(
        "{}/{}/0/0000",
        old.cluster_id().await,
        old.topic_id("t").await
    );
    old.stop().await;
    let segment = bucket.keys(&prefix).remove(0);
    let path = bucket.path(&segment);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[500] ^= 1;
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    for (checksums, problems) in [(false, 0), (true, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let options = RestoreOptions {
            checksums,
            dry_run: true,
            ..RestoreOptions::new(&bucket.url(), dir.path().to_owned())
        };
        assert_eq!(restore(options).await.unwrap().problems_total, problems);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_manifest_is_gone_is_not_adopted_and_not_fenced() {
    let bucket = Bucket::new();
    let mut old = filled(&bucket).await;
    let cluster = old.cluster_id().await;
    let prefix = format!("{cluster}/{}/0/manifest/", old.topic_id("t").await);
    old.stop().await;
    let newest = bucket.keys(&prefix).pop().unwrap();
    bucket.remove(&newest);
    let dir = tempfile::tempdir().unwrap();
    let error = restore(adopting(&bucket, &dir))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&newest) && error.contains("without --adopt"),
        "{error}"
    );
    assert_eq!(bucket.keys(&format!("{cluster}/fence")), [""; 0]);
    assert!(!dir.path().join("new").exists());
}
