//! The tier's object store, as `tier.url` names it: opened, watched, counted.
//!
//! From the outside in: `metered` bounds what runs at once and counts it, `renewed` follows credentials that change
//! on disk, and below are opendal's layers (a time limit for each attempt, then retries with jitter) or the file store.

mod credentials;
mod host;
mod http;
mod metered;
mod metrics;
mod probe;
mod renewed;
#[cfg(test)]
mod tests;
mod url;

pub use metrics::StoreMetrics;
pub use probe::probe;
pub use url::redacted;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use headwater_log::OsDisk;
use headwater_tier::store::{FsStore, Store, StoreError, StoreErrorKind};
use opendal::layers::{RetryLayer, TimeoutLayer};
use opendal::{Operator, services};
use uuid::Uuid;

use credentials::Credentials;
use host::Host;
use metered::Metered;
use renewed::Renewed;
use url::StoreUrl;

/// How hard a store is tried. The numbers hold for one broker.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Time limit for one attempt of one request.
    pub attempt_timeout: Duration,
    /// Attempts after the first. The parts that are under way when an object is closed, and its end, share them.
    pub retries_max: usize,
    /// Wait before the first retry; it doubles, with jitter, up to `retry_delay_max`.
    pub retry_delay_min: Duration,
    /// The longest wait before a retry.
    pub retry_delay_max: Duration,
    /// Reads, listings and looks that run at once; more wait.
    pub reads_max: usize,
    /// Writes and deletions that run at once; more wait. Apart from the reads, so that uploads never hold up consumers.
    pub writes_max: usize,
    /// Size of a part of a big object, in bytes. With 10,000 parts at most this bounds an object to 80 GB.
    pub part_bytes: usize,
    /// Parts of one object that are on their way at once; one more is held in memory.
    pub parts_max: usize,
    /// How often files with credentials are looked at for changes.
    pub credentials_interval: Duration,
}

impl Default for StoreOptions {
    fn default() -> StoreOptions {
        StoreOptions {
            attempt_timeout: Duration::from_secs(30),
            retries_max: 4,
            retry_delay_min: Duration::from_millis(200),
            retry_delay_max: Duration::from_secs(10),
            reads_max: 64,
            writes_max: 32,
            part_bytes: 8 << 20,
            parts_max: 2,
            credentials_interval: Duration::from_secs(10),
        }
    }
}

/// Opens the store that `url` (setting `tier.url`) names. Asks an object store nothing yet: see [`probe()`]. Waits for the
/// disk, if the store is one; is to be called within a runtime.
///
/// With `credentials_dir` (setting `tier.credentials_dir`) the credentials are in the files there, and followed when they
/// change; without it they are the environment's or the cloud's own.
pub fn open(
    url: &str,
    credentials_dir: Option<&Path>,
    data_dir: &Path,
    options: &StoreOptions,
    metrics: &StoreMetrics,
) -> anyhow::Result<Arc<dyn Store>> {
    let place = StoreUrl::parse(url)?;
    let store: Arc<dyn Store> = match &place {
        StoreUrl::Fs { dir } => {
            let dir = dir.clone().unwrap_or_else(|| data_dir.join("tier"));
            Arc::new(open_directory(&dir)?)
        }
        _ => Arc::new(Renewed::open(place, credentials_dir, options, metrics)?),
    };
    Ok(Arc::new(Metered::new(store, options, metrics)))
}

/// Whether `url` can be read; what is wrong with it otherwise.
pub fn check(url: &str) -> anyhow::Result<()> {
    StoreUrl::parse(url).map(drop)
}

/// The directory that `url` names; `None` if it names no directory, or none by itself.
pub fn directory(url: &str) -> Option<PathBuf> {
    match StoreUrl::parse(url) {
        Ok(StoreUrl::Fs { dir }) => dir,
        _ => None,
    }
}

/// Whether the tier takes its room from the disk of the data directory.
pub fn shares_disk(url: &str, data_dir: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    match StoreUrl::parse(url) {
        Ok(StoreUrl::Fs { dir: None }) => true,
        Ok(StoreUrl::Fs { dir: Some(dir) }) => {
            let tier = device(&dir);
            tier.is_some() && tier == device(data_dir)
        }
        _ => false,
    }
}

/// Whether what [`probe()`] has met may pass by itself: the store did not answer, or is too busy.
pub fn may_get_well(error: &anyhow::Error) -> bool {
    let store = error.downcast_ref::<StoreError>();
    store.is_some_and(|error| {
        matches!(
            error.kind,
            StoreErrorKind::Throttled | StoreErrorKind::Unavailable | StoreErrorKind::Denied
        )
    })
}

fn open_directory(dir: &Path) -> anyhow::Result<FsStore> {
    let what = || format!("tier.url: cannot open the directory {}", dir.display());
    let disk = OsDisk::open_shared(dir).with_context(what)?;
    let host = Host::of_this_runtime(dir)?;
    FsStore::open(Arc::new(disk), Arc::new(host), Uuid::new_v4()).with_context(what)
}

