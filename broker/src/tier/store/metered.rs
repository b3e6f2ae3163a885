//! A store that does so much at once and no more, and counts what it does.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use headwater_tier::store::{Listed, ObjectMeta, ObjectWriter, Store, StoreError};
use tokio::sync::Semaphore;

use super::{StoreMetrics, StoreOptions};

/// A store with bounds and numbers around it.
pub(super) struct Metered {
    store: Arc<dyn Store>,
    reads: Gate,
    writes: Gate,
}

/// Lets a number of calls through at once, and counts them.
#[derive(Clone)]
struct Gate {
    places: Arc<Semaphore>,
    metrics: StoreMetrics,
}

impl Metered {
    pub(super) fn new(
        store: Arc<dyn Store>,
        options: &StoreOptions,
        metrics: &StoreMetrics,
    ) -> Metered {
        let gate = |places: usize| Gate {
            places: Arc::new(Semaphore::new(places.max(1))),
            metrics: metrics.clone(),
        };
        Metered {
            store,
            reads: gate(options.reads_max),
            writes: gate(options.writes_max),
        }
    }
}

impl Gate {
    /// The wait for a place is not counted as time of the store's.
    async fn pass<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        // Fails only if it is closed, which it never is.
        let _place = self.places.acquire().await;
        let started = Instant::now();
        let result = call.await;
        self.metrics
            .observe(operation, started.elapsed(), result.as_ref().err());
        result
    }
}

#[async_trait]
impl Store for Metered {
    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let writer = self.writes.pass("create", self.store.create(key)).await?;
        let gate = self.writes.clone();
        Ok(Box::new(MeteredWriter { writer, gate }))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.writes.metrics.sent_bytes.inc_by(bytes.len() as u64);
        self.writes
            .pass("put", self.store.put_if_absent(key, bytes))
            .await
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let bytes = self.reads.pass("read", self.store.read(key, range)).await?;
        let metrics = &self.reads.metrics;
        metrics.received_bytes.inc_by(bytes.len() as u64);
        Ok(bytes)
    }

    async fn stat(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.reads.pass("stat", self.store.stat(key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        self.reads
            .pass("list", self.store.list(prefix, after, limit))
            .await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.writes.pass("delete", self.store.delete(key)).await
    }
}

struct MeteredWriter {
    writer: Box<dyn ObjectWriter>,
    gate: Gate,
}

#[async_trait]
impl ObjectWriter for MeteredWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.gate.metrics.sent_bytes.inc_by(bytes.len() as u64);
        self.gate.pass("write", self.writer.write(bytes)).await
    }

    async fn close(self: Box<Self>) -> Result<(), StoreError> {
        let MeteredWriter { writer, gate } = *self;
        gate.pass("close", writer.close()).await
    }

    async fn abort(self: Box<Self>) {
        self.writer.abort().await;
    }
}
