//! Appends to several partitions made durable by the journal: a crash after every call to the disk loses nothing that
//! was confirmed, and what a truncation cut never comes back.

use crate::common::{Bench, JOURNAL_LIMITS, NOW, batch_of_values, config, is_exhaustive, values};
use headwater_log::sim::{Fault, SimDisk, SimOp, Survival};
use headwater_log::{
    Journal, JournalLimits, Log, LogConfig, LogError, MarkState, MarkStore, PartitionKey, SyncJob,
};
use headwater_record::Offset;
use std::path::Path;
use std::sync::Arc;
use uuid::Uuid;

const PARTITIONS: usize = 3;

fn key(index: usize) -> PartitionKey {
    PartitionKey {
        topic: Uuid::from_u128(0x77),
        index: index as u32,
    }
}

/// What must be found after a crash: for each partition the values, of which so many are confirmed.
#[derive(Clone, Debug, Default)]
struct Promise {
    values: Vec<Vec<u64>>,
    confirmed: Vec<usize>,
    /// A truncation is under way: the log may end here, or where it ended before.
    cut_to: Option<(usize, usize)>,
}

struct History {
    bench: Bench,
    logs: Vec<Log>,
    promise: Promise,
    images: Vec<(SimDisk, Promise)>,
    next_value: u64,
    journaled: usize,
    checkpoints: usize,
}

impl History {
    fn begin() -> History {
        let bench = Bench::new();
        bench.disk.keep_images();
        let mut history = History {
            bench,
            logs: Vec::new(),
            promise: Promise {
                values: vec![Vec::new(); PARTITIONS],
                confirmed: vec![0; PARTITIONS],
                cut_to: None,
            },
            images: Vec::new(),
            next_value: 0,
            journaled: 0,
            checkpoints: 0,
        };
        for index in 0..PARTITIONS {
            let (mut log, _) =
                Log::open(&history.bench.env, key(index), config(), NOW, false).unwrap();
            history.bench.begin(&mut log, 5);
            history.logs.push(log);
        }
        history.keep();
        history
    }

    fn keep(&mut self) {
        let images = self.bench.disk.take_images();
        self.images
            .extend(images.into_iter().map(|disk| (disk, self.promise.clone())));
    }

    fn append(&mut self, index: usize, batches: usize) {
        for _ in 0..batches {
            let values: Vec<u64> = (0..3).map(|n| self.next_value + n).collect();
            self.next_value += 3;
            self.promise.values[index].extend(&values);
            self.bench
                .append(&mut self.logs[index], &batch_of_values(&values));
            self.keep();
        }
    }

    /// What a driver does with all that is unsynced.
    fn round(&mut self) {
        let jobs: Vec<SyncJob> = self.logs.iter_mut().filter_map(Log::sync_job).collect();
        let (small, large): (Vec<&SyncJob>, Vec<&SyncJob>) =
            jobs.iter().partition(|job| job.journal_bytes().is_some());
        large.iter().for_each(|job| job.run().unwrap());
        let env = self.bench.env.clone();
        if env.journal.write(0, &small).unwrap() {
            self.journaled += small.len();
        } else {
            small.iter().for_each(|job| job.run().unwrap());
        }
        self.keep();
        for job in &jobs {
            let index = job.key.index as usize;
            self.logs[index].synced(job.end);
            self.promise.confirmed[index] = job.end.get() as usize;
            env.marks.write(0, &[(job.key, job.end)]).unwrap();
        }
        self.keep();
        self.checkpoint(false);
    }

