//! Brokers whose tier is a directory that they share, and what is in it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_broker::Running;
use headwater_broker::config::Settings;
use headwater_broker::restore::Testing;
use headwater_broker::tier::store::{self, StoreMetrics, StoreOptions};
use headwater_proto::v1;
use headwater_proto::v1::cluster_service_client::ClusterServiceClient;
use headwater_proto::v1::consumer_service_client::ConsumerServiceClient;
use headwater_proto::v1::producer_service_client::ProducerServiceClient;
use headwater_proto::v1::tier_service_client::TierServiceClient;
use headwater_proto::v1::topic_service_client::TopicServiceClient;
use headwater_record::{BatchBuilder, Compression, ProducerIdentity, Record};
use headwater_tier::Store;
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;

/// The smallest segment that a topic may have.
const SEGMENT_BYTES: i64 = 64 << 10;

/// Records of a batch.
const BATCH_RECORDS: usize = 10;

/// The value of the record at an offset.
pub(crate) fn value(offset: usize) -> String {
    format!("{offset:06}-{}", "x".repeat(1_000))
}

/// The values of batches.
pub(crate) fn batch_values(batches: Range<usize>) -> Vec<String> {
    (batches.start * BATCH_RECORDS..batches.end * BATCH_RECORDS)
        .map(value)
        .collect()
}

/// A directory that is a tier.
pub(crate) struct Bucket(TempDir);

impl Bucket {
    pub(crate) fn new() -> Bucket {
        Bucket(tempfile::tempdir().unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("fs://{}", self.0.path().display())
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.0.path().join(key)
    }

    /// Every object, but for those that are there for a moment only.
    pub(crate) fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let mut objects = BTreeMap::new();
        collect(self.0.path(), "", &mut objects);
        objects.retain(|key, _| !key.contains("tmp/") && !key.contains("/clock/"));
        objects
    }

    /// Keys that begin so.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let objects = self.objects().into_keys();
        objects.filter(|key| key.starts_with(prefix)).collect()
    }

    /// Cuts an object short.
    pub(crate) fn truncate(&self, key: &str) {
        let path = self.path(key);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    }

    pub(crate) fn remove(&self, key: &str) {
        std::fs::remove_file(self.path(key)).unwrap();
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        let (options, metrics) = (StoreOptions::default(), StoreMetrics::default());
        store::open(&self.url(), None, Path::new("/"), &options, &metrics).unwrap()
    }
}

fn collect(dir: &Path, prefix: &str, objects: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{prefix}{name}/"), objects);
        } else if let Ok(bytes) = std::fs::read(entry.path()) {
            objects.insert(format!("{prefix}{name}"), bytes);
        }
    }
}

/// A broker and clients of it.
pub(crate) struct TestBroker {
    pub(crate) running: Running,
    dir: PathBuf,
    /// Removed with the broker, where it is its own.
    _own: Option<TempDir>,
    producer: ProducerServiceClient<Channel>,
    consumer: ConsumerServiceClient<Channel>,
    topics: TopicServiceClient<Channel>,
    cluster: ClusterServiceClient<Channel>,
    tier: TierServiceClient<Channel>,
}

/// Starts a broker on a directory that belongs to a cluster, or to none yet if `form` is set.
pub(crate) async fn start(
    dir: &Path,
    bucket: &Bucket,
    form: bool,
    more: &[(&str, &str)],
) -> anyhow::Result<Running> {
    start_changed(dir, bucket, form, more, |_| {}).await
}

/// The same with settings that no file may have.
async fn start_changed(
    dir: &Path,
    bucket: &Bucket,
    form: bool,
    more: &[(&str, &str)],
    change: impl FnOnce(&mut Settings),
) -> anyhow::Result<Running> {
    let (dir, url) = (dir.to_str().unwrap(), bucket.url());
    let mut values = vec![
        ("data_dir", dir),
        ("form", if form { "true" } else { "false" }),
        ("listen.client", "127.0.0.1:0"),
        ("listen.http", "127.0.0.1:0"),
        ("storage.shards", "2"),
        ("disk_guard.reserve_bytes", "1MiB"),
        ("tier.url", &url),
        ("tier.commit_interval", "250ms"),
        ("tier.snapshot_interval", "1s"),
        ("storage.retention_check_interval", "200ms"),
        ("tier.gc_grace", "1m"),
    ];
    values.extend_from_slice(more);
    let mut settings = Settings::embedded(&values)?;
    change(&mut settings);
    headwater_broker::start(settings).await
}

/// Behind a fence it is not waited.
pub(crate) fn no_wait() -> Testing {
    Testing {
        adopt_wait: Some(Duration::ZERO),
        stop_before: None,
    }
}

