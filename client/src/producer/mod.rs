//! Sending records.

mod config;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use headwater_record::Batch;

pub use config::{Acks, ProducerConfig};

use crate::error::Error;
use crate::record::{BatchAck, ProducerRecord, RecordMetadata};

/// Sends records: batched, compressed, pipelined, retried in order, idempotent. Cheap to clone;
/// all clones share one buffer and one stream.
#[derive(Clone, Debug)]
pub struct Producer {}

impl Producer {
    /// Hands a record over. Waits while too much is unacknowledged (back-pressure); the returned
    /// [`Delivery`] resolves when the broker has acknowledged the record. It may be dropped: the
    /// record is sent all the same, and [`flush`](Producer::flush) reports failures.
    ///
    /// # Errors
    ///
    /// What is known at once: the topic or partition does not exist, the record is too large,
    /// the producer is closed.
    pub async fn send(&self, _record: ProducerRecord) -> Result<Delivery, Error> {
        todo!()
    }

    /// Hands a finished batch over, for those who build their own. If the producer is idempotent
    /// the batch gets its identity and sequence (its checksum is computed again).
    ///
    /// # Errors
    ///
    /// As [`send`](Producer::send).
    pub async fn send_batch(
        &self,
        _topic: &str,
        _partition: u32,
        _batch: Batch,
    ) -> Result<BatchDelivery, Error> {
        todo!()
    }

    /// Sends what is waiting and returns when everything handed in before has an outcome.
    ///
    /// # Errors
    ///
    /// The first failure of any batch since the last flush.
    pub async fn flush(&self) -> Result<(), Error> {
        todo!()
    }

    /// Flushes and ends the stream; all clones refuse records from now on.
    ///
    /// # Errors
    ///
    /// As [`flush`](Producer::flush).
    pub async fn close(self) -> Result<(), Error> {
        todo!()
    }
}

/// Resolves when the record's batch has an outcome.
#[derive(Debug)]
#[must_use = "await it, or drop it knowingly and call flush"]
pub struct Delivery {}

impl Future for Delivery {
    type Output = Result<RecordMetadata, Error>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        todo!()
    }
}

/// Resolves when the batch has an outcome.
#[derive(Debug)]
#[must_use = "await it, or drop it knowingly and call flush"]
pub struct BatchDelivery {}

impl Future for BatchDelivery {
    type Output = Result<BatchAck, Error>;

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        todo!()
    }
}
