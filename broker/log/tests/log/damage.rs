//! A bit flip and a cut at every byte of the last 64 KiB of every file: below the sync mark exactly the damaged range is
//! lost, above it the log ends early and says so, and what is derived changes no answer.
//!
//! `HEADWATER_EXHAUSTIVE=1` takes every byte; otherwise a sample.

use crate::common::{
    Bench, KEY, NOW, batch_of, batch_of_values, config, is_exhaustive, offsets, values,
};
use headwater_log::planted::{self, Bug};
use headwater_log::sim::{SimDisk, Survival};
use headwater_log::{Log, LogConfig, LogError, Now, ProducerCheck, RecoveryReport};
use headwater_record::{
    Batch, BatchBuilder, BatchHeader, Compression, LeaderEpoch, Offset, ProducerIdentity, Record,
};
use std::ops::Range;
use std::path::{Path, PathBuf};

const TAIL_BYTES: u64 = 64 * 1024;

/// When the damaged log is opened: after the last append.
const AFTER: Now = Now {
    monotonic_ms: 1_000,
    wall_ms: NOW.wall_ms + 820 * 20_000,
};

/// One batch of the undamaged log.
#[derive(Clone, Debug)]
struct Placed {
    file: PathBuf,
    bytes: Range<u64>,
    offsets: Range<u64>,
}

struct Scene {
    disk: SimDisk,
    config: LogConfig,
    batches: Vec<Placed>,
    /// By offset.
    values: Vec<u64>,
    log_start: u64,
    /// The synced mark.
    mark: u64,
    end: u64,
}

#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(u64, u8),
    Cut(u64),
}

/// What can be read: values by offset, and lost ranges.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    values: Vec<(u64, u64)>,
    lost: Vec<Range<u64>>,
}

impl Scene {
    /// Four segments, the last one larger than 64 KiB; three epochs, two producers, a log start within a batch.
    /// `tail`: the last ten batches are written and not synced.
    fn new(tail: bool, closed: bool) -> Scene {
        let bench = Bench::new();
        let mut settings = config();
        settings.segment_bytes = 6_000;
        settings.segment_ms = u64::MAX;
        settings.index_interval_bytes = 1_000;
        let mut log = bench.open(settings.clone());
        let mut all = Vec::new();
        let mut now = NOW;
        let mut sequence = 0;
        let mut mark = 0;
        for n in 0..820_u64 {
            now.wall_ms += 20_000;
            now.monotonic_ms += 20_000;
            if n == 100 || n == 400 {
                bench.begin(&mut log, 6 + n as u32);
            }
            if n == 200 {
                settings.segment_bytes = 1 << 20;
                log.set_config(settings.clone());
            }
            if n == 810 {
                bench.sync(&mut log);
                mark = log.end().get();
            }
            let values: Vec<u64> = (0..n % 4 + 1).map(|i| n * 10 + i).collect();
            let batch = match n % 3 {
                0 => {
                    let producer = ProducerIdentity {
                        id: 77,
                        epoch: 2,
                        base_sequence: sequence,
                    };
                    sequence += values.len() as i32;
                    batch_of_values(&values).produced_by(producer)
                }
                _ => batch_of_values(&values),
            };
            let epoch = log.last_epoch().unwrap();
            log.append(&batch, epoch, now).unwrap();
            all.extend(values);
        }
        let log_start = 5;
        log.advance_start(Offset::new(log_start))
            .unwrap()
            .run()
            .unwrap();
        if !tail {
            bench.sync(&mut log);
            mark = log.end().get();
        }
        let end = log.end().get();
        if closed {
            log.close().unwrap();
        }
        let disk = bench.disk.crash(Survival::Everything);
        Scene {
            batches: placed(&disk),
            disk,
            config: settings,
            values: all,
            log_start,
            mark,
            end,
        }
    }

    fn files(&self, wanted: impl Fn(&str) -> bool) -> Vec<(PathBuf, u64)> {
        let files = self.disk.files().into_iter();
        files
            .map(|(path, bytes)| (path, bytes.len() as u64))
            .filter(|(path, _)| wanted(path.to_str().unwrap()))
            .collect()
    }

