//! Reading through the API.

use std::time::{Duration, Instant};

use headwater_proto::v1::position::Position;
use headwater_proto::v1::subscribe_response::Message;
use tokio_stream::StreamExt as _;

use super::tier::until;
use super::*;

fn whole_topic(topic: &str) -> v1::SubscribeRequest {
    v1::SubscribeRequest {
        subscriptions: vec![v1::Subscription {
            topic: topic.to_owned(),
            ..Default::default()
        }],
        ..v1::SubscribeRequest::default()
    }
}

#[tokio::test]
async fn positions_find_offsets_times_bounds_and_the_last_few() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let timed = |(index, time)| v1::Record {
        timestamp_ms: Some(time),
        ..record(index)
    };
    for pair in [("a", 1_000), ("b", 3_000), ("c", 2_000), ("d", 4_000)] {
        let request = ProduceRequest {
            topic: "t".to_owned(),
            records: vec![timed(pair)],
            ..ProduceRequest::default()
        };
        harness.producer.produce(request).await.unwrap();
    }
    let cases = [
        (Position::Offset(2), 2, None),
        (Position::Bound(v1::Bound::Earliest.into()), 0, None),
        (Position::Bound(v1::Bound::Latest.into()), 4, None),
        (Position::LastN(3), 1, None),
        (Position::LastN(99), 0, None),
        (Position::TimestampMs(0), 0, Some(1_000)),
        (Position::TimestampMs(1_001), 1, Some(3_000)),
        (Position::TimestampMs(3_001), 3, Some(4_000)),
        (Position::TimestampMs(4_001), 4, None),
    ];
    for (asked, offset, timestamp_ms) in cases {
        let question = v1::ListOffsetsPartition {
            partition: 0,
            position: Some(position(asked)),
        };
        let request = v1::ListOffsetsRequest {
            topic: "t".to_owned(),
            partitions: vec![question],
        };
        let answer = harness
            .topics
            .list_offsets(request)
            .await
            .unwrap()
            .into_inner();
        let answer = &answer.offsets[0];
        assert_eq!(
            (answer.offset, answer.timestamp_ms),
            (offset, timestamp_ms),
            "{asked:?}"
        );
        assert_eq!(answer.error, None, "{asked:?}");
    }
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_record_and_not_before() {
    let mut harness = Harness::start().await;
    harness.create("t", 2).await;
    let entry = |partition| v1::FetchPartition {
        topic: "t".to_owned(),
        partition,
        position: Some(earliest()),
        ..v1::FetchPartition::default()
    };
    let request = v1::FetchRequest {
        partitions: vec![entry(0), entry(1)],
        max_wait_ms: 20_000,
        min_bytes: 1,
        ..v1::FetchRequest::default()
    };
    let mut consumer = harness.consumer.clone();
    let polled = tokio::spawn(async move { consumer.fetch(request).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!polled.is_finished());
    let produced = Instant::now();
    harness.produce("t", 1, &["a"]).await;
    let response = polled.await.unwrap().unwrap().into_inner();
    assert!(
        produced.elapsed() < Duration::from_secs(10),
        "it does not wait for the end"
    );
    assert_eq!(response.partitions[1].records.len(), 1);
}

#[tokio::test]
async fn a_long_poll_without_records_ends_before_the_callers_deadline() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let entry = v1::FetchPartition {
        topic: "t".to_owned(),
        position: Some(earliest()),
        ..v1::FetchPartition::default()
    };
    let mut request = tonic::Request::new(v1::FetchRequest {
        partitions: vec![entry],
        max_wait_ms: 60_000,
        min_bytes: 1,
        ..v1::FetchRequest::default()
    });
    request.set_timeout(Duration::from_millis(500));
    let response = harness.consumer.fetch(request).await.unwrap().into_inner();
    assert!(response.partitions[0].records.is_empty());
}