    /// One batch to each partition and a round, so many times.
    fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            (0..PARTITIONS).for_each(|index| self.append(index, 1));
            self.round();
        }
    }

    fn checkpoint(&mut self, long: bool) {
        let env = self.bench.env.clone();
        if let Some(checkpoint) = env.journal.begin_checkpoint(0, long) {
            checkpoint.sync(0, 2).unwrap();
            checkpoint.sync(1, 2).unwrap();
            checkpoint.finish(&env.marks).unwrap();
            self.checkpoints += 1;
            self.keep();
        }
    }

    fn truncate(&mut self, index: usize, end: usize) {
        let confirmed = &mut self.promise.confirmed[index];
        *confirmed = end.min(*confirmed);
        self.promise.cut_to = Some((index, end));
        self.logs[index].truncate(Offset::new(end as u64)).unwrap();
        self.keep();
        self.promise.cut_to = None;
        self.promise.values[index].truncate(end);
        let epoch = self.logs[index].last_epoch().map_or(5, |epoch| epoch.0) + 1;
        self.bench.begin(&mut self.logs[index], epoch);
        self.keep();
    }

    fn delete(&mut self, index: usize, start: u64) {
        // Reading begins at the first segment that is left.
        let job = self.logs[index].advance_start(Offset::new(start)).unwrap();
        job.run().unwrap();
        while self.logs[index].reclaim(1).unwrap() {}
        self.keep();
    }

    fn stop(&mut self) {
        for log in std::mem::take(&mut self.logs) {
            log.close().unwrap();
        }
        let env = &self.bench.env;
        env.journal.close(0, &env.marks).unwrap();
        env.marks.sync(0).unwrap();
        self.keep();
        for (confirmed, values) in self.promise.confirmed.iter_mut().zip(&self.promise.values) {
            *confirmed = values.len();
        }
    }
}

fn history() -> History {
    let mut history = History::begin();
    for round in 0..30 {
        for index in 0..PARTITIONS {
            // Every now and then one is idle, and one has more than a segment takes.
            if (round + index) % 4 != 0 {
                let batches = match (round, index) {
                    (5, 1) => 40,
                    // More than one frame takes.
                    _ if round % 5 == 2 => 6,
                    _ => 1 + index,
                };
                history.append(index, batches);
            }
        }
        history.round();
        if round == 4 {
            let end = history.promise.values[2].len() - 6;
            history.truncate(2, end);
        }
        if round == 8 {
            history.delete(1, 100);
        }
        if round == 10 {
            history.checkpoint(true);
        }
    }
    history.append(0, 1);
    history
}

/// What is read of each partition after this crash, offsets and values.
fn recover(disk: SimDisk, promise: &Promise, what: &str) -> Vec<Vec<(u64, u64)>> {
    let bench = Bench::on(disk);
    assert_eq!(bench.replayed.frames_lost, 0, "{what}");
    let mut all = Vec::new();
    for (index, expected) in promise.values.iter().enumerate() {
        let (log, report) = Log::open(&bench.env, key(index), config(), NOW, false).unwrap();
        assert_eq!(report.damaged, [], "{what}, partition {index}");
        let (end, confirmed) = (log.end().get() as usize, promise.confirmed[index]);
        assert!(
            confirmed <= end,
            "{what}: {index} ends at {end} before {confirmed}"
        );
        let may_end = match promise.cut_to {
            Some((cut, to)) if cut == index => expected.len().max(to),
            _ => expected.len(),
        };
        assert!(
            end <= may_end,
            "{what}: {index} ends at {end}, not {may_end}"
        );
        let mut found = Vec::new();
        let (view, mut from) = (log.view(), log.local_start());
        while from < view.end() {
            let slice = view.read(from, Offset::MAX, 1 << 20).unwrap();
            found.extend(values(&slice.bytes));
            from = slice.next_offset;
        }
        for (offset, value) in &found {
            assert_eq!(
                expected[*offset as usize], *value,
                "{what}: {index} at {offset}"
            );
        }
        all.push(found);
    }
    all
}