    /// Runs `check` for a flip and a cut at every byte of the file's tail, or at a sample.
    fn damage_each(&self, file: &Path, len: u64, sample: u64, check: impl Fn(&SimDisk, Damage)) {
        let first = len.saturating_sub(TAIL_BYTES);
        let stride = match is_exhaustive() {
            true => 1,
            // Odd, so that every bit has its turn.
            false => ((len - first) / sample) | 1,
        };
        for byte in (first..len).step_by(stride as usize) {
            let flip = Damage::Flip(byte, (byte / stride % 8) as u8);
            for damage in [flip, Damage::Cut(byte)] {
                let disk = self.disk.snapshot();
                match damage {
                    Damage::Flip(byte, bit) => disk.corrupt(file, byte, bit),
                    Damage::Cut(len) => disk.truncate(file, len),
                }
                check(&disk, damage);
            }
        }
    }

    fn open(&self, disk: &SimDisk, clean: bool) -> (Log, RecoveryReport) {
        Log::open(
            &Bench::on(disk.clone()).env,
            KEY,
            self.config.clone(),
            AFTER,
            clean,
        )
        .unwrap()
    }

    /// What is to be read when these ranges are lost and the log ends at `end`.
    fn expected(&self, lost: &[Range<u64>], end: u64) -> Reading {
        let offsets = self.log_start..end;
        let is_lost = |offset: &u64| lost.iter().any(|range| range.contains(offset));
        let alive = offsets.filter(|offset| !is_lost(offset));
        Reading {
            values: alive
                .map(|offset| (offset, self.values[offset as usize]))
                .collect(),
            lost: lost.to_vec(),
        }
    }

    fn hit(&self, file: &Path, byte: u64) -> &Placed {
        let mut batches = self.batches.iter();
        batches
            .find(|batch| batch.file == *file && batch.bytes.contains(&byte))
            .unwrap()
    }

    /// Base offset of the segment behind `file`.
    fn next_base(&self, file: &Path) -> Option<u64> {
        let mut later = self.batches.iter().filter(|batch| batch.file > *file);
        later.next().map(|batch| batch.offsets.start)
    }
}

fn placed(disk: &SimDisk) -> Vec<Placed> {
    let mut batches = Vec::new();
    for (file, bytes) in disk.files() {
        if file.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let mut at = 0;
        while at < bytes.len() {
            let header = BatchHeader::decode(&bytes[at..]).unwrap();
            batches.push(Placed {
                file: file.clone(),
                bytes: at as u64..(at + header.size_bytes) as u64,
                offsets: header.base_offset.get()..header.end_offset().get(),
            });
            at += header.size_bytes;
        }
    }
    batches
}

/// Reads everything, over what is lost.
fn read_all(log: &Log) -> Reading {
    let view = log.view();
    let mut reading = Reading {
        values: Vec::new(),
        lost: Vec::new(),
    };
    let mut from = view.log_start();
    while from < view.end() {
        match view.read(from, Offset::MAX, 8_000) {
            Ok(slice) => {
                assert!(slice.next_offset > from);
                let read = values(&slice.bytes).into_iter();
                reading
                    .values
                    .extend(read.filter(|&(offset, _)| offset >= from.get()));
                from = slice.next_offset;
            }
            Err(LogError::DataLoss { range }) => {
                assert!(range.contains(&from), "asked for {from}, lost {range:?}");
                reading.lost.push(range.start.get()..range.end.get());
                from = range.end;
            }
            Err(error) => panic!("{error}"),
        }
    }
    reading
}

fn is_segment(path: &str) -> bool {
    path.ends_with(".log")
}

