//! Object stores, through opendal: `memory`, `s3`, `gcs`, `azblob`.

use std::error::Error as _;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt as _;
use opendal::options;
use opendal::{ErrorKind, Metadata, Operator};

use super::{Listed, ObjectMeta, ObjectWriter, Store, StoreError, StoreErrorKind, key};

/// What stores give on one page of a listing at most.
const PAGE_OBJECTS_MAX: usize = 1000;

/// Bytes of a store's words that are kept: some answer with whole pages of HTML.
const DETAIL_BYTES_MAX: usize = 512;

/// How objects are streamed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// Size of a part, in bytes; a smaller object is sent in one request. S3 and GCS want 5 MiB or more.
    pub chunk_bytes: usize,
    /// Parts of one object that are on their way at once. So many parts, and one more, are held in memory.
    pub concurrent: usize,
}

/// An object store that opendal speaks with.
pub struct ObjectStore {
    operator: Operator,
    options: WriteOptions,
}

impl ObjectStore {
    /// Takes an operator with the layers that are wanted. [`StoreErrorKind::Unsupported`] if the store cannot do what
    /// the tier stands upon: take a key only once, and list all below a prefix in order.
    pub fn new(operator: Operator, options: WriteOptions) -> Result<ObjectStore, StoreError> {
        let can = operator.info().capability();
        let missing = [
            (
                can.write_with_if_not_exists,
                "put an object only if its key is free",
            ),
            (can.list_with_recursive, "list in the order of the keys"),
            (can.read && can.stat && can.delete, "read and delete"),
        ];
        for (has, what) in missing {
            if !has {
                let detail = format!(
                    "it cannot {what}, without which two brokers could undo each other's work: take another kind of store"
                );
                let scheme = operator.info().scheme();
                return Err(StoreError::new(
                    StoreErrorKind::Unsupported,
                    "use store",
                    scheme,
                    detail,
                ));
            }
        }
        Ok(ObjectStore { operator, options })
    }

    async fn try_read(&self, key: &str, range: Range<u64>) -> opendal::Result<Bytes> {
        let options = options::ReadOptions {
            range: range.into(),
            ..Default::default()
        };
        Ok(self.operator.read_options(key, options).await?.to_bytes())
    }
}

#[async_trait]
impl Store for ObjectStore {
    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        key::check("create", key)?;
        let can_multi = self.operator.info().capability().write_can_multi;
        if !can_multi {
            return Ok(Box::new(WholeWriter {
                operator: self.operator.clone(),
                key: key.to_owned(),
                bytes: Vec::new(),
            }));
        }
        // No condition: the key is nobody else's, and a repeated request must not trip over the one before it.
        let options = options::WriteOptions {
            chunk: Some(self.options.chunk_bytes),
            concurrent: self.options.concurrent,
            ..Default::default()
        };
        let writer = self
            .operator
            .writer_options(key, options)
            .await
            .map_err(|error| told("create", key, &error))?;
        Ok(Box::new(PartsWriter {
            writer,
            key: key.to_owned(),
        }))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        key::check("put", key)?;
        let options = options::WriteOptions {
            if_not_exists: true,
            ..Default::default()
        };
        let put = self.operator.write_options(key, bytes, options).await;
        put.map(drop).map_err(|error| told("put", key, &error))
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        key::check("read", key)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let error = match self.try_read(key, range.clone()).await {
            Ok(bytes) => return Ok(bytes),
            Err(error) => error,
        };
        if !may_be_short(&error) {
            return Err(told("read", key, &error));
        }
        let size_bytes = self.stat(key).await?.size_bytes;
        if range.end <= size_bytes {
            return Err(told("read", key, &error));
        }
        if size_bytes <= range.start {
            return Ok(Bytes::new());
        }
        self.try_read(key, range.start..size_bytes)
            .await
            .map_err(|error| told("read", key, &error))
    }

    async fn stat(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        key::check("stat", key)?;
        let found = self.operator.stat(key).await;
        found
            .map(|metadata| meta(&metadata))
            .map_err(|error| told("stat", key, &error))
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let failed = |error: opendal::Error| told("list", prefix, &error);
        let can_start = self.operator.info().capability().list_with_start_after;
        let options = options::ListOptions {
            recursive: true,
            limit: Some(limit.clamp(1, PAGE_OBJECTS_MAX)),
            start_after: after.filter(|_| can_start).map(str::to_owned),
            ..Default::default()
        };
        let lister = self.operator.lister_options(prefix, options).await;
        let mut lister = lister.map_err(failed)?;
        let mut listed = Vec::new();
        while listed.len() < limit
            && let Some(entry) = lister.try_next().await.map_err(failed)?
        {
            // A store without folders may show what other programs put there as such.
            if !entry.metadata().is_file() || !entry.path().starts_with(prefix) {
                continue;
            }
            // For those that cannot start behind a key.
            if after.is_some_and(|after| entry.path() <= after) {
                continue;
            }
            listed.push(Listed {
                key: entry.path().to_owned(),
                meta: meta(entry.metadata()),
            });
        }
        Ok(listed)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        key::check("delete", key)?;
        match self.operator.delete(key).await {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(told("delete", key, &error)),
            _ => Ok(()),
        }
    }
}

