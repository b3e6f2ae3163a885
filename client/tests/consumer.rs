//! The consumer against a broker that ends streams, loses records and grows.

mod fake;

use std::collections::HashMap;
use std::time::Duration;

use fake::Fake;
use futures::TryStreamExt;
use headwater_client::{
    Client, Consumer, ConsumerBuilder, ConsumerRecord, Error, OnOutOfRange, Position, Record,
};
use tokio::time::timeout;
use tonic::{Code, Status};

/// Appends batches of three records, `p/offset`, stamped with their offset as time.
async fn fill(client: &Client, partition: u32, batches: u64) {
    let first = client
        .append("t", partition, None, vec![record(partition, 0)])
        .await;
    let base = first.expect("stored").base_offset.expect("acks all");
    assert_eq!(base % 3, 0);
    let rest = |batch: u64| {
        let start = base + batch * 3;
        (start + u64::from(batch == 0)..start + 3)
            .map(|offset| record(partition, offset))
            .collect()
    };
    for batch in 0..batches {
        client
            .append("t", partition, None, rest(batch))
            .await
            .expect("stored");
    }
}

fn record(partition: u32, offset: u64) -> Record {
    let value = Some(format!("{partition}/{offset}").into());
    Record {
        value,
        timestamp_ms: 1000 + offset as i64,
        ..Record::default()
    }
}

async fn read_all(builder: ConsumerBuilder) -> Result<Vec<ConsumerRecord>, Error> {
    let consumer = builder.until_latest(true).build().await?;
    let all = consumer.into_stream().try_collect();
    timeout(Duration::from_secs(20), all)
        .await
        .expect("it ends")
}

fn offsets(records: &[ConsumerRecord], partition: u32) -> Vec<u64> {
    let of_partition = records
        .iter()
        .filter(|record| record.partition == partition);
    of_partition.map(|record| record.offset).collect()
}

async fn next(consumer: &mut Consumer) -> Result<Vec<u64>, Error> {
    let batch = timeout(Duration::from_secs(10), consumer.next_batch())
        .await
        .expect("in time")?;
    Ok(batch
        .expect("no end")
        .records
        .iter()
        .map(|record| record.offset)
        .collect())
}

#[tokio::test]
async fn a_whole_topic_is_read_to_its_end() {
    let fake = Fake::start(3).await;
    let client = fake.client();
    fill(&client, 0, 4).await;
    fill(&client, 2, 2).await;
    let records = read_all(client.consumer().topic("t", Position::Earliest))
        .await
        .expect("read");
    assert_eq!(offsets(&records, 0), (0..12).collect::<Vec<_>>());
    assert_eq!(offsets(&records, 1), [] as [u64; 0]);
    assert_eq!(offsets(&records, 2), (0..6).collect::<Vec<_>>());
    for record in &records {
        assert_eq!(&*record.topic, "t");
        assert_eq!(record.timestamp_ms, 1000 + record.offset as i64);
    }
}

#[tokio::test]
async fn every_position_starts_where_it_says() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    fill(&client, 0, 4).await;
    let cases = [
        (Position::Earliest, 0),
        (Position::Latest, 12),
        (Position::Offset(5), 5),
        (Position::LastN(4), 8),
        (Position::LastN(100), 0),
        (Position::Timestamp(1007), 7),
        (Position::Timestamp(9999), 12),
    ];
    for (position, first) in cases {
        let records = read_all(client.consumer().partition("t", 0, position))
            .await
            .expect("read");
        assert_eq!(
            offsets(&records, 0),
            (first..12).collect::<Vec<_>>(),
            "{position:?}"
        );
    }
}

#[tokio::test]
async fn a_partition_of_a_whole_topic_may_start_elsewhere() {
    let fake = Fake::start(2).await;
    let client = fake.client();
    fill(&client, 0, 1).await;
    fill(&client, 1, 1).await;
    let builder = client.consumer().topic("t", Position::Earliest).partition(
        "default/t",
        1,
        Position::Offset(2),
    );
    let records = read_all(builder).await.expect("read");
    assert_eq!(
        (offsets(&records, 0), offsets(&records, 1)),
        (vec![0, 1, 2], vec![2])
    );
}

#[tokio::test]
async fn broken_streams_neither_skip_nor_repeat() {
    let fake = Fake::start(2).await;
    let client = fake.client();
    fill(&client, 0, 20).await;
    fill(&client, 1, 20).await;
    let ok = || Status::new(Code::Ok, "");
    let cut = || Status::unavailable("the fake ends the stream");
    fake.state().subscribe_faults = (0..40)
        .map(|turn| if turn % 3 == 0 { cut() } else { ok() })
        .collect();
    let records = read_all(client.consumer().topic("t", Position::Earliest))
        .await
        .expect("read");
    for partition in 0..2 {
        assert_eq!(offsets(&records, partition), (0..60).collect::<Vec<_>>());
    }
    assert!(fake.state().subscriptions.len() > 5, "it was cut");
}

