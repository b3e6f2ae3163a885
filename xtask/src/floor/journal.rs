//! The experiment of ADR 0007: appends to many partitions, made durable by a sync of each partition's file, or by one
//! sync of a journal that all share.
//!
//! Appends come in groups, as a storage thread finds them in its mailbox, each to a partition drawn at random. A
//! segment file is allocated ahead from 1 MiB on, in chunks that double, which helps its sync; the broker's are not. Journal blocks are
//! zero-filled and used again; the segments that a full block covers are synced by another thread while the next block
//! fills, and the last checkpoint counts.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use rustix::fs::{FallocateFlags, fallocate};
use serde_json::{Value, json};

use super::histogram_us;
use crate::process;

/// How appends reach the medium.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// Each partition has a file, which is synced by itself.
    Files,
    /// The same files, synced later; and one journal, synced at once.
    Journal,
    /// One file for all, and nothing else: what readers would have to read from.
    Shared,
}

/// What to append.
#[derive(Args)]
pub(crate) struct Load {
    /// Where appends go.
    #[arg(long, value_enum)]
    way: Way,
    /// Sync each group before the next one.
    #[arg(long)]
    sync: bool,
    /// Partitions, each with a file of its own.
    #[arg(long, default_value_t = 1_000)]
    partitions: usize,
    /// Bytes of an append.
    #[arg(long, default_value_t = 1 << 10)]
    append_bytes: usize,
    /// Appends of a group.
    #[arg(long, default_value_t = 256)]
    group: usize,
    /// How long.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Folder for the files; a temporary one by default.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Before an append in the journal or the shared file: topic, partition, epoch, offset, generation, length, checksum.
const ENTRY_HEADER_BYTES: usize = 64;
const BLOCK_BYTES: u64 = 64 << 20;
const BLOCKS: usize = 2;
/// As many as the broker's.
const SYNC_THREADS: usize = 8;
const ALLOCATE_FROM_BYTES: u64 = 1 << 20;
const ALLOCATE_MOST_BYTES: u64 = 64 << 20;

struct Segment {
    file: Arc<File>,
    position: u64,
    allocated: u64,
}

impl Segment {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.position + bytes.len() as u64;
        if ALLOCATE_FROM_BYTES <= end && self.allocated < end {
            self.allocated = end + end.next_power_of_two().min(ALLOCATE_MOST_BYTES);
            fallocate(&self.file, FallocateFlags::empty(), 0, self.allocated)?;
        }
        self.file.write_all_at(bytes, self.position)?;
        self.position = end;
        Ok(())
    }
}

/// Appends until the time is over, and tells what that took.
pub(crate) fn measure(load: &Load) -> Result<Value> {
    ensure!(
        0 < load.partitions && 0 < load.append_bytes && 0 < load.group,
        "there is nothing to append"
    );
    let scratch = match &load.dir {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir()?,
    };
    let mut segments = Vec::with_capacity(load.partitions);
    for partition in 0..load.partitions {
        let dir = scratch.path().join(partition.to_string());
        fs::create_dir(&dir)?;
        let file = File::create(dir.join("0.log"))
            .context("a file for each partition: is `ulimit -n` high enough?")?;
        segments.push(Segment {
            file: Arc::new(file),
            position: 0,
            allocated: 0,
        });
    }
    let blocks = (0..BLOCKS).map(|n| zero_filled(&scratch.path().join(format!("block-{n}"))));
    let blocks: Vec<File> = blocks.collect::<Result<_>>()?;
    rustix::fs::sync();

    let entry = vec![0xA5_u8; ENTRY_HEADER_BYTES + load.append_bytes];
    let append = &entry[ENTRY_HEADER_BYTES..];
    let (to_checkpoint, dirty) = channel();
    let (done, checkpointed) = channel();
    let checkpoints = thread::spawn(move || checkpoint(&dirty, &done));
    let mut journal = Journal {
        blocks,
        block: 0,
        position: 0,
        covered: BTreeSet::new(),
        to_checkpoint,
        checkpointed,
        running: 0,
    };

    let own = std::process::id();
    let cpu_before = process::cpu_seconds(own)?;
    let started = Instant::now();
    let mut latency_us = histogram_us();
    let (mut random, mut appends, mut buffer) = (0x9e37_79b9_7f4a_7c15_u64, 0_u64, Vec::new());
    while started.elapsed() < Duration::from_secs(load.seconds) {
        let began = Instant::now();
        let mut touched = BTreeSet::new();
        buffer.clear();
        for _ in 0..load.group {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let partition = (random >> 33) as usize % load.partitions;
            if load.way != Way::Shared {
                segments[partition].append(append)?;
                touched.insert(partition);
            }
            if load.way != Way::Files {
                buffer.extend_from_slice(&entry);
            }
        }
        if load.way == Way::Files {
            if load.sync {
                let files = touched.iter().map(|one| Arc::clone(&segments[*one].file));
                sync_all(&files.collect::<Vec<_>>())?;
            }
        } else {
            journal.append(&buffer, &touched, &segments, load.sync)?;
        }
        appends += load.group as u64;
        latency_us.saturating_record(began.elapsed().as_micros() as u64);
    }
    if load.sync {
        journal.finish(&segments)?;
    }
    drop(journal);
    checkpoints.join().expect("a checkpoint does not panic")?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu_seconds = process::cpu_seconds(own)? - cpu_before;
    Ok(json!({
        "floor": "journal",
        "partitions": load.partitions,
        "appends": appends,
        "appends_per_second": appends as f64 / seconds,
        "mib_per_second": (appends * load.append_bytes as u64) as f64 / f64::from(1 << 20) / seconds,
        "cpu_us_per_append": cpu_seconds * 1e6 / appends as f64,
        "group_p50_us": latency_us.value_at_quantile(0.50),
        "group_p99_us": latency_us.value_at_quantile(0.99),
    }))
}