/// Sends an object in parts.
struct PartsWriter {
    writer: opendal::Writer,
    key: String,
}

#[async_trait]
impl ObjectWriter for PartsWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let written = self.writer.write(bytes).await;
        written.map_err(|error| of_upload("write", &self.key, &error))
    }

    async fn close(mut self: Box<Self>) -> Result<(), StoreError> {
        match self.writer.close().await {
            Ok(_) => Ok(()),
            Err(error) => {
                // The parts cost money until they are told to go. It may be closed all the same: nobody reads it.
                let _ = self.writer.abort().await;
                Err(of_upload("close", &self.key, &error))
            }
        }
    }

    async fn abort(mut self: Box<Self>) {
        if let Err(error) = self.writer.abort().await {
            tracing::debug!(
                key = self.key,
                error = detail(&error),
                "parts are left behind"
            );
        }
    }
}

/// An error of an upload. That it is unknown means that an earlier request, the answer to which was lost, has ended it.
fn of_upload(action: &'static str, key: &str, error: &opendal::Error) -> StoreError {
    let mut told = told(action, key, error);
    if told.kind == StoreErrorKind::NotFound {
        told.kind = StoreErrorKind::Unavailable;
    }
    told
}

/// For a store that takes an object only whole: memory, which holds it anyway.
struct WholeWriter {
    operator: Operator,
    key: String,
    bytes: Vec<Bytes>,
}

#[async_trait]
impl ObjectWriter for WholeWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        // Reading a buffer of opendal that has an empty piece never ends (0.59.5).
        if !bytes.is_empty() {
            self.bytes.push(bytes);
        }
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), StoreError> {
        let put = self.operator.write(&self.key, self.bytes).await;
        put.map(drop)
            .map_err(|error| told("close", &self.key, &error))
    }

    async fn abort(self: Box<Self>) {}
}

/// Whether it may be that the range goes past the end, which is an error of some kind to each store; the length tells.
/// opendal has kinds of its own neither for bytes that are missing at the end nor, of Azure and Google, for a range
/// behind it; the suite watches the words. The last are of azurite's answers, which may hold nothing, and a range of less.
fn may_be_short(error: &opendal::Error) -> bool {
    let words = [
        "reader got too little data",
        "InvalidRange",
        "end is less than start",
    ];
    error.kind() == ErrorKind::RangeNotSatisfied
        || words.iter().any(|words| error.message().contains(words))
}

/// Whether a request was never sent, for want of credentials to sign it with. opendal has no kind of its own for that
/// either.
fn has_no_credentials(error: &opendal::Error) -> bool {
    error.kind() == ErrorKind::Unexpected && error.message() == "signing http request"
}

fn meta(metadata: &Metadata) -> ObjectMeta {
    ObjectMeta {
        size_bytes: metadata.content_length(),
        modified_ms: metadata
            .last_modified()
            .map(|time| time.into_inner().as_millisecond()),
    }
}