#[tokio::test]
async fn a_consumer_outlives_its_broker() {
    let mut fake = Fake::start(1).await;
    let client = fake.client();
    fill(&client, 0, 1).await;
    let builder = client.consumer().topic("t", Position::Earliest);
    let mut consumer = builder.build().await.expect("built");
    assert_eq!(next(&mut consumer).await.expect("read"), [0]);
    assert_eq!(next(&mut consumer).await.expect("read"), [1, 2]);
    fake.stop().await;
    fake.start_again().await;
    fill(&fake.client(), 0, 1).await;
    assert_eq!(next(&mut consumer).await.expect("read"), [3]);
}

#[tokio::test]
async fn a_draining_broker_is_left_and_found_again() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    fill(&client, 0, 1).await;
    let builder = client.consumer().topic("t", Position::Latest);
    let mut consumer = builder.build().await.expect("built");
    let reading = tokio::spawn(async move { next(&mut consumer).await });
    fake.until("it reads", |state| state.subscriptions.len() == 1)
        .await;
    fake.shared.draining.send_replace(true);
    fake.until("it has come back", |state| state.subscriptions.len() > 1)
        .await;
    fake.shared.draining.send_replace(false);
    fill(&client, 0, 1).await;
    assert_eq!(reading.await.expect("no panic").expect("read"), [3]);
}

#[tokio::test]
async fn a_position_below_the_log_start_is_an_error_that_names_the_bounds() {
    let fake = Fake::start(2).await;
    let client = fake.client();
    fill(&client, 0, 4).await;
    fill(&client, 1, 1).await;
    fake.state().topics.get_mut("default/t").expect("exists")[0].log_start = 6;
    let builder = client
        .consumer()
        .partition("t", 0, Position::Offset(2))
        .partition("t", 1, Position::Earliest);
    let mut consumer = builder.build().await.expect("built");
    let mut errors = 0;
    let mut read = Vec::new();
    while read.len() < 3 {
        match next(&mut consumer).await {
            Ok(offsets) => read.extend(offsets),
            Err(error) => {
                errors += 1;
                let Error::OffsetOutOfRange {
                    partition,
                    offset,
                    log_start_offset,
                    high_watermark,
                    ..
                } = error
                else {
                    panic!("another error: {error:?}");
                };
                assert_eq!(
                    (partition, offset, log_start_offset, high_watermark),
                    (0, 2, 6, 12)
                );
            }
        }
    }
    assert_eq!(
        (errors, read),
        (1, vec![0, 1, 2]),
        "the other partition goes on"
    );
    consumer
        .seek("t", 0, Position::Earliest)
        .await
        .expect("there is one");
    assert_eq!(next(&mut consumer).await.expect("it goes on"), [6, 7, 8]);
    assert_eq!(consumer.position("t", 0), Some(9));
}

#[tokio::test]
async fn each_partition_that_is_out_of_range_is_told_of_once() {
    let fake = Fake::start(3).await;
    let client = fake.client();
    for (partition, batches) in [(0, 4), (1, 4), (2, 1)] {
        fill(&client, partition, batches).await;
    }
    let mut builder = client.consumer().partition("t", 2, Position::Earliest);
    for partition in 0..2 {
        let topics = &mut fake.state().topics;
        topics.get_mut("default/t").expect("exists")[partition].log_start = 6;
        builder = builder.partition("t", partition as u32, Position::Offset(2));
    }
    let mut consumer = builder.build().await.expect("built");
    let (mut told, mut read) = (Vec::new(), Vec::new());
    while read.len() < 3 {
        match next(&mut consumer).await {
            Ok(offsets) => read.extend(offsets),
            Err(Error::OffsetOutOfRange { partition, .. }) => told.push(partition),
            Err(error) => panic!("another error: {error:?}"),
        }
        assert!(told.len() <= 2, "{told:?}");
    }
    assert_eq!((told, read), (vec![0, 1], vec![0, 1, 2]));
}

#[tokio::test]
async fn a_policy_moves_a_position_that_is_gone() {
    for (policy, first) in [(OnOutOfRange::Earliest, 6), (OnOutOfRange::Latest, 12)] {
        let fake = Fake::start(1).await;
        let client = fake.client();
        fill(&client, 0, 4).await;
        fake.state().topics.get_mut("default/t").expect("exists")[0].log_start = 6;
        let builder = client
            .consumer()
            .partition("t", 0, Position::Offset(2))
            .on_out_of_range(policy);
        let records = read_all(builder).await.expect("read");
        assert_eq!(
            offsets(&records, 0),
            (first..12).collect::<Vec<_>>(),
            "{policy:?}"
        );
    }
}

#[tokio::test]
async fn a_damaged_range_is_an_error_that_names_it_or_is_skipped() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    fill(&client, 0, 4).await;
    fake.state().topics.get_mut("default/t").expect("exists")[0].damaged = Some((3, 9));
    let builder = client.consumer().topic("t", Position::Earliest);
    let error = read_all(builder.clone()).await.expect_err("damaged");
    assert!(
        matches!(
            error,
            Error::DataLoss {
                start_offset: 3,
                end_offset: 9,
                ..
            }
        ),
        "{error:?}"
    );
    let records = read_all(builder.skip_data_loss(true))
        .await
        .expect("the rest");
    assert_eq!(offsets(&records, 0), [0, 1, 2, 9, 10, 11]);
}

