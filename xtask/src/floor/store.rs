//! Floor of the tier: objects written and read through opendal, with nothing around them.
//!
//! An object is written from a local file, checksummed on the way, closed (opendal's fs syncs it then), and read back
//! to be checksummed again, as the tier verifies what it has uploaded; the cold read is sequential, by ranges of 1 MiB,
//! several at once, checksummed.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use opendal::{HttpTransporter, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;
use serde_json::{Value, json};

/// What to write and read.
#[derive(Args)]
pub(crate) struct Load {
    /// Bytes in all.
    #[arg(long, default_value_t = 1 << 30)]
    bytes: u64,
    /// Bytes of an object.
    #[arg(long, default_value_t = 16 << 20)]
    object_bytes: u64,
    /// Objects that are written, or read, at once.
    #[arg(long, default_value_t = 1)]
    at_once: usize,
    /// Folder for the objects; a temporary one by default.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// An S3 server instead, http://HOST:PORT, with the credentials of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
    #[arg(long, requires = "s3_bucket")]
    s3_endpoint: Option<String>,
    /// Bucket of the server
    #[arg(long, requires = "s3_endpoint")]
    s3_bucket: Option<String>,
}

/// A server of one's own does not care.
const S3_REGION: &str = "us-east-1";

const PIECE_BYTES: usize = 1 << 20;
const RANGE_BYTES: u64 = 1 << 20;
const RANGES_AT_ONCE: usize = 4;
/// What S3 takes as a part at least.
const CHUNK_BYTES: usize = 5 << 20;

/// Writes and reads, and prints how long both took.
pub(crate) fn measure(load: &Load) -> Result<Value> {
    ensure!(
        0 < load.object_bytes && 0 < load.at_once,
        "there is something to do"
    );
    let scratch = match &load.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let source = scratch.path().join("source");
    write_source(&source, load.object_bytes)?;
    let operator = match (&load.s3_endpoint, &load.s3_bucket) {
        (Some(endpoint), Some(bucket)) => {
            // No harm if it is chosen already.
            drop(rustls::crypto::ring::default_provider().install_default());
            HttpTransporter::install_default(ReqwestTransport::default());
            let server = services::S3::default().endpoint(endpoint).bucket(bucket);
            Operator::new(server.region(S3_REGION))?
        }
        _ => {
            let root = scratch.path().join("objects");
            let root = root
                .to_str()
                .context("the folder is not named in Unicode")?;
            Operator::new(services::Fs::default().root(root))?
        }
    };
    let objects: Vec<String> = (0..load.bytes.div_ceil(load.object_bytes))
        .map(|n| format!("object-{n}"))
        .collect();
    let runtime = tokio::runtime::Runtime::new()?;
    let written = runtime.block_on(timed(&objects, load.at_once, |object| {
        write(&operator, &source, object, load.object_bytes)
    }))?;
    let read = runtime.block_on(timed(&objects, load.at_once, |object| {
        read(&operator, object, load.object_bytes)
    }))?;
    let mib = load.bytes as f64 / f64::from(1 << 20);
    Ok(json!({
        "floor": "store",
        "bytes": load.bytes,
        "write_mib_per_second": mib / written.as_secs_f64(),
        "read_mib_per_second": mib / read.as_secs_f64(),
    }))
}

async fn timed<'a, F: Future<Output = Result<()>>>(
    objects: &'a [String],
    at_once: usize,
    work: impl Fn(&'a str) -> F,
) -> Result<Duration> {
    let started = Instant::now();
    let running = stream::iter(objects)
        .map(|object| work(object))
        .buffer_unordered(at_once);
    running.try_collect::<Vec<()>>().await?;
    Ok(started.elapsed())
}

fn write_source(path: &std::path::Path, bytes: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let mut left = bytes;
    let mut piece = vec![0_u8; PIECE_BYTES];
    while left > 0 {
        let length = left.min(PIECE_BYTES as u64) as usize;
        piece
            .iter_mut()
            .enumerate()
            .for_each(|(at, byte)| *byte = (at as u64 * left) as u8);
        file.write_all(&piece[..length])?;
        left -= length as u64;
    }
    Ok(())
}

async fn write(
    operator: &Operator,
    source: &std::path::Path,
    object: &str,
    bytes: u64,
) -> Result<()> {
    let mut writer = operator
        .writer_with(object)
        .chunk(CHUNK_BYTES)
        .concurrent(2)
        .await?;
    let mut file = File::open(source)?;
    let mut crc = 0;
    loop {
        let read = move || -> Result<(File, Bytes)> {
            let mut piece = vec![0; PIECE_BYTES];
            let got = file.read(&mut piece)?;
            piece.truncate(got);
            Ok((file, piece.into()))
        };
        let (rest, piece) = tokio::task::spawn_blocking(read).await??;
        file = rest;
        if piece.is_empty() {
            break;
        }
        crc = crc32c::crc32c_append(crc, &piece);
        writer.write(piece).await?;
    }
    writer.close().await?;
    ensure!(
        crc == checksum(operator, object, bytes).await?,
        "what was read is not what was written"
    );
    Ok(())
}

async fn read(operator: &Operator, object: &str, bytes: u64) -> Result<()> {
    checksum(operator, object, bytes).await.map(drop)
}

async fn checksum(operator: &Operator, object: &str, bytes: u64) -> Result<u32> {
    let ranges = (0..bytes).step_by(RANGE_BYTES as usize);
    let pieces = stream::iter(ranges).map(async |start| {
        let end = (start + RANGE_BYTES).min(bytes);
        operator.read_with(object).range(start..end).await
    });
    let crc = pieces
        .buffered(RANGES_AT_ONCE)
        .try_fold(0, async |crc, piece| {
            Ok(crc32c::crc32c_append(crc, &piece.to_bytes()))
        });
    Ok(crc.await?)
}
