//! Sending records.

mod accumulator;
mod config;
mod delivery;
mod driver;
mod identity;
mod lane;
mod queue;
mod stream;
mod topics;

use std::sync::Arc;

use headwater_record::{Batch, Record};
use tokio::sync::SemaphorePermit;

pub use config::{Acks, ProducerConfig};
pub use delivery::{BatchDelivery, Delivery};

use self::accumulator::{Accumulator, PushError};
use self::driver::Driver;
use crate::backoff::Backoff;
use crate::clock::wall_clock_ms;
use crate::config::ClientConfig;
use crate::error::Error;
use crate::record::ProducerRecord;
use crate::transport::Transport;

/// Sends records: batched, compressed, pipelined, retried in order, idempotent. Cheap to clone;
/// all clones share one buffer and one stream. When the last is dropped, what was handed in is
/// still sent in the background while the runtime lives; [`close`](Producer::close) waits for it.
#[derive(Clone, Debug)]
pub struct Producer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    accumulator: Arc<Accumulator>,
    transport: Transport,
    client: ClientConfig,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.accumulator.close(Error::Closed);
    }
}

impl Producer {
    pub(crate) fn start(client: &ClientConfig, config: ProducerConfig) -> Result<Producer, Error> {
        config.validate()?;
        let transport = Transport::lazy(client)?;
        let accumulator = Arc::new(Accumulator::new(config));
        let driver = Driver::new(Arc::clone(&accumulator), transport.clone(), client.clone());
        tokio::spawn(driver.run());
        let inner = Inner {
            accumulator,
            transport,
            client: client.clone(),
        };
        Ok(Producer {
            inner: Arc::new(inner),
        })
    }

    /// Hands a record over. Waits while too much is unacknowledged (back-pressure); the returned
    /// [`Delivery`] resolves when the broker has acknowledged the record. It may be dropped: the
    /// record is sent all the same, and [`flush`](Producer::flush) reports failures.
    ///
    /// # Errors
    ///
    /// What is known at once: the topic or partition does not exist, the record is too large,
    /// the producer is closed.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, Error> {
        let ProducerRecord {
            topic,
            partition,
            key,
            value,
            headers,
            timestamp_ms,
        } = record;
        let timestamp_ms = timestamp_ms.unwrap_or_else(wall_clock_ms);
        let record = Record {
            key,
            value,
            headers,
            timestamp_ms,
        };
        let bytes = queue::encoded_size_max(&record);
        let accumulator = &self.inner.accumulator;
        let permit = accumulator.reserve(bytes).await?;
        self.hand_over(&topic, permit, || {
            accumulator.push(&topic, partition, &record, bytes)
        })
        .await
    }

    /// Hands a finished batch over, for those who build their own. If the producer is idempotent
    /// the batch gets its identity and sequence (its checksum is computed again).
    ///
    /// # Errors
    ///
    /// As [`send`](Producer::send).
    pub async fn send_batch(
        &self,
        topic: &str,
        partition: u32,
        batch: Batch,
    ) -> Result<BatchDelivery, Error> {
        let topic = Arc::from(topic);
        let accumulator = &self.inner.accumulator;
        let permit = accumulator.reserve(batch.bytes().len()).await?;
        let push = || accumulator.push_batch(&topic, partition, batch.clone());
        self.hand_over(&topic, permit, push).await
    }

    /// Sends what is waiting and returns when everything handed in before has an outcome.
    ///
    /// # Errors
    ///
    /// The first failure of any batch since the last flush.
    pub async fn flush(&self) -> Result<(), Error> {
        let accumulator = &self.inner.accumulator;
        let mut outcome = Ok(());
        for delivery in accumulator.start_flush() {
            outcome = outcome.and(delivery.await.map(drop));
        }
        // The accumulator also remembers failures of batches that were resolved before.
        accumulator.take_failure().map_or(outcome, Err)
    }

    /// Flushes and ends the stream; all clones refuse records from now on.
    ///
    /// # Errors
    ///
    /// As [`flush`](Producer::flush).
    pub async fn close(self) -> Result<(), Error> {
        self.inner.accumulator.close(Error::Closed);
        self.flush().await
    }

    /// Pushes, and looks the topic up first if it has to be. On success what was reserved stays
    /// so until the batch is resolved.
    async fn hand_over<T>(
        &self,
        topic: &Arc<str>,
        reserved: SemaphorePermit<'_>,
        push: impl Fn() -> Result<T, PushError>,
    ) -> Result<T, Error> {
        let Inner {
            accumulator,
            transport,
            client,
        } = &*self.inner;
        loop {
            match push() {
                Ok(delivery) => {
                    reserved.forget();
                    return Ok(delivery);
                }
                Err(PushError::Refused(error)) => return Err(error),
                Err(PushError::UnknownTopic) => {
                    topics::look_up(transport, Backoff::new(client), accumulator, topic).await?;
                }
            }
        }
    }
}
