//! A data directory with one log, on a simulated disk.

use headwater_log::sim::SimDisk;
use headwater_log::{
    Appended, FileCache, Journal, JournalLimits, JournalReport, Log, LogConfig, LogEnv, LogView,
    MarkStore, Now, PartitionKey, RecoveryReport,
};
use headwater_record::{
    Batch, BatchBuilder, Compression, LeaderEpoch, Offset, ProducerIdentity, Record, batches,
};
use std::sync::Arc;
use uuid::Uuid;

pub(crate) const KEY: PartitionKey = PartitionKey {
    topic: Uuid::from_u128(0x1234),
    index: 3,
};

pub(crate) const NOW: Now = Now {
    monotonic_ms: 1_000,
    wall_ms: 1_700_000_000_000,
};

/// Small blocks, so that they take turns.
pub(crate) const JOURNAL_LIMITS: JournalLimits = JournalLimits {
    block_bytes: 4096,
    files_max: 16,
};

/// Whether to take everything instead of a sample; for the release build.
pub(crate) fn is_exhaustive() -> bool {
    std::env::var_os("HEADWATER_EXHAUSTIVE").is_some()
}

/// Small segments, so that everything rolls.
pub(crate) fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        segment_ms: 1_000_000,
        retention_ms: None,
        retention_bytes: None,
        index_interval_bytes: 256,
        producers_max: 10,
    }
}

pub(crate) fn batch(records: usize, salt: i64) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    fill(&mut builder, records, salt);
    builder.build().unwrap()
}

pub(crate) fn batch_of(producer: ProducerIdentity, records: usize, salt: i64) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None).producer(producer);
    fill(&mut builder, records, salt);
    builder.build().unwrap()
}

fn fill(builder: &mut BatchBuilder, records: usize, salt: i64) {
    for n in 0..records {
        let record = Record {
            key: None,
            value: Some(format!("value {salt} {n}").into_bytes().into()),
            headers: Vec::new(),
            timestamp_ms: salt * 10 + n as i64,
        };
        builder.push(&record).unwrap();
    }
}

pub(crate) struct Bench {
    pub(crate) disk: SimDisk,
    pub(crate) env: LogEnv,
    /// What the journal held when it was opened.
    pub(crate) replayed: JournalReport,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::on(SimDisk::new(1))
    }

    pub(crate) fn on(disk: SimDisk) -> Bench {
        let shared: Arc<dyn headwater_log::Disk> = Arc::new(disk.clone());
        let marks = MarkStore::open(Arc::clone(&shared), 1).unwrap();
        let opened = Journal::open(Arc::clone(&shared), &marks, 1, JOURNAL_LIMITS, 7);
        let (journal, replayed) = opened.unwrap();
        let env = LogEnv {
            marks: Arc::new(marks),
            journal: Arc::new(journal),
            files: Arc::new(FileCache::new(8)),
            disk: shared,
        };
        Bench {
            disk,
            env,
            replayed,
        }
    }

    /// A new log whose epoch 5 has begun.
    pub(crate) fn open(&self, config: LogConfig) -> Log {
        let (mut log, _) = self.reopen(config, false);
        self.begin(&mut log, 5);
        log
    }

    pub(crate) fn reopen(&self, config: LogConfig, clean: bool) -> (Log, RecoveryReport) {
        Log::open(&self.env, KEY, config, NOW, clean).unwrap()
    }

    pub(crate) fn begin(&self, log: &mut Log, epoch: u32) {
        let job = log.begin_epoch(LeaderEpoch(epoch));
        job.run().unwrap();
        log.epoch_begun(LeaderEpoch(epoch));
    }

    pub(crate) fn append(&self, log: &mut Log, batch: &Batch) -> Appended {
        let epoch = log.last_epoch().unwrap();
        log.append(batch, epoch, NOW).unwrap()
    }

    /// What the driver does: sync, report, mark; the mark is synced as well.
    pub(crate) fn sync(&self, log: &mut Log) {
        if let Some(job) = log.sync_job() {
            job.run().unwrap();
            log.synced(job.end);
            let shard = self.env.marks.shard_of(KEY);
            self.env.marks.write(shard, &[(KEY, job.end)]).unwrap();
            self.env.marks.sync(shard).unwrap();
        }
    }
}

/// Every offset that can be read from the local start on; panics on an error.
pub(crate) fn offsets(view: &LogView) -> Vec<u64> {
    let mut offsets = Vec::new();
    let mut from = view.local_start();
    while from < view.end() {
        let slice = view.read(from, Offset::MAX, 700).unwrap();
        for batch in batches(slice.bytes) {
            let batch = batch.unwrap();
            let header = batch.header();
            offsets.extend(header.base_offset.get()..header.end_offset().get());
        }
        assert!(slice.next_offset > from);
        from = slice.next_offset;
    }
    offsets
}

/// A batch whose records hold these numbers, as value and as timestamp.
pub(crate) fn batch_of_values(values: &[u64]) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    for value in values {
        let record = Record {
            value: Some(value.to_string().into_bytes().into()),
            timestamp_ms: *value as i64,
            ..Record::default()
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

/// Offsets and numbers of the records in whole batches.
pub(crate) fn values(bytes: &bytes::Bytes) -> Vec<(u64, u64)> {
    let mut values = Vec::new();
    for batch in batches(bytes.clone()) {
        for stored in batch.unwrap().records(1 << 20).unwrap() {
            let value = String::from_utf8(stored.record.value.unwrap().to_vec()).unwrap();
            values.push((stored.offset.get(), value.parse().unwrap()));
        }
    }
    values
}
