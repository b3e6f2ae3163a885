//! Many cold readers at once: what they take of each other's time, of memory, and of those who need nothing of the tier.

use headwater_broker::config::Settings;
use headwater_broker::limits::COLD_BUDGET_PART;

use super::outage::hot_path_goes_on;
use super::*;
use crate::s3_server::{Fault, Strike};

/// Memory for answers: one fetch that does not say how much it wants fits in, and a few of those that want less.
const FETCH_BYTES: u64 = 24 << 20;

/// What each reader asks for.
const ASKED_BYTES: i32 = 1 << 20;

fn short_of_memory(settings: &mut Settings) {
    settings.memory.fetch_bytes = FETCH_BYTES;
}

/// A broker with a topic whose partitions each begin in the bucket alone.
async fn filled(bucket: &Bucket, partitions: i32) -> Harness {
    let mut harness = bucket.broker().await;
    harness
        .create_with("t", partitions, small_segments())
        .await
        .unwrap();
    for partition in 0..partitions {
        harness.fill("t", partition, 0..150).await;
    }
    harness.settle("t").await;
    harness
}

/// The same broker with nothing in memory, and little of that.
async fn with_little_memory(bucket: &Bucket, harness: Harness) -> Harness {
    let Harness { dir, broker, .. } = harness;
    broker.stop().await.unwrap();
    let settings = bucket.settings();
    Harness::start_changed(dir, &borrowed(&settings), short_of_memory).await
}

fn from_the_beginning(
    topic: &str,
    partitions: impl Iterator<Item = i32>,
    bytes: i32,
) -> v1::FetchRequest {
    let partitions = partitions.map(|partition| v1::FetchPartition {
        topic: topic.to_owned(),
        partition,
        position: Some(earliest()),
        ..v1::FetchPartition::default()
    });
    v1::FetchRequest {
        partitions: partitions.collect(),
        max_bytes: bytes,
        ..v1::FetchRequest::default()
    }
}

/// So many readers, each with one of the partitions.
async fn readers(
    harness: &Harness,
    count: i32,
    partitions: i32,
) -> JoinSet<Result<v1::PartitionData, tonic::Status>> {
    let reader = harness.reader().await;
    let mut reading = JoinSet::new();
    for n in 0..count {
        let mut reader = reader.clone();
        let partition = std::iter::once(n % partitions);
        let request = from_the_beginning("t", partition, ASKED_BYTES);
        reading.spawn(async move {
            let answer = reader.fetch(request).await?;
            Ok(answer.into_inner().partitions.remove(0))
        });
    }
    reading
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fetch_reads_many_partitions_of_the_tier_at_once_however_small_it_is() {
    const PARTITIONS: i32 = 24;
    const SLOW: Duration = Duration::from_millis(200);
    let bucket = Bucket::start().await;
    let mut harness = filled(&bucket, PARTITIONS).await;
    for bytes in [0, ASKED_BYTES, 400_000] {
        harness = bucket.restart(harness).await;
        bucket
            .server
            .inject(Fault::every_of(Strike::Slow(SLOW), "GetObject"));
        let asked = Instant::now();
        let request = from_the_beginning("t", 0..PARTITIONS, bytes);
        let all = harness.consumer.fetch(request).await.unwrap().into_inner();
        // Of each a footer and a chunk, at least.
        let (took, in_turn) = (asked.elapsed(), 2 * SLOW * PARTITIONS as u32);
        assert!(took >= 2 * SLOW, "{took:?}: not cold");
        assert!(took < in_turn / 3, "{took:?} for {bytes} bytes");
        for data in &all.partitions {
            assert_eq!(data.error, None);
            assert_eq!(data.records[0].offset, 0);
        }
        bucket.server.clear_faults();
    }
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn produce_and_hot_reads_do_not_feel_many_readers_of_a_store_that_hangs() {
    const PARTITIONS: i32 = 16;
    let bucket = Bucket::start().await;
    let harness = filled(&bucket, PARTITIONS).await;
    let mut harness = with_little_memory(&bucket, harness).await;
    // Nothing of it is ever sealed.
    harness.create("hot", 1).await;
    let usual = hot_path_goes_on(&mut harness, "hot", 0).await;
    bucket.server.inject(Fault::every(Strike::Hang));
    let mut cold = readers(&harness, 64, PARTITIONS).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for at in [100, 200, 300] {
        let took = hot_path_goes_on(&mut harness, "hot", at).await;
        let bound = 3 * usual + Duration::from_secs(1);
        assert!(took < bound, "{took:?} in place of {usual:?}");
    }
    assert!(cold.try_join_next().is_none(), "they all wait");
    while let Some(data) = cold.join_next().await {
        let error = data.unwrap().unwrap().error.expect("nothing can be had");
        assert_eq!(error.reason, "TIER_UNAVAILABLE", "{error:?}");
    }
    bucket.server.clear_faults();
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_cold_readers_hold_stays_within_their_part_of_the_memory() {
    const PARTITIONS: i32 = 20;
    const HELD: &str = "headwater_fetch_in_flight_bytes";
    let bucket = Bucket::start().await;
    let harness = filled(&bucket, PARTITIONS).await;
    let mut harness = with_little_memory(&bucket, harness).await;
    harness.create("hot", 1).await;
    harness.fill("hot", 0, 0..500).await;
    bucket
        .server
        .inject(Fault::every_of(Strike::Hang, "GetObject"));
    let mut cold = readers(&harness, 200, PARTITIONS).await;
    // All have looked at the disk first, within the memory of all, and the number has been taken since.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for _ in 0..3 {
        let held = harness.metric(HELD).await;
        let part = (FETCH_BYTES / COLD_BUDGET_PART) as f64;
        assert!(0.0 < held && held <= part, "{held} of {part}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // The rest is for others, who get as much as they ask for.
    let request = from_the_beginning("hot", 0..1, ASKED_BYTES);
    let hot = harness.consumer.fetch(request).await.unwrap().into_inner();
    assert_eq!(hot.partitions[0].records.len(), 500);
    assert!(cold.try_join_next().is_none(), "they all wait");
    while let Some(data) = cold.join_next().await {
        let error = data.unwrap().unwrap().error.expect("nothing can be had");
        assert_eq!(error.reason, "TIER_UNAVAILABLE", "{error:?}");
    }
    // Whoever comes then is served, if with little at a time, and nothing stays behind.
    bucket.server.clear_faults();
    let mut cold = readers(&harness, 200, PARTITIONS).await;
    while let Some(data) = cold.join_next().await {
        let data = data.unwrap().unwrap();
        assert_eq!(data.error, None);
        assert_eq!(data.records[0].offset, 0);
        let held = harness.metric(HELD).await;
        assert!(held <= FETCH_BYTES as f64, "{held}");
    }
    until("all is given back", async || {
        harness.metric(HELD).await == 0.0
    })
    .await;
    harness.broker.stop().await.unwrap();
}