/// An operator for the place, with its layers.
fn operator(
    place: &StoreUrl,
    credentials: Option<&Credentials>,
    options: &StoreOptions,
    metrics: &StoreMetrics,
) -> anyhow::Result<Operator> {
    let operator = match place {
        StoreUrl::Fs { .. } | StoreUrl::Memory => Operator::new(services::Memory::default())?,
        StoreUrl::S3 { .. } => Operator::new(s3(place, credentials)?)?,
        StoreUrl::Gcs {
            bucket,
            prefix,
            endpoint,
        } => {
            let mut builder = services::Gcs::default().bucket(bucket).root(prefix);
            if let Some(endpoint) = endpoint {
                builder = builder.endpoint(endpoint);
            }
            if let Some(credentials) = credentials {
                builder = builder
                    .credential(&credentials.gcs_base64()?)
                    .disable_config_load()
                    .disable_vm_metadata();
            }
            Operator::new(builder)?
        }
        StoreUrl::Azblob { .. } => Operator::new(azblob(place, credentials)?)?,
    };
    let operator = match place {
        StoreUrl::Fs { .. } | StoreUrl::Memory => operator,
        _ => {
            let context = operator
                .context()
                .with_http_transport(http::transport(place.is_encrypted())?);
            operator.with_context(context)
        }
    };
    let retries = metrics.retries.clone();
    Ok(operator
        .layer(
            TimeoutLayer::new()
                .with_timeout(options.attempt_timeout)
                .with_io_timeout(options.attempt_timeout),
        )
        .layer(
            RetryLayer::new()
                .with_jitter()
                .with_max_times(options.retries_max)
                .with_min_delay(options.retry_delay_min)
                .with_max_delay(options.retry_delay_max)
                .with_notify(move |event: opendal::layers::RetryEvent<'_>| {
                    retries.inc();
                    tracing::debug!(
                        operation = %event.op,
                        attempt = event.attempt,
                        reason = event.err.message(),
                        "a request to the tier's store is tried again"
                    );
                }),
        ))
}

fn s3(place: &StoreUrl, credentials: Option<&Credentials>) -> anyhow::Result<services::S3> {
    let StoreUrl::S3 {
        bucket,
        prefix,
        region,
        endpoint,
    } = place
    else {
        unreachable!("only for s3")
    };
    let from_environment =
        || std::env::var("AWS_REGION").or_else(|_| std::env::var("AWS_DEFAULT_REGION"));
    // Servers other than Amazon's take any region, most of them this one.
    let of_endpoint = || endpoint.as_ref().map(|_| "us-east-1".to_owned());
    let region = region
        .clone()
        .or_else(|| from_environment().ok())
        .or_else(of_endpoint)
        .with_context(|| {
            format!("tier.url: s3://{bucket} has no region; add ?region=, or set AWS_REGION")
        })?;
    let mut builder = services::S3::default()
        .bucket(bucket)
        .root(prefix)
        .region(&region)
        // The store refuses what was damaged on the way.
        .checksum_algorithm("crc32c");
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint(endpoint);
    }
    if let Some(credentials) = credentials {
        builder = builder
            .access_key_id(credentials.get("access_key_id")?)
            .secret_access_key(credentials.get("secret_access_key")?)
            .session_token(credentials.find("session_token").unwrap_or_default())
            .disable_config_load()
            .disable_ec2_metadata();
    }
    Ok(builder)
}

fn azblob(place: &StoreUrl, credentials: Option<&Credentials>) -> anyhow::Result<services::Azblob> {
    let StoreUrl::Azblob {
        container,
        prefix,
        endpoint,
        account,
    } = place
    else {
        unreachable!("only for azblob")
    };
    let from_environment = || std::env::var("AZURE_STORAGE_ACCOUNT_NAME").ok();
    let account = account
        .clone()
        .or_else(|| credentials.and_then(|all| all.find("account_name").map(str::to_owned)))
        .or_else(from_environment);
    let endpoint = match (endpoint, &account) {
        (Some(endpoint), _) => endpoint.clone(),
        (None, Some(account)) => format!("https://{account}.blob.core.windows.net"),
        (None, None) => anyhow::bail!(
            "tier.url: azblob://{container} names no storage account; add ?account=, put a file account_name into \
             tier.credentials_dir, or set AZURE_STORAGE_ACCOUNT_NAME"
        ),
    };
    let mut builder = services::Azblob::default()
        .container(container)
        .root(prefix)
        .endpoint(&endpoint);
    if let Some(account) = &account {
        builder = builder.account_name(account);
    }
    if let Some(credentials) = credentials {
        builder = builder.account_key(credentials.get("account_key")?);
    }
    Ok(builder)
}
