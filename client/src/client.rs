//! The way in: one connection, and what can be made of it.

use std::sync::Arc;

use headwater_record::Record;

use crate::admin::Admin;
use crate::config::ClientConfig;
use crate::consumer::ConsumerBuilder;
use crate::error::Error;
use crate::producer::{Producer, ProducerConfig};
use crate::record::BatchAck;

/// A client of one cluster. Cheap to clone; clones share a connection.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
}

impl Client {
    /// Connects, and fails if that is not possible now.
    ///
    /// # Errors
    ///
    /// [`Error::Connect`] if nothing answers, [`Error::InvalidConfig`] for a bad endpoint.
    pub async fn connect(_config: ClientConfig) -> Result<Client, Error> {
        todo!()
    }

    /// Connects with the first call. Must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] for a bad endpoint.
    pub fn connect_lazy(_config: ClientConfig) -> Result<Client, Error> {
        todo!()
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// Topics and the cluster.
    pub fn admin(&self) -> Admin {
        todo!()
    }

    /// A producer with its own connection; it starts with the first record. Must be called within
    /// a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidConfig`] if `config` cannot work.
    pub fn producer(&self, _config: ProducerConfig) -> Result<Producer, Error> {
        todo!()
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
        _topic: &str,
        _partition: u32,
        _expected_offset: Option<u64>,
        _records: Vec<Record>,
    ) -> Result<BatchAck, Error> {
        todo!()
    }
}