struct Journal {
    blocks: Vec<File>,
    block: usize,
    position: u64,
    /// Partitions with an entry in this block.
    covered: BTreeSet<usize>,
    to_checkpoint: Sender<Vec<Arc<File>>>,
    checkpointed: Receiver<()>,
    running: usize,
}

impl Journal {
    fn append(
        &mut self,
        entries: &[u8],
        touched: &BTreeSet<usize>,
        segments: &[Segment],
        sync: bool,
    ) -> Result<()> {
        if BLOCK_BYTES < self.position + entries.len() as u64 {
            // Nothing is durable by this file alone, so nothing has to be synced before it is used again.
            if sync {
                self.next_block(segments)?;
            }
            self.position = 0;
            self.block = (self.block + 1) % BLOCKS;
        }
        let block = &self.blocks[self.block];
        block.write_all_at(entries, self.position)?;
        if sync {
            block.sync_data()?;
        }
        self.position += entries.len() as u64;
        self.covered.extend(touched);
        Ok(())
    }

    /// Waits until the block that comes next is no longer needed.
    fn next_block(&mut self, segments: &[Segment]) -> Result<()> {
        let covered = std::mem::take(&mut self.covered);
        let files = covered.iter().map(|one| Arc::clone(&segments[*one].file));
        self.to_checkpoint.send(files.collect())?;
        self.running += 1;
        if self.running == BLOCKS {
            self.checkpointed.recv()?;
            self.running -= 1;
        }
        Ok(())
    }

    fn finish(&mut self, segments: &[Segment]) -> Result<()> {
        self.next_block(segments)?;
        while 0 < self.running {
            self.checkpointed.recv()?;
            self.running -= 1;
        }
        Ok(())
    }
}

fn checkpoint(dirty: &Receiver<Vec<Arc<File>>>, done: &Sender<()>) -> io::Result<()> {
    for files in dirty {
        sync_all(&files)?;
        // Nobody waits for the last one when no group is synced.
        let _ = done.send(());
    }
    Ok(())
}

fn sync_all(files: &[Arc<File>]) -> io::Result<()> {
    let per_thread = files.len().div_ceil(SYNC_THREADS).max(1);
    thread::scope(|scope| {
        let syncing: Vec<_> = files
            .chunks(per_thread)
            .map(|chunk| scope.spawn(|| chunk.iter().try_for_each(|file| file.sync_data())))
            .collect();
        syncing
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a sync does not panic"))
    })
}

fn zero_filled(path: &std::path::Path) -> Result<File> {
    let file = File::create(path)?;
    let zeroes = vec![0; 1 << 20];
    for position in (0..BLOCK_BYTES).step_by(zeroes.len()) {
        file.write_all_at(&zeroes, position)?;
    }
    Ok(file)
}
