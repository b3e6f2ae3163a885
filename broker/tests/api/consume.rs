//! Reading through the API.

use std::time::{Duration, Instant};

use headwater_proto::v1::position::Position;
use headwater_proto::v1::subscribe_response::Message;
use tokio_stream::StreamExt as _;

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
