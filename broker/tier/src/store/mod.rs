//! What the tier needs of an object store: one small trait, so that the simulator runs the tier's very code.

mod fs;
mod key;
mod object;
#[cfg(any(test, feature = "sim"))]
pub mod suite;

pub use fs::{FsHost, FsStore, Inline};
pub use object::{ObjectStore, WriteOptions};

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

/// An object store. Nothing here retries or times out: the shell puts that on, or the caller tries again later.
///
/// An error says nothing about the effect: a put that failed may have happened, now or later. Hence keys are never used
/// twice ([`Store::create`]) or are taken once by whoever comes first ([`Store::put_if_absent`]).
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Begins a new object. Nothing is visible under the key before [`ObjectWriter::close`] has returned.
    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError>;

    /// Writes a small object if the key is free; [`StoreErrorKind::Exists`] otherwise. Durable when this returns.
    /// Where requests are retried below this trait, `Exists` may be told of what this very call has put.
    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError>;

    /// Bytes of an object; fewer than asked for only at its end, none behind it.
    async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// What the store says of an object.
    async fn stat(&self, key: &str) -> Result<ObjectMeta, StoreError>;

    /// Objects whose key begins with `prefix`, folders included, in the order of their keys, behind `after`; at most
    /// `limit`. May lag behind what was written or deleted.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError>;

    /// Deletes an object; one that is not there is no error.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
}

/// An object that is being written. Dropped without a word it is given up.
#[async_trait]
pub trait ObjectWriter: Send {
    /// Adds bytes at the end.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Makes the object visible and durable.
    async fn close(self: Box<Self>) -> Result<(), StoreError>;

    /// Gives the object up, as far as the store can forget it.
    async fn abort(self: Box<Self>);
}

/// What a store says of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its length.
    pub size_bytes: u64,
    /// When it was written by the store's own clock, in milliseconds since the epoch, to the second at least; `None` if
    /// the store does not say.
    pub modified_ms: Option<i64>,
}

/// An object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// What the store says of it.
    pub meta: ObjectMeta,
}

/// Why a store did not do as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{action} {key}: {detail}")]
pub struct StoreError {
    /// What kind of trouble.
    pub kind: StoreErrorKind,
    /// What was tried, as a verb.
    pub action: &'static str,
    /// On which object.
    pub key: String,
    /// What the store said; never a credential.
    pub detail: String,
}

impl StoreError {
    /// An error; `detail` must hold no credential.
    pub fn new(
        kind: StoreErrorKind,
        action: &'static str,
        key: &str,
        detail: impl Into<String>,
    ) -> StoreError {
        let (key, detail) = (key.to_owned(), detail.into());
        StoreError {
            kind,
            action,
            key,
            detail,
        }
    }

    /// Whether the same may go well later, without anybody changing anything.
    pub fn is_passing(&self) -> bool {
        matches!(
            self.kind,
            StoreErrorKind::Throttled | StoreErrorKind::Unavailable
        )
    }
}

/// Kinds of trouble that are acted upon differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// There is no such object.
    NotFound,
    /// The key is taken.
    Exists,
    /// The store asks for fewer requests.
    Throttled,
    /// No answer, or none in time, or the store is unwell.
    Unavailable,
    /// The credentials do not allow it, or are wrong.
    Denied,
    /// The store cannot do this at all.
    Unsupported,
    /// Anything else.
    Other,
}

impl StoreErrorKind {
    /// A stable word, for metrics.
    pub fn reason(self) -> &'static str {
        match self {
            StoreErrorKind::NotFound => "not_found",
            StoreErrorKind::Exists => "exists",
            StoreErrorKind::Throttled => "throttled",
            StoreErrorKind::Unavailable => "unavailable",
            StoreErrorKind::Denied => "denied",
            StoreErrorKind::Unsupported => "unsupported",
            StoreErrorKind::Other => "other",
        }
    }
}