#[tokio::test]
async fn partitions_that_are_added_join_from_their_start() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let builder = client.consumer().topic("t", Position::Latest);
    let builder = builder.refresh_interval(Duration::from_millis(30));
    let mut consumer = builder.build().await.expect("built");
    let waiting = timeout(Duration::from_millis(50), consumer.next_batch()).await;
    assert!(waiting.is_err(), "there is nothing yet");
    fake.state()
        .topics
        .get_mut("default/t")
        .expect("exists")
        .push(Default::default());
    fill(&client, 1, 1).await;
    assert_eq!(next(&mut consumer).await.expect("read"), [0]);
    assert_eq!(consumer.partitions().len(), 2);
}

#[tokio::test]
async fn a_dropped_call_loses_no_records() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let mut consumer = client
        .consumer()
        .topic("t", Position::Earliest)
        .build()
        .await
        .expect("built");
    let writer = tokio::spawn(async move { fill(&client, 0, 30).await });
    let mut read = Vec::new();
    while read.len() < 90 {
        if let Ok(batch) = timeout(Duration::from_micros(300), consumer.next_batch()).await {
            let batch = batch.expect("read").expect("no end");
            read.extend(batch.records.iter().map(|record| record.offset));
        }
    }
    writer.await.expect("written");
    assert_eq!(read, (0..90).collect::<Vec<_>>());
}

#[tokio::test]
async fn dropped_calls_do_not_put_off_the_next_stream() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let builder = client.consumer().topic("t", Position::Latest);
    let mut consumer = builder.build().await.expect("built");
    fake.shared.draining.send_replace(true);
    let impatient = async {
        // Less than a draining broker asks to wait.
        while timeout(Duration::from_millis(20), consumer.next_batch())
            .await
            .is_err()
        {}
    };
    let come_back = fake.until("it has come back", |state| state.subscriptions.len() > 1);
    tokio::select! {
        () = impatient => panic!("there is nothing to read"),
        _ = come_back => {}
    }
}

#[tokio::test]
async fn the_end_is_where_it_was_at_the_start() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    fill(&client, 0, 2).await;
    let builder = client
        .consumer()
        .topic("t", Position::Offset(1))
        .until_latest(true);
    let mut consumer = builder.build().await.expect("built");
    client
        .append("t", 0, None, vec![record(0, 6)])
        .await
        .expect("stored");
    let mut read = Vec::new();
    while let Some(batch) = consumer.next_batch().await.expect("read") {
        read.extend(batch.records.iter().map(|record| record.offset));
    }
    assert_eq!(read, [1, 2, 3, 4, 5]);
    assert!(
        consumer
            .next_batch()
            .await
            .expect("still the end")
            .is_none()
    );
}

#[tokio::test]
async fn raw_batches_are_those_that_are_stored() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    fill(&client, 0, 2).await;
    let builder = client
        .consumer()
        .topic("t", Position::Offset(2))
        .until_latest(true);
    let mut consumer = builder.build().await.expect("built");
    let mut batches = Vec::new();
    while let Some(raw) = consumer.next_raw().await.expect("read") {
        batches.extend(raw.batches);
    }
    assert_eq!(batches, fake.state().topics["default/t"][0].batches[1..]);
}

#[tokio::test]
async fn what_does_not_exist_is_said_before_anything_is_read() {
    let fake = Fake::start(1).await;
    let client = fake.client();
    let reason = async |builder: ConsumerBuilder| {
        builder
            .build()
            .await
            .expect_err("it cannot be read")
            .reason()
            .to_owned()
    };
    let none = client.consumer();
    assert_eq!(reason(none).await, "INVALID_CONFIG");
    let no_topic = client.consumer().topic("nope", Position::Earliest);
    assert_eq!(reason(no_topic).await, "TOPIC_NOT_FOUND");
    let no_partition = client.consumer().partition("t", 1, Position::Earliest);
    assert_eq!(reason(no_partition).await, "PARTITION_NOT_FOUND");
}

#[tokio::test]
async fn all_pages_of_topics_are_listed() {
    let fake = Fake::start(1).await;
    for name in ["a", "b", "c", "d"] {
        fake.add_topic(name, 2);
    }
    let topics = fake
        .client()
        .admin()
        .list_topics(None)
        .await
        .expect("listed");
    let partitions: HashMap<_, _> = topics
        .iter()
        .map(|topic| (topic.name.as_str(), topic.partitions))
        .collect();
    assert_eq!(topics.len(), 5);
    assert_eq!((partitions["default/t"], partitions["default/d"]), (1, 2));
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_said_plainly() {
    let mut fake = Fake::start(1).await;
    fake.stop().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let error = Client::connect(fake.config())
        .await
        .expect_err("nobody is there");
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(
        error.to_string().contains("is a broker running there?"),
        "{error}"
    );
    let error = fake
        .client()
        .admin()
        .list_topics(None)
        .await
        .expect_err("nobody is there");
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.retriable());
}
