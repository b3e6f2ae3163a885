//! The way in: one connection, and what can be made of it.

use std::sync::Arc;

use headwater_proto::v1;
use headwater_record::{BatchBuilder, Compression, Record};

use crate::admin::{Admin, partition_number, wire_offset};
use crate::config::ClientConfig;
use crate::consumer::ConsumerBuilder;
use crate::error::Error;
use crate::producer::{Producer, ProducerConfig};
use crate::record::BatchAck;
use crate::transport::Transport;

/// A client of one cluster. Cheap to clone; clones share a connection.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    transport: Transport,
}

impl Client {
    /// Connects, and fails if that is not possible now.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] if nothing answers, [`Error::InvalidConfig`] for a bad endpoint.
    pub async fn connect(config: ClientConfig) -> Result<Client, Error> {
        let transport = Transport::connect(&config).await?;
        Ok(Client {
            inner: Arc::new(Inner { config, transport }),
        })
    }

    /// Connects with the first call. Must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for a bad endpoint.
    pub fn connect_lazy(config: ClientConfig) -> Result<Client, Error> {
        let transport = Transport::lazy(&config)?;
        Ok(Client {
            inner: Arc::new(Inner { config, transport }),
        })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// Topics and the cluster.
    pub fn admin(&self) -> Admin {
        Admin::new(self.inner.transport.clone())
    }

    /// A producer with its own connection; it starts with the first record. Must be called within
    /// a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if `config` cannot work.
    pub fn producer(&self, config: ProducerConfig) -> Result<Producer, Error> {
        Producer::start(&self.inner.config, config)
    }

    /// Says what to read, then [`build`](ConsumerBuilder::build)s a consumer with its own
    /// connection.
    pub fn consumer(&self) -> ConsumerBuilder {
        ConsumerBuilder::new(self.clone())
    }

    /// Appends `records` to one partition in one call. With `expected_offset` it is conditional:
    /// refused with reason `OFFSET_MISMATCH` unless the next offset is this one.
    ///
    /// # Errors
    ///
    /// [`Error::Broker`] as the broker says. Not retried: after [`Error::Connection`] or
    /// [`Error::Timeout`] the outcome is unknown, which `expected_offset` makes safe to ask again.
    pub async fn append(
        &self,
        topic: &str,
        partition: u32,
        expected_offset: Option<u64>,
        records: Vec<Record>,
    ) -> Result<BatchAck, Error> {
        let mut builder = BatchBuilder::new(Compression::None);
        for record in &records {
            builder.push(record)?;
        }
        let transport = &self.inner.transport;
        let request = transport.unary(v1::ProduceRequest {
            topic: topic.to_owned(),
            partition: Some(partition_number(partition)),
            acks: v1::Acks::All.into(),
            expected_offset: expected_offset.map(wire_offset),
            batch: builder.build()?.bytes().clone(),
            ..v1::ProduceRequest::default()
        });
        let answer = transport.producer_service().produce(request).await;
        let mut acks = answer
            .map_err(|status| transport.error(status))?
            .into_inner()
            .acks;
        let Some(ack) = acks.pop() else {
            return Err(Error::protocol("Produce has acknowledged nothing"));
        };
        match ack.error {
            Some(error) => Err(error.into()),
            None => Ok(BatchAck::from_wire(partition, &ack)),
        }
    }
}