#[test]
fn damage_below_the_mark_loses_exactly_what_it_hit() {
    let scene = Scene::new(false, true);
    for (file, len) in scene.files(is_segment) {
        scene.damage_each(&file, len, 25, |disk, damage| {
            for clean in [true, false] {
                let context = format!("{} {damage:?} clean {clean}", file.display());
                let (log, report) = scene.open(disk, clean);
                let lost = match damage {
                    Damage::Flip(byte, _) => scene.hit(&file, byte).offsets.clone(),
                    Damage::Cut(len) => {
                        let end = scene.next_base(&file).unwrap_or(scene.end);
                        scene.hit(&file, len).offsets.start..end
                    }
                };
                let lost = lost.start.max(scene.log_start)..lost.end;
                let lost: Vec<_> = (lost.start < lost.end)
                    .then_some(lost)
                    .into_iter()
                    .collect();
                assert_eq!(report.cut, None, "{context}");
                assert_eq!(
                    read_all(&log),
                    scene.expected(&lost, scene.end),
                    "{context}"
                );
                assert_eq!(log.end().get(), scene.end, "{context}");
                let damaged = log.damaged().into_iter();
                let damaged: Vec<_> = damaged.map(|r| r.start.get()..r.end.get()).collect();
                assert_eq!(damaged, lost, "{context}");
            }
        });
    }
}

#[test]
fn damage_above_the_mark_ends_the_log_with_a_report() {
    let scene = Scene::new(true, false);
    let (file, len) = scene.files(is_segment).pop().unwrap();
    let mark = scene
        .batches
        .iter()
        .find(|batch| batch.offsets.start == scene.mark)
        .unwrap();
    let above = mark.bytes.start;
    let stride = if is_exhaustive() { 1 } else { 7 };
    for byte in (above..len).step_by(stride) {
        for damage in [Damage::Flip(byte, (byte % 8) as u8), Damage::Cut(byte)] {
            let disk = scene.disk.snapshot();
            let (kept, cut) = match damage {
                Damage::Flip(byte, bit) => {
                    disk.corrupt(&file, byte, bit);
                    let hit = scene.hit(&file, byte);
                    (hit.offsets.start, len - hit.bytes.start)
                }
                Damage::Cut(byte) => {
                    disk.truncate(&file, byte);
                    let hit = scene.hit(&file, byte);
                    (hit.offsets.start, byte - hit.bytes.start)
                }
            };
            let (log, report) = scene.open(&disk, false);
            assert_eq!(read_all(&log), scene.expected(&[], kept), "{damage:?}");
            let reported = report.cut.map_or(0, |cut| {
                assert_eq!(cut.offset.get(), kept);
                assert!(cut.nonzero_bytes > 0 || cut.bytes < 8);
                cut.bytes
            });
            assert_eq!(reported, cut, "{damage:?}");
            assert_eq!(report.damaged, []);
        }
    }
}

#[test]
fn what_recovery_kept_counts_as_synced_from_then_on() {
    let scene = Scene::new(true, false);
    let bench = Bench::on(scene.disk.snapshot());
    let opened = Log::open(&bench.env, KEY, scene.config.clone(), AFTER, false);
    assert_eq!(opened.unwrap().0.synced_end().get(), scene.end);
    bench.env.marks.sync(bench.env.marks.shard_of(KEY)).unwrap();
    let hit = &scene.batches[815];
    assert!(hit.offsets.start > scene.mark);
    bench.disk.corrupt(&hit.file, hit.bytes.start + 40, 1);
    let (log, report) = scene.open(&bench.disk, false);
    assert_eq!(report.cut, None);
    assert_eq!(
        read_all(&log),
        scene.expected(std::slice::from_ref(&hit.offsets), scene.end)
    );
}

