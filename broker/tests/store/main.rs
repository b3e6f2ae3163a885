//! The tier's stores against an S3 server in this process, over a real socket.

#[path = "../s3_server/mod.rs"]
mod s3_server;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater_broker::tier::store::{self, StoreMetrics, StoreOptions};
use headwater_tier::store::{Store, StoreErrorKind, suite};
use tempfile::TempDir;
use uuid::Uuid;

use s3_server::{Fault, S3Server, Strike};

/// A server and a directory with credentials for it.
struct Harness {
    server: S3Server,
    credentials: TempDir,
}

impl Harness {
    async fn start() -> Harness {
        let server = S3Server::start().await;
        let credentials = tempfile::tempdir().unwrap();
        server.write_credentials(credentials.path());
        Harness {
            server,
            credentials,
        }
    }

    fn open(&self, prefix: &str) -> Arc<dyn Store> {
        let options = StoreOptions {
            attempt_timeout: Duration::from_secs(10),
            // What is left of an upload when it is closed, parts and end, shares them.
            retries_max: 4,
            retry_delay_min: Duration::from_millis(1),
            retry_delay_max: Duration::from_millis(10),
            part_bytes: 5 << 20,
            ..StoreOptions::default()
        };
        self.open_with(prefix, &options)
    }

    fn open_with(&self, prefix: &str, options: &StoreOptions) -> Arc<dyn Store> {
        let (url, dir) = (self.server.url(prefix), self.credentials.path());
        let metrics = StoreMetrics::default();
        store::open(&url, Some(dir), Path::new("."), options, &metrics).unwrap()
    }
}

async fn upload(store: &dyn Store, key: &str, bytes: Bytes) -> Option<StoreErrorKind> {
    let mut writer = store.create(key).await.unwrap();
    if let Err(error) = writer.write(bytes).await {
        writer.abort().await;
        return Some(error.kind);
    }
    writer.close().await.err().map(|error| error.kind)
}

fn big() -> Bytes {
    (0..12u32 << 20).map(|n| (n % 249) as u8).collect()
}

#[tokio::test]
async fn s3_keeps_the_contract() {
    let harness = Harness::start().await;
    // Pages so small that every listing has several.
    harness.server.set_page(3);
    let made = Cell::new(0);
    suite::run(async || {
        made.set(made.get() + 1);
        harness.open(&format!("run/{}", made.get()))
    })
    .await;
    let uploads = harness.server.uploads();
    assert!(
        uploads <= 1,
        "{uploads}: only what was dropped without a word"
    );
}

#[tokio::test]
async fn a_bucket_without_a_prefix_does_as_well() {
    let harness = Harness::start().await;
    let store = harness.open("");
    store.put_if_absent("a/b", Bytes::from("x")).await.unwrap();
    assert_eq!(harness.server.keys(), ["a/b"]);
    assert_eq!(store.list("", None, 10).await.unwrap()[0].key, "a/b");
    let later = store.list("", Some("a/a"), 10).await.unwrap();
    assert_eq!(later[0].key, "a/b");
    let time = store.stat("a/b").await.unwrap().modified_ms;
    assert!(time.is_some_and(|time| 1_700_000_000_000 < time));
}

#[tokio::test]
async fn a_sound_bucket_passes_the_probe_and_keeps_nothing_of_it() {
    let harness = Harness::start().await;
    store::probe(&*harness.open("p"), Uuid::nil())
        .await
        .unwrap();
    assert!(harness.server.keys().is_empty());
    // Nor does a lost answer deceive it.
    harness
        .server
        .inject(Fault::once(Strike::LostAnswer, "PutObject"));
    store::probe(&*harness.open("p"), Uuid::nil())
        .await
        .unwrap();
    assert!(harness.server.keys().is_empty());
}

#[tokio::test]
async fn a_server_that_ignores_conditions_is_refused() {
    let harness = Harness::start().await;
    harness.server.ignore_conditions();
    let error = store::probe(&*harness.open("p"), Uuid::nil())
        .await
        .unwrap_err();
    assert!(
        format!("{error:#}").contains("ignores If-None-Match"),
        "{error:#}"
    );
    assert!(harness.server.keys().is_empty());
}

#[tokio::test]
async fn wrong_credentials_are_told_without_showing_them() {
    let harness = Harness::start().await;
    let secret = harness.credentials.path().join("secret_access_key");
    std::fs::write(secret, "wrong-secret").unwrap();
    let store = harness.open("p");
    let error = store.stat("k").await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");
    let error = format!(
        "{:#}",
        store::probe(&*store, Uuid::nil()).await.unwrap_err()
    );
    assert!(error.contains("check the credentials"), "{error}");
    assert!(!error.contains("wrong-secret"), "{error}");
}

