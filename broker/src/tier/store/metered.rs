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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;

    use super::*;

    /// A store that knows how much was asked of it at once.
    #[derive(Clone, Default)]
    struct Busy {
        reads: Arc<Load>,
        writes: Arc<Load>,
    }

    #[derive(Default)]
    struct Load {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Load {
        /// Stays for a while, so that whoever may come in besides does.
        async fn call<T>(&self, answer: T) -> Result<T, StoreError> {
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            self.now.fetch_sub(1, Ordering::Relaxed);
            Ok(answer)
        }

        fn most(&self) -> usize {
            self.most.load(Ordering::Relaxed)
        }
    }

    #[async_trait]
    impl Store for Busy {
        async fn create(&self, _: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
            let writer: Box<dyn ObjectWriter> = Box::new(self.clone());
            self.writes.call(writer).await
        }

        async fn put_if_absent(&self, _: &str, _: Bytes) -> Result<(), StoreError> {
            self.writes.call(()).await
        }

        async fn read(&self, _: &str, _: Range<u64>) -> Result<Bytes, StoreError> {
            self.reads.call(Bytes::new()).await
        }

        async fn stat(&self, _: &str) -> Result<ObjectMeta, StoreError> {
            let meta = ObjectMeta {
                size_bytes: 0,
                modified_ms: None,
            };
            self.reads.call(meta).await
        }

        async fn list(
            &self,
            _: &str,
            _: Option<&str>,
            _: usize,
        ) -> Result<Vec<Listed>, StoreError> {
            self.reads.call(Vec::new()).await
        }

        async fn delete(&self, _: &str) -> Result<(), StoreError> {
            self.writes.call(()).await
        }
    }

    #[async_trait]
    impl ObjectWriter for Busy {
        async fn write(&mut self, _: Bytes) -> Result<(), StoreError> {
            self.writes.call(()).await
        }

        async fn close(self: Box<Self>) -> Result<(), StoreError> {
            self.writes.call(()).await
        }

        async fn abort(self: Box<Self>) {}
    }

    fn bounded(busy: &Busy, reads_max: usize, writes_max: usize) -> Metered {
        let options = StoreOptions {
            reads_max,
            writes_max,
            ..StoreOptions::default()
        };
        Metered::new(Arc::new(busy.clone()), &options, &StoreMetrics::default())
    }

    async fn read_a_lot(store: &Metered) {
        join_all((0..10).map(async |_| {
            store.read("k", 0..1).await.unwrap();
            store.stat("k").await.unwrap();
            store.list("", None, 1).await.unwrap();
        }))
        .await;
    }

    async fn write_a_lot(store: &Metered) {
        join_all((0..10).map(async |_| {
            store.put_if_absent("k", Bytes::new()).await.unwrap();
            let mut writer = store.create("k").await.unwrap();
            writer.write(Bytes::new()).await.unwrap();
            writer.close().await.unwrap();
            store.delete("k").await.unwrap();
        }))
        .await;
    }

    #[tokio::test]
    async fn no_more_runs_at_once_than_is_let_through() {
        for (reads_max, writes_max) in [(2, 3), (5, 1)] {
            let busy = Busy::default();
            let store = bounded(&busy, reads_max, writes_max);
            tokio::join!(read_a_lot(&store), write_a_lot(&store));
            assert_eq!(
                (busy.reads.most(), busy.writes.most()),
                (reads_max, writes_max)
            );
        }
    }

    #[tokio::test]
    async fn writes_that_hang_hold_up_no_read() {
        let busy = Busy::default();
        let store = bounded(&busy, 1, 1);
        let _place = store.writes.places.acquire().await.unwrap();
        tokio::select! {
            () = write_a_lot(&store) => panic!("there was no place"),
            () = read_a_lot(&store) => {}
        }
    }
}
