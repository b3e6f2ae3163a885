//! Reading what the disk has not any more.

use bytes::Bytes;
use headwater_record::{
    Batch, BatchBuilder, BatchHeader, Compression, Header, ProducerIdentity, Record,
};
use tokio_stream::StreamExt as _;

use super::*;
use crate::position;
use crate::s3_server::{Fault, Strike};

const CODECS: [Compression; 5] = [
    Compression::None,
    Compression::Gzip,
    Compression::Snappy,
    Compression::Lz4,
    Compression::Zstd,
];

/// Bytes that no codec makes smaller by much.
fn noise(seed: usize, len: usize) -> Bytes {
    let mut state = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn odd_record(n: usize) -> Record {
    Record {
        key: (!n.is_multiple_of(3)).then(|| Bytes::from(format!("key-{n}"))),
        value: (!n.is_multiple_of(7)).then(|| noise(n, n % 500)),
        headers: (0..n % 4)
            .map(|at| Header {
                name: format!("h{at}"),
                value: (at != 1).then(|| noise(n + at, 5)),
            })
            .collect(),
        timestamp_ms: 1_357_035_300_000 + n as i64,
    }
}

/// Batches of all sizes and codecs.
fn odd_batches(records: usize) -> Vec<Batch> {
    let (mut batches, mut n) = (Vec::new(), 0);
    while n < records {
        let mut builder = BatchBuilder::new(CODECS[batches.len() % CODECS.len()]);
        for _ in 0..1 + batches.len() * 7 % 60 {
            builder.push(&odd_record(n)).unwrap();
            n += 1;
        }
        batches.push(builder.build().unwrap());
    }
    batches
}

impl Harness {
    async fn append(&mut self, topic: &str, partition: i32, batch: &Batch) -> v1::PartitionAck {
        let request = v1::ProduceRequest {
            topic: topic.to_owned(),
            partition: Some(partition),
            batch: batch.bytes().clone(),
            ..v1::ProduceRequest::default()
        };
        let acks = self.producer.produce(request).await.unwrap().into_inner();
        acks.acks.into_iter().next().unwrap()
    }

    async fn batches_from(&mut self, topic: &str, partition: i32, from: i64) -> v1::PartitionData {
        let entry = v1::FetchPartition {
            topic: topic.to_owned(),
            partition,
            position: Some(offset(from)),
            ..v1::FetchPartition::default()
        };
        let request = v1::FetchRequest {
            partitions: vec![entry],
            encoding: v1::Encoding::Batches.into(),
            ..v1::FetchRequest::default()
        };
        let mut response = self.consumer.fetch(request).await.unwrap().into_inner();
        response.partitions.remove(0)
    }
}

/// Offset and epoch are the broker's, all else is as it was sent.
fn assert_sent(stored: &[u8], sent: &Batch, base: u64) -> usize {
    let header = BatchHeader::decode(stored).unwrap();
    assert_eq!(header.base_offset.get(), base);
    assert_eq!(
        stored[16..header.size_bytes],
        sent.bytes()[16..],
        "at {base}"
    );
    header.size_bytes
}

async fn everything_reads_back(harness: &mut Harness) {
    let sent = odd_batches(4_000);
    harness.create_with("t", 2, small_segments()).await.unwrap();
    for batch in &sent {
        harness.append("t", 0, batch).await;
    }
    for batch in &sent[..20] {
        harness.append("t", 1, batch).await;
    }
    let status = harness.settle("t").await;
    assert!(status[0].local_start_offset > 3_000, "{status:?}");
    assert!(status[0].tiered_segments > 5, "{status:?}");
    assert_eq!(status[0].log_start_offset, 0);

    // Batches, from the first to the last.
    let (mut next, mut batches) = (0, sent.iter());
    loop {
        let data = harness.batches_from("t", 0, next).await;
        assert_eq!(data.error, None);
        if data.batches.is_empty() {
            break;
        }
        let (mut rest, mut base) = (&data.batches[..], next as u64);
        while !rest.is_empty() {
            let batch = batches.next().unwrap();
            let size = assert_sent(rest, batch, base);
            base += u64::from(batch.header().record_count);
            rest = &rest[size..];
        }
        assert_eq!(base as i64, data.next_offset);
        next = data.next_offset;
    }
    assert_eq!(
        batches.next().map(|batch| batch.header().record_count),
        None
    );

    // Records, by a subscription over the border.
    let request = v1::SubscribeRequest {
        subscriptions: vec![v1::Subscription {
            topic: "t".to_owned(),
            ..Default::default()
        }],
        until_latest: true,
        ..v1::SubscribeRequest::default()
    };
    let stream = harness.consumer.subscribe(request).await.unwrap();
    let mut stream = stream.into_inner();
    let mut seen = [0, 0];
    while let Some(message) = stream.next().await {
        if let Some(v1::subscribe_response::Message::Data(data)) = message.unwrap().message {
            for record in data.records {
                let n = &mut seen[record.partition as usize];
                let expected = odd_record(*n);
                assert_eq!(record.offset, *n as i64);
                assert_eq!(record.key, expected.key);
                assert_eq!(record.value, expected.value);
                assert_eq!(record.timestamp_ms, Some(expected.timestamp_ms));
                let headers = record.headers.into_iter();
                let headers: Vec<Header> = headers
                    .map(|header| Header {
                        name: header.name,
                        value: header.value,
                    })
                    .collect();
                assert_eq!(headers, expected.headers);
                *n += 1;
            }
        }
    }
    assert_eq!(seen[0] as u64, next as u64);

    // From the middle of a batch: the batch as a whole, or the records from there.
    let batch = &sent[40];
    let before: u64 = sent[..40]
        .iter()
        .map(|batch| u64::from(batch.header().record_count))
        .sum();
    let middle = before as i64 + 3;
    let data = harness.batches_from("t", 0, middle).await;
    assert_sent(&data.batches, batch, before);
    let data = harness.fetch("t", 0, offset(middle)).await.unwrap();
    assert_eq!(data.records[0].offset, middle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_from_the_beginning_does_not_notice_what_the_disk_has_not() {
    let mut harness = Harness::start_with(&FS).await;
    everything_reads_back(&mut harness).await;
    assert_eq!(harness.finding("TIER_UNAVAILABLE").await, None);
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_one_whose_records_are_in_a_bucket() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    everything_reads_back(&mut harness).await;
    let segments = bucket.segments();
    assert_no_twins(&segments);
    let tiered: i64 = harness
        .tier_of("t")
        .await
        .iter()
        .map(|part| part.tiered_segments)
        .sum();
    assert_eq!(segments.len() as i64, tiered);
    // Small reads: what is in memory serves many.
    let reads = bucket.server.requests("GetObject");
    assert!(reads < 40 * segments.len() as u64, "{reads}");
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_fetch_serves_many_partitions_of_the_tier_within_its_bound() {
    const PARTITIONS: i32 = 24;
    let bucket = Bucket::start().await;
    let mut harness = bucket.broker().await;
    harness
        .create_with("t", PARTITIONS, small_segments())
        .await
        .unwrap();
    for partition in 0..PARTITIONS {
        harness.fill("t", partition, 0..150).await;
    }
    harness.settle("t").await;
    let mut harness = bucket.restart(harness).await;
    let entry = |partition| v1::FetchPartition {
        topic: "t".to_owned(),
        partition,
        position: Some(earliest()),
        ..v1::FetchPartition::default()
    };
    let request = |bytes| v1::FetchRequest {
        partitions: (0..PARTITIONS).map(entry).collect(),
        max_bytes: bytes,
        ..v1::FetchRequest::default()
    };
    let all = harness
        .consumer
        .fetch(request(0))
        .await
        .unwrap()
        .into_inner();
    for data in &all.partitions {
        assert_eq!(data.error, None);
        assert_eq!(data.records[0].offset, 0);
    }
    // A small answer holds some of them, and says of the others where to go on.
    let few = harness
        .consumer
        .fetch(request(40_000))
        .await
        .unwrap()
        .into_inner();
    let sizes = few.partitions.iter().map(|data| data.records.len());
    let records: usize = sizes.sum();
    assert!((10..=60).contains(&records), "{records}");
    let empty = few.partitions.iter().filter(|data| data.records.is_empty());
    for data in empty {
        assert_eq!((data.error.as_ref(), data.next_offset), (None, 0));
        assert_eq!(data.high_watermark, 150);
    }
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_next_is_in_memory_before_the_reader_asks_for_it() {
    let bucket = Bucket::start().await;
    let mut harness = bucket.cold(300).await;
    let request = |from| v1::FetchRequest {
        partitions: vec![v1::FetchPartition {
            topic: "t".to_owned(),
            partition: 0,
            position: Some(offset(from)),
            ..v1::FetchPartition::default()
        }],
        max_bytes: 60_000,
        ..v1::FetchRequest::default()
    };
    let first = harness.consumer.fetch(request(0)).await.unwrap();
    let next = first.into_inner().partitions[0].next_offset;
    assert!(next > 0);
    let mut reads = 0;
    until("the end of reading ahead", async || {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = bucket.server.requests("GetObject");
        std::mem::replace(&mut reads, now) == now
    })
    .await;
    bucket
        .server
        .inject(Fault::every_of(Strike::Hang, "GetObject"));
    let second = harness.consumer.fetch(request(next)).await.unwrap();
    let second = second.into_inner().partitions.remove(0);
    assert_eq!(second.error, None);
    assert_eq!(second.records[0].offset, next);
    let base = |key: &String| key.rsplit('/').next().unwrap()[..20].parse::<i64>();
    let border = base(&bucket.segments()[1]).unwrap();
    assert!(next <= border && border < second.next_offset, "{border}");
    bucket.server.clear_faults();
    harness.broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producer_is_recognised_when_its_batch_is_in_the_tier_alone() {
    let mut harness = Harness::start_with(&FS).await;
    harness.create_with("t", 1, small_segments()).await.unwrap();
    let init = v1::InitProducerRequest::default();
    let producer = harness.producer.init_producer(init).await.unwrap();
    let producer = producer.into_inner().producer.unwrap();
    let batch = |base_sequence| {
        let identity = ProducerIdentity {
            id: producer.id,
            epoch: producer.epoch as i16,
            base_sequence,
        };
        let mut builder = BatchBuilder::new(Compression::None).producer(identity);
        builder.push(&odd_record(1)).unwrap();
        builder.build().unwrap()
    };
    assert_eq!(harness.append("t", 0, &batch(0)).await.base_offset, 0);
    harness.fill("t", 0, 0..300).await;
    harness.settle("t").await;
    let mut harness = harness.restart(&FS).await;
    let again = harness.append("t", 0, &batch(0)).await;
    assert_eq!((again.base_offset, again.duplicate), (0, true));
    let next = harness.append("t", 0, &batch(1)).await;
    assert_eq!((next.base_offset, next.duplicate), (301, false));
    let last = v1::position::Position::LastN(1);
    let data = harness.fetch("t", 0, position(last)).await.unwrap();
    assert_eq!(data.records[0].offset, 301);
    harness.broker.stop().await.unwrap();
}