impl TestBroker {
    /// A new cluster.
    pub(crate) async fn start(bucket: &Bucket) -> TestBroker {
        TestBroker::start_changed(bucket, |_| {}).await
    }

    /// A new cluster with settings that no file may have.
    pub(crate) async fn start_changed(
        bucket: &Bucket,
        change: impl FnOnce(&mut Settings),
    ) -> TestBroker {
        let own = tempfile::tempdir().unwrap();
        let running = start_changed(own.path(), bucket, true, &[], change);
        let running = running.await.unwrap();
        let dir = own.path().to_owned();
        TestBroker::of(running, dir, Some(own)).await
    }

    /// On a directory that was restored.
    pub(crate) async fn start_on(
        dir: PathBuf,
        bucket: &Bucket,
        more: &[(&str, &str)],
    ) -> TestBroker {
        let running = start(&dir, bucket, false, more).await.unwrap();
        TestBroker::of(running, dir, None).await
    }

    async fn of(running: Running, dir: PathBuf, own: Option<TempDir>) -> TestBroker {
        let address = format!("http://{}", running.client_address());
        let channel = Channel::from_shared(address)
            .unwrap()
            .connect()
            .await
            .unwrap();
        TestBroker {
            running,
            dir,
            _own: own,
            producer: ProducerServiceClient::new(channel.clone()),
            consumer: ConsumerServiceClient::new(channel.clone())
                .max_decoding_message_size(usize::MAX),
            topics: TopicServiceClient::new(channel.clone()),
            cluster: ClusterServiceClient::new(channel.clone()),
            tier: TierServiceClient::new(channel),
        }
    }

    pub(crate) async fn stop(self) {
        self.running.stop().await.unwrap();
    }

    pub(crate) async fn restart(self, bucket: &Bucket) -> TestBroker {
        self.restart_changed(bucket, |_| {}).await
    }

    pub(crate) async fn restart_changed(
        self,
        bucket: &Bucket,
        change: impl FnOnce(&mut Settings),
    ) -> TestBroker {
        let TestBroker {
            running, dir, _own, ..
        } = self;
        running.stop().await.unwrap();
        let running = start_changed(&dir, bucket, false, &[], change);
        let running = running.await.unwrap();
        TestBroker::of(running, dir, _own).await
    }

    pub(crate) async fn create(&mut self, name: &str, partitions: i32) {
        let config = v1::TopicConfig {
            segment_bytes: Some(SEGMENT_BYTES),
            ..v1::TopicConfig::default()
        };
        let topic = v1::Topic {
            name: name.to_owned(),
            partitions,
            config: Some(config),
            ..v1::Topic::default()
        };
        let request = v1::CreateTopicRequest {
            topic: Some(topic),
            validate_only: false,
        };
        self.topics.create_topic(request).await.unwrap();
    }

    pub(crate) async fn delete_topic(&mut self, name: &str) {
        let request = v1::DeleteTopicRequest {
            name: name.to_owned(),
            ..v1::DeleteTopicRequest::default()
        };
        self.topics.delete_topic(request).await.unwrap();
    }

    pub(crate) async fn topic_id(&mut self, name: &str) -> String {
        let request = v1::GetTopicRequest {
            name: name.to_owned(),
        };
        let topic = self
            .topics
            .get_topic(request)
            .await
            .unwrap()
            .into_inner()
            .topic;
        topic.unwrap().topic_id
    }

    pub(crate) async fn cluster_id(&mut self) -> String {
        let request = v1::GetClusterRequest::default();
        let answer = self
            .cluster
            .get_cluster(request)
            .await
            .unwrap()
            .into_inner();
        answer.cluster_id
    }

    pub(crate) async fn findings(&mut self) -> Vec<String> {
        let request = v1::GetHealthRequest::default();
        let health = self.cluster.get_health(request).await.unwrap().into_inner();
        health
            .findings
            .into_iter()
            .map(|finding| finding.reason)
            .collect()
    }

    pub(crate) async fn init_producer(&mut self) -> i64 {
        let request = v1::InitProducerRequest::default();
        let answer = self
            .producer
            .init_producer(request)
            .await
            .unwrap()
            .into_inner();
        answer.producer.unwrap().id
    }

    /// The batch of that number, with the values of its offsets, if it is where it belongs.
    pub(crate) async fn produce_as(
        &mut self,
        producer: i64,
        topic: &str,
        partition: i32,
        number: usize,
    ) -> Result<v1::PartitionAck, Status> {
        let identity = ProducerIdentity {
            id: producer,
            epoch: 0,
            base_sequence: (number * BATCH_RECORDS) as i32,
        };
        let builder = BatchBuilder::new(Compression::None).producer(identity);
        self.produce(builder, topic, partition, number).await
    }

