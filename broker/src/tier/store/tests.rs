//! Opening stores: what is refused, and what the file store and memory do as a whole.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use headwater_log::sim::{self, SimDisk};
use headwater_tier::store::{Inline, Store, StoreErrorKind, suite};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tempfile::TempDir;

use super::*;

fn open_in(dir: &TempDir, url: &str) -> anyhow::Result<Arc<dyn Store>> {
    let metrics = StoreMetrics::default();
    open(url, None, dir.path(), &StoreOptions::default(), &metrics)
}

fn open_with(url: &str, files: &[(&str, &str)]) -> anyhow::Result<Arc<dyn Store>> {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in files {
        std::fs::write(dir.path().join(name), value).unwrap();
    }
    let metrics = StoreMetrics::default();
    open(
        url,
        Some(dir.path()),
        dir.path(),
        &StoreOptions::default(),
        &metrics,
    )
}

fn refused(result: anyhow::Result<Arc<dyn Store>>, part: &str) {
    let error = format!("{:#}", result.err().expect("refused"));
    assert!(error.contains(part), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

/// The store opens, for its credentials may come later, and denies what it is asked until then.
async fn denied(result: anyhow::Result<Arc<dyn Store>>, part: &str) {
    let error = result.unwrap().stat("k").await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied);
    assert!(error.detail.contains(part), "{error}");
    assert!(!error.detail.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_directory_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let made = std::cell::Cell::new(0);
    suite::run(async || {
        made.set(made.get() + 1);
        let url = format!("fs://{}/{}", dir.path().display(), made.get());
        open_in(&dir, &url).unwrap()
    })
    .await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    suite::run(async || open_in(&dir, "memory:").unwrap()).await;
}

#[tokio::test]
async fn the_default_is_a_folder_of_the_data_directory() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_in(&dir, "fs:").unwrap();
    store.put_if_absent("a/b", Bytes::from("x")).await.unwrap();
    assert!(dir.path().join("tier/a/b").is_file());
    let meta = store.stat("a/b").await.unwrap();
    assert!(
        meta.modified_ms
            .is_some_and(|time| 1_700_000_000_000 < time)
    );
    probe(&*store, Uuid::nil()).await.unwrap();
    assert_eq!(
        store.list("", None, 10).await.unwrap().len(),
        1,
        "no probe is left"
    );
}

#[test]
fn a_tier_shares_the_disk_if_it_is_a_directory_of_the_same_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let shares = |url: &str| shares_disk(url, dir.path());
    assert!(shares("fs:"), "a folder of the data directory");
    let beside = tempfile::tempdir_in(dir.path()).unwrap();
    assert!(shares(&format!("fs://{}", beside.path().display())));
    // Of the kernel's own, which is on no disk.
    assert!(!shares("fs:///proc"));
    let missing = dir.path().join("missing");
    assert!(!shares(&format!("fs://{}", missing.display())));
    assert!(!shares("memory:"));
    assert!(!shares("s3://b/p?region=r"));
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "x").unwrap();
    let url = format!("fs://{}/file/tier", dir.path().display());
    refused(open_in(&dir, &url), "cannot open the directory");
}

#[tokio::test]
async fn credentials_that_are_missing_or_unreadable_deny_every_call_and_name_the_files_to_write() {
    let (id, key) = (
        ("access_key_id", "hunter2"),
        ("secret_access_key", "hunter2\n"),
    );
    let s3 = "s3://b/p?region=r&endpoint=http://127.0.0.1:1";
    denied(
        open_with(s3, &[]),
        "files needed: access_key_id, secret_access_key",
    )
    .await;
    denied(open_with(s3, &[id]), "holds no secret_access_key").await;
    denied(
        open_with(s3, &[id, ("secret_access_key", "\n")]),
        "holds no secret_access_key",
    )
    .await;
    open_with(s3, &[id, key]).unwrap();
    open_with(s3, &[id, key, ("session_token", "t")]).unwrap();

    let gcs = "gcs://b/p?endpoint=http://127.0.0.1:1";
    denied(open_with(gcs, &[]), "holds no credential.json").await;
    denied(
        open_with(gcs, &[("credential.json", "hunter2")]),
        "is not JSON",
    )
    .await;
    denied(
        open_with(gcs, &[("credential.json", "{}")]),
        "service account",
    )
    .await;

    let azblob = "azblob://c/p?account=a&endpoint=http://127.0.0.1:1";
    denied(open_with(azblob, &[]), "holds no account_key").await;
    refused(
        open_with(azblob, &[("account_key", "hunter2!")]),
        "account_key",
    );
    open_with(azblob, &[("account_key", "aHVudGVyMg==")]).unwrap();
    let unnamed = "azblob://c/p";
    refused(
        open_with(unnamed, &[("account_key", "aHVudGVyMg==")]),
        "?account=",
    );
}