#[tokio::test]
async fn batches_are_served_byte_for_byte_as_they_were_sent() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let sent = batch(&["a", "b", "c"]);
    let request = ProduceRequest {
        topic: "t".to_owned(),
        partition: Some(0),
        batch: sent.bytes().clone(),
        ..ProduceRequest::default()
    };
    harness.producer.produce(request).await.unwrap();
    let entry = v1::FetchPartition {
        topic: "t".to_owned(),
        position: Some(offset(2)),
        ..v1::FetchPartition::default()
    };
    let request = v1::FetchRequest {
        partitions: vec![entry],
        encoding: v1::Encoding::Batches.into(),
        ..v1::FetchRequest::default()
    };
    let response = harness.consumer.fetch(request).await.unwrap().into_inner();
    assert_eq!(response.partitions[0].batches[16..], sent.bytes()[16..]);
    assert_eq!(response.partitions[0].next_offset, 3);
}

#[tokio::test]
async fn a_subscription_until_latest_reads_all_partitions_and_ends() {
    let mut harness = Harness::start().await;
    harness.create("t", 3).await;
    for partition in 0..3 {
        harness.produce("t", partition, &["a", "b"]).await;
    }
    let request = v1::SubscribeRequest {
        until_latest: true,
        ..whole_topic("t")
    };
    let mut stream = harness
        .consumer
        .subscribe(request)
        .await
        .unwrap()
        .into_inner();
    let mut seen = Vec::new();
    while let Some(message) = stream.next().await {
        if let Some(Message::Data(data)) = message.unwrap().message {
            seen.extend(
                data.records
                    .iter()
                    .map(|record| (record.partition, record.offset)),
            );
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
}

#[tokio::test]
async fn a_subscription_ends_after_the_records_it_asked_for() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    harness.produce("t", 0, &["a", "b", "c"]).await;
    harness.produce("t", 0, &["d"]).await;
    let request = v1::SubscribeRequest {
        max_records: 2,
        ..whole_topic("t")
    };
    let mut stream = harness
        .consumer
        .subscribe(request)
        .await
        .unwrap()
        .into_inner();
    let mut count = 0;
    while let Some(message) = stream.next().await {
        if let Some(Message::Data(data)) = message.unwrap().message {
            count += data.records.len();
        }
    }
    assert_eq!(count, 2);
}

#[tokio::test]
async fn a_subscription_follows_sends_heartbeats_and_takes_in_new_partitions() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let request = v1::SubscribeRequest {
        heartbeat_interval_ms: 100,
        ..whole_topic("t")
    };
    let mut stream = harness
        .consumer
        .subscribe(request)
        .await
        .unwrap()
        .into_inner();
    let first = stream.next().await.unwrap().unwrap().message.unwrap();
    assert!(matches!(first, Message::Heartbeat(_)), "{first:?}");
    let topic = v1::Topic {
        name: "t".to_owned(),
        partitions: 2,
        ..v1::Topic::default()
    };
    let request = v1::UpdateTopicRequest {
        topic: Some(topic),
        ..Default::default()
    };
    harness.topics.update_topic(request).await.unwrap();
    harness.produce("t", 1, &["new"]).await;
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        loop {
            if let Message::Data(data) = stream.next().await.unwrap().unwrap().message.unwrap() {
                return data;
            }
        }
    });
    let data = waited.await.unwrap();
    assert_eq!((data.partition, data.records.len()), (1, 1));
}

const MIB: usize = 1 << 20;

/// A batch of one record, which takes a thousandth of its memory as long as it is not opened.
async fn produce_zeros(harness: &mut Harness, topic: &str, partition: i32, bytes: usize) {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    let zeros = Record {
        value: Some(vec![0; bytes].into()),
        timestamp_ms: 1,
        ..Record::default()
    };
    builder.push(&zeros).unwrap();
    let batch = builder.build().unwrap();
    assert!(batch.bytes().len() < bytes / 500);
    let request = ProduceRequest {
        topic: topic.to_owned(),
        partition: Some(partition),
        batch: batch.bytes().clone(),
        ..ProduceRequest::default()
    };
    harness.producer.produce(request).await.unwrap();
}

