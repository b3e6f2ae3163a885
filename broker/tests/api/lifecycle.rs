//! Starting, stopping, and what a data directory remembers.

use tokio_stream::StreamExt as _;

use super::*;

#[tokio::test]
async fn everything_is_there_after_a_restart_and_leaderships_are_new() {
    let mut harness = Harness::start().await;
    harness.create("t", 2).await;
    harness.produce("t", 0, &["a"]).await;
    let epoch = |data: &v1::PartitionData| data.leader_epoch;
    let before = epoch(&harness.fetch("t", 0, earliest()).await.unwrap());
    let mut harness = harness.restart(&[("storage.shards", "3")]).await;
    assert_eq!(harness.values("t", 0).await, ["a"]);
    assert_eq!(harness.produce("t", 0, &["b"]).await, 1);
    assert!(epoch(&harness.fetch("t", 0, earliest()).await.unwrap()) > before);
}

#[tokio::test]
async fn a_directory_in_use_is_refused_by_name() {
    let harness = Harness::start().await;
    let error = start_broker(harness.dir.path(), &[])
        .await
        .err()
        .expect("it is in use");
    let text = format!("{error:#}");
    assert!(
        text.contains(harness.dir.path().to_str().unwrap()),
        "{text}"
    );
}

#[tokio::test]
async fn an_unformed_directory_says_how_to_form_it() {
    let dir = tempfile::tempdir().unwrap();
    let error = start_broker(dir.path(), &[("form", "false")])
        .await
        .err()
        .expect("unformed");
    assert!(format!("{error:#}").contains("--form"), "{error:#}");
}

#[tokio::test]
async fn damaged_metadata_refuses_to_start_and_names_the_file() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let Harness { dir, broker, .. } = harness;
    broker.stop().await.unwrap();
    for entry in std::fs::read_dir(dir.path().join("metadata")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.len() > 200 {
            let middle = bytes.len() / 3;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let error = start_broker(dir.path(), &[])
        .await
        .err()
        .expect("it is damaged");
    let text = format!("{error:#}");
    assert!(
        text.contains("metadata") && text.contains("damaged"),
        "{text}"
    );
}

#[tokio::test]
async fn health_is_good_and_says_so() {
    let mut harness = Harness::start().await;
    let health = harness
        .cluster
        .get_health(v1::GetHealthRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(health.healthy, "{:?}", health.findings);
    let cluster = harness
        .cluster
        .get_cluster(v1::GetClusterRequest {})
        .await
        .unwrap();
    assert_eq!(cluster.into_inner().brokers, 1);
}

#[tokio::test]
async fn metadata_is_watched_from_the_first_state_on() {
    let mut harness = Harness::start().await;
    let request = v1::WatchMetadataRequest::default();
    let mut stream = harness
        .cluster
        .watch_metadata(request)
        .await
        .unwrap()
        .into_inner();
    let first = stream.next().await.unwrap().unwrap().metadata.unwrap();
    assert!(first.topics.is_empty());
    harness.create("t", 2).await;
    let second = stream.next().await.unwrap().unwrap().metadata.unwrap();
    assert_eq!(second.topics[0].partitions.len(), 2);
    assert!(second.revision > first.revision);
    assert_eq!(
        second.brokers[0].address,
        harness.broker.client_address().to_string()
    );
}

#[tokio::test]
async fn a_stop_tells_streams_and_ends_within_its_grace() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let subscription = v1::Subscription {
        topic: "t".to_owned(),
        ..Default::default()
    };
    let request = v1::SubscribeRequest {
        subscriptions: vec![subscription],
        ..Default::default()
    };
    let mut stream = harness
        .consumer
        .subscribe(request)
        .await
        .unwrap()
        .into_inner();
    let reader = tokio::spawn(async move {
        let mut last = None;
        while let Some(Ok(message)) = stream.next().await {
            last = message.message;
        }
        last
    });
    let Harness {
        broker,
        channel,
        producer,
        consumer,
        topics,
        cluster,
        ..
    } = harness;
    drop((channel, producer, consumer, topics, cluster));
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(30), broker.stop());
    stopped.await.expect("in time").expect("cleanly");
    let last = reader.await.unwrap();
    assert!(
        matches!(last, Some(v1::subscribe_response::Message::Draining(_))),
        "the last word is that the broker stops, got {last:?}"
    );
}

/// The log of partition 0 of the only topic.
fn log_file(dir: &Path) -> std::path::PathBuf {
    let topic = std::fs::read_dir(dir.join("topics"))
        .unwrap()
        .next()
        .unwrap();
    topic.unwrap().path().join("0/00000000000000000000.log")
}

async fn findings(harness: &mut Harness) -> Vec<String> {
    let health = harness.cluster.get_health(v1::GetHealthRequest {}).await;
    let findings = health.unwrap().into_inner().findings;
    findings.into_iter().map(|finding| finding.reason).collect()
}

#[tokio::test]
async fn damage_that_a_reader_meets_is_a_finding_and_the_rest_is_served() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    for value in ["a", "b", "c"] {
        harness.produce("t", 0, &[value]).await;
    }
    let Harness { dir, broker, .. } = harness;
    broker.stop().await.unwrap();
    let path = log_file(dir.path());
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut harness = Harness::start_on(dir, &[]).await;
    assert_eq!(findings(&mut harness).await, Vec::<String>::new());
    for _ in 0..2 {
        let data = harness.fetch("t", 0, offset(1)).await.unwrap();
        let error = data.error.expect("the second batch is damaged");
        assert_eq!(error.reason, "DATA_LOSS");
        assert_eq!(
            (
                &*error.metadata["from_offset"],
                &*error.metadata["to_offset"]
            ),
            ("1", "2")
        );
    }
    assert_eq!(findings(&mut harness).await, ["DATA_LOSS"], "said once");
    assert_eq!(
        harness
            .fetch("t", 0, offset(2))
            .await
            .unwrap()
            .records
            .len(),
        1
    );
    assert_eq!(harness.produce("t", 0, &["d"]).await, 3);
}

#[tokio::test]
async fn a_log_cut_short_after_its_marks_were_removed_is_never_called_a_torn_tail() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    for value in ["a", "b", "c"] {
        harness.produce("t", 0, &[value]).await;
    }
    let Harness { dir, broker, .. } = harness;
    broker.stop().await.unwrap();
    std::fs::remove_dir_all(dir.path().join("marks")).unwrap();
    let path = log_file(dir.path());
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
    let mut harness = Harness::start_on(dir, &[]).await;
    let found = findings(&mut harness).await;
    assert!(
        found.contains(&"SYNC_MARKS_MISSING".to_owned()),
        "{found:?}"
    );
    assert!(
        found.contains(&"DATA_LOSS_POSSIBLE".to_owned()),
        "{found:?}"
    );
    assert!(!found.contains(&"LOG_CUT".to_owned()), "{found:?}");
    assert_eq!(harness.values("t", 0).await, ["a", "b"]);
}
