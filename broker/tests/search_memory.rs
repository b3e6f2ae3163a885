//! What many searches by time at once take of memory: of batches that open to much more than they are, one is open at a
//! time.

use headwater_broker::config::Settings;
use headwater_proto::v1;
use headwater_proto::v1::producer_service_client::ProducerServiceClient;
use headwater_proto::v1::topic_service_client::TopicServiceClient;
use headwater_record::{BatchBuilder, Compression, Record};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const PARTITIONS: i32 = 48;
const MIB: usize = 1 << 20;
/// What each batch opens to. A buffer doubles on its way there, up to twice that in all.
const OPENED_BYTES: usize = 12 * MIB;

fn zeros() -> bytes::Bytes {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    let zeros = Record {
        value: Some(vec![0; OPENED_BYTES].into()),
        timestamp_ms: 1_000,
        ..Record::default()
    };
    builder.push(&zeros).unwrap();
    builder.build().unwrap().bytes().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn searches_by_time_open_one_batch_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("data_dir", dir.path().to_str().unwrap()),
        ("form", "true"),
        ("listen.client", "127.0.0.1:0"),
        ("listen.http", "127.0.0.1:0"),
        ("disk_guard.reserve_bytes", "1MiB"),
    ];
    let settings = Settings::embedded(&settings).unwrap();
    let broker = headwater_broker::start(settings).await.unwrap();
    let address = format!("http://{}", broker.client_address());
    let mut topics = TopicServiceClient::connect(address.clone()).await.unwrap();
    let mut producer = ProducerServiceClient::connect(address).await.unwrap();
    let topic = v1::Topic {
        name: "zeros".to_owned(),
        partitions: PARTITIONS,
        ..v1::Topic::default()
    };
    let request = v1::CreateTopicRequest {
        topic: Some(topic),
        validate_only: false,
    };
    topics.create_topic(request).await.unwrap();
    let batch = zeros();
    for partition in 0..PARTITIONS {
        let request = v1::ProduceRequest {
            topic: "zeros".to_owned(),
            partition: Some(partition),
            batch: batch.clone(),
            ..v1::ProduceRequest::default()
        };
        producer.produce(request).await.unwrap();
    }

    let partitions = (0..PARTITIONS).map(|partition| v1::ListOffsetsPartition {
        partition,
        position: Some(v1::Position {
            position: Some(v1::position::Position::TimestampMs(1_000)),
        }),
    });
    let request = v1::ListOffsetsRequest {
        topic: "zeros".to_owned(),
        partitions: partitions.collect(),
    };
    MEMORY.reset_peak_usage();
    let before = MEMORY.peak_usage();
    let answer = topics.list_offsets(request).await.unwrap().into_inner();
    let most = MEMORY.peak_usage() - before;
    assert_eq!(answer.offsets.len(), PARTITIONS as usize);
    for found in answer.offsets {
        assert_eq!((found.offset, found.timestamp_ms), (0, Some(1_000)));
    }
    assert!(OPENED_BYTES < most && most < 3 * OPENED_BYTES, "{most}");
    broker.stop().await.unwrap();
}
