//! The public API against a whole broker in this process, over a real socket.

mod bad_input;
mod consume;
mod internal;
mod lifecycle;
mod old_data;
mod produce;
#[path = "../s3_server/mod.rs"]
mod s3_server;
mod tier;
mod topics;

use std::path::Path;

use bytes::Bytes;
use headwater_broker::Running;
use headwater_broker::config::Settings;
use headwater_proto::v1::cluster_service_client::ClusterServiceClient;
use headwater_proto::v1::consumer_service_client::ConsumerServiceClient;
use headwater_proto::v1::producer_service_client::ProducerServiceClient;
use headwater_proto::v1::tier_service_client::TierServiceClient;
use headwater_proto::v1::topic_service_client::TopicServiceClient;
use headwater_proto::v1::{self, CreateTopicRequest, ProduceRequest};
use headwater_record::{Batch, BatchBuilder, Compression, Record};
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;

/// A broker on a directory of its own, and clients of it.
struct Harness {
    dir: TempDir,
    broker: Running,
    channel: Channel,
    producer: ProducerServiceClient<Channel>,
    consumer: ConsumerServiceClient<Channel>,
    topics: TopicServiceClient<Channel>,
    cluster: ClusterServiceClient<Channel>,
    tier: TierServiceClient<Channel>,
}

impl Harness {
    async fn start() -> Harness {
        Harness::start_with(&[]).await
    }

    async fn start_with(settings: &[(&str, &str)]) -> Harness {
        let dir = tempfile::tempdir().unwrap();
        Harness::start_on(dir, settings).await
    }

    async fn start_on(dir: TempDir, settings: &[(&str, &str)]) -> Harness {
        Harness::start_changed(dir, settings, |_| {}).await
    }

    /// With settings that no file may have.
    async fn start_changed(
        dir: TempDir,
        settings: &[(&str, &str)],
        change: impl FnOnce(&mut Settings),
    ) -> Harness {
        let mut settings = broker_settings(dir.path(), settings).unwrap();
        change(&mut settings);
        let broker = headwater_broker::start(settings).await.unwrap();
        let address = format!("http://{}", broker.client_address());
        let channel = Channel::from_shared(address)
            .unwrap()
            .connect()
            .await
            .unwrap();
        Harness {
            dir,
            broker,
            producer: ProducerServiceClient::new(channel.clone())
                .max_encoding_message_size(usize::MAX),
            consumer: ConsumerServiceClient::new(channel.clone())
                .max_decoding_message_size(usize::MAX),
            topics: TopicServiceClient::new(channel.clone()),
            cluster: ClusterServiceClient::new(channel.clone()),
            tier: TierServiceClient::new(channel.clone()),
            channel,
        }
    }

    /// A clean stop, and a start on the same directory.
    async fn restart(self, settings: &[(&str, &str)]) -> Harness {
        let Harness { dir, broker, .. } = self;
        broker.stop().await.unwrap();
        Harness::start_on(dir, settings).await
    }

    async fn create(&mut self, name: &str, partitions: i32) -> v1::Topic {
        self.create_with(name, partitions, v1::TopicConfig::default())
            .await
            .unwrap()
    }

    async fn create_with(
        &mut self,
        name: &str,
        partitions: i32,
        config: v1::TopicConfig,
    ) -> Result<v1::Topic, Status> {
        let topic = v1::Topic {
            name: name.to_owned(),
            partitions,
            config: Some(config),
            ..v1::Topic::default()
        };
        let request = CreateTopicRequest {
            topic: Some(topic),
            validate_only: false,
        };
        Ok(self
            .topics
            .create_topic(request)
            .await?
            .into_inner()
            .topic
            .unwrap())
    }

    /// Appends plain records to one partition and returns the first one's offset.
    async fn produce(&mut self, topic: &str, partition: i32, values: &[&str]) -> i64 {
        let request = ProduceRequest {
            topic: topic.to_owned(),
            partition: Some(partition),
            records: values.iter().map(|value| record(value)).collect(),
            ..ProduceRequest::default()
        };
        let response = self.producer.produce(request).await.unwrap().into_inner();
        response.acks[0].base_offset
    }

    /// Everything readable in one partition, from its start, without waiting.
    async fn values(&mut self, topic: &str, partition: i32) -> Vec<String> {
        let mut values = Vec::new();
        let mut next = earliest();
        loop {
            let data = self.fetch(topic, partition, next).await.unwrap();
            if data.records.is_empty() {
                return values;
            }
            values.extend(
                data.records.iter().map(|record| {
                    String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap()
                }),
            );
            next = offset(data.next_offset);
        }
    }

    async fn fetch(
        &mut self,
        topic: &str,
        partition: i32,
        position: v1::Position,
    ) -> Result<v1::PartitionData, Status> {
        let entry = v1::FetchPartition {
            topic: topic.to_owned(),
            partition,
            position: Some(position),
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

async fn start_broker(dir: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Running> {
    headwater_broker::start(broker_settings(dir, settings)?).await
}

fn broker_settings(dir: &Path, settings: &[(&str, &str)]) -> anyhow::Result<Settings> {
    let dir = dir.to_str().unwrap();
    let mut values = vec![
        ("data_dir", dir),
        ("form", "true"),
        ("listen.client", "127.0.0.1:0"),
        ("listen.http", "127.0.0.1:0"),
        ("storage.shards", "2"),
        ("disk_guard.reserve_bytes", "1MiB"),
    ];
    values.extend_from_slice(settings);
    Ok(Settings::embedded(&values)?)
}

fn record(value: &str) -> v1::Record {
    v1::Record {
        value: Some(Bytes::from(value.to_owned())),
        ..v1::Record::default()
    }
}

fn batch(values: &[&str]) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        let value = Some(Bytes::from((*value).to_owned()));
        builder
            .push(&Record {
                value,
                timestamp_ms: 1,
                ..Record::default()
            })
            .unwrap();
    }
    builder.build().unwrap()
}

fn position(position: v1::position::Position) -> v1::Position {
    v1::Position {
        position: Some(position),
    }
}

fn earliest() -> v1::Position {
    position(v1::position::Position::Bound(v1::Bound::Earliest.into()))
}

fn offset(offset: i64) -> v1::Position {
    position(v1::position::Position::Offset(offset))
}

/// The stable reason in a status.
fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    details
        .error_info()
        .map(|info| info.reason.clone())
        .unwrap_or_default()
}
