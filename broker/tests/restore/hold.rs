//! The old cluster goes on beside the restored one: what its retention and deleted topics leave stays until it is
//! released.

use std::time::Duration;

use headwater_broker::config::Settings;
use headwater_broker::restore::{ReleaseOptions, RestoreOptions, RestoreReport, release, restore};
use tempfile::TempDir;
use uuid::Uuid;

use super::harness::{self, Bucket, TestBroker, batch_values};

/// Batches of ten records.
const BATCHES: usize = 60;

/// A grace that is shorter than any file may say.
fn hasty(settings: &mut Settings) {
    let tier = settings.tier.as_mut().unwrap();
    tier.gc_grace = Duration::from_secs(2);
    tier.gc_interval = Duration::from_secs(2);
}

/// A cluster with topics `kept` and `gone`.
async fn filled(bucket: &Bucket) -> TestBroker {
    let mut old = TestBroker::start_changed(bucket, hasty).await;
    for topic in ["kept", "gone"] {
        old.create(topic, 1).await;
        for number in 0..BATCHES {
            old.fill(topic, 0, number).await;
        }
    }
    old.settle(&["kept", "gone"]).await;
    old
}

fn beside(bucket: &Bucket, dir: &TempDir) -> RestoreOptions {
    RestoreOptions::new(&bucket.url(), dir.path().join("new"))
}

fn end_of(report: &RestoreReport, topic: usize) -> usize {
    report.topics[topic].partitions[0].end_offset as usize / 10
}

/// Waits for something that takes a while.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("waited for {what} in vain");
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_and_deleted_topics_of_the_old_cluster_take_nothing_that_the_restored_one_names()
{
    let bucket = Bucket::new();
    let old = filled(&bucket).await;
    let dir = tempfile::tempdir().unwrap();
    let report = restore(beside(&bucket, &dir)).await.unwrap();
    let (gone_end, kept_end) = (end_of(&report, 0), end_of(&report, 1));
    assert_eq!(report.topics[1].topic, "default/kept");
    assert!(gone_end > 30 && kept_end > 30);
    let (cluster, holder) = (report.cluster_id, report.new_cluster_id);
    let hold = format!("{cluster}/hold-{holder}");
    assert_eq!(bucket.keys(&format!("{cluster}/hold-")), [hold.as_str()]);
    assert_eq!(report.holds.len(), 1);
    assert_eq!(report.holds[0].cluster_id, cluster);

    // A look of before the hold counts for half a minute, with a grace that no real cluster may have: a broker that has
    // started looks before it deletes anything.
    let mut old = old.restart_changed(&bucket, hasty).await;
    let named = |topic: &str| format!("{cluster}/{topic}/0/0000");
    let (kept, gone) = (old.topic_id("kept").await, old.topic_id("gone").await);
    let before = [named(&kept), named(&gone)].map(|prefix| bucket.keys(&prefix));
    old.delete_records("kept", 0, 300).await;
    old.retain_bytes("kept", 128 << 10).await;
    old.delete_topic("gone").await;
    until("the finding", async || {
        old.findings().await.contains(&"TIER_HELD".to_owned())
    })
    .await;
    until("the tier's start", async || {
        old.status(&["kept"]).await[0].tier_start_offset >= Some(300)
    })
    .await;
    // Grace and sweeps are over, several times.
    tokio::time::sleep(Duration::from_secs(9)).await;
    for (prefix, before) in [named(&kept), named(&gone)].iter().zip(&before) {
        let after = bucket.keys(prefix);
        assert!(before.iter().all(|key| after.contains(key)), "{prefix}");
    }
    // It takes up what is new all the same.
    for number in BATCHES..BATCHES + 20 {
        old.fill("kept", 0, number).await;
    }
    old.settle(&["kept"]).await;
    assert!(bucket.keys(&named(&kept)).len() > before[0].len());

    let mut new = TestBroker::start_on(dir.path().join("new"), &bucket, &[]).await;
    assert_eq!(new.values("kept", 0).await, batch_values(0..kept_end));
    assert_eq!(new.values("gone", 0).await, batch_values(0..gone_end));
    assert!(!new.findings().await.contains(&"TIER_HELD".to_owned()));
    new.stop().await;

    let options = |holder| ReleaseOptions {
        from: bucket.url(),
        credentials_dir: None,
        cluster,
        holder,
    };
    let error = release(options(Uuid::nil())).await.unwrap_err().to_string();
    assert!(error.contains(&holder.to_string()), "{error}");
    release(options(holder)).await.unwrap();
    let mut old = old.restart_changed(&bucket, hasty).await;
    until("the garbage goes", async || {
        let left = bucket.keys(&named(&kept));
        bucket.keys(&format!("{cluster}/{gone}/")).is_empty()
            && before[0].iter().any(|key| !left.contains(key))
    })
    .await;
    assert!(!old.findings().await.contains(&"TIER_HELD".to_owned()));
    old.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_restored_twice_over_is_held_by_both_and_so_is_whose_objects_it_names() {
    let bucket = Bucket::new();
    let first = filled(&bucket).await;
    first.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let second_dir = dir.path().join("2");
    let options = RestoreOptions::new(&bucket.url(), second_dir.clone());
    let second = restore(options).await.unwrap();
    let mut broker = TestBroker::start_on(second_dir, &bucket, &[]).await;
    for number in end_of(&second, 1)..end_of(&second, 1) + 20 {
        broker.fill("kept", 0, number).await;
    }
    broker.settle(&["kept"]).await;
    broker.stop().await;
    let of = |cluster: Uuid, adopt: bool, name: &str| RestoreOptions {
        cluster: Some(cluster),
        adopt,
        testing: harness::no_wait(),
        ..RestoreOptions::new(&bucket.url(), dir.path().join(name))
    };
    let third = restore(of(second.new_cluster_id, false, "3"))
        .await
        .unwrap();
    let hold = |cluster, holder| format!("{cluster}/hold-{holder}");
    let holds = || {
        let keys = bucket.objects().into_keys();
        keys.filter(|key| key.contains("/hold-"))
            .collect::<Vec<_>>()
    };
    let mut expected = vec![
        hold(second.cluster_id, second.new_cluster_id),
        hold(second.cluster_id, third.new_cluster_id),
        hold(second.new_cluster_id, third.new_cluster_id),
    ];
    expected.sort();
    assert_eq!(holds(), expected);

    // Nobody takes over what others need.
    let error = restore(of(second.new_cluster_id, true, "4"))
        .await
        .unwrap_err();
    let error = error.to_string();
    let holder = third.new_cluster_id.to_string();
    assert!(
        error.contains(&holder) && error.contains("tier release"),
        "{error}"
    );
    assert_eq!(
        bucket.keys(&format!("{}/fence", second.new_cluster_id)),
        [""; 0]
    );
    assert!(!dir.path().join("4").exists());
    let options = ReleaseOptions {
        from: bucket.url(),
        credentials_dir: None,
        cluster: second.new_cluster_id,
        holder: third.new_cluster_id,
    };
    release(options).await.unwrap();
    let fourth = restore(of(second.new_cluster_id, true, "4")).await.unwrap();
    assert!(fourth.adopted);
    let held: Vec<Uuid> = fourth.holds.iter().map(|hold| hold.cluster_id).collect();
    assert_eq!(held, [second.cluster_id], "its objects are not adopted");
    expected.retain(|key| *key != hold(second.new_cluster_id, third.new_cluster_id));
    expected.push(hold(second.cluster_id, fourth.new_cluster_id));
    expected.sort();
    assert_eq!(holds(), expected);
}