#[tokio::test]
async fn an_answer_opens_no_more_than_it_may_hold_however_well_batches_are_compressed() {
    const PARTITIONS: i32 = 6;
    const BATCH_BYTES: usize = 3 * MIB;
    const FETCH_BYTES: usize = 7 * MIB;
    let mut harness = Harness::start_with(&[("limits.fetch_bytes_max", "7MiB")]).await;
    harness.create("zeros", PARTITIONS).await;
    for partition in 0..PARTITIONS {
        for _ in 0..3 {
            produce_zeros(&mut harness, "zeros", partition, BATCH_BYTES).await;
        }
    }
    let mut next = vec![0; PARTITIONS as usize];
    let mut answers = 0;
    while next.iter().any(|next| *next < 3) {
        let partitions = next
            .iter()
            .zip(0..)
            .map(|(next, partition)| v1::FetchPartition {
                topic: "zeros".to_owned(),
                partition,
                position: Some(offset(*next)),
                ..v1::FetchPartition::default()
            });
        let request = v1::FetchRequest {
            partitions: partitions.collect(),
            ..v1::FetchRequest::default()
        };
        let answer = harness.consumer.fetch(request).await.unwrap().into_inner();
        let mut bytes = 0;
        for (data, next) in answer.partitions.iter().zip(&mut next) {
            assert_eq!(data.error, None);
            for record in &data.records {
                assert_eq!(record.offset, *next, "each once, in order");
                *next += 1;
                bytes += record.value.as_ref().unwrap().len();
            }
            assert_eq!(data.next_offset, *next);
        }
        assert!(0 < bytes && bytes <= FETCH_BYTES, "{bytes}");
        answers += 1;
    }
    assert_eq!(answers, 9, "two batches fit in each");
    harness.broker.stop().await.unwrap();
}

/// A subscriber on a connection of its own, which takes no more than what comes by itself.
async fn slow_subscriber(
    harness: &Harness,
    topic: &str,
) -> tonic::Streaming<v1::SubscribeResponse> {
    let address = format!("http://{}", harness.broker.client_address());
    let channel = Channel::from_shared(address)
        .unwrap()
        .initial_stream_window_size(1 << 16)
        .connect()
        .await
        .unwrap();
    let mut consumer = ConsumerServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let stream = consumer.subscribe(whole_topic(topic)).await;
    stream.unwrap().into_inner()
}

#[tokio::test]
async fn an_opened_batch_that_nobody_takes_holds_memory_and_one_at_a_time_goes_beyond_it() {
    const HELD: &str = "headwater_fetch_in_flight_bytes";
    const BATCH_BYTES: usize = 12 * MIB;
    let dir = tempfile::tempdir().unwrap();
    let short_of_memory = |settings: &mut Settings| settings.memory.fetch_bytes = 24 << 20;
    let mut harness = Harness::start_changed(dir, &[], short_of_memory).await;
    harness.create("zeros", 1).await;
    // The transport takes the first message over, whoever takes it from there; the second stays.
    for _ in 0..2 {
        produce_zeros(&mut harness, "zeros", 0, BATCH_BYTES).await;
    }
    harness.create("small", 1).await;
    harness.produce("small", 0, &["a"]).await;

    // A message was for 1 MiB, and is held as what it opens to.
    let first = slow_subscriber(&harness, "zeros").await;
    until("the first holds what it is sent", async || {
        let held = harness.metric(HELD).await as usize;
        (BATCH_BYTES..BATCH_BYTES + MIB).contains(&held)
    })
    .await;
    // There is not enough left for another: the second goes beyond, the third waits for its turn.
    let second = slow_subscriber(&harness, "zeros").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut third = slow_subscriber(&harness, "zeros").await;
    let waits = tokio::time::timeout(Duration::from_secs(2), third.next()).await;
    assert!(waits.is_err(), "two go beyond the budget at once");
    // Nobody else waits.
    assert_eq!(harness.values("small", 0).await, ["a"]);
    drop(second);
    let turn = tokio::time::timeout(Duration::from_secs(10), third.next()).await;
    let message = turn.expect("its turn has come").unwrap().unwrap().message;
    let Some(Message::Data(data)) = message else {
        panic!("data, not {message:?}");
    };
    assert_eq!(data.records.len(), 1);
    drop((first, third));
    until("all is given back", async || {
        harness.metric(HELD).await == 0.0
    })
    .await;
    harness.broker.stop().await.unwrap();
}
