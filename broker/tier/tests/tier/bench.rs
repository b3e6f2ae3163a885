//! A partition of batches with known values, and a tier in memory.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use headwater_log::{LogError, PartitionKey, ReadSlice, SegmentContext};
use headwater_record::{Batch, BatchBuilder, Compression, LeaderEpoch, Offset, Record};
use headwater_sim::QuietStore;
use headwater_tier::{
    CacheLimits, CommitJob, Entry, FenceWatch, Head, SegmentSource, Tier, TierError, UploadJob,
    Uploaded, keys,
};
use uuid::Uuid;

pub(crate) const KEY: PartitionKey = PartitionKey {
    topic: Uuid::from_u128(0x70),
    index: 3,
};
pub(crate) const CLUSTER: Uuid = Uuid::from_u128(0xC1);
pub(crate) const EPOCH: LeaderEpoch = LeaderEpoch(4);

/// Nothing here waits for a clock or a socket.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

pub(crate) fn at(offset: u64) -> Offset {
    Offset::new(offset)
}

pub(crate) struct Bench {
    pub(crate) store: QuietStore,
    pub(crate) tier: Arc<Tier>,
    pub(crate) head: Option<Head>,
    drawn: u128,
}

/// Segments of `SEGMENT` records in batches of `BATCH`; the record at an offset has the offset as timestamp.
pub(crate) const SEGMENT: u64 = 10;
pub(crate) const BATCH: u64 = 5;

pub(crate) fn batch(base: u64) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    for offset in base..base + BATCH {
        let record = Record {
            value: Some(Bytes::from(format!("record {offset}"))),
            timestamp_ms: offset as i64,
            ..Record::default()
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap().stamped(at(base), EPOCH)
}

pub(crate) fn bytes(from: u64, end: u64) -> Bytes {
    let batches = (from..end).step_by(BATCH as usize);
    batches
        .flat_map(|base| batch(base).bytes().to_vec())
        .collect()
}

struct Source {
    end: u64,
}

#[async_trait]
impl SegmentSource for Source {
    async fn context(&mut self) -> Result<SegmentContext, LogError> {
        Ok(SegmentContext {
            epochs: vec![(EPOCH, Offset::ZERO)],
            latest_append_ms: Some(self.end as i64),
            ..SegmentContext::default()
        })
    }

    async fn read(&mut self, from: Offset) -> Result<ReadSlice, LogError> {
        Ok(ReadSlice {
            bytes: batch(from.get()).bytes().clone(),
            next_offset: from.plus(BATCH),
        })
    }
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::with_pages_of(headwater_tier::limits::PAGE_ENTRIES)
    }

    pub(crate) fn with_pages_of(entries: usize) -> Bench {
        let store = QuietStore::default();
        let bench = Bench {
            tier: Arc::new(tier(&store, 1 << 20).with_page_entries(entries)),
            store,
            head: None,
            drawn: 0,
        };
        bench.store.wait(1_000);
        bench
    }

    /// Another broker: nothing is in memory.
    pub(crate) fn forget(&mut self) {
        self.tier = Arc::new(tier(&self.store, 1 << 20));
    }

    /// The watch of a process that has taken the objects over.
    pub(crate) fn watch(&self) -> FenceWatch {
        let watch = FenceWatch::default();
        block_on(watch.take_over(&self.tier, 1)).unwrap();
        watch
    }

    /// All keys but those of owners.
    pub(crate) fn keys(&self) -> Vec<String> {
        let owners = keys::owner_prefix(CLUSTER);
        let keys = self.store.keys().into_iter();
        keys.filter(|key| !key.starts_with(&owners)).collect()
    }

    pub(crate) fn draw(&mut self) -> Uuid {
        self.drawn += 1 << 64;
        Uuid::from_u128(self.drawn)
    }

    pub(crate) fn upload(&mut self, base: u64) -> Uploaded {
        let job = UploadJob {
            key: KEY,
            leader_epoch: EPOCH,
            base_offset: at(base),
            end_offset: at(base + SEGMENT),
            start: at(base),
            upload: self.draw(),
        };
        let end = base + SEGMENT;
        block_on(self.tier.upload(&job, &mut Source { end })).unwrap()
    }

    /// Writes a manifest and takes it for the head.
    pub(crate) fn commit(&mut self, uploaded: Vec<Uploaded>, log_start: u64) -> Head {
        let job = CommitJob {
            key: KEY,
            leader_epoch: EPOCH,
            parent: self.head,
            log_start: at(log_start),
            uploaded,
            page: self.draw(),
        };
        let head = block_on(self.tier.write_manifest(&job)).unwrap();
        self.head = Some(head);
        head
    }

    /// So many segments from offset 0 on, `at_once` with each head.
    pub(crate) fn fill(&mut self, segments: u64, at_once: usize) {
        let bases: Vec<u64> = (0..segments).map(|n| n * SEGMENT).collect();
        for bases in bases.chunks(at_once) {
            let uploaded = bases.iter().map(|&base| self.upload(base)).collect();
            self.commit(uploaded, 0);
        }
    }

    pub(crate) fn read(
        &self,
        from: u64,
        limit: u64,
        bytes_max: usize,
    ) -> Result<ReadSlice, TierError> {
        let number = self.head.unwrap().number;
        block_on(self.tier.read(KEY, number, at(from), at(limit), bytes_max))
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let manifest = block_on(self.tier.manifest(KEY, self.head.unwrap().number)).unwrap();
        block_on(self.tier.entries(&manifest)).unwrap()
    }

    pub(crate) fn object_of(&self, offset: u64) -> String {
        let entries = self.entries();
        let holds = |entry: &&Entry| entry.start <= at(offset) && at(offset) < entry.end;
        entries.iter().find(holds).unwrap().object_key(KEY)
    }
}

pub(crate) fn tier(store: &QuietStore, chunk_bytes: u64) -> Tier {
    let limits = CacheLimits {
        chunk_bytes,
        meta_bytes: 1 << 20,
    };
    Tier::new(Arc::new(store.clone()), CLUSTER, limits)
}