    /// The same without an identity.
    pub(crate) async fn fill(&mut self, topic: &str, partition: i32, number: usize) {
        let builder = BatchBuilder::new(Compression::None);
        self.produce(builder, topic, partition, number)
            .await
            .unwrap();
    }

    async fn produce(
        &mut self,
        mut builder: BatchBuilder,
        topic: &str,
        partition: i32,
        number: usize,
    ) -> Result<v1::PartitionAck, Status> {
        for value in batch_values(number..number + 1) {
            let record = Record {
                value: Some(Bytes::from(value)),
                timestamp_ms: 1_000 + number as i64,
                ..Record::default()
            };
            builder.push(&record).unwrap();
        }
        let request = v1::ProduceRequest {
            topic: topic.to_owned(),
            partition: Some(partition),
            batch: builder.build().unwrap().bytes().clone(),
            ..v1::ProduceRequest::default()
        };
        let answer = self.producer.produce(request).await?.into_inner();
        Ok(answer.acks[0].clone())
    }

    pub(crate) async fn delete_records(&mut self, topic: &str, partition: i32, before: i64) {
        let request = v1::DeleteRecordsRequest {
            topic: topic.to_owned(),
            partitions: vec![v1::DeleteRecordsPartition {
                partition,
                before_offset: before,
            }],
        };
        self.topics.delete_records(request).await.unwrap();
    }

    /// Keeps no more of a topic than so many bytes.
    pub(crate) async fn retain_bytes(&mut self, topic: &str, bytes: i64) {
        let config = v1::TopicConfig {
            retention_bytes: Some(bytes),
            ..v1::TopicConfig::default()
        };
        let topic = v1::Topic {
            name: topic.to_owned(),
            config: Some(config),
            ..v1::Topic::default()
        };
        let request = v1::UpdateTopicRequest {
            topic: Some(topic),
            ..v1::UpdateTopicRequest::default()
        };
        self.topics.update_topic(request).await.unwrap();
    }

    /// Log start and end.
    pub(crate) async fn offsets(&mut self, topic: &str, partition: i32) -> (i64, i64) {
        let request = v1::ListPartitionsRequest {
            topic: topic.to_owned(),
        };
        let answer = self
            .topics
            .list_partitions(request)
            .await
            .unwrap()
            .into_inner();
        let found = answer
            .partitions
            .iter()
            .find(|found| found.partition == partition);
        let found = found.unwrap();
        (found.log_start_offset, found.high_watermark)
    }

    pub(crate) async fn status(&mut self, topics: &[&str]) -> Vec<v1::PartitionTierStatus> {
        let request = v1::GetTierStatusRequest {
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        };
        self.tier
            .get_tier_status(request)
            .await
            .unwrap()
            .into_inner()
            .partitions
    }

    /// Waits until all sealed segments are in the tier, and the metadata with the topics.
    pub(crate) async fn settle(&mut self, topics: &[&str]) -> Vec<v1::PartitionTierStatus> {
        for _ in 0..300 {
            let status = self.status(topics).await;
            let settled = |p: &v1::PartitionTierStatus| {
                let trimmed = p.tier_end_offset.is_none()
                    || p.tier_start_offset.unwrap_or(0) >= p.log_start_offset;
                p.backlog_segments == 0 && p.uploading_segments == 0 && trimmed
            };
            if status.iter().all(settled) {
                // The snapshot follows within its interval.
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("not settled: {:?}", self.status(topics).await);
    }

    /// Everything readable in one partition, from its start.
    pub(crate) async fn values(&mut self, topic: &str, partition: i32) -> Vec<String> {
        let mut values = Vec::new();
        let mut next = v1::position::Position::Bound(v1::Bound::Earliest.into());
        loop {
            let data = self.fetch(topic, partition, next).await.unwrap();
            if data.records.is_empty() {
                return values;
            }
            let text = |record: &v1::Record| {
                String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()
            };
            values.extend(data.records.iter().map(text));
            next = v1::position::Position::Offset(data.next_offset);
        }
    }

    pub(crate) async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        position: v1::position::Position,
    ) -> Result<v1::PartitionData, Status> {
        let entry = v1::FetchPartition {
            topic: topic.to_owned(),
            partition,
            position: Some(v1::Position {
                position: Some(position),
            }),
            ..v1::FetchPartition::default()
        };
        let request = v1::FetchRequest {
            partitions: vec![entry],
            ..v1::FetchRequest::default()
        };
        let mut response = self.consumer.fetch(request).await?.into_inner();
        Ok(response.partitions.remove(0))
    }
}
