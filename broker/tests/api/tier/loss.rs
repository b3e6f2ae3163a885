//! Objects that are lost, cut short or altered.

use super::*;
use crate::s3_server::{Fault, Strike};

/// A topic of which two partitions are in the bucket, nothing of it in memory.
async fn filled(bucket: &Bucket) -> Harness {
    let mut harness = bucket.broker().await;
    harness.create_with("t", 2, small_segments()).await.unwrap();
    harness.fill("t", 0, 0..600).await;
    harness.fill("t", 1, 0..200).await;
    harness.settle("t").await;
    bucket.restart(harness).await
}

fn base_of(key: &str) -> i64 {
    key.rsplit('/').next().unwrap()[..20].parse().unwrap()
}

/// The files of a topic's segments in a data directory, sorted.
fn logs(dir: &Path, topic_id: &str) -> Vec<PathBuf> {
    let mut logs: Vec<PathBuf> = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let path = entry.path();
            match path.is_dir() {
                true => dirs.push(path),
                false if path.extension().is_some_and(|end| end == "log") => logs.push(path),
                false => {}
            }
        }
    }
    logs.retain(|log| log.to_str().unwrap().contains(topic_id));
    logs.sort();
    logs
}

/// Flips a bit in the middle of a segment.
fn alter(log: &Path) {
    let mut bytes = std::fs::read(log).unwrap();
    bytes[30_000] ^= 1;
    std::fs::write(log, bytes).unwrap();
}

/// The objects of partition 0.
fn objects(bucket: &Bucket) -> Vec<String> {
    let segments = bucket.segments().into_iter();
    segments.filter(|key| key.contains("/0/")).collect()
}

