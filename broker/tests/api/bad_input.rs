//! Bad input: each gets an answer that names what is wrong, and harms nothing.

use headwater_proto::v1::produce_stream_request::Message as ClientMessage;
use headwater_record::{BatchBuilder, Compression, ProducerIdentity, Record};
use tokio_stream::StreamExt as _;
use tonic::Code;

use super::*;

/// What a produce request gets: code, stable reason, and a piece of the message.
async fn check_produce(
    harness: &mut Harness,
    request: ProduceRequest,
    code: Code,
    expected_reason: &str,
    message: &str,
) {
    let status = harness
        .producer
        .produce(request)
        .await
        .expect_err(expected_reason);
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (code, expected_reason),
        "{status:?}"
    );
    assert!(
        status.message().contains(message),
        "{message:?} is not in {:?}",
        status.message()
    );
}

fn to(topic: &str, partition: i32) -> ProduceRequest {
    ProduceRequest {
        topic: topic.to_owned(),
        partition: Some(partition),
        records: vec![record("x")],
        ..ProduceRequest::default()
    }
}

fn encoded(bytes: impl Into<Bytes>) -> ProduceRequest {
    ProduceRequest {
        records: Vec::new(),
        batch: bytes.into(),
        ..to("t", 0)
    }
}

#[tokio::test]
async fn produce_requests_that_cannot_be_are_refused_by_field_limit_and_remedy() {
    let mut harness = Harness::start().await;
    harness.create("t", 2).await;
    let h = &mut harness;
    let invalid = Code::InvalidArgument;
    check_produce(h, to("", 0), invalid, "INVALID_NAME", "empty").await;
    check_produce(h, to("a b", 0), invalid, "INVALID_NAME", "topic").await;
    check_produce(h, to("UPPER/t", 0), invalid, "INVALID_NAME", "namespace").await;
    check_produce(h, to(&"n".repeat(300), 0), invalid, "INVALID_NAME", "249").await;
    check_produce(
        h,
        to("tt", 0),
        Code::NotFound,
        "TOPIC_NOT_FOUND",
        "did you mean default/t",
    )
    .await;
    check_produce(
        h,
        to("t", 2),
        Code::NotFound,
        "PARTITION_NOT_FOUND",
        "0 to 1",
    )
    .await;
    check_produce(h, to("t", -1), Code::NotFound, "PARTITION_NOT_FOUND", "-1").await;
    let request = ProduceRequest {
        records: Vec::new(),
        ..to("t", 0)
    };
    check_produce(h, request, invalid, "INVALID_FIELD", "records").await;
    let request = ProduceRequest {
        acks: 9,
        ..to("t", 0)
    };
    check_produce(h, request, invalid, "INVALID_FIELD", "acks").await;
    let request = ProduceRequest {
        compression: 9,
        ..to("t", 0)
    };
    check_produce(h, request, invalid, "INVALID_FIELD", "compression").await;
    let request = ProduceRequest {
        expected_offset: Some(-1),
        ..to("t", 0)
    };
    check_produce(h, request, invalid, "INVALID_FIELD", "expected_offset").await;
    let request = ProduceRequest {
        partition: None,
        expected_offset: Some(0),
        ..to("t", 0)
    };
    check_produce(h, request, invalid, "INVALID_FIELD", "partition").await;
    let request = ProduceRequest {
        base_sequence: Some(0),
        ..to("t", 0)
    };
    check_produce(h, request, invalid, "INVALID_FIELD", "base_sequence").await;
    let producer = Some(v1::Producer {
        id: 1,
        epoch: 70_000,
    });
    let request = ProduceRequest {
        producer,
        base_sequence: Some(0),
        ..to("t", 0)
    };
    check_produce(h, request, invalid, "INVALID_FIELD", "InitProducer").await;
    let mut request = to("t", 0);
    request.records[0].timestamp_ms = Some(-5);
    check_produce(
        h,
        request,
        invalid,
        "INVALID_FIELD",
        "records[0].timestamp_ms",
    )
    .await;
    let mut request = to("t", 0);
    request.records[0].timestamp_ms = Some(i64::MAX);
    check_produce(h, request, invalid, "TIMESTAMP_AHEAD", "clock").await;
    let mut request = to("t", 0);
    request.records[0].headers = vec![v1::Header::default(); 1_001];
    check_produce(h, request, invalid, "INVALID_FIELD", "1000").await;
    let request = ProduceRequest {
        batch: Bytes::from_static(b"x"),
        ..to("t", 0)
    };
    check_produce(h, request, invalid, "INVALID_FIELD", "either").await;
    assert_eq!(h.values("t", 0).await, Vec::<String>::new());
}