#[tokio::test]
async fn changed_credentials_count_without_a_restart() {
    let harness = Harness::start().await;
    let store = harness.open("p");
    store.put_if_absent("1", Bytes::from("x")).await.unwrap();
    harness.server.rotate_keys("second-key", "second-secret");
    let error = store.put_if_absent("2", Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");
    harness.server.write_credentials(harness.credentials.path());
    // The next call looks at the files, for the last was denied.
    assert_eq!(store.read("1", 0..9).await.unwrap(), "x");
    store.put_if_absent("2", Bytes::new()).await.unwrap();
}

#[tokio::test]
async fn passing_faults_are_ridden_out() {
    let harness = Harness::start().await;
    let store = harness.open("p");
    let each = [
        "PutObject",
        "GetObject",
        "HeadObject",
        "ListObjectsV2",
        "DeleteObject",
        "CreateMultipartUpload",
        "UploadPart",
        "CompleteMultipartUpload",
    ];
    for strike in [Strike::Broken, Strike::Throttled] {
        for operation in each {
            harness
                .server
                .inject(Fault::once(strike, operation).times(2));
        }
        store.put_if_absent("k", Bytes::from("kept")).await.unwrap();
        assert_eq!(store.read("k", 0..4).await.unwrap(), "kept");
        assert_eq!(store.stat("k").await.unwrap().size_bytes, 4);
        assert_eq!(store.list("", None, 10).await.unwrap().len(), 1);
        store.delete("k").await.unwrap();
        assert_eq!(upload(&*store, "big", big()).await, None);
        assert!(store.read("big", 0..12 << 20).await.unwrap() == big());
        store.delete("big").await.unwrap();
        for operation in each {
            assert!(3 <= harness.server.requests(operation), "{operation}");
        }
    }
}

#[tokio::test]
async fn lasting_faults_are_told_by_their_kind() {
    let harness = Harness::start().await;
    let store = harness.open("p");
    for (strike, kind) in [
        (Strike::Broken, StoreErrorKind::Unavailable),
        (Strike::Throttled, StoreErrorKind::Throttled),
        (Strike::Denied, StoreErrorKind::Denied),
    ] {
        harness.server.inject(Fault::every(strike));
        let put = store.put_if_absent("k", Bytes::new()).await.unwrap_err();
        assert_eq!(put.kind, kind, "{put}");
        assert_eq!(upload(&*store, "u", big()).await, Some(kind));
        for result in [
            store.read("k", 0..1).await.err(),
            store.list("", None, 1).await.err(),
            store.delete("k").await.err(),
        ] {
            let error = result.unwrap();
            assert_eq!(error.kind, kind, "{error}");
        }
        harness.server.clear_faults();
    }
    assert!(harness.server.keys().is_empty());
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let harness = Harness::start().await;
    let options = StoreOptions {
        attempt_timeout: Duration::from_millis(100),
        retries_max: 1,
        retry_delay_min: Duration::from_millis(1),
        ..StoreOptions::default()
    };
    let store = harness.open_with("p", &options);
    store.put_if_absent("k", Bytes::from("x")).await.unwrap();
    harness.server.inject(Fault::every(Strike::Hang));
    let started = Instant::now();
    let error = store.put_if_absent("l", Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    let error = store.read("k", 0..1).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unavailable, "{error}");
    assert!(upload(&*store, "u", big()).await.is_some());
    assert!(started.elapsed() < Duration::from_secs(10));
    harness.server.clear_faults();
    assert_eq!(store.read("k", 0..1).await.unwrap(), "x");
}

#[tokio::test]
async fn a_lost_answer_to_a_put_leaves_the_object_and_says_that_the_key_is_taken() {
    let harness = Harness::start().await;
    let store = harness.open("p");
    harness
        .server
        .inject(Fault::once(Strike::LostAnswer, "PutObject"));
    let put = store.put_if_absent("k", Bytes::from("mine")).await;
    assert_eq!(put.unwrap_err().kind, StoreErrorKind::Exists);
    assert_eq!(store.read("k", 0..9).await.unwrap(), "mine");
}

#[tokio::test]
async fn a_lost_answer_to_the_end_of_an_upload_is_no_success_but_the_object_may_be_there() {
    let harness = Harness::start().await;
    let store = harness.open("p");
    let fault = Fault::once(Strike::LostAnswer, "CompleteMultipartUpload");
    harness.server.inject(fault);
    let kind = upload(&*store, "u", big()).await;
    assert_eq!(kind, Some(StoreErrorKind::Unavailable));
    assert!(store.read("u", 0..12 << 20).await.unwrap() == big());
    assert_eq!(harness.server.uploads(), 0);
}

#[tokio::test]
async fn an_upload_that_fails_or_is_aborted_leaves_no_parts() {
    let harness = Harness::start().await;
    let store = harness.open("p");
    let fault = Fault::every(Strike::Broken).times(u64::MAX);
    harness.server.inject(fault.on_key("never"));
    assert!(upload(&*store, "never", big()).await.is_some());
    let once = Fault::once(Strike::Denied, "CompleteMultipartUpload");
    harness.server.inject(once);
    assert!(upload(&*store, "denied", big()).await.is_some());
    let mut writer = store.create("aborted").await.unwrap();
    writer.write(big()).await.unwrap();
    writer.abort().await;
    assert_eq!(harness.server.uploads(), 0);
    assert!(harness.server.keys().is_empty());
}