#[test]
fn nothing_confirmed_is_lost_and_nothing_cut_comes_back_wherever_it_crashes() {
    let mut history = history();
    history.stop();
    assert!(
        history.journaled > 20,
        "{} runs went through the journal",
        history.journaled
    );
    assert!(
        history.checkpoints > 3,
        "{} checkpoints",
        history.checkpoints
    );
    let step = if is_exhaustive() { 1 } else { 7 };
    let mut replayed = 0;
    for (at, (disk, promise)) in history.images.iter().enumerate().step_by(step) {
        let survivals = [
            Survival::Nothing,
            Survival::Everything,
            Survival::Seeded(at as u64),
        ];
        for survival in survivals {
            let what = format!("image {at}, {survival:?}");
            let crashed = disk.crash(survival);
            let first = recover(crashed.snapshot(), promise, &what);
            replayed += Bench::on(crashed.snapshot()).replayed.frames;
            // And again in the middle of the replay: a second one does the same.
            let second = crashed.snapshot();
            second.keep_images();
            let shared: Arc<dyn headwater_log::Disk> = Arc::new(second.clone());
            let marks = MarkStore::open(Arc::clone(&shared), 1).unwrap();
            Journal::open(shared, &marks, 1, JOURNAL_LIMITS, 8).unwrap();
            let images = second.take_images();
            let pick = if is_exhaustive() { usize::MAX } else { 4 };
            for (n, image) in images.iter().rev().take(pick).enumerate() {
                let what = format!("{what}, call {n} from the end of the replay");
                let after = recover(image.crash(survival), promise, &what);
                assert_eq!(after.len(), first.len());
            }
        }
    }
    assert!(replayed > 0, "some crash left something to the journal");
}

#[test]
fn a_clean_stop_leaves_the_journal_nothing_to_do() {
    let mut history = history();
    history.stop();
    let disk = history.bench.disk.crash(Survival::Nothing);
    assert_eq!(Bench::on(disk).replayed, Default::default());
}

#[test]
fn a_frame_that_is_damaged_is_missed_and_costs_what_it_alone_held() {
    let mut history = History::begin();
    history.rounds(6);
    let path = Path::new("journal/shard-0-0");
    // The first round went to the files, as their names were new. Of the frames, the second.
    let disk = history.bench.disk.crash(Survival::Nothing);
    let bytes = disk.read(path).unwrap();
    let frames: Vec<usize> = (64..bytes.len() - 64)
        .step_by(64)
        .filter(|at| bytes.get(at + 4..at + 7) == Some(b"HWJ"))
        .collect();
    assert_eq!(frames.len(), 5);
    disk.corrupt(path, frames[1] as u64 + 100, 3);
    let bench = Bench::on(disk);
    assert_eq!((bench.replayed.frames, bench.replayed.frames_lost), (4, 1));
    for index in 0..PARTITIONS {
        let (log, report) = Log::open(&bench.env, key(index), config(), NOW, false).unwrap();
        assert_eq!(log.end().get(), 18);
        assert_eq!(report.damaged, [Offset::new(6)..Offset::new(9)], "{index}");
    }
}

#[test]
fn a_block_whose_first_head_is_damaged_is_read_by_its_second() {
    let mut history = History::begin();
    history.rounds(3);
    let disk = history.bench.disk.crash(Survival::Nothing);
    disk.corrupt(Path::new("journal/shard-0-0"), 9, 1);
    disk.corrupt(Path::new("journal/shard-0-1"), 9, 1);
    let found = recover(disk, &history.promise, "both first heads");
    assert!(found.iter().all(|values| values.len() == 9));
}

#[test]
fn records_that_look_like_frames_of_a_journal_are_not_taken_for_any() {
    let mut history = History::begin();
    history.rounds(2);
    let disk = history.bench.disk.crash(Survival::Nothing);
    let path = Path::new("journal/shard-0-0");
    let mut bytes = disk.read(path).unwrap();
    // A frame of another journal, behind a torn one, that says that nothing before it is needed.
    let frame = bytes[64..128].to_vec();
    bytes[2048..2112].copy_from_slice(&frame);
    bytes[2048 + 16..2048 + 24].copy_from_slice(&u64::MAX.to_le_bytes());
    bytes[2048 + 32] ^= 1;
    let crc = crc32c::crc32c(&bytes[2048 + 4..2048 + 64]);
    bytes[2048..2052].copy_from_slice(&crc.to_le_bytes());
    disk.put(path, &bytes);
    let found = recover(disk, &history.promise, "a frame of somebody else");
    assert!(found.iter().all(|values| values.len() == 6));
}

