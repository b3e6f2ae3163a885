//! Floor of the tier: objects written and read through opendal, with nothing around them.
//!
//! An object is written from a local file, checksummed on the way, closed (opendal's fs syncs it then), and read back
//! to be checksummed again, as the tier verifies what it has uploaded; the cold read is sequential, by ranges of 1 MiB,
//! several at once, checksummed. If asked for, it is done once more for a reader in a process of its own: each range
//! goes there over a loopback socket as `socket_write` sends batches, and the reader checks the CRC-32C.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Args;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use opendal::{HttpTransporter, Operator, services};
use opendal_http_transport_reqwest::ReqwestTransport;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

use super::{Server, socket_write};

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
    /// Read once more, for a reader on these processors, as `taskset` takes them
    #[arg(long, value_name = "LIST")]
    reader_cpus: Option<String>,
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
    let sent = load
        .reader_cpus
        .as_deref()
        .map(|cpus| runtime.block_on(send_all(&operator, &objects, load, cpus)))
        .transpose()?;
    let mib_per_second =
        |took: Duration| load.bytes as f64 / f64::from(1 << 20) / took.as_secs_f64();
    Ok(json!({
        "floor": "store",
        "bytes": load.bytes,
        "write_mib_per_second": mib_per_second(written),
        "read_mib_per_second": mib_per_second(read),
        "socket_mib_per_second": sent.map(mib_per_second),
    }))
}

/// Sends all objects to a reader, as many at once as are read at once, over one connection as a consumer has it. The
/// reader's word that it has everything counts, too.
async fn send_all(
    operator: &Operator,
    objects: &[String],
    load: &Load,
    cpus: &str,
) -> Result<Duration> {
    let reader = Server::start(&["serve-reader"], Some(cpus))?;
    let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, reader.port)).await?;
    connection.set_nodelay(true)?;
    let connection = Mutex::new(connection);
    let started = Instant::now();
    timed(objects, load.at_once, |object| {
        send(operator, object, load.object_bytes, &connection)
    })
    .await?;
    let mut connection = connection.into_inner();
    connection.shutdown().await?;
    let taken = connection.read_u64().await?;
    let bytes = objects.len() as u64 * load.object_bytes;
    ensure!(taken == bytes, "the reader has {taken} bytes of {bytes}");
    Ok(started.elapsed())
}

async fn send(
    operator: &Operator,
    object: &str,
    bytes: u64,
    connection: &Mutex<TcpStream>,
) -> Result<()> {
    let mut pieces = pieces(operator, object, bytes);
    while let Some(piece) = pieces.try_next().await? {
        let head = socket_write::head(&piece);
        let mut connection = connection.lock().await;
        connection.write_all(&head).await?;
        connection.write_all(&piece).await?;
    }
    Ok(())
}

/// Takes what `send_all` sends and checks it, then says how many bytes that was; until killed.
pub(crate) fn serve_reader() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    for connection in listener.incoming() {
        let mut connection = connection?;
        let (mut taken, mut piece) = (0, Vec::new());
        while socket_write::receive(&mut connection, &mut piece)? {
            taken += piece.len() as u64;
        }
        connection.write_all(&taken.to_be_bytes())?;
    }
    Ok(())
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
    let pieces = pieces(operator, object, bytes);
    let crc = pieces.try_fold(0, async |crc, piece| Ok(crc32c::crc32c_append(crc, &piece)));
    crc.await
}

/// An object in order, several ranges being read at once.
fn pieces<'a>(
    operator: &'a Operator,
    object: &'a str,
    bytes: u64,
) -> impl Stream<Item = Result<Bytes>> + Unpin + 'a {
    let ranges = (0..bytes).step_by(RANGE_BYTES as usize);
    let pieces = stream::iter(ranges).map(move |start| async move {
        let end = (start + RANGE_BYTES).min(bytes);
        let piece = operator.read_with(object).range(start..end).await?;
        Ok(piece.to_bytes())
    });
    Box::pin(pieces.buffered(RANGES_AT_ONCE))
}
