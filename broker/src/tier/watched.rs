//! A store of which every answer is noted: what health says of the tier is what its store did last.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use headwater_tier::{Listed, ObjectMeta, ObjectWriter, Store, StoreError, StoreErrorKind};

use super::state::{Side, TierState};
use crate::clock::wall_ms;

/// A store that tells [`TierState`] how it does.
pub(super) struct Watched {
    store: Arc<dyn Store>,
    state: Arc<TierState>,
}

impl Watched {
    pub(super) fn new(store: Arc<dyn Store>, state: Arc<TierState>) -> Watched {
        Watched { store, state }
    }
}

/// Notes an answer. That there is no such object, or that there is one already, is an answer as good as any.
fn note<T>(state: &TierState, side: Side, result: Result<T, StoreError>) -> Result<T, StoreError> {
    match &result {
        Err(error)
            if !matches!(
                error.kind,
                StoreErrorKind::NotFound | StoreErrorKind::Exists
            ) =>
        {
            state.failed(side, &error.to_string(), wall_ms());
        }
        _ => state.succeeded(side, wall_ms()),
    }
    result
}

#[async_trait]
impl Store for Watched {
    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        // Nothing is asked of the store yet that would show that it is well.
        let created = self.store.create(key).await;
        let writer = match created {
            Err(_) => note(&self.state, Side::Write, created)?,
            Ok(writer) => writer,
        };
        let state = self.state.clone();
        Ok(Box::new(WatchedWriter { writer, state }))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let put = self.store.put_if_absent(key, bytes).await;
        note(&self.state, Side::Write, put)
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let read = self.store.read(key, range).await;
        note(&self.state, Side::Read, read)
    }

    async fn stat(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        let stat = self.store.stat(key).await;
        note(&self.state, Side::Read, stat)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let listed = self.store.list(prefix, after, limit).await;
        note(&self.state, Side::Read, listed)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let deleted = self.store.delete(key).await;
        note(&self.state, Side::Write, deleted)
    }
}

struct WatchedWriter {
    writer: Box<dyn ObjectWriter>,
    state: Arc<TierState>,
}

#[async_trait]
impl ObjectWriter for WatchedWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let written = self.writer.write(bytes).await;
        match written {
            // It may only have been put aside.
            Ok(()) => Ok(()),
            failed => note(&self.state, Side::Write, failed),
        }
    }

    async fn close(self: Box<Self>) -> Result<(), StoreError> {
        let closed = self.writer.close().await;
        note(&self.state, Side::Write, closed)
    }

    async fn abort(self: Box<Self>) {
        self.writer.abort().await;
    }
}

#[cfg(test)]
mod tests {
    use headwater_tier::store::{FsStore, Inline};

    use super::*;

    /// A directory that is gone answers nothing but errors.
    #[tokio::test]
    async fn reads_that_go_well_do_not_hide_that_nothing_can_be_written() {
        let state = Arc::new(TierState::default());
        let failing = |state: &TierState| state.facts().failing_since_ms.is_some();
        let dir = tempfile::tempdir().unwrap();
        let disk = headwater_log::OsDisk::open_shared(dir.path()).unwrap();
        let host = Arc::new(Inline::new(|_| Some(0)));
        let store = FsStore::open(Arc::new(disk), host, uuid::Uuid::new_v4()).unwrap();
        let store = Watched::new(Arc::new(store), state.clone());
        assert!(store.read("a/b", 0..1).await.is_err());
        assert!(
            !failing(&state),
            "that there is no such object is an answer"
        );
        store.put_if_absent("a/b", Bytes::from("x")).await.unwrap();
        state.failed(Side::Write, "denied", 5);
        assert_eq!(store.read("a/b", 0..1).await.unwrap(), "x");
        assert!(failing(&state));
        store.put_if_absent("a/c", Bytes::from("x")).await.unwrap();
        assert!(!failing(&state));
    }
}
