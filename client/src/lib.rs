//! The Rust client of Headwater: producer, consumer and administration over gRPC.
//!
//! A [`Client`] is the way in; any broker serves the whole cluster. The endpoint is
//! `HEADWATER_ENDPOINT`, or `localhost:7650`.
//!
//! # Sending
//!
//! [`Producer::send`] hands a record over and gives a future for its outcome. Records are
//! gathered into batches, which are pipelined; they reach each partition once and in the order
//! of the calls, whatever breaks on the way.
//!
//! ```no_run
//! use headwater_client::{Client, ClientConfig, ProducerConfig, ProducerRecord};
//!
//! # async fn example() -> Result<(), headwater_client::Error> {
//! let client = Client::connect(ClientConfig::from_env()).await?;
//! let producer = client.producer(ProducerConfig::new())?;
//!
//! let record = ProducerRecord::new("orders", "3 apples").key("customer-7");
//! let delivery = producer.send(record).await?; // waits only while too much is on its way
//! let metadata = delivery.await?; // waits for the acknowledgement
//! println!("stored in {} at {:?}", metadata.partition, metadata.offset);
//!
//! producer.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Who does not want to wait for each record drops the deliveries and calls
//! [`Producer::flush`], which reports the first failure.
//!
//! # Reading
//!
//! A [`Consumer`] reads partitions from a [`Position`] on. After a broken connection it goes on
//! at the record where it was.
//!
//! ```no_run
//! use headwater_client::{Client, ClientConfig, Position};
//!
//! # async fn example() -> Result<(), headwater_client::Error> {
//! # let client = Client::connect(ClientConfig::from_env()).await?;
//! let mut consumer = client.consumer().topic("orders", Position::Earliest).build().await?;
//! while let Some(batch) = consumer.next_batch().await? {
//!     for record in &batch.records {
//!         println!("{}/{}: {:?}", record.partition, record.offset, record.value);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Or record by record, the last five of one partition:
//!
//! ```no_run
//! use futures::TryStreamExt;
//! use headwater_client::Position;
//!
//! # async fn example(client: headwater_client::Client) -> Result<(), headwater_client::Error> {
//! let consumer = client
//!     .consumer()
//!     .partition("orders", 0, Position::LastN(5))
//!     .until_latest(true)
//!     .build()
//!     .await?;
//! let last_five: Vec<_> = consumer.into_stream().try_collect().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Administration
//!
//! ```no_run
//! use headwater_client::types::TopicConfig;
//!
//! # async fn example(client: headwater_client::Client) -> Result<(), headwater_client::Error> {
//! let admin = client.admin();
//! let config = TopicConfig { retention_ms: Some(86_400_000), ..TopicConfig::default() };
//! let topic = admin.create_topic("orders", 6, config, false).await?;
//! println!("{} has {} partitions", topic.name, topic.partitions);
//! # Ok(())
//! # }
//! ```
//!
//! # Failures
//!
//! Everything fails with [`Error`]: its text says what happened, why and what to do;
//! [`Error::reason`] and the fields are for programs, and [`Error::retriable`] says whether the
//! same may succeed later. What is transient is retried here: producers for as long as the
//! delivery timeout, consumers without end. [`Error::OutcomeUnknown`] is the one that needs
//! thought: the records may be stored or not, and are never sent again behind your back.

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
pub use headwater_record::{Batch, BatchBuilder, Compression, Header, Record, RecordError};
pub use producer::{Acks, BatchDelivery, Delivery, Producer, ProducerConfig};
pub use record::{BatchAck, ConsumerRecord, Position, ProducerRecord, RecordMetadata};

/// Messages of the wire contract that administration speaks in: topics, partitions, findings, the
/// tier.
pub mod types {
    /// The wire's numbers for codecs, as in [`TopicConfig`].
    pub use headwater_proto::v1::Compression as CompressionSetting;
    /// What a check of the tier says on its way.
    pub use headwater_proto::v1::verify_tier_response::Event as TierEvent;
    pub use headwater_proto::v1::{
        Broker, DeletedRecords, Durability, Error as EntryError, Finding, GetClusterResponse,
        GetHealthResponse, GetTierStatusResponse, Metadata, Partition, PartitionMetadata,
        PartitionOffset, PartitionTierStatus, Severity, TierInfo, TierProblem, TierProblemKind,
        Topic, TopicConfig, TopicMetadata, VerifyTierProgress, VerifyTierSummary,
    };
}