#[tokio::test]
async fn calls_bytes_and_errors_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let metrics = StoreMetrics::default();
    let mut registry = Registry::with_prefix("headwater");
    metrics.register(&mut registry);
    let options = StoreOptions::default();
    let store = open("memory:", None, dir.path(), &options, &metrics).unwrap();
    store
        .put_if_absent("k", Bytes::from("12345"))
        .await
        .unwrap();
    store
        .put_if_absent("k", Bytes::from("12345"))
        .await
        .unwrap_err();
    store.read("k", 1..3).await.unwrap();
    let mut writer = store.create("w").await.unwrap();
    writer.write(Bytes::from("1234567")).await.unwrap();
    writer.close().await.unwrap();
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        "headwater_tier_requests_total{operation=\"put\"} 2",
        "headwater_tier_request_errors_total{operation=\"put\",reason=\"exists\"} 1",
        "headwater_tier_requests_total{operation=\"close\"} 1",
        "headwater_tier_request_duration_seconds_count{operation=\"read\"} 1",
        "headwater_tier_sent_bytes_total 17",
        "headwater_tier_received_bytes_total 2",
        "headwater_tier_retries_total 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

/// A store that takes a key twice.
struct Careless(Arc<dyn Store>);

#[async_trait::async_trait]
impl Store for Careless {
    async fn create(
        &self,
        key: &str,
    ) -> Result<Box<dyn headwater_tier::store::ObjectWriter>, headwater_tier::store::StoreError>
    {
        self.0.create(key).await
    }
    async fn put_if_absent(
        &self,
        key: &str,
        bytes: Bytes,
    ) -> Result<(), headwater_tier::store::StoreError> {
        self.0.delete(key).await?;
        self.0.put_if_absent(key, bytes).await
    }
    async fn read(
        &self,
        key: &str,
        range: std::ops::Range<u64>,
    ) -> Result<Bytes, headwater_tier::store::StoreError> {
        self.0.read(key, range).await
    }
    async fn stat(
        &self,
        key: &str,
    ) -> Result<headwater_tier::store::ObjectMeta, headwater_tier::store::StoreError> {
        self.0.stat(key).await
    }
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<headwater_tier::store::Listed>, headwater_tier::store::StoreError> {
        self.0.list(prefix, after, limit).await
    }
    async fn delete(&self, key: &str) -> Result<(), headwater_tier::store::StoreError> {
        self.0.delete(key).await
    }
}

#[tokio::test]
async fn a_store_that_takes_a_key_twice_is_refused_and_the_probe_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let store = Careless(open_in(&dir, "memory:").unwrap());
    let error = probe(&store, Uuid::nil()).await.unwrap_err().to_string();
    assert!(error.contains("ignores If-None-Match"), "{error}");
    assert!(store.list("", None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_directory_without_hard_links_is_refused_with_the_reason() {
    const EPERM: i32 = 1;
    let disk = SimDisk::new(1);
    let host = Arc::new(Inline::new(|_| None));
    let store = FsStore::open(Arc::new(disk.clone()), host, Uuid::nil()).unwrap();
    disk.inject(sim::Fault::once(sim::SimOp::Link).with_errno(EPERM));
    let error = probe(&store, Uuid::nil()).await.unwrap_err();
    assert!(!may_get_well(&error), "{error:#}");
    let error = format!("{error:#}");
    assert!(error.contains("makes no hard links"), "{error}");
    assert!(!error.contains("credentials"), "{error}");
    probe(&store, Uuid::nil()).await.unwrap();
}

/// A store that does not answer what it is asked for an object.
struct Silent(Arc<dyn Store>);

#[async_trait::async_trait]
impl Store for Silent {
    async fn create(
        &self,
        key: &str,
    ) -> Result<Box<dyn headwater_tier::store::ObjectWriter>, StoreError> {
        self.0.create(key).await
    }
    async fn put_if_absent(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.0.put_if_absent(key, bytes).await
    }
    async fn read(&self, _: &str, _: std::ops::Range<u64>) -> Result<Bytes, StoreError> {
        std::future::pending().await
    }
    async fn stat(&self, _: &str) -> Result<headwater_tier::store::ObjectMeta, StoreError> {
        std::future::pending().await
    }
    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<headwater_tier::store::Listed>, StoreError> {
        self.0.list(prefix, after, limit).await
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.delete(key).await
    }
}

#[tokio::test]
async fn the_probe_of_a_broker_that_was_stopped_is_where_sweeps_clean() {
    let dir = tempfile::tempdir().unwrap();
    let store = Silent(open_in(&dir, "memory:").unwrap());
    let cluster = Uuid::from_u128(7);
    let stopped = tokio::time::timeout(Duration::from_millis(50), probe(&store, cluster)).await;
    assert!(stopped.is_err());
    let left = store.list("", None, 10).await.unwrap();
    assert_eq!(left.len(), 1);
    let place = headwater_tier::keys::clock_prefix(cluster);
    assert!(left[0].key.starts_with(&place), "{}", left[0].key);
}

#[tokio::test]
async fn a_store_that_is_not_there_is_told_with_what_to_check() {
    let dir = tempfile::tempdir().unwrap();
    for (name, value) in [
        ("access_key_id", "hunter2"),
        ("secret_access_key", "hunter2"),
    ] {
        std::fs::write(dir.path().join(name), value).unwrap();
    }
    let options = StoreOptions {
        retries_max: 1,
        retry_delay_min: Duration::from_millis(1),
        ..StoreOptions::default()
    };
    let metrics = StoreMetrics::default();
    // Nobody listens there.
    let url = "s3://b/p?endpoint=http://127.0.0.1:1";
    let store = open(url, Some(dir.path()), Path::new("."), &options, &metrics).unwrap();
    let error = store.stat("k").await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    let error = format!("{:#}", probe(&*store, Uuid::nil()).await.unwrap_err());
    assert!(error.contains("check the endpoint in tier.url"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    assert!(1 <= metrics.retries.get());
}
