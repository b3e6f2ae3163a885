//! A stop between any two steps leaves a directory that says what to do, and the same restore finishes it.

use std::time::Duration;

use headwater_broker::restore::{RestoreOptions, Step, Testing, restore};

use super::harness::{self, Bucket, TestBroker, batch_values};

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_stopped_anywhere_is_finished_by_the_same_command() {
    let bucket = Bucket::new();
    let mut old = TestBroker::start(&bucket).await;
    old.create("t", 2).await;
    for number in 0..30 {
        old.fill("t", 0, number).await;
        old.fill("t", 1, number).await;
    }
    old.settle(&["t"]).await;
    let cluster = old.cluster_id().await;
    old.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let steps = [
        Step::Hold,
        Step::Manifests,
        Step::Logs,
        Step::Metadata,
        Step::Finish,
    ];
    let mut unfinished = Vec::new();
    for (number, step) in steps.into_iter().enumerate() {
        let data_dir = dir.path().join(number.to_string());
        let options = |stop_before| RestoreOptions {
            cluster: Some(cluster.parse().unwrap()),
            testing: Testing {
                adopt_wait: None,
                stop_before,
            },
            ..RestoreOptions::new(&bucket.url(), data_dir.clone())
        };
        restore(options(Some(step))).await.unwrap_err();
        let refused = harness::start(&data_dir, &bucket, true, &[]).await;
        let refused = format!("{:#}", refused.err().expect("it is not finished"));
        assert!(
            refused.contains("run it again: headwater restore --from"),
            "{refused}"
        );

        let adopt = RestoreOptions {
            adopt: true,
            ..options(None)
        };
        let error = restore(adopt).await.unwrap_err().to_string();
        assert!(error.contains("unfinished restore"), "{error}");

        // Half of it again, and then all.
        restore(options(Some(Step::Metadata))).await.unwrap_err();
        let report = restore(options(None)).await.unwrap();
        let mut new = TestBroker::start_on(data_dir.clone(), &bucket, &[]).await;
        assert_eq!(new.cluster_id().await, report.new_cluster_id.to_string());
        let end = report.topics[0].partitions[1].end_offset as usize / 10;
        assert_eq!(new.values("t", 1).await, batch_values(0..end), "{step:?}");
        new.fill("t", 1, end).await;
        new.stop().await;
        unfinished.push(report.new_cluster_id);
        let error = restore(options(None)).await.unwrap_err().to_string();
        assert!(error.contains("is not empty"), "{error}");
    }
    unfinished.sort();
    unfinished.dedup();
    assert_eq!(unfinished.len(), 5);
    // Each holds once, however often it was begun.
    let holds = unfinished.iter().map(|new| format!("{cluster}/hold-{new}"));
    assert!(holds.eq(bucket.keys(&format!("{cluster}/hold-"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_own_fence_of_an_unfinished_adoption_is_no_hindrance() {
    let bucket = Bucket::new();
    let mut old = TestBroker::start(&bucket).await;
    old.create("t", 1).await;
    for number in 0..20 {
        old.fill("t", 0, number).await;
    }
    old.settle(&["t"]).await;
    old.stop().await;
    let dir = tempfile::tempdir().unwrap();
    let options = |stop_before| RestoreOptions {
        adopt: true,
        testing: Testing {
            adopt_wait: Some(Duration::from_millis(10)),
            stop_before,
        },
        ..RestoreOptions::new(&bucket.url(), dir.path().to_owned())
    };
    for step in [Step::Fence, Step::Manifests, Step::Logs] {
        restore(options(Some(step))).await.unwrap_err();
    }
    let report = restore(options(None)).await.unwrap();
    assert!(report.adopted);
    let mut new = TestBroker::start_on(dir.path().to_owned(), &bucket, &[]).await;
    let end = report.topics[0].partitions[0].end_offset as usize / 10;
    assert_eq!(new.values("t", 0).await, batch_values(0..end));
    new.stop().await;
}