#[tokio::test]
async fn corrupt_batches_are_refused_and_nothing_of_them_is_stored() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let whole = batch(&["some", "records"]).bytes().to_vec();
    for position in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[position] ^= 0x10;
        let result = harness.producer.produce(encoded(flipped)).await;
        // Base offset and leader epoch are the broker's to write, and outside the checksum.
        if (0..8).contains(&position) || (12..16).contains(&position) {
            continue;
        }
        let status = result.expect_err(&format!("byte {position}"));
        assert_eq!(
            status.code(),
            Code::InvalidArgument,
            "byte {position}: {status:?}"
        );
    }
    let stored = harness.values("t", 0).await.len();
    for cut in [1, 16, 60, 61, whole.len() - 1] {
        let h = &mut harness;
        let bytes = whole[..cut].to_vec();
        check_produce(
            h,
            encoded(bytes),
            Code::InvalidArgument,
            "INVALID_BATCH",
            "batch",
        )
        .await;
    }
    let twice = [whole.clone(), whole].concat();
    let h = &mut harness;
    check_produce(
        h,
        encoded(twice),
        Code::InvalidArgument,
        "INVALID_BATCH",
        "batch",
    )
    .await;
    assert_eq!(harness.values("t", 0).await.len(), stored);
}

#[tokio::test]
async fn batches_beyond_the_topics_limit_name_it() {
    let mut harness = Harness::start().await;
    let config = v1::TopicConfig {
        message_bytes_max: Some(2_048),
        ..v1::TopicConfig::default()
    };
    harness.create_with("t", 1, config).await.unwrap();
    let big = "x".repeat(3_000);
    let h = &mut harness;
    let invalid = Code::InvalidArgument;
    let request = encoded(batch(&[&big]).bytes().clone());
    check_produce(h, request, invalid, "RECORD_TOO_LARGE", "2048").await;
    let request = ProduceRequest {
        records: vec![record(&big)],
        ..to("t", 0)
    };
    check_produce(h, request, invalid, "RECORD_TOO_LARGE", "message_bytes_max").await;
}

#[tokio::test]
async fn producers_that_break_their_sequence_are_told_which_one_is_expected() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let of = |id, epoch, base_sequence, value: &'static str| {
        let identity = ProducerIdentity {
            id,
            epoch,
            base_sequence,
        };
        let mut builder = BatchBuilder::new(Compression::None).producer(identity);
        let value = Some(Bytes::from_static(value.as_bytes()));
        builder
            .push(&Record {
                value,
                timestamp_ms: 1,
                ..Record::default()
            })
            .unwrap();
        encoded(builder.build().unwrap().bytes().clone())
    };
    let h = &mut harness;
    let failed = Code::FailedPrecondition;
    check_produce(h, of(7, 0, 3, "a"), failed, "UNKNOWN_PRODUCER", "producer").await;
    h.producer.produce(of(7, 0, 0, "a")).await.unwrap();
    check_produce(
        h,
        of(7, 0, 5, "b"),
        failed,
        "OUT_OF_ORDER_SEQUENCE",
        "expected is 1",
    )
    .await;
    check_produce(h, of(7, 0, 0, "z"), failed, "SEQUENCE_REUSED", "sequence 0").await;
    h.producer.produce(of(7, 1, 0, "c")).await.unwrap();
    check_produce(h, of(7, 0, 1, "d"), failed, "FENCED", "current one is 1").await;
    assert_eq!(h.values("t", 0).await, ["a", "c"]);
}

