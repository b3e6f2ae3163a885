//! Appending through the API.

use headwater_proto::v1::produce_stream_request::Message as ClientMessage;
use headwater_proto::v1::produce_stream_response::Message as BrokerMessage;
use headwater_record::{BatchBuilder, Compression, ProducerIdentity, Record};
use tokio_stream::StreamExt as _;

use super::*;

/// Sends batches on one stream and returns (request_seq, base offset or reason).
async fn stream(
    harness: &mut Harness,
    batches: Vec<v1::ProduceStreamBatch>,
) -> Vec<(i64, Result<i64, String>)> {
    let open = v1::ProduceStreamOpen {
        default_topic: "t".to_owned(),
        ..Default::default()
    };
    let messages = std::iter::once(ClientMessage::Open(open))
        .chain(batches.into_iter().map(ClientMessage::Batch))
        .map(|message| v1::ProduceStreamRequest {
            message: Some(message),
        })
        .collect::<Vec<_>>();
    let requests = tokio_stream::iter(messages);
    let mut answers = harness
        .producer
        .produce_stream(requests)
        .await
        .unwrap()
        .into_inner();
    let mut acks = Vec::new();
    while let Some(answer) = answers.next().await {
        match answer.unwrap().message.unwrap() {
            BrokerMessage::Opened(opened) => assert!(opened.credit_bytes > 0),
            BrokerMessage::Acks(some) => acks.extend(some.acks),
            BrokerMessage::Draining(_) => panic!("nobody stops the broker"),
        }
    }
    let outcome = |ack: v1::ProduceStreamAck| {
        let part = ack.ack.unwrap();
        let result = match part.error {
            Some(error) => Err(error.reason),
            None => Ok(part.base_offset),
        };
        (ack.request_seq, result)
    };
    acks.into_iter().map(outcome).collect()
}

fn streamed(request_seq: i64, values: &[&str]) -> v1::ProduceStreamBatch {
    v1::ProduceStreamBatch {
        request_seq,
        batch: batch(values).bytes().clone(),
        ..v1::ProduceStreamBatch::default()
    }
}

#[tokio::test]
async fn records_come_back_in_order_with_keys_headers_and_times() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let sent = v1::Record {
        key: Some(Bytes::from_static(b"key")),
        value: None,
        headers: vec![
            v1::Header {
                name: "a".to_owned(),
                value: Some(Bytes::from_static(b"1")),
            },
            v1::Header {
                name: "a".to_owned(),
                value: None,
            },
        ],
        timestamp_ms: Some(1_357_035_300_000),
        ..v1::Record::default()
    };
    let request = ProduceRequest {
        topic: "default/t".to_owned(),
        records: vec![sent.clone()],
        ..ProduceRequest::default()
    };
    harness.producer.produce(request).await.unwrap();
    let data = harness.fetch("t", 0, earliest()).await.unwrap();
    assert_eq!(data.records, [sent]);
    assert_eq!(
        (data.log_start_offset, data.high_watermark, data.next_offset),
        (0, 1, 1)
    );
}

#[tokio::test]
async fn keys_choose_the_partition_as_kafkas_murmur2_does() {
    let mut harness = Harness::start().await;
    harness.create("t", 6).await;
    let keys = ["N14228", "N24211", "N619AA", "N804JB"];
    let keyed = |key: &&str| v1::Record {
        key: Some(Bytes::from((*key).to_owned())),
        ..record("v")
    };
    let request = ProduceRequest {
        topic: "t".to_owned(),
        records: keys.iter().map(keyed).collect(),
        ..ProduceRequest::default()
    };
    let acks = harness
        .producer
        .produce(request)
        .await
        .unwrap()
        .into_inner()
        .acks;
    let mut expected: Vec<i32> = keys
        .iter()
        .map(|key| headwater_record::partition_for_key(key.as_bytes(), 6) as i32)
        .collect();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(
        acks.iter().map(|ack| ack.partition).collect::<Vec<_>>(),
        expected
    );
}

#[tokio::test]
async fn a_stream_acknowledges_every_batch_in_order() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let batches = (0..100).map(|seq| streamed(seq, &["a", "b"])).collect();
    let acks = stream(&mut harness, batches).await;
    let expected: Vec<_> = (0..100).map(|seq| (seq, Ok(seq * 2))).collect();
    assert_eq!(acks, expected);
}

