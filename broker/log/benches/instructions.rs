//! The hot paths, each once per argument, for a tool that counts instructions: `cargo xtask instructions`.
//!
//! What is counted runs inside of [`measured`]; all else is preparation. Instructions of the kernel do not count, so that
//! the disk may be a real one.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use headwater_log::{
    FileCache, Journal, JournalLimits, Log, LogConfig, LogEnv, MarkStore, Now, OsDisk, PartitionKey,
};
use headwater_record::{
    Batch, BatchBuilder, Compression, Header, LeaderEpoch, Offset, ProducerIdentity, Record,
};

/// Records of one batch.
const RECORDS: usize = 100;
/// Bytes of a record's value.
const VALUE_BYTES: usize = 1_000;
/// Batches that are written, and read again.
const BATCHES: usize = 10;
/// Limit on one batch, far above what is made here.
const BYTES_MAX: usize = 1 << 20;
const EPOCH: LeaderEpoch = LeaderEpoch(1);
const NOW: Now = Now {
    monotonic_ms: 1_000,
    wall_ms: 1_700_000_000_000,
};

/// The name by which the tool finds what it is to count.
#[inline(never)]
fn measured<R>(work: impl FnOnce() -> R) -> R {
    black_box(work())
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("encode") => encode(),
        Some("verify") => verify(),
        Some("open") => open(),
        Some("append") => append(),
        Some("read") => read(),
        // As cargo runs it.
        _ => [encode, verify, open, append, read]
            .iter()
            .for_each(|path| path()),
    }
}

fn records() -> Vec<Record> {
    let value: Bytes = (0..VALUE_BYTES).map(|at| (at % 251) as u8).collect();
    let record = |number: usize| Record {
        key: Some(format!("key-{number:06}").into()),
        value: Some(value.clone()),
        headers: vec![Header {
            name: "origin".to_owned(),
            value: Some(Bytes::from_static(b"EWR")),
        }],
        timestamp_ms: NOW.wall_ms + number as i64,
    };
    (0..RECORDS).map(record).collect()
}

fn batch(number: usize) -> Batch {
    build(&records(), number)
}

fn build(records: &[Record], number: usize) -> Batch {
    let producer = ProducerIdentity {
        id: 7,
        epoch: 0,
        base_sequence: (number * RECORDS) as i32,
    };
    let mut builder = BatchBuilder::new(Compression::None).producer(producer);
    for record in records {
        builder.push(record).expect("a record that fits");
    }
    builder.build().expect("a batch of records")
}

/// A producer: records to one batch.
fn encode() {
    let records = records();
    measured(|| build(&records, 0));
}

/// A broker: is this what it claims to be?
fn verify() {
    let bytes = batch(0).bytes().clone();
    measured(|| Batch::verify(bytes, BYTES_MAX)).expect("a sound batch");
}

/// A consumer: one batch to records.
fn open() {
    let batch = batch(0);
    let records = measured(|| batch.records(BYTES_MAX)).expect("records");
    assert_eq!(records.len(), RECORDS);
}

/// A leader: batches to the end of a log, each after a look at its producer's sequence.
fn append() {
    let (_folder, mut log) = empty();
    let batches: Vec<Batch> = (0..BATCHES).map(batch).collect();
    measured(|| write(&mut log, &batches));
    assert_eq!(log.end(), Offset::new((BATCHES * RECORDS) as u64));
}

/// A fetch: all of it again, verified.
fn read() {
    let (_folder, mut log) = empty();
    write(&mut log, &(0..BATCHES).map(batch).collect::<Vec<_>>());
    let end = log.end();
    let slice = measured(|| log.view().read(Offset::ZERO, end, 4 * BYTES_MAX)).expect("a slice");
    assert_eq!(slice.next_offset, end);
}

fn write(log: &mut Log, batches: &[Batch]) {
    for batch in batches {
        black_box(log.check_producer(batch, NOW));
        log.append(batch, EPOCH, NOW).expect("room on the disk");
    }
}

fn empty() -> (tempfile::TempDir, Log) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = log(folder.path());
    (folder, log)
}

fn log(folder: &Path) -> Log {
    let disk = Arc::new(OsDisk::open(folder).expect("a data directory"));
    let marks = MarkStore::open(disk.clone(), 1).expect("sync marks");
    let (journal, _) =
        Journal::open(disk.clone(), &marks, 1, JournalLimits::SMALL, 1).expect("a journal");
    let env = LogEnv {
        marks: Arc::new(marks),
        journal: Arc::new(journal),
        files: Arc::new(FileCache::new(8)),
        disk,
    };
    let config = LogConfig {
        segment_bytes: 1 << 30,
        segment_ms: u64::MAX,
        retention_ms: None,
        retention_bytes: None,
        index_interval_bytes: 4096,
        producers_max: 1000,
    };
    let key = PartitionKey {
        topic: uuid::Uuid::from_u128(1),
        index: 0,
    };
    let (mut log, _) = Log::open(&env, key, config, NOW, false).expect("an empty log");
    log.begin_epoch(EPOCH).run().expect("an epoch");
    log.epoch_begun(EPOCH);
    log
}
