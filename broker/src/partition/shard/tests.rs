//! A shard whose disk is full, with and without copies in the tier, or slow while a partition is closed.

use std::io;
use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_core::metadata::Durability;
use headwater_core::replica::{Acks, Outcome};
use headwater_log::{
    Disk, DiskFile, DiskGuard, DiskSpace, FileCache, GuardLimits, Journal, JournalLimits,
    LogConfig, LogView, MarkStore, OsDisk,
};
use headwater_record::{BatchBuilder, Compression, Record};
use prometheus_client::registry::Registry;
use uuid::Uuid;

use super::super::handle::ReplyRoute;
use super::super::read::PartitionRef;
use super::super::tail::TailCache;
use super::*;

const SEGMENT_BYTES: u64 = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    _dir: tempfile::TempDir,
    storage: Arc<Storage>,
    handle: Arc<PartitionHandle>,
    shard: ShardMailbox,
}

impl Bench {
    fn start() -> Bench {
        Bench::start_on(|disk| disk)
    }

    fn start_on(around: impl FnOnce(Arc<dyn Disk>) -> Arc<dyn Disk>) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let disk = around(Arc::new(OsDisk::open(dir.path()).unwrap()));
        let marks = Arc::new(MarkStore::open(disk.clone(), 1).unwrap());
        let (journal, _) = Journal::open(disk.clone(), &marks, 1, JournalLimits::SMALL, 1).unwrap();
        let log = LogEnv {
            disk: disk.clone(),
            marks,
            journal: Arc::new(journal),
            files: Arc::new(FileCache::new(16)),
        };
        let limits = GuardLimits {
            reserve_bytes: 0,
            low_bytes: 0,
            high_bytes: 0,
        };
        let guard = DiskGuard::open(disk, limits).unwrap();
        let storage = Storage::new(log.clone(), guard, limits.low_bytes);
        let env = Arc::new(ShardEnv {
            log,
            storage: storage.clone(),
            metrics: Metrics::register(&mut Registry::default()),
            clock: Clock::start(None),
            retention_interval: Duration::from_millis(100),
        });
        let shard = start(0, env).unwrap();
        let key = PartitionKey {
            topic: Uuid::from_u128(1),
            index: 0,
        };
        let handle = PartitionHandle::new(key, shard.clone());
        let (done, opened) = oneshot::channel();
        shard.send(Message::Open(Box::new(Open {
            handle: handle.clone(),
            config: config(),
            leader_epoch: LeaderEpoch(1),
            in_sync: 1,
            tiered: None,
            clean: false,
            done,
        })));
        opened.blocking_recv().unwrap().unwrap();
        Bench {
            _dir: dir,
            storage,
            handle,
            shard,
        }
    }

    fn append(&self) -> Result<Outcome, Refusal> {
        let mut builder = BatchBuilder::new(Compression::None);
        let record = Record {
            value: Some(vec![7; 10_000].into()),
            timestamp_ms: 1,
            ..Record::default()
        };
        builder.push(&record).unwrap();
        let append = Append {
            ticket: Ticket(0),
            batch: builder.build().unwrap(),
            acks: Acks::Leader,
            expected_offset: None,
            order: None,
        };
        let (sender, answer) = oneshot::channel();
        let reply = ReplyTo::new(ReplyRoute::Call(sender), None);
        self.handle.append(append, reply);
        answer.blocking_recv().unwrap()
    }

    fn assert_refused(&self) {
        let refused = self.append().unwrap_err().to_string();
        assert!(refused.contains("storage is full"), "{refused}");
    }

    fn tiered(&self, end: u64) {
        self.shard.send(Message::Tiered {
            key: self.handle.key,
            tiered: Tiered {
                start: Offset::ZERO,
                end: Offset::new(end),
                eager: false,
            },
        });
    }

    fn view(&self) -> LogView {
        self.handle.published().unwrap().view.clone()
    }

    fn size_bytes(&self) -> u64 {
        self.handle.published().unwrap().size_bytes
    }

    fn until(&self, so: impl Fn(&LogView) -> bool) {
        let started = Instant::now();
        while !so(&self.view()) {
            let at = self.view().local_start();
            assert!(started.elapsed() < PATIENCE, "still at {at}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn config() -> ReplicaConfig {
    ReplicaConfig {
        durability: Durability::Fsync,
        message_bytes_max: 1 << 20,
        timestamp_ahead_ms_max: 3_600_000,
        min_in_sync: 1,
        background_sync_ms: 10_000,
        tiering: true,
        local_retention_ms: None,
        local_retention_bytes: None,
        log: LogConfig {
            segment_bytes: SEGMENT_BYTES,
            segment_ms: 86_400_000,
            retention_ms: None,
            retention_bytes: None,
            index_interval_bytes: 4096,
            producers_max: 1_000,
        },
    }
}

#[test]
fn on_a_full_disk_copies_of_what_is_in_the_tier_go_and_nothing_else_does() {
    let bench = Bench::start();
    for _ in 0..40 {
        bench.append().unwrap();
    }
    bench.storage.met_full();
    bench.assert_refused();
    // Several ticks.
    std::thread::sleep(Duration::from_millis(500));
    let start = bench.view().local_start();
    assert_eq!(start, Offset::ZERO, "nothing is in the tier");
    let before = bench.size_bytes();

    bench.tiered(20);
    bench.until(|view| view.local_start() > Offset::new(10));
    let local = bench.view().local_start();
    assert!(local <= Offset::new(20), "{local} is not in the tier");
    assert_eq!(bench.view().log_start(), Offset::ZERO);
    bench.until(|_| bench.size_bytes() < before);
    let (view, mut at) = (bench.view(), local);
    while at < Offset::new(40) {
        at = view.read(at, Offset::new(40), 1 << 20).unwrap().next_offset;
    }
    bench.assert_refused();

    // The next look at the disk finds room.
    bench.storage.check_space().unwrap();
    bench.append().unwrap();
    // With room again local retention counts, which here is without bound.
    bench.tiered(40);
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(bench.view().local_start(), local);
}

/// A disk on which directories are synced while a gate is open.
struct Gated {
    disk: Arc<dyn Disk>,
    gate: Arc<Gate>,
}

#[test]
fn what_readers_at_the_end_share_is_not_shown_once_it_is_deleted() {
    let bench = Bench::start();
    bench.append().unwrap();
    bench.append().unwrap();
    let partition = PartitionRef {
        topic: "default/orders".into(),
        partition: 0,
        handle: bench.handle.clone(),
    };
    let tails = TailCache::default();
    let read = |from| {
        let read = partition.read_now(Offset::new(from), 1 << 20, &tails);
        read.map(|(slice, _)| (slice.bytes.as_ptr(), slice.next_offset.get()))
    };
    let (first, next) = read(0).unwrap();
    assert_eq!(next, 2);
    assert_eq!(read(0), Some((first, 2)), "the same bytes, not read again");
    bench.append().unwrap();
    assert_eq!(read(0).map(|(_, next)| next), Some(3));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let deleted = bench.handle.delete_records(Some(Offset::new(1)));
    runtime.unwrap().block_on(deleted).unwrap();
    assert_eq!(read(0), None);
    assert_eq!(read(1).map(|(_, next)| next), Some(3));
}

#[derive(Default)]
struct Gate {
    open: RwLock<()>,
    /// Somebody has come to it.
    reached: AtomicBool,
}

impl Disk for Gated {
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(path, create)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.disk.exists(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>> {
        self.disk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.link(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.gate.reached.store(true, Ordering::SeqCst);
        let _open = self.gate.open.read().unwrap();
        self.disk.sync_dir(dir)
    }
    fn space(&self) -> io::Result<DiskSpace> {
        self.disk.space()
    }
}

fn gated() -> (Bench, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let bench = Bench::start_on(|disk| {
        let gate = gate.clone();
        Arc::new(Gated { disk, gate })
    });
    (bench, gate)
}

fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_partition_counts_as_closed_when_no_sync_is_about_its_files_any_more() {
    let (bench, gate) = gated();
    // The first record needs directories synced, for the epochs file before it.
    let closed = gate.open.write().unwrap();
    gate.reached.store(false, Ordering::SeqCst);
    std::thread::scope(|scope| {
        // Refused or not: nobody waits for it any more.
        scope.spawn(|| drop(bench.append()));
        wait_until("no directory is synced", || {
            gate.reached.load(Ordering::SeqCst)
        });
        let (done, mut told) = oneshot::channel();
        let key = bench.handle.key;
        bench.shard.send(Message::Close { key, done });
        std::thread::sleep(Duration::from_millis(200));
        assert!(
            told.try_recv().is_err(),
            "a sync of its directories is on the way"
        );
        drop(closed);
        told.blocking_recv().unwrap();
    });
    assert!(!bench.storage.has_failed());
}

#[test]
fn a_shard_stops_once_its_storage_has_failed_whatever_it_was_about_to_write() {
    let (bench, gate) = gated();
    bench.storage.set_shards(vec![bench.shard.clone()]);
    bench.append().unwrap();
    bench.append().unwrap();
    let closed = gate.open.write().unwrap();
    gate.reached.store(false, Ordering::SeqCst);
    let delete = |before| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let deleted = bench.handle.delete_records(Some(Offset::new(before)));
        runtime.unwrap().block_on(deleted).unwrap_err()
    };
    std::thread::scope(|scope| {
        // The first start is on its way to the disk, and the next one waits for it.
        scope.spawn(|| delete(1));
        wait_until("no directory is synced", || {
            gate.reached.load(Ordering::SeqCst)
        });
        scope.spawn(|| delete(2));
        std::thread::sleep(Duration::from_millis(200));
        scope.spawn(|| bench.storage.fail_with("planned"));
        wait_until("it has not failed", || bench.storage.has_failed());
        drop(closed);
        let (done, mut stopped) = oneshot::channel();
        bench.shard.send(Message::Stop { done });
        wait_until("it does not stop", || stopped.try_recv().is_ok());
    });
}
