//! What a bucket may hold, and what is made of it.

use std::path::Path;

use headwater_broker::restore::{RestoreOptions, RestoreReport, restore};
use headwater_log::PartitionKey;
use headwater_record::LeaderEpoch;
use headwater_tier::{bucket, keys};
use uuid::Uuid;

use super::harness::{Bucket, TestBroker, batch_values};

async fn dry(bucket: &Bucket) -> anyhow::Result<RestoreReport> {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("new");
    let options = RestoreOptions {
        dry_run: true,
        ..RestoreOptions::new(&bucket.url(), data_dir.clone())
    };
    let before = bucket.objects();
    let report = restore(options).await;
    assert_eq!(bucket.objects(), before, "a dry run writes nothing");
    assert!(!data_dir.exists());
    report
}

/// Ends of all partitions by topic.
fn ends(report: &RestoreReport) -> Vec<(&str, Vec<u64>)> {
    let of_topic = |topic: &headwater_broker::restore::TopicReport| {
        topic
            .partitions
            .iter()
            .map(|partition| partition.end_offset)
            .collect()
    };
    report
        .topics
        .iter()
        .map(|topic| (topic.topic.as_str(), of_topic(topic)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_a_damaged_and_no_snapshot_find_the_same_topics_and_records() {
    let bucket = Bucket::new();
    let mut old = TestBroker::start(&bucket).await;
    old.create("a", 2).await;
    let cluster = old.cluster_id().await;
    old.settle(&["a"]).await;
    let snapshots = || bucket.keys(&format!("{cluster}/metadata/"));
    let early = snapshots().pop().unwrap();
    old.create("b", 1).await;
    for number in 0..30 {
        old.fill("a", 1, number).await;
        old.fill("b", 0, number).await;
    }
    old.settle(&["a", "b"]).await;
    old.stop().await;

    let whole = dry(&bucket).await.unwrap();
    assert_eq!(whole.topics.len(), 2);
    assert!(ends(&whole)[0].1[1] > 100);
    assert!(whole.topics.iter().all(|topic| !topic.newer_than_snapshot));

    let newest = snapshots().pop().unwrap();
    bucket.truncate(&newest);
    let older = dry(&bucket).await.unwrap();
    assert_eq!(ends(&older), ends(&whole));
    assert_eq!(older.unread_objects[0].object, newest);
    assert!(older.snapshot_revision < whole.snapshot_revision);

    for key in snapshots().into_iter().filter(|key| *key != early) {
        bucket.remove(&key);
    }
    let stale = dry(&bucket).await.unwrap();
    assert_eq!(ends(&stale), ends(&whole));
    let newer: Vec<bool> = stale
        .topics
        .iter()
        .map(|topic| topic.newer_than_snapshot)
        .collect();
    assert_eq!(newer, [false, true]);
    assert!(stale.topics[0].partitions[1].newer_than_snapshot);

    bucket.remove(&early);
    let dir = tempfile::tempdir().unwrap();
    let alone = restore(RestoreOptions::new(&bucket.url(), dir.path().to_owned()))
        .await
        .unwrap();
    assert_eq!(ends(&alone), ends(&whole));
    assert_eq!(alone.snapshot_revision, None);
    let mut new = TestBroker::start_on(dir.path().to_owned(), &bucket, &[]).await;
    let end = ends(&whole)[0].1[1] as usize;
    assert_eq!(new.values("a", 1).await, batch_values(0..end / 10));
    new.fill("a", 1, end / 10).await;
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_objects_are_gone_was_deleted_after_the_snapshot() {
    let bucket = Bucket::new();
    let mut old = TestBroker::start(&bucket).await;
    old.create("kept", 1).await;
    old.create("gone", 1).await;
    let gone = format!("{}/{}/", old.cluster_id().await, old.topic_id("gone").await);
    old.settle(&["kept"]).await;
    old.stop().await;
    for key in bucket.keys(&gone) {
        bucket.remove(&key);
    }
    let report = dry(&bucket).await.unwrap();
    assert_eq!(ends(&report), [("default/kept", vec![0])]);
    assert_eq!(report.vanished_topics[0].topic, "default/gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_of_the_highest_epoch_counts_even_if_it_was_never_committed() {
    let bucket = Bucket::new();
    let mut old = TestBroker::start(&bucket).await;
    old.create("t", 1).await;
    for number in 0..40 {
        old.fill("t", 0, number).await;
    }
    old.settle(&["t"]).await;
    let cluster: Uuid = old.cluster_id().await.parse().unwrap();
    let key = PartitionKey {
        topic: old.topic_id("t").await.parse().unwrap(),
        index: 0,
    };
    old.stop().await;
    let store = bucket.store();
    let newest = bucket::newest_manifest(&*store, cluster, key)
        .await
        .unwrap()
        .found
        .unwrap();
    let mut next = newest.child(cluster, LeaderEpoch(newest.leader_epoch.0 + 1));
    next.number = newest.number + 1;
    next.advance(newest.entries[0].end);
    let object = keys::manifest(cluster, key, next.number);
    store.put_if_absent(&object, next.encode()).await.unwrap();
    // A deposed leader's, of a higher number.
    let mut deposed = newest.child(cluster, newest.leader_epoch);
    deposed.number = newest.number + 2;
    let object = keys::manifest(cluster, key, deposed.number);
    store
        .put_if_absent(&object, deposed.encode())
        .await
        .unwrap();

    let dir = tempfile::tempdir().unwrap();
    let report = restore(RestoreOptions::new(&bucket.url(), dir.path().to_owned()))
        .await
        .unwrap();
    let partition = &report.topics[0].partitions[0];
    assert_eq!(partition.log_start_offset, next.start.get());
    assert!(partition.newer_than_snapshot);
    let mut new = TestBroker::start_on(dir.path().to_owned(), &bucket, &[]).await;
    let range = next.start.get() as usize / 10..next.end.get() as usize / 10;
    assert_eq!(new.values("t", 0).await, batch_values(range.clone()));
    new.fill("t", 0, range.end).await;
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_without_a_manifest_begins_behind_what_it_had() {
    let bucket = Bucket::new();
    let mut old = TestBroker::start(&bucket).await;
    old.create("t", 2).await;
    for number in 0..20 {
        old.fill("t", 0, number).await;
        old.fill("t", 1, number).await;
    }
    let status = old.settle(&["t"]).await;
    let end = status[0].tier_end_offset.unwrap();
    let prefix = format!(
        "{}/{}/0/manifest/",
        old.cluster_id().await,
        old.topic_id("t").await
    );
    old.stop().await;
    for key in bucket.keys(&prefix) {
        bucket.remove(&key);
    }
    let dir = tempfile::tempdir().unwrap();
    let report = restore(RestoreOptions::new(&bucket.url(), dir.path().to_owned()))
        .await
        .unwrap();
    let [lost, whole] = &report.topics[0].partitions[..] else {
        panic!("two partitions");
    };
    assert_eq!(
        (lost.log_start_offset as i64, lost.end_offset as i64),
        (end, end)
    );
    assert_eq!(lost.problems[0].kind, "missing");
    assert_eq!(
        (
            lost.problems[0].base_offset,
            lost.problems[0].end_offset as i64
        ),
        (0, end)
    );
    assert_eq!(whole.problems_total, 0);
    let mut new = TestBroker::start_on(dir.path().to_owned(), &bucket, &[]).await;
    new.fill("t", 0, end as usize / 10).await;
    assert_eq!(
        new.values("t", 0).await,
        batch_values(end as usize / 10..end as usize / 10 + 1)
    );
    assert_eq!(new.offsets("t", 1).await.1, whole.end_offset as i64);
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_clusters_one_must_be_named() {
    let bucket = Bucket::new();
    let mut ids = Vec::new();
    for topics in 1..=2 {
        let mut broker = TestBroker::start(&bucket).await;
        for topic in 0..topics {
            broker.create(&format!("t{topic}"), 1).await;
        }
        broker.settle(&["t0"]).await;
        ids.push(broker.cluster_id().await);
        broker.stop().await;
    }
    let error = dry(&bucket).await.unwrap_err().to_string();
    assert!(error.contains("--cluster"), "{error}");
    assert!(
        error.contains(&format!("{}: 1 topics, newest snapshot 20", ids[0])),
        "{error}"
    );
    assert!(error.contains(&format!("{}: 2 topics", ids[1])), "{error}");
    let dir = tempfile::tempdir().unwrap();
    let named = |cluster| RestoreOptions {
        cluster: Some(cluster),
        dry_run: true,
        ..RestoreOptions::new(&bucket.url(), dir.path().to_owned())
    };
    let report = restore(named(ids[1].parse().unwrap())).await.unwrap();
    assert_eq!(report.topics.len(), 2);
    let error = restore(named(Uuid::from_u128(1)))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("there is no cluster 00000000"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_url_and_a_directory_in_use_are_refused_with_a_remedy() {
    let bucket = Bucket::new();
    let dir = tempfile::tempdir().unwrap();
    let at = |url: &str, dir: &Path| {
        let options = RestoreOptions::new(url, dir.to_owned());
        async move { format!("{:#}", restore(options).await.unwrap_err()) }
    };
    let error = at(&bucket.url(), dir.path()).await;
    assert!(error.contains("there is no cluster in fs://"), "{error}");
    let absent = bucket.path("absent");
    let error = at(&format!("fs://{}", absent.display()), dir.path()).await;
    assert!(error.contains("there is no directory"), "{error}");
    assert!(!absent.exists());
    assert!(at("fs:", dir.path()).await.contains("fs:///OLD/DATA/tier"));
    assert!(
        at("s4://b", dir.path())
            .await
            .contains("no store known here")
    );

    let mut old = TestBroker::start(&bucket).await;
    old.create("t", 1).await;
    old.settle(&["t"]).await;
    std::fs::write(dir.path().join("note.txt"), "mine").unwrap();
    let error = at(&bucket.url(), dir.path()).await;
    assert!(error.contains("is not empty, note.txt is in it"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    old.stop().await;
}
