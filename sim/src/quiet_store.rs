//! The simulated store without a simulation: no faults, no waiting. For tests of the tier by hand.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use headwater_tier::{Listed, ObjectMeta, ObjectWriter, Store, StoreError};

use crate::bucket::Bucket;

/// A store in memory that does as it is told. A clone is the same store.
#[derive(Clone, Default)]
pub struct QuietStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    bucket: Bucket,
    now_ms: u64,
    reads: BTreeMap<String, u64>,
}

impl QuietStore {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass.
    pub fn wait(&self, ms: u64) {
        self.lock().now_ms += ms;
    }

    /// The time, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.lock().now_ms
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.lock()
            .bucket
            .objects()
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// An object's bytes.
    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.lock()
            .bucket
            .get(key)
            .map(|object| object.bytes.clone())
    }

    /// Changes an object, or takes it away.
    pub fn damage(&self, key: &str, bytes: Option<Bytes>) {
        self.lock().bucket.damage(key, bytes);
    }

    /// How often an object was read.
    pub fn reads(&self, key: &str) -> u64 {
        self.lock().reads.get(key).copied().unwrap_or_default()
    }
}

#[async_trait]
impl Store for QuietStore {
    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        Ok(Box::new(QuietWriter {
            store: self.clone(),
            key: key.to_owned(),
            bytes: BytesMut::new(),
        }))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let mut state = self.lock();
        let now_ms = state.now_ms;
        state.bucket.put_if_absent(key, bytes, now_ms)
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        *self.lock().reads.entry(key.to_owned()).or_default() += 1;
        // Others get their turn before the answer is there.
        let mut waited = false;
        futures::future::poll_fn(|context| match std::mem::replace(&mut waited, true) {
            true => std::task::Poll::Ready(()),
            false => {
                context.waker().wake_by_ref();
                std::task::Poll::Pending
            }
        })
        .await;
        self.lock().bucket.read(key, range)
    }

    async fn stat(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        self.lock().bucket.stat(key)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let state = self.lock();
        Ok(state.bucket.list(prefix, after, limit, state.now_ms, 0))
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let mut state = self.lock();
        let now_ms = state.now_ms;
        state.bucket.delete(key, now_ms);
        Ok(())
    }
}

struct QuietWriter {
    store: QuietStore,
    key: String,
    bytes: BytesMut,
}

#[async_trait]
impl ObjectWriter for QuietWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        let mut state = self.store.lock();
        let now_ms = state.now_ms;
        state
            .bucket
            .put(&self.key, self.bytes.split().freeze(), now_ms);
        Ok(())
    }

    async fn abort(self: Box<Self>) {}
}