#[test]
fn a_batch_within_a_record_is_not_taken_for_one_of_ours() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    let epoch = log.last_epoch().unwrap();
    bench.append(&mut log, &batch_of_values(&[1]));
    // Just what would be looked for if the batch around it were damaged.
    let inner = batch_of_values(&[666]).stamped(Offset::new(2), epoch);
    let mut builder = BatchBuilder::new(Compression::None);
    for value in [b"2".as_slice(), inner.bytes(), b"4"] {
        let record = Record {
            value: Some(value.to_vec().into()),
            ..Record::default()
        };
        builder.push(&record).unwrap();
    }
    bench.append(&mut log, &builder.build().unwrap());
    bench.append(&mut log, &batch_of_values(&[5, 6]));
    bench.sync(&mut log);
    let outer = placed(&bench.disk).swap_remove(1);
    for byte in outer.bytes.start..outer.bytes.start + 17 {
        let disk = bench.disk.snapshot();
        disk.corrupt(&outer.file, byte, 2);
        let (log, _) = Log::open(&Bench::on(disk).env, KEY, config(), NOW, false).unwrap();
        let reading = read_all(&log);
        assert_eq!(reading.values, [(0, 1), (4, 5), (5, 6)], "byte {byte}");
        assert_eq!(
            reading.lost.as_slice(),
            std::slice::from_ref(&outer.offsets)
        );
    }
}

#[test]
fn zeros_behind_the_last_batch_are_trimmed() {
    let scene = Scene::new(false, false);
    let (file, len) = scene.files(is_segment).pop().unwrap();
    for zeros in [1, 16, 61, 5_000] {
        let disk = scene.disk.snapshot();
        disk.truncate(&file, len + zeros);
        let (log, report) = scene.open(&disk, false);
        let cut = report.cut.unwrap();
        assert_eq!((cut.bytes, cut.nonzero_bytes), (zeros, 0));
        assert_eq!(read_all(&log), scene.expected(&[], scene.end));
        assert_eq!(disk.read(&file).unwrap().len() as u64, len);
    }
}

#[test]
fn a_damaged_index_changes_no_answer() {
    let scene = Scene::new(false, true);
    let times = |log: &Log| -> Vec<Option<u64>> {
        let view = log.view();
        let find = |ms| view.find_time(ms, Offset::MAX, 1 << 20).unwrap();
        (0..8_300)
            .step_by(900)
            .map(|ms| find(ms).map(|(offset, _)| offset.get()))
            .collect()
    };
    let expected_times = times(&scene.open(&scene.disk, true).0);
    for (file, len) in scene.files(|path| path.ends_with("index")) {
        scene.damage_each(&file, len, 6, |disk, damage| {
            for clean in [true, false] {
                let context = format!("{} {damage:?} clean {clean}", file.display());
                let (log, report) = scene.open(disk, clean);
                assert_eq!(times(&log), expected_times, "{context}");
                assert_eq!(read_all(&log), scene.expected(&[], scene.end), "{context}");
                assert_eq!(report.damaged, [], "{context}");
            }
        });
    }
}

#[test]
fn an_index_that_leads_astray_is_not_believed() {
    const HEAD_BYTES: usize = 52;
    let scene = Scene::new(false, true);
    for (file, len) in scene.files(|path| path.ends_with(".index")) {
        let mut bytes = scene.disk.read(&file).unwrap();
        for entry in bytes[HEAD_BYTES..].chunks_mut(12) {
            // One byte further than the batch, with a sound checksum.
            let position = u32::from_le_bytes(entry[4..8].try_into().unwrap()) + 1;
            entry[4..8].copy_from_slice(&position.to_le_bytes());
            let crc = crc32c::crc32c(&entry[..8]);
            entry[8..].copy_from_slice(&crc.to_le_bytes());
        }
        assert!(len as usize > HEAD_BYTES);
        let disk = scene.disk.snapshot();
        disk.put(&file, &bytes);
        let (log, _) = scene.open(&disk, true);
        assert_eq!(read_all(&log), scene.expected(&[], scene.end));
        assert_eq!(log.damaged(), []);
    }
}

#[test]
fn a_damaged_epochs_file_is_made_anew() {
    let scene = Scene::new(false, true);
    let files = scene.files(|path| path.ends_with("epochs"));
    assert_eq!(files.len(), 1);
    for (file, len) in files {
        scene.damage_each(&file, len, 30, |disk, damage| {
            for clean in [true, false] {
                let disk = &disk.snapshot();
                let (log, report) = scene.open(disk, clean);
                assert!(report.epochs_rebuilt, "{damage:?}");
                assert_eq!(read_all(&log), scene.expected(&[], scene.end), "{damage:?}");
                let first_end = scene.batches[100].offsets.start;
                assert_eq!(
                    log.epoch_end(LeaderEpoch(5)),
                    Some((LeaderEpoch(5), Offset::new(first_end)))
                );
                assert_eq!(log.last_epoch(), Some(LeaderEpoch(406)));
                let (_, report) = scene.open(disk, false);
                assert!(!report.epochs_rebuilt, "once is enough");
            }
        });
    }
}