#[test]
fn a_journal_that_cannot_sync_takes_no_more_work() {
    let mut history = History::begin();
    history.rounds(2);
    let fault = history
        .bench
        .disk
        .inject(Fault::once(SimOp::Sync).on_path("journal"));
    history.append(0, 1);
    let job = history.logs[0].sync_job().unwrap();
    let env = &history.bench.env;
    assert!(matches!(
        env.journal.write(0, &[&job]),
        Err(LogError::Io { .. })
    ));
    assert_eq!(history.bench.disk.struck(fault), 1);
    history.bench.disk.clear_faults();
    assert!(matches!(
        env.journal.write(0, &[&job]),
        Err(LogError::Failed)
    ));
    assert!(env.journal.begin_checkpoint(0, true).is_none());
    assert!(matches!(
        env.journal.close(0, &env.marks),
        Err(LogError::Failed)
    ));
}

#[test]
fn a_block_is_not_used_again_before_its_checkpoint_is_done() {
    let mut history = History::begin();
    let env = history.bench.env.clone();
    history.rounds(1);
    let mut checkpoint = None;
    let mut written = 0;
    loop {
        history.append(0, 1);
        let job = history.logs[0].sync_job().unwrap();
        let is_written = env.journal.write(0, &[&job]).unwrap();
        if !is_written {
            job.run().unwrap();
        }
        history.logs[0].synced(job.end);
        env.marks.write(0, &[(job.key, job.end)]).unwrap();
        checkpoint = checkpoint.or_else(|| env.journal.begin_checkpoint(0, false));
        written += 1;
        if !is_written {
            break;
        }
    }
    assert!(written > 20, "both blocks are full, after {written}");
    let disk = history.bench.disk.crash(Survival::Nothing);
    assert_eq!(Bench::on(disk).replayed.frames, written - 1);

    let checkpoint = checkpoint.unwrap();
    checkpoint.sync(0, 1).unwrap();
    checkpoint.finish(&env.marks).unwrap();
    let marked = Bench::on(history.bench.disk.crash(Survival::Nothing));
    history.append(0, 1);
    let job = history.logs[0].sync_job().unwrap();
    assert!(
        env.journal.write(0, &[&job]).unwrap(),
        "there is room again"
    );
    let disk = history.bench.disk.crash(Survival::Nothing);
    let bench = Bench::on(disk);
    assert!(bench.replayed.frames < written && bench.replayed.frames_lost == 0);
    assert!(marked.replayed.frames_lost == 0);
}

#[test]
fn a_checkpoint_syncs_the_marks_of_what_it_frees() {
    let mut history = History::begin();
    for _ in 0..3 {
        history.append(0, 1);
        history.round();
    }
    history.checkpoint(true);
    // The next frame says that those before it are not needed.
    history.append(1, 1);
    history.round();
    history.append(1, 1);
    history.round();
    let bench = Bench::on(history.bench.disk.crash(Survival::Nothing));
    let synced_end = Offset::new(9);
    assert_eq!(bench.env.marks.get(key(0)), MarkState::Valid { synced_end });
    assert_eq!(bench.replayed.frames, 1);
}

#[test]
fn a_checkpoint_that_is_given_up_fails_the_journal() {
    let mut history = History::begin();
    for _ in 0..2 {
        history.append(0, 1);
        history.round();
    }
    let env = &history.bench.env;
    drop(env.journal.begin_checkpoint(0, true).unwrap());
    history.logs[0].truncate(Offset::new(3)).unwrap_err();
    assert!(matches!(
        env.journal.close(0, &env.marks),
        Err(LogError::Failed)
    ));
}

#[test]
fn a_disk_without_room_for_a_journal_syncs_files() {
    let mut history = History::begin();
    history.rounds(1);
    history.bench.disk.set_capacity(8 * 4096);
    history.append(0, 1);
    let job = history.logs[0].sync_job().unwrap();
    assert!(!history.bench.env.journal.write(0, &[&job]).unwrap());
    job.run().unwrap();
    history.bench.disk.set_capacity(1 << 30);
    history.logs[0].synced(job.end);
    history.append(0, 1);
    let job = history.logs[0].sync_job().unwrap();
    assert!(history.bench.env.journal.write(0, &[&job]).unwrap());
}