#[tokio::test]
async fn after_a_refused_batch_only_a_higher_window_goes_on() {
    let mut harness = Harness::start().await;
    harness.create("t", 2).await;
    let mut corrupt = streamed(1, &["x"]);
    corrupt.batch = Bytes::from_static(b"not a batch");
    let other = v1::ProduceStreamBatch {
        partition: 1,
        ..streamed(3, &["other"])
    };
    let next = v1::ProduceStreamBatch {
        window: 1,
        ..streamed(4, &["c"])
    };
    let batches = vec![
        streamed(0, &["a"]),
        corrupt,
        streamed(2, &["b"]),
        other,
        next,
    ];
    let mut acks = stream(&mut harness, batches).await;
    acks.retain(|(seq, _)| *seq != 3);
    let expected = [
        (0, Ok(0)),
        (1, Err("INVALID_BATCH".to_owned())),
        (2, Err("ORDER_BROKEN".to_owned())),
        (4, Ok(1)),
    ];
    assert_eq!(acks, expected);
    assert_eq!(harness.values("t", 0).await, ["a", "c"]);
    assert_eq!(
        harness.values("t", 1).await,
        ["other"],
        "partitions do not disturb each other"
    );
}

#[tokio::test]
async fn an_unknown_topic_on_a_stream_fails_its_batches_and_no_others() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let lost = v1::ProduceStreamBatch {
        topic: "nope".to_owned(),
        ..streamed(0, &["x"])
    };
    let mut acks = stream(&mut harness, vec![lost, streamed(1, &["a"])]).await;
    acks.sort();
    assert_eq!(acks, [(0, Err("TOPIC_NOT_FOUND".to_owned())), (1, Ok(0))]);
}

#[tokio::test]
async fn an_idempotent_retry_is_stored_once_and_says_so() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let producer = harness
        .producer
        .init_producer(v1::InitProducerRequest::default())
        .await;
    let producer = producer.unwrap().into_inner().producer.unwrap();
    let identity = ProducerIdentity {
        id: producer.id,
        epoch: producer.epoch as i16,
        base_sequence: 0,
    };
    let mut builder = BatchBuilder::new(Compression::None).producer(identity);
    let value = Some(Bytes::from_static(b"once"));
    builder
        .push(&Record {
            value,
            timestamp_ms: 1,
            ..Record::default()
        })
        .unwrap();
    let request = ProduceRequest {
        topic: "t".to_owned(),
        partition: Some(0),
        batch: builder.build().unwrap().bytes().clone(),
        ..ProduceRequest::default()
    };
    let mut acks = Vec::new();
    for _ in 0..3 {
        acks.extend(
            harness
                .producer
                .produce(request.clone())
                .await
                .unwrap()
                .into_inner()
                .acks,
        );
    }
    assert_eq!(
        acks.iter().map(|ack| ack.base_offset).collect::<Vec<_>>(),
        [0, 0, 0]
    );
    assert_eq!(
        acks.iter().map(|ack| ack.duplicate).collect::<Vec<_>>(),
        [false, true, true]
    );
    assert_eq!(harness.values("t", 0).await, ["once"]);
}

#[tokio::test]
async fn a_conditional_append_names_the_actual_offset() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let request = |expected| ProduceRequest {
        topic: "t".to_owned(),
        partition: Some(0),
        records: vec![record("x")],
        expected_offset: Some(expected),
        ..ProduceRequest::default()
    };
    harness.producer.produce(request(0)).await.unwrap();
    let status = harness.producer.produce(request(0)).await.unwrap_err();
    assert_eq!(reason(&status), "OFFSET_MISMATCH");
    let details = status.get_error_details();
    assert_eq!(details.error_info().unwrap().metadata["actual_offset"], "1");
    harness.producer.produce(request(1)).await.unwrap();
}

#[tokio::test]
async fn a_named_producer_keeps_its_id_and_fences_its_predecessor() {
    let mut harness = Harness::start().await;
    let request = v1::InitProducerRequest {
        producer_name: "billing".to_owned(),
    };
    let mut seen = Vec::new();
    for _ in 0..2 {
        let response = harness
            .producer
            .init_producer(request.clone())
            .await
            .unwrap();
        seen.push(response.into_inner().producer.unwrap());
    }
    let mut harness = harness.restart(&[]).await;
    let response = harness.producer.init_producer(request).await.unwrap();
    seen.push(response.into_inner().producer.unwrap());
    assert!(seen.iter().all(|producer| producer.id == seen[0].id));
    let epochs: Vec<_> = seen
        .iter()
        .map(|producer| producer.epoch - seen[0].epoch)
        .collect();
    assert_eq!(epochs, [0, 1, 2]);
}