fn told(action: &'static str, key: &str, error: &opendal::Error) -> StoreError {
    let kind = match error.kind() {
        ErrorKind::NotFound => StoreErrorKind::NotFound,
        ErrorKind::AlreadyExists | ErrorKind::ConditionNotMatch => StoreErrorKind::Exists,
        ErrorKind::RateLimited => StoreErrorKind::Throttled,
        ErrorKind::PermissionDenied => StoreErrorKind::Denied,
        ErrorKind::Unsupported => StoreErrorKind::Unsupported,
        _ if has_no_credentials(error) => StoreErrorKind::Denied,
        // Two requests for one key at once: whoever comes again learns how it ended.
        ErrorKind::Conflict => StoreErrorKind::Unavailable,
        // Of what opendal does not know the layer of retries says the same, whether it has tried again or not.
        ErrorKind::Unexpected if error.is_temporary() || error.is_persistent() => {
            StoreErrorKind::Unavailable
        }
        _ => StoreErrorKind::Other,
    };
    StoreError::new(kind, action, key, detail(error))
}

/// What was said, without the request: its address and headers may carry a signature.
fn detail(error: &opendal::Error) -> String {
    let mut detail = match error.message() {
        "" => error.kind().to_string(),
        message => message.to_owned(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        detail = format!("{detail}: {cause}");
        source = cause.source();
    }
    if DETAIL_BYTES_MAX < detail.len() {
        detail.truncate(detail.floor_char_boundary(DETAIL_BYTES_MAX));
        detail.push('…');
    }
    detail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::suite;
    use opendal::services::Memory;
    use std::sync::Arc;

    const OPTIONS: WriteOptions = WriteOptions {
        chunk_bytes: 1 << 20,
        concurrent: 2,
    };

    #[tokio::test]
    async fn memory_keeps_the_contract() {
        suite::run(async || {
            let operator = Operator::new(Memory::default()).unwrap();
            Arc::new(ObjectStore::new(operator, OPTIONS).unwrap()) as Arc<dyn Store>
        })
        .await;
    }

    #[test]
    fn a_store_that_cannot_take_a_key_only_once_is_refused() {
        use opendal::layers::CapabilityOverrideLayer;
        let operator = Operator::new(Memory::default()).unwrap();
        let operator = operator.layer(CapabilityOverrideLayer::new(|mut can| {
            can.write_with_if_not_exists = false;
            can
        }));
        let error = ObjectStore::new(operator, OPTIONS).err().unwrap();
        assert_eq!(error.kind, StoreErrorKind::Unsupported);
        assert!(
            error.to_string().contains("only if its key is free"),
            "{error}"
        );
    }

    #[test]
    fn each_answer_of_a_store_has_its_kind() {
        let check = |error: opendal::Error, kind| {
            assert_eq!(told("read", "k", &error).kind, kind, "{error}");
        };
        let error = |kind| opendal::Error::new(kind, "said");
        check(error(ErrorKind::NotFound), StoreErrorKind::NotFound);
        check(error(ErrorKind::ConditionNotMatch), StoreErrorKind::Exists);
        check(error(ErrorKind::AlreadyExists), StoreErrorKind::Exists);
        check(
            error(ErrorKind::RateLimited).set_persistent(),
            StoreErrorKind::Throttled,
        );
        check(error(ErrorKind::PermissionDenied), StoreErrorKind::Denied);
        check(error(ErrorKind::Unsupported), StoreErrorKind::Unsupported);
        check(error(ErrorKind::Conflict), StoreErrorKind::Unavailable);
        check(
            error(ErrorKind::Unexpected).set_temporary(),
            StoreErrorKind::Unavailable,
        );
        check(
            error(ErrorKind::Unexpected).set_persistent(),
            StoreErrorKind::Unavailable,
        );
        check(error(ErrorKind::Unexpected), StoreErrorKind::Other);
        check(
            opendal::Error::new(ErrorKind::Unexpected, "signing http request"),
            StoreErrorKind::Denied,
        );
        check(
            error(ErrorKind::ConfigInvalid).set_persistent(),
            StoreErrorKind::Other,
        );
    }

    #[test]
    fn an_error_says_why_but_not_what_was_asked_nor_a_whole_page() {
        let error = opendal::Error::new(ErrorKind::Unexpected, "é".repeat(1000))
            .with_context("url", "https://host/?sig=secret");
        let text = told("read", "k", &error).to_string();
        assert!(text.len() < 600 && !text.contains("secret"), "{text}");
        let error = opendal::Error::new(ErrorKind::Unexpected, "send http request")
            .set_source(std::io::Error::other("connection refused"));
        assert_eq!(
            told("read", "k", &error).to_string(),
            "read k: send http request: connection refused"
        );
    }
}
