//! An object store whose credentials change: the files are looked at now and then, and the store is made anew. While they
//! are not there, as before a Kubernetes Secret is made, every call is denied, and nothing else is disturbed.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use headwater_tier::store::{
    Listed, ObjectMeta, ObjectStore, ObjectWriter, Store, StoreError, StoreErrorKind, WriteOptions,
};

use super::credentials::{Credentials, places};
use super::url::StoreUrl;
use super::{StoreMetrics, StoreOptions, operator};

/// A store that follows its credentials.
pub(super) struct Renewed {
    /// `None` until there are credentials.
    store: ArcSwapOption<ObjectStore>,
    whence: Whence,
}

/// Where the credentials come from.
#[derive(Clone)]
struct Whence {
    /// For people.
    places: Arc<str>,
    /// `None` if they are not in files.
    source: Option<Arc<Source>>,
}

/// Files with credentials, and all that is needed to make the store anew.
struct Source {
    place: StoreUrl,
    dir: PathBuf,
    options: StoreOptions,
    metrics: StoreMetrics,
    known: Mutex<Known>,
}

struct Known {
    credentials: Option<Credentials>,
    /// Why they are not there.
    missing: String,
    looked_at: Instant,
}

impl Renewed {
    pub(super) fn open(
        place: StoreUrl,
        credentials_dir: Option<&Path>,
        options: &StoreOptions,
        metrics: &StoreMetrics,
    ) -> anyhow::Result<Renewed> {
        let dir = credentials_dir.filter(|_| !matches!(place, StoreUrl::Memory));
        let places = places(&place, dir).into();
        let Some(dir) = dir else {
            let store = make(&place, None, options, metrics)?;
            let source = None;
            return Ok(Renewed {
                store: ArcSwapOption::from_pointee(store),
                whence: Whence { places, source },
            });
        };
        let (credentials, missing) = match Credentials::read(dir, &place) {
            Ok(credentials) => (Some(credentials), String::new()),
            Err(error) => (None, format!("{error:#}")),
        };
        let store = match &credentials {
            Some(credentials) => Some(make(&place, Some(credentials), options, metrics)?),
            None => None,
        };
        let source = Source {
            place,
            dir: dir.to_owned(),
            options: options.clone(),
            metrics: metrics.clone(),
            known: Mutex::new(Known {
                credentials,
                missing,
                looked_at: Instant::now(),
            }),
        };
        let source = Some(Arc::new(source));
        Ok(Renewed {
            store: ArcSwapOption::new(store.map(Arc::new)),
            whence: Whence { places, source },
        })
    }

    /// The store with the credentials of now. What is under way keeps the store that it began with.
    async fn current(
        &self,
        action: &'static str,
        key: &str,
    ) -> Result<Arc<ObjectStore>, StoreError> {
        let source = self.whence.source.as_ref();
        if let Some(source) = source
            && source.is_due()
        {
            let source = source.clone();
            let renew = move || source.renew();
            if let Ok(Some(store)) = tokio::task::spawn_blocking(renew).await {
                self.store.store(Some(Arc::new(store)));
            }
        }
        self.store.load_full().ok_or_else(|| StoreError {
            kind: StoreErrorKind::Denied,
            action,
            key: key.to_owned(),
            detail: source.map(|source| source.missing()).unwrap_or_default(),
        })
    }
}

impl Whence {
    /// Of what was denied it says where the credentials were looked for, and lets the next call look at the files at
    /// once: they may have changed just now.
    fn note<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        result.map_err(|mut error| {
            if error.kind == StoreErrorKind::Denied {
                let places = &self.places;
                error.detail += &format!("; credentials are looked for in {places}");
                self.source.iter().for_each(|source| source.expect_change());
            }
            error
        })
    }
}

impl Source {
    /// Whether it is time to look. Says so to one caller only.
    fn is_due(&self) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let due = self.options.credentials_interval <= known.looked_at.elapsed();
        if due {
            known.looked_at = Instant::now();
        }
        due
    }

    fn missing(&self) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.missing.clone()
    }

    fn expect_change(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(past) = Instant::now().checked_sub(self.options.credentials_interval) {
            known.looked_at = past;
        }
    }

    /// The store anew, if the credentials are others by now. Half of them may be: the other half is seen next time.
    fn renew(&self) -> Option<ObjectStore> {
        let read = Credentials::read(&self.dir, &self.place);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let made = read.and_then(|credentials| {
            if known.credentials.as_ref() == Some(&credentials) {
                return Ok(None);
            }
            let store = make(
                &self.place,
                Some(&credentials),
                &self.options,
                &self.metrics,
            )?;
            Ok(Some((credentials, store)))
        });
        match made {
            Ok(None) => None,
            Ok(Some((credentials, store))) => {
                known.credentials = Some(credentials);
                tracing::info!(dir = %self.dir.display(), "the tier's credentials have changed");
                Some(store)
            }
            Err(error) if known.credentials.is_none() => {
                known.missing = format!("{error:#}");
                None
            }
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "the tier keeps its former credentials"
                );
                None
            }
        }
    }
}

fn make(
    place: &StoreUrl,
    credentials: Option<&Credentials>,
    options: &StoreOptions,
    metrics: &StoreMetrics,
) -> anyhow::Result<ObjectStore> {
    let write = WriteOptions {
        chunk_bytes: options.part_bytes,
        concurrent: options.parts_max,
    };
    let operator = operator(place, credentials, options, metrics)
        .context("tier.url: the store cannot be set up")?;
    Ok(ObjectStore::new(operator, write)?)
}

#[async_trait]
impl Store for Renewed {
    async fn create(&self, key: &str) -> Result<Box<dyn ObjectWriter>, StoreError> {
        let store = self.current("create", key).await?;
        let writer = self.whence.note(store.create(key).await)?;
        let whence = self.whence.clone();
        Ok(Box::new(RenewedWriter { writer, whence }))
    }

    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let store = self.current("write", key).await?;
        self.whence.note(store.put_if_absent(key, bytes).await)
    }

    async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let store = self.current("read", key).await?;
        self.whence.note(store.read(key, range).await)
    }

    async fn stat(&self, key: &str) -> Result<ObjectMeta, StoreError> {
        let store = self.current("look at", key).await?;
        self.whence.note(store.stat(key).await)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let store = self.current("list", prefix).await?;
        self.whence.note(store.list(prefix, after, limit).await)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let store = self.current("delete", key).await?;
        self.whence.note(store.delete(key).await)
    }
}

/// Goes on with the credentials that it began with.
struct RenewedWriter {
    writer: Box<dyn ObjectWriter>,
    whence: Whence,
}

#[async_trait]
impl ObjectWriter for RenewedWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.whence.note(self.writer.write(bytes).await)
    }

    async fn close(self: Box<Self>) -> Result<(), StoreError> {
        let RenewedWriter { writer, whence } = *self;
        whence.note(writer.close().await)
    }

    async fn abort(self: Box<Self>) {
        self.writer.abort().await;
    }
}