#[test]
fn a_damaged_mark_file_loses_nothing() {
    let scene = Scene::new(true, false);
    for (file, len) in scene.files(|path| path.starts_with("marks")) {
        scene.damage_each(&file, len, 40, |disk, damage| {
            let (log, _) = scene.open(disk, false);
            assert_eq!(read_all(&log), scene.expected(&[], scene.end), "{damage:?}");
        });
    }
}

#[test]
fn with_the_mark_lost_damage_is_not_cut_away() {
    let scene = Scene::new(true, false);
    let (marks, len) = scene.files(|path| path.starts_with("marks")).pop().unwrap();
    let (file, _) = scene.files(is_segment).pop().unwrap();
    let hit = scene.batches[500].clone();
    assert_eq!(hit.file, file);
    let disk = scene.disk.snapshot();
    for slot in (0..len).step_by(64) {
        disk.corrupt(&marks, slot + 20, 0);
    }
    disk.corrupt(&file, hit.bytes.start + 30, 3);
    let (log, report) = scene.open(&disk, false);
    assert!(report.mark_lost);
    assert_eq!(report.cut, None);
    let lost = [hit.offsets.clone()];
    assert_eq!(read_all(&log), scene.expected(&lost, scene.end));
}

#[test]
fn a_damaged_producer_snapshot_changes_no_answer() {
    let scene = Scene::new(false, true);
    let checks = |log: &Log| -> Vec<ProducerCheck> {
        let identity = |base_sequence| ProducerIdentity {
            id: 77,
            epoch: 2,
            base_sequence,
        };
        let sequences = (0..800).step_by(9);
        sequences
            .map(|at| log.check_producer(&batch_of(identity(at), 1, 0), NOW))
            .collect()
    };
    let expected = checks(&scene.open(&scene.disk, true).0);
    let files = scene.files(|path| path.ends_with(".producers"));
    assert!(files.len() >= 2);
    for (file, len) in files {
        scene.damage_each(&file, len, 12, |disk, damage| {
            for clean in [true, false] {
                let (log, _) = scene.open(disk, clean);
                assert_eq!(checks(&log), expected, "{} {damage:?}", file.display());
                assert_eq!(read_all(&log), scene.expected(&[], scene.end));
            }
        });
    }
}

#[test]
fn damaged_append_times_make_retention_later_at_most() {
    let scene = Scene::new(false, true);
    let plan = |log: &mut Log, kept_ms: u64| {
        let mut config = scene.config.clone();
        config.retention_ms = Some(kept_ms);
        log.set_config(config);
        log.retention_plan(AFTER, log.end())
    };
    let kept = [
        100_000, 12_500_000, 13_500_000, 14_500_000, 15_500_000, 20_000_000,
    ];
    let mut whole = scene.open(&scene.disk, true).0;
    let expected: Vec<_> = kept.iter().map(|&ms| plan(&mut whole, ms)).collect();
    assert!(
        expected.is_sorted_by(|a, b| a >= b) && expected[1] > expected[3],
        "{expected:?}"
    );
    for (file, len) in scene.files(|path| path.ends_with("append-times")) {
        scene.damage_each(&file, len, 40, |disk, damage| {
            for clean in [true, false] {
                let (mut log, _) = scene.open(disk, clean);
                for (&kept_ms, &expected) in kept.iter().zip(&expected) {
                    let planned = plan(&mut log, kept_ms);
                    assert!(
                        planned <= expected,
                        "{damage:?} clean {clean}: {planned:?} > {expected:?} at {kept_ms}"
                    );
                }
                assert_eq!(read_all(&log), scene.expected(&[], scene.end));
            }
        });
    }
}

