//! Floor of bulk produce: a socket, a checksum and a file, with nothing around them.
//!
//! On the wire: length (4 bytes, big endian), CRC-32C of the batch (4 bytes), batch. The server
//! checks the CRC, appends the batch to a file, without fsync unless asked for, and answers with one byte.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;

use super::{Outcome, Server, histogram_us};
use crate::process;

/// Batches that are written and synced together at most.
const GROUP_MAX: usize = 1_024;

/// What to send.
#[derive(Args)]
pub(crate) struct Load {
    /// Bytes to send in all.
    #[arg(long, default_value_t = 4 << 30)]
    bytes: u64,
    /// Bytes of a batch.
    #[arg(long, default_value_t = 1 << 20)]
    batch_bytes: usize,
    /// Bytes of a record; only for counting.
    #[arg(long, default_value_t = 1 << 10)]
    record_bytes: usize,
    /// Batches that may be unacknowledged.
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Acknowledge what is on the medium: everything that has come meanwhile is written and synced together.
    #[arg(long)]
    sync: bool,
    /// Folder for the file; a temporary one by default.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Settings of the server.
#[derive(Args)]
pub(crate) struct Serve {
    /// Folder for the file.
    dir: PathBuf,
    /// Sync before each ack.
    #[arg(long)]
    sync: bool,
}

/// Sends batches to a server of its own and measures.
pub(crate) fn measure(load: &Load, server_cpus: Option<&str>) -> Result<Value> {
    ensure!(
        0 < load.in_flight && 0 < load.batch_bytes,
        "nothing can be in flight"
    );
    let scratch = match &load.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let folder = scratch
        .path()
        .to_str()
        .context("the folder's name is not UTF-8")?;
    let mut arguments = vec!["serve-socket-write", folder];
    arguments.extend(load.sync.then_some("--sync"));
    let server = Server::start(&arguments, server_cpus)?;
    let mut sending = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port))?;
    sending.set_nodelay(true)?;
    let mut acks = sending.try_clone()?;

    let frame = frame(load.batch_bytes);
    let batches = load.bytes.div_ceil(load.batch_bytes as u64);
    let cpu_before = process::cpu_seconds(server.pid())?;
    let start = Instant::now();
    // The queue's length is the window: sending waits while it is full.
    let (sent, unacknowledged) = sync_channel::<Instant>(load.in_flight);
    let reader = thread::spawn(move || -> Result<_> {
        let mut latency_us = histogram_us();
        for sent_at in unacknowledged {
            acks.read_exact(&mut [0])?;
            latency_us.saturating_record(sent_at.elapsed().as_micros() as u64);
        }
        Ok(latency_us)
    });
    for _ in 0..batches {
        sent.send(Instant::now()).context("the server went away")?;
        sending.write_all(&frame)?;
    }
    drop(sent);
    let latency_us = reader.join().expect("the reader does not panic")?;

    let bytes = batches * load.batch_bytes as u64;
    Outcome {
        records: bytes / load.record_bytes as u64,
        bytes,
        elapsed: start.elapsed(),
        server_cpu_seconds: process::cpu_seconds(server.pid())? - cpu_before,
        latency_us,
    }
    .report(
        if load.sync {
            "socket-write-sync"
        } else {
            "socket-write"
        },
        &server,
    )
}

/// One batch of bytes that do not compress, with its length and checksum before it.
fn frame(batch_bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let batch: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(batch_bytes)
    .collect();
    [&head(&batch)[..], &batch].concat()
}

/// What stands before a batch: its length and checksum.
pub(crate) fn head(batch: &[u8]) -> [u8; 8] {
    let (length, crc) = (batch.len() as u64, crc32c::crc32c(batch));
    (length << 32 | u64::from(crc)).to_be_bytes()
}

/// Takes batches until killed.
pub(crate) fn serve(serve: &Serve) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{}", listener.local_addr()?.port());
    for connection in listener.incoming() {
        let (connection, file) = (connection?, File::create(serve.dir.join("batches"))?);
        connection.set_nodelay(true)?;
        if serve.sync {
            store_synced(connection, file)?;
        } else {
            store(connection, file)?;
        }
    }
    Ok(())
}

fn store(mut connection: TcpStream, mut file: File) -> Result<()> {
    let mut batch = Vec::new();
    while receive(&mut connection, &mut batch)? {
        file.write_all(&batch)?;
        connection.write_all(&[1])?;
    }
    Ok(())
}

/// Group commit: while the medium is busy with one group, the next one gathers.
fn store_synced(mut connection: TcpStream, mut file: File) -> Result<()> {
    let mut acks = connection.try_clone()?;
    let (send, batches) = sync_channel::<Vec<u8>>(GROUP_MAX);
    let writer = thread::spawn(move || -> Result<()> {
        let mut group = Vec::new();
        while let Ok(first) = batches.recv() {
            group.clear();
            group.extend_from_slice(&first);
            let mut count = 1;
            for batch in batches.try_iter().take(GROUP_MAX - 1) {
                group.extend_from_slice(&batch);
                count += 1;
            }
            file.write_all(&group)?;
            file.sync_data()?;
            acks.write_all(&vec![1; count])?;
        }
        Ok(())
    });
    let mut batch = Vec::new();
    while receive(&mut connection, &mut batch)? {
        send.send(std::mem::take(&mut batch))?;
    }
    drop(send);
    writer.join().expect("the writer does not panic")
}

/// Reads a batch and checks it. False at the end.
pub(crate) fn receive(connection: &mut TcpStream, batch: &mut Vec<u8>) -> Result<bool> {
    let mut head = [0; 8];
    if connection.read_exact(&mut head).is_err() {
        return Ok(false);
    }
    let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
    batch.resize(u32::from_be_bytes([l0, l1, l2, l3]) as usize, 0);
    connection.read_exact(batch)?;
    let crc = u32::from_be_bytes([c0, c1, c2, c3]);
    ensure!(crc32c::crc32c(batch) == crc, "the checksum differs");
    Ok(true)
}