#[test]
fn a_journal_of_a_newer_release_is_refused() {
    let disk = SimDisk::new(3);
    let mut head = headwater_log::frame(*b"HWJB", &9_u64.to_le_bytes());
    head[4] = 2;
    head.resize(4096, 0);
    disk.put(Path::new("journal/shard-0-0"), &head);
    let shared: Arc<dyn headwater_log::Disk> = Arc::new(disk);
    let marks = MarkStore::open(Arc::clone(&shared), 1).unwrap();
    let error = Journal::open(shared, &marks, 1, JOURNAL_LIMITS, 8)
        .err()
        .unwrap();
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn a_segment_that_begins_while_a_sync_runs_has_its_name_synced_before_the_journal_holds_any_of_it()
{
    let bench = Bench::new();
    let small = LogConfig {
        segment_bytes: 1,
        ..config()
    };
    let mut log = bench.open(small.clone());
    bench.append(&mut log, &batch_of_values(&[0]));
    for confirmed in 1..6 {
        let job = log.sync_job().unwrap();
        let journaled =
            job.journal_bytes().is_some() && bench.env.journal.write(0, &[&job]).unwrap();
        if !journaled {
            job.run().unwrap();
        }
        // It begins a segment, after the sync and before it is known.
        bench.append(&mut log, &batch_of_values(&[confirmed]));
        log.synced(job.end);
        bench.env.marks.write(0, &[(job.key, job.end)]).unwrap();
        let crashed = Bench::on(bench.disk.crash(Survival::Nothing));
        let (log, report) = crashed.reopen(small.clone(), false);
        assert_eq!(report.damaged, [], "{confirmed}");
        assert!(log.end() >= Offset::new(confirmed), "{confirmed}");
    }
}

#[test]
fn what_a_checkpoint_freed_does_not_bring_back_what_is_cut_after_it() {
    let mut history = History::begin();
    for _ in 0..3 {
        history.append(0, 1);
        history.round();
    }
    // No frame on the medium says yet that the frames before it are not needed.
    history.checkpoint(true);
    history.truncate(0, 3);
    let disk = history.bench.disk.crash(Survival::Nothing);
    let found = recover(disk, &history.promise, "cut behind a checkpoint");
    assert_eq!(found[0], [(0, 0), (1, 1), (2, 2)]);
}

#[test]
fn no_more_segments_wait_for_a_checkpoint_than_may() {
    let bench = Bench::new();
    let begin = |index| {
        let opened = Log::open(&bench.env, key(index), config(), NOW, false);
        let (mut log, _) = opened.unwrap();
        bench.begin(&mut log, 5);
        // Names come first.
        bench.append(&mut log, &batch_of_values(&[0]));
        bench.sync(&mut log);
        bench.append(&mut log, &batch_of_values(&[1]));
        log
    };
    let mut logs: Vec<Log> = (0..5).map(begin).collect();
    let jobs: Vec<SyncJob> = logs.iter_mut().filter_map(Log::sync_job).collect();
    let jobs: Vec<&SyncJob> = jobs.iter().collect();
    let disk: Arc<dyn headwater_log::Disk> = Arc::new(bench.disk.clone());
    let limits = JournalLimits {
        block_bytes: 1 << 16,
        files_max: 4,
    };
    let (journal, _) = Journal::open(disk, &bench.env.marks, 1, limits, 9).unwrap();
    let journal = Arc::new(journal);
    assert!(!journal.write(0, &jobs).unwrap(), "one more than may");
    assert!(journal.write(0, &jobs[..1]).unwrap());
    assert!(journal.begin_checkpoint(0, false).is_none());
    assert!(journal.write(0, &jobs[..2]).unwrap());
    let checkpoint = journal.begin_checkpoint(0, false).unwrap();
    // Those that are being synced do not wait any more.
    assert!(journal.write(0, &jobs[2..]).unwrap());
    checkpoint.sync(0, 1).unwrap();
    checkpoint.finish(&bench.env.marks).unwrap();
}