#[tokio::test]
async fn positions_and_epochs_out_of_range_are_errors_of_their_entry_alone() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    harness.produce("t", 0, &["a", "b"]).await;
    let entry = |topic: &str, position, leader_epoch| v1::FetchPartition {
        topic: topic.to_owned(),
        position,
        leader_epoch,
        ..v1::FetchPartition::default()
    };
    let request = v1::FetchRequest {
        partitions: vec![
            entry("t", Some(offset(-1)), None),
            entry("t", Some(offset(3)), None),
            entry("t", None, None),
            entry("nope", Some(earliest()), None),
            entry("t", Some(earliest()), Some(99)),
            entry("t", Some(position(v1::position::Position::LastN(-1))), None),
            entry("t", Some(earliest()), None),
        ],
        ..v1::FetchRequest::default()
    };
    let response = harness.consumer.fetch(request).await.unwrap().into_inner();
    let reasons: Vec<_> = response
        .partitions
        .iter()
        .map(|data| {
            data.error
                .as_ref()
                .map_or("", |error| error.reason.as_str())
        })
        .collect();
    let expected = [
        "OFFSET_OUT_OF_RANGE",
        "OFFSET_OUT_OF_RANGE",
        "INVALID_FIELD",
        "TOPIC_NOT_FOUND",
        "UNKNOWN_LEADER_EPOCH",
        "INVALID_FIELD",
        "",
    ];
    assert_eq!(reasons, expected);
    let bounds = &response.partitions[1].error.as_ref().unwrap().metadata;
    assert_eq!(
        (
            bounds["log_start_offset"].as_str(),
            bounds["high_watermark"].as_str()
        ),
        ("0", "2")
    );
    assert_eq!(
        response.partitions[6].records.len(),
        2,
        "the good entry is served"
    );
}

#[tokio::test]
async fn requests_with_too_many_or_no_entries_are_refused_whole() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let status = harness
        .consumer
        .fetch(v1::FetchRequest::default())
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "INVALID_FIELD");
    let partitions = vec![v1::FetchPartition::default(); 10_001];
    let request = v1::FetchRequest {
        partitions,
        ..v1::FetchRequest::default()
    };
    let status = harness.consumer.fetch(request).await.unwrap_err();
    assert!(status.message().contains("10000"), "{status:?}");
    let request = v1::FetchRequest {
        max_wait_ms: -1,
        partitions: vec![v1::FetchPartition::default()],
        ..v1::FetchRequest::default()
    };
    let status = harness.consumer.fetch(request).await.unwrap_err();
    assert!(status.message().contains("max_wait_ms"), "{status:?}");
}

#[tokio::test]
async fn topics_that_cannot_be_are_refused_with_the_field() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let config = v1::TopicConfig::default;
    let cases: [(&str, i32, v1::TopicConfig, Code, &str); 12] = [
        ("t", 1, config(), Code::AlreadyExists, "exists"),
        (".", 1, config(), Code::InvalidArgument, "name"),
        ("_internal", 1, config(), Code::InvalidArgument, "_"),
        ("-bad/t", 1, config(), Code::InvalidArgument, "namespace"),
        ("u", 10_001, config(), Code::InvalidArgument, "10000"),
        ("u", -1, config(), Code::InvalidArgument, "partitions"),
        (
            "u",
            1,
            v1::TopicConfig {
                retention_ms: Some(-2),
                ..config()
            },
            Code::InvalidArgument,
            "retention_ms",
        ),
        (
            "u",
            1,
            v1::TopicConfig {
                segment_bytes: Some(1),
                ..config()
            },
            Code::InvalidArgument,
            "segment_bytes",
        ),
        (
            "u",
            1,
            v1::TopicConfig {
                durability: Some(7),
                ..config()
            },
            Code::InvalidArgument,
            "durability",
        ),
        (
            "u",
            1,
            v1::TopicConfig {
                message_bytes_max: Some(-1),
                ..config()
            },
            Code::InvalidArgument,
            "message_bytes_max",
        ),
        (
            "u",
            1,
            v1::TopicConfig {
                message_bytes_max: Some(1 << 30),
                ..config()
            },
            Code::InvalidArgument,
            "message_bytes_max",
        ),
        (
            "u",
            1,
            v1::TopicConfig {
                min_in_sync_replicas: Some(2),
                ..config()
            },
            Code::InvalidArgument,
            "min_in_sync_replicas",
        ),
    ];
    for (name, partitions, config, code, message) in cases {
        let status = harness
            .create_with(name, partitions, config)
            .await
            .expect_err(message);
        assert_eq!(status.code(), code, "{name} {message}: {status:?}");
        assert!(
            status.message().contains(message),
            "{message:?} not in {:?}",
            status.message()
        );
    }
    let topics = harness
        .topics
        .list_topics(v1::ListTopicsRequest::default())
        .await
        .unwrap();
    assert_eq!(topics.into_inner().topics.len(), 1, "nothing else was made");
}