/// Everything of partition 0 but `lost` can be read, and the error names the object and where to go on.
async fn assert_only_this_is_lost(harness: &mut Harness, key: &str, range: std::ops::Range<i64>) {
    let (before, at, error) = harness.read_on("t", 0, 0).await;
    let error = error.expect("an error for the range");
    assert_eq!(error.reason, "DATA_LOSS", "{error:?}");
    assert!(error.message.contains(&key["p/".len()..]), "{error:?}");
    assert!(!error.retriable, "{error:?}");
    assert!(range.contains(&at), "{at} of {range:?}");
    assert_eq!(before, values(0..at as usize));
    let behind: i64 = error.metadata["to_offset"].parse().unwrap();
    assert!(at < behind && behind <= range.end, "{behind} of {range:?}");
    let (after, end, error) = harness.read_on("t", 0, range.end).await;
    assert_eq!((end, error), (600, None));
    assert_eq!(after, values(range.end as usize..600));
    let (others, ..) = harness.read_on("t", 1, 0).await;
    assert_eq!(others, values(0..200));
    let finding = harness.finding("TIER_OBJECT_LOST").await.unwrap();
    assert!(finding.message.contains(&key["p/".len()..]), "{finding:?}");
    assert_eq!(harness.produce("t", 1, &["and on"]).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_object_loses_its_own_records_and_no_others() {
    let bucket = Bucket::start().await;
    let mut harness = filled(&bucket).await;
    let keys = objects(&bucket);
    let (key, next) = (&keys[3], &keys[4]);
    bucket.server.lose(key);
    for checksums in [false, true] {
        let (problems, summary) = harness.verify(checksums).await;
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].kind(), v1::TierProblemKind::Missing);
        assert_eq!(problems[0].object_key, key["p/".len()..]);
        assert_eq!(problems[0].base_offset, base_of(key));
        assert_eq!(problems[0].end_offset, base_of(next));
        assert!(!problems[0].held_locally);
        assert_eq!((summary.problems, summary.partitions), (1, 2));
    }
    // Each check has found it.
    assert_eq!(harness.metric("headwater_tier_problems_total").await, 2.0);
    assert_only_this_is_lost(&mut harness, key, base_of(key)..base_of(next)).await;
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_batch_is_never_given_out() {
    let bucket = Bucket::start().await;
    let mut harness = filled(&bucket).await;
    let keys = objects(&bucket);
    let (key, next) = (&keys[2], &keys[3]);
    bucket.server.corrupt(key, 30_000);
    assert_eq!(harness.verify(false).await.0, [], "the length is right");
    let problems = harness.verify(true).await.0;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].kind(), v1::TierProblemKind::Checksum);
    assert_only_this_is_lost(&mut harness, key, base_of(key)..base_of(next)).await;
    // The other batches of the object are as good as ever.
    let (_, at, error) = harness.read_on("t", 0, base_of(key)).await;
    let behind: i64 = error.unwrap().metadata["to_offset"].parse().unwrap();
    assert!(behind - at <= 10, "one batch: {at} to {behind}");
    let (rest, ..) = harness.read_on("t", 0, behind).await;
    assert_eq!(rest, values(behind as usize..600));
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_footer_hides_no_record() {
    let bucket = Bucket::start().await;
    let mut harness = filled(&bucket).await;
    let keys = objects(&bucket);
    // Segments are a little larger than 64 KiB; what follows is footer.
    let status = harness.tier_of("t").await;
    let bytes = status[0].tiered_bytes / status[0].tiered_segments;
    bucket.server.corrupt(&keys[1], bytes as usize + 30);
    assert_eq!(harness.values("t", 0).await, values(0..600));
    assert_eq!(harness.verify(true).await.0.len(), 1);
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_file_loses_what_was_cut_off() {
    let mut harness = Harness::start_with(&FS).await;
    harness.create_with("t", 2, small_segments()).await.unwrap();
    harness.fill("t", 0, 0..600).await;
    harness.fill("t", 1, 0..200).await;
    harness.settle("t").await;
    let mut harness = harness.restart(&FS).await;
    let files = segment_files(harness.dir.path()).into_iter();
    let files: Vec<PathBuf> = files
        .filter(|file| file.to_str().unwrap().contains("/0/"))
        .collect();
    let file = std::fs::File::options()
        .write(true)
        .open(&files[2])
        .unwrap();
    file.set_len(25_000).unwrap();
    let problems = harness.verify(false).await.0;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].kind(), v1::TierProblemKind::Length);
    let range = problems[0].base_offset..problems[0].end_offset;
    let key = format!("p/{}", problems[0].object_key);
    assert_only_this_is_lost(&mut harness, &key, range.clone()).await;
    let (before, ..) = harness.read_on("t", 0, range.start).await;
    assert!(
        before.len() >= 20,
        "what is whole is served: {}",
        before.len()
    );
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_on_the_disk_serves_what_the_tier_has_lost() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    let config = v1::TopicConfig {
        segment_bytes: Some(SEGMENT_BYTES),
        ..v1::TopicConfig::default()
    };
    harness.create_with("t", 1, config).await.unwrap();
    harness.fill("t", 0, 0..300).await;
    harness.upload("t").await;
    let lost = bucket.segments();
    lost.iter().for_each(|key| bucket.server.lose(key));
    assert_eq!(harness.values("t", 0).await, values(0..300));
    let problems = harness.verify(false).await.0;
    assert_eq!(problems.len(), lost.len());
    assert!(problems.iter().all(|problem| problem.held_locally));
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_the_tier_serves_what_the_disk_has_lost() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    let config = v1::TopicConfig {
        segment_bytes: Some(SEGMENT_BYTES),
        ..v1::TopicConfig::default()
    };
    let topic = harness.create_with("t", 1, config).await.unwrap();
    harness.fill("t", 0, 0..300).await;
    harness.upload("t").await;
    let settings = bucket.settings();
    let Harness { dir, broker, .. } = harness;
    broker.stop().await.unwrap();
    alter(&logs(dir.path(), &topic.topic_id)[1]);
    let mut harness = Harness::start_on(dir, &borrowed(&settings)).await;
    assert_eq!(harness.values("t", 0).await, values(0..300));
    let finding = harness.finding("DATA_LOSS").await;
    assert!(finding.is_some(), "the disk is damaged all the same");
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_is_damaged_before_its_upload_holds_up_its_partition_until_it_is_deleted() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    let topic = harness.create_with("t", 2, small_segments()).await.unwrap();
    bucket.server.inject(Fault::every(Strike::Denied));
    harness.fill("t", 0, 0..300).await;
    harness.fill("t", 1, 0..200).await;
    let settings = bucket.settings();
    let Harness { dir, broker, .. } = harness;
    broker.stop().await.unwrap();
    let mut logs = logs(dir.path(), &topic.topic_id);
    logs.retain(|log| log.parent().unwrap().ends_with("0"));
    alter(&logs[1]);
    bucket.server.clear_faults();
    let mut harness = Harness::start_on(dir, &borrowed(&settings)).await;
    until("the finding", async || {
        harness.finding("TIER_UPLOAD_BLOCKED").await.is_some()
    })
    .await;
    let finding = harness.finding("TIER_UPLOAD_BLOCKED").await.unwrap();
    assert_eq!(finding.severity(), v1::Severity::Critical);
    assert_eq!(finding.subject, "default/t/0");
    assert!(finding.message.contains("damaged"), "{finding:?}");
    // The others' segments go their way, and the store is not to blame.
    until("the other partition", async || {
        let part = &harness.tier_of("t").await[1];
        part.backlog_segments == 0 && part.tier_end_offset > Some(0)
    })
    .await;
    assert_eq!(harness.finding("TIER_UNAVAILABLE").await, None);
    let behind: i64 = logs[2]
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let part = harness.tier_of("t").await[0].clone();
    assert!(part.tier_end_offset < Some(behind), "{part:?}");

    let request = v1::DeleteRecordsRequest {
        topic: "t".to_owned(),
        partitions: vec![v1::DeleteRecordsPartition {
            partition: 0,
            before_offset: behind,
        }],
    };
    harness.topics.delete_records(request).await.unwrap();
    harness.settle("t").await;
    assert_eq!(harness.finding("TIER_UPLOAD_BLOCKED").await, None);
    assert_eq!(harness.values("t", 0).await, values(behind as usize..300));
    assert_eq!(harness.verify(true).await.0, []);
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_manifest_is_found_although_it_is_in_memory() {
    let bucket = Bucket::start().await;
    let mut harness = filled(&bucket).await;
    assert_eq!(harness.verify(false).await.0, []);
    let keys = bucket.server.keys().into_iter();
    let manifests = keys.filter(|key| key.contains("/0/manifest/"));
    let head = manifests.max().unwrap();
    bucket.server.lose(&head);
    let problems = harness.verify(false).await.0;
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!(problems[0].kind(), v1::TierProblemKind::Missing);
    assert_eq!(problems[0].object_key, head["p/".len()..]);
    let (_, _, error) = harness.read_on("t", 0, 0).await;
    let error = error.unwrap();
    assert_eq!(error.reason, "TIER_MANIFEST_DAMAGED", "{error:?}");
    let (others, ..) = harness.read_on("t", 1, 0).await;
    assert_eq!(others, values(0..200));
    harness.broker.stop().await.unwrap();
}
