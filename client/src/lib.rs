//! Rust client of Headwater: producer, consumer and administration over gRPC.

mod admin;
mod backoff;
mod client;
mod clock;
mod config;
mod consumer;
mod error;
mod limits;
mod producer;
mod record;
mod status;
mod task;
mod transport;

pub use admin::Admin;
pub use client::Client;
pub use config::{ClientConfig, ENDPOINT_DEFAULT, ENDPOINT_ENV};
pub use consumer::{
    Consumer, ConsumerBatch, ConsumerBuilder, OnOutOfRange, PartitionProgress, RawBatches,
};
pub use error::{BrokerError, Code, Error};
pub use headwater_record::{Batch, BatchBuilder, Compression, Header, Record};
pub use producer::{Acks, BatchDelivery, Delivery, Producer, ProducerConfig};
pub use record::{BatchAck, ConsumerRecord, Position, ProducerRecord, RecordMetadata};

/// Messages of the wire contract that administration speaks in: topics, partitions, findings.
pub mod types {
    /// The wire's numbers for codecs, as in [`TopicConfig`].
    pub use headwater_proto::v1::Compression as CompressionSetting;
    pub use headwater_proto::v1::{
        Broker, DeletedRecords, Durability, Finding, GetClusterResponse, GetHealthResponse,
        Metadata, Partition, PartitionMetadata, PartitionOffset, Severity, Topic, TopicConfig,
        TopicMetadata,
    };
}