#[tokio::test]
async fn a_produce_stream_that_breaks_the_protocol_ends_with_the_reason() {
    let mut harness = Harness::start_with(&[("limits.produce_stream_credit_bytes", "64KiB")]).await;
    harness.create("t", 1).await;
    let open = ClientMessage::Open(v1::ProduceStreamOpen::default());
    let one = |bytes: usize| {
        ClientMessage::Batch(v1::ProduceStreamBatch {
            topic: "t".to_owned(),
            batch: batch(&[&"x".repeat(bytes)]).bytes().clone(),
            ..v1::ProduceStreamBatch::default()
        })
    };
    let cases = [
        (vec![one(1)], "INVALID_FIELD"),
        (vec![open.clone(), open.clone()], "INVALID_FIELD"),
        (
            vec![open, one(40_000), one(40_000), one(40_000)],
            "CREDIT_EXCEEDED",
        ),
    ];
    for (messages, expected) in cases {
        let requests = messages
            .into_iter()
            .map(|message| v1::ProduceStreamRequest {
                message: Some(message),
            });
        let stream = tokio_stream::iter(requests.collect::<Vec<_>>());
        let mut answers = harness
            .producer
            .produce_stream(stream)
            .await
            .unwrap()
            .into_inner();
        let status = loop {
            match answers.next().await {
                Some(Ok(_)) => {}
                Some(Err(status)) => break status,
                None => panic!("{expected}: the stream ended without it"),
            }
        };
        assert_eq!(reason(&status), expected, "{status:?}");
    }
}

#[tokio::test]
async fn a_request_larger_than_any_batch_is_refused_before_it_is_held() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let request = encoded(vec![0; 17 << 20]);
    let status = harness.producer.produce(request).await.unwrap_err();
    assert!(
        matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{status:?}"
    );
    harness.produce("t", 0, &["still here"]).await;
}

#[tokio::test]
async fn oversized_metadata_ends_its_call_and_not_the_broker() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let mut request = tonic::Request::new(to("t", 0));
    request
        .metadata_mut()
        .insert("x-large", "v".repeat(1 << 20).parse().unwrap());
    let status = harness.producer.produce(request).await.unwrap_err();
    assert_ne!(status.code(), Code::Ok);
    let mut again = Harness::start().await;
    again.create("t", 1).await;
    let address = format!("http://{}", harness.broker.client_address());
    let channel = Channel::from_shared(address)
        .unwrap()
        .connect()
        .await
        .unwrap();
    harness.producer = ProducerServiceClient::new(channel);
    harness.produce("t", 0, &["still here"]).await;
}

#[tokio::test]
async fn half_open_and_silent_streams_hold_up_nobody() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        let (sender, receiver) = tokio::sync::mpsc::channel::<v1::ProduceStreamRequest>(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut client = harness.producer.clone();
        silent.push((
            sender,
            tokio::spawn(async move { client.produce_stream(stream).await }),
        ));
    }
    harness.produce("t", 0, &["a"]).await;
    assert_eq!(harness.values("t", 0).await, ["a"]);
    drop(silent);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    let mut harness = Harness::start().await;
    harness.create("t", 1).await;
    let value = "v".repeat(200_000);
    for _ in 0..100 {
        harness.produce("t", 0, &[&value]).await;
    }
    let address = format!("http://{}", harness.broker.client_address());
    let mut slow = Vec::new();
    for _ in 0..20 {
        let channel = Channel::from_shared(address.clone())
            .unwrap()
            .connect()
            .await
            .unwrap();
        let mut consumer = ConsumerServiceClient::new(channel);
        let subscription = v1::Subscription {
            topic: "t".to_owned(),
            ..v1::Subscription::default()
        };
        let request = v1::SubscribeRequest {
            subscriptions: vec![subscription],
            encoding: v1::Encoding::Batches.into(),
            ..v1::SubscribeRequest::default()
        };
        slow.push(consumer.subscribe(request).await.unwrap().into_inner());
    }
    assert_eq!(harness.values("t", 0).await.len(), 100);
    harness.produce("t", 0, &["and on"]).await;
    drop(slow);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_the_rest_work_on() {
    let mut harness = Harness::start_with(&[("limits.connections_max", "20")]).await;
    harness.create("t", 1).await;
    let address = harness.broker.client_address();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    harness.produce("t", 0, &["a"]).await;
    drop(idle);
    let address = format!("http://{address}");
    let connects = async {
        loop {
            let channel = Channel::from_shared(address.clone()).unwrap();
            if let Ok(channel) = channel.connect().await {
                let mut cluster = ClusterServiceClient::new(channel);
                if cluster.get_cluster(v1::GetClusterRequest {}).await.is_ok() {
                    return;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let bound = std::time::Duration::from_secs(30);
    tokio::time::timeout(bound, connects)
        .await
        .expect("places are given back");
}