#[test]
fn a_damaged_log_start_is_found_in_its_copy_or_reported() {
    let scene = Scene::new(false, true);
    let files = scene.files(|path| path.ends_with("start"));
    assert_eq!(files.len(), 1);
    for (file, len) in files {
        scene.damage_each(&file, len, 48, |disk, damage| {
            let (log, report) = scene.open(disk, false);
            let copies = match damage {
                Damage::Flip(..) => 1,
                Damage::Cut(byte) => byte / (len / 2),
            };
            let start = if copies > 0 { scene.log_start } else { 0 };
            assert_eq!(log.log_start().get(), start, "{damage:?}");
            assert_eq!(report.start_lost, copies == 0, "{damage:?}");
            let (log, _) = scene.open(disk, true);
            assert!(log.log_start().get() <= scene.log_start);
        });
    }
}

#[test]
fn a_damaged_state_file_changes_no_answer() {
    let scene = Scene::new(false, true);
    let files = scene.files(|path| path.ends_with("state"));
    assert_eq!(files.len(), 1);
    for (file, len) in files {
        scene.damage_each(&file, len, 40, |disk, damage| {
            let (log, report) = scene.open(disk, true);
            assert_eq!(read_all(&log), scene.expected(&[], scene.end), "{damage:?}");
            assert!(report.scanned_bytes > 0, "the damaged file was believed");
        });
    }
}

#[test]
fn a_missing_segment_is_lost_and_nothing_else() {
    let scene = Scene::new(false, true);
    for (file, _) in scene.files(is_segment) {
        let disk = scene.disk.snapshot();
        headwater_log::Disk::remove_file(&disk, &file).unwrap();
        for clean in [true, false] {
            let (log, report) = scene.open(&disk, clean);
            let base = scene
                .batches
                .iter()
                .find(|batch| batch.file == file)
                .unwrap();
            let end = scene.next_base(&file).unwrap_or(scene.end);
            let lost = base.offsets.start.max(scene.log_start)..end;
            let expected = Offset::new(lost.start)..Offset::new(lost.end);
            assert_eq!(report.damaged, [expected], "{}", file.display());
            assert_eq!(read_all(&log), scene.expected(&[lost], scene.end));
        }
    }
}

/// One batch with a record for each value length.
fn batch_of_lengths(lengths: &[usize]) -> Batch {
    let mut builder = BatchBuilder::new(Compression::None);
    for &length in lengths {
        let record = Record {
            value: Some(vec![b'v'; length].into()),
            timestamp_ms: 7,
            ..Default::default()
        };
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn an_index_of_other_batches_of_the_same_length_is_not_believed() {
    let two = batch_of_lengths(&[300, 300]);
    let same_length =
        |&length: &usize| batch_of_lengths(&[length]).bytes().len() == two.bytes().len();
    let one = batch_of_lengths(&[(300..900).find(same_length).unwrap()]);
    let small = LogConfig {
        segment_bytes: 700,
        ..config()
    };
    let written = |first: &Batch| {
        let bench = Bench::new();
        let mut log = bench.open(small.clone());
        bench.append(&mut log, first);
        bench.append(&mut log, &two);
        bench.sync(&mut log);
        bench.disk.clone()
    };
    // What a crash brings back after a cut: the index that the segment had when it held another batch.
    let (old, disk) = (written(&one), written(&two));
    for extension in ["index", "timeindex"] {
        let path = Log::dir(KEY).join(format!("{:020}.{extension}", 0));
        disk.put(&path, &old.read(&path).unwrap());
    }
    planted::plant(Some(Bug::TrustOldIndex));
    let (_, believed) = Bench::on(disk.snapshot()).reopen(small.clone(), false);
    planted::plant(None);
    assert_ne!(believed.damaged, [], "the index tells of fewer records");
    let bench = Bench::on(disk);
    let (log, report) = bench.reopen(small, false);
    assert_eq!(report.damaged, []);
    assert_eq!(offsets(&log.view()), [0, 1, 2, 3]);
}
