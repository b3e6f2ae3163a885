//! Every stop between the steps of a drop: job, unlinking, and damage that comes on top.

use crate::common::{Bench, KEY, NOW, batch_of_values, config, offsets};
use headwater_log::sim::{SimDisk, Survival};
use headwater_log::{Log, LogError};
use headwater_record::{LeaderEpoch, Offset};
use std::path::PathBuf;

const EPOCH: LeaderEpoch = LeaderEpoch(5);

fn filled(bench: &Bench) -> Log {
    let mut log = bench.open(config());
    for n in 0..200 {
        let batch = batch_of_values(&[3 * n, 3 * n + 1, 3 * n + 2]);
        log.append(&batch, EPOCH, NOW).unwrap();
    }
    bench.sync(&mut log);
    log
}

fn survivals() -> impl Iterator<Item = Survival> {
    [Survival::Nothing, Survival::Everything]
        .into_iter()
        .chain((0..20).map(Survival::Seeded))
}

/// The segments of a log, sealed and active, by base offset.
fn bases(log: &Log) -> Vec<Offset> {
    let sealed = log.sealed(Offset::MAX);
    let mut bases: Vec<Offset> = sealed.iter().map(|segment| segment.base_offset).collect();
    bases.push(sealed.last().unwrap().end_offset);
    bases
}

fn file(base: Offset, extension: &str) -> PathBuf {
    Log::dir(KEY).join(format!("{:020}.{extension}", base.get()))
}

/// Opens what a crash left; everything from the local start on is there, and nothing is called damage.
fn check(disk: SimDisk, context: &str) -> Log {
    let bench = Bench::on(disk);
    let (mut log, report) = bench.reopen(config(), false);
    assert_eq!(report.damaged, [], "{context}");
    assert_eq!(report.cut, None, "{context}");
    assert!(!report.start_lost && !report.epochs_rebuilt, "{context}");
    assert_eq!((log.log_start().get(), log.end().get()), (0, 600));
    let local_start = log.local_start().get();
    let expected: Vec<u64> = (local_start..600).collect();
    assert_eq!(offsets(&log.view()), expected, "{context}");
    for asked in [0, local_start / 2, local_start.saturating_sub(1)] {
        let read = log.view().read(Offset::new(asked), Offset::MAX, 1);
        match read {
            Ok(_) => assert_eq!(asked, local_start, "{context}"),
            Err(LogError::NotLocal { .. }) => assert!(asked < local_start),
            Err(error) => panic!("{context}: offset {asked}: {error}"),
        }
    }
    // The drop goes on from where it was.
    log.drop_local(Offset::MAX).unwrap().run().unwrap();
    while log.reclaim(1).unwrap() {}
    assert_eq!(log.segment_count(), 1, "{context}");
    drop(log);
    bench.reopen(config(), false).0
}

#[test]
fn a_crash_at_any_step_of_a_drop_leaves_everything_from_the_local_start_on() {
    let bench = Bench::new();
    let mut log = filled(&bench);
    let to = bases(&log)[3];
    bench.disk.keep_images();
    let job = log.drop_local(to).unwrap();
    while log.reclaim(1).unwrap() {}
    assert!(bench.disk.take_images().is_empty(), "nothing yet");
    job.run().unwrap();
    let until_durable = bench.disk.take_images();
    while log.reclaim(1).unwrap() {}
    let unlinking = bench.disk.take_images();
    assert!(until_durable.len() >= 5 && unlinking.len() >= 9);
    let durable_at = until_durable.len() - 1;
    for (at, image) in until_durable.into_iter().chain(unlinking).enumerate() {
        for survival in survivals() {
            let context = format!("image {at}, {survival:?}");
            let crashed = image.crash(survival);
            let (log, _) = Bench::on(crashed.snapshot()).reopen(config(), false);
            match at >= durable_at {
                true => assert_eq!(log.local_start(), to, "{context}"),
                false => assert!([Offset::ZERO, to].contains(&log.local_start()), "{context}"),
            }
            check(crashed, &context);
        }
    }
}

#[test]
fn a_start_that_a_killed_process_has_not_synced_is_synced_before_anything_below_is_unlinked() {
    let bench = Bench::new();
    let mut log = filled(&bench);
    let to = bases(&log)[3];
    bench.disk.keep_images();
    log.drop_local(to).unwrap().run().unwrap();
    for (at, image) in bench.disk.take_images().into_iter().enumerate() {
        // The process is killed; the next one finds what the page cache has.
        let bench = Bench::on(image);
        let (mut log, _) = bench.reopen(config(), false);
        while log.reclaim(1).unwrap() {}
        drop(log);
        for survival in survivals() {
            let context = format!("image {at}, {survival:?}");
            check(bench.disk.crash(survival), &context);
        }
    }
}

#[test]
fn whatever_is_left_of_dropped_segments_is_no_damage() {
    let bench = Bench::new();
    let mut log = filled(&bench);
    let bases = bases(&log);
    log.drop_local(bases[3]).unwrap().run().unwrap();
    drop(log);
    // Of three segments with three files each, any may be gone: no unlinking is synced.
    for left in 0..1_u32 << 9 {
        let disk = bench.disk.snapshot();
        let env = Bench::on(disk.clone()).env;
        for number in (0..9).filter(|number| left & (1 << number) == 0) {
            let extension = ["log", "index", "timeindex"][number % 3];
            let _absent = env.disk.remove_file(&file(bases[number / 3], extension));
        }
        let log = check(disk, &format!("left {left:b}"));
        assert_eq!(log.local_start(), *bases.last().unwrap());
    }
}

#[test]
fn damage_below_the_local_start_is_no_damage_and_above_it_is() {
    let bench = Bench::new();
    let mut log = filled(&bench);
    let bases = bases(&log);
    let within = bases[2].plus(5);
    log.drop_local(within).unwrap().run().unwrap();
    log.reclaim(1).unwrap();
    drop(log);
    let open = |disk: &SimDisk| {
        // Without its index a segment is read, and what is wrong with it found.
        let env = Bench::on(disk.clone()).env;
        for base in &bases {
            let _absent = env.disk.remove_file(&file(*base, "index"));
        }
        let (log, report) = Bench::on(disk.clone()).reopen(config(), false);
        assert_eq!(log.local_start(), within);
        assert_eq!(log.damaged(), report.damaged);
        report.damaged
    };
    for base in [bases[1], bases[2]] {
        let disk = bench.disk.snapshot();
        disk.corrupt(&file(base, "log"), 70, 2);
        assert_eq!(open(&disk), [], "segment {base}");
    }
    let disk = bench.disk.snapshot();
    disk.truncate(&file(bases[1], "log"), 33);
    assert_eq!(open(&disk), []);
    let disk = bench.disk.snapshot();
    disk.corrupt(&file(bases[3], "log"), 70, 2);
    assert_eq!(open(&disk), [bases[3]..bases[3].plus(3)]);
    // The batch that holds the local start.
    let disk = bench.disk.snapshot();
    let batch_bytes = batch_bytes(&disk, bases[2]);
    disk.corrupt(&file(bases[2], "log"), batch_bytes + 70, 2);
    assert_eq!(open(&disk), [within..bases[2].plus(6)]);
    // All of its segment.
    let disk = bench.disk.snapshot();
    Bench::on(disk.clone())
        .env
        .disk
        .remove_file(&file(bases[2], "log"))
        .unwrap();
    assert_eq!(open(&disk), [within..bases[3]]);
}

/// Size of a segment's first batch.
fn batch_bytes(disk: &SimDisk, base: Offset) -> u64 {
    let bytes = disk.read(&file(base, "log")).unwrap();
    let header = headwater_record::BatchHeader::decode(&bytes).unwrap();
    header.size_bytes as u64
}

#[test]
fn a_log_whose_local_part_is_lost_ends_at_the_local_start_or_the_mark() {
    let bench = Bench::new();
    let mut log = filled(&bench);
    let bases = bases(&log);
    let last = *bases.last().unwrap();
    log.drop_local(last).unwrap().run().unwrap();
    while log.reclaim(1).unwrap() {}
    drop(log);
    let disk = bench.disk.snapshot();
    let lost = Bench::on(disk.clone());
    lost.env.disk.remove_file(&file(last, "log")).unwrap();
    let (log, report) = lost.reopen(config(), false);
    assert_eq!(report.damaged, [last..Offset::new(600)]);
    assert_eq!((log.local_start(), log.end().get()), (last, 600));
    // Without the mark the local start still says how far the log reached.
    lost.env.marks.remove(KEY).unwrap();
    lost.env
        .disk
        .remove_file(&file(Offset::new(600), "log"))
        .unwrap();
    let (log, report) = lost.reopen(config(), false);
    assert_eq!(report.damaged, []);
    assert_eq!((log.local_start(), log.end()), (last, last));
    assert_eq!(log.log_start(), Offset::ZERO);
}

#[test]
fn with_the_mark_lost_a_log_still_reaches_its_local_start() {
    let bench = Bench::new();
    let mut log = filled(&bench);
    let bases = bases(&log);
    log.drop_local(bases[3]).unwrap().run().unwrap();
    drop(log);
    let mut files = bench.disk.files().into_iter();
    let (marks, bytes) = files.rfind(|(path, _)| path.starts_with("marks")).unwrap();
    // Nothing at all is left here, or only what was dropped and not unlinked.
    for left in [0, 1] {
        let disk = bench.disk.snapshot();
        let env = Bench::on(disk.clone()).env;
        for base in &bases[left..] {
            env.disk.remove_file(&file(*base, "log")).unwrap();
        }
        for slot in (0..bytes.len() as u64).step_by(64) {
            disk.corrupt(&marks, slot + 20, 0);
        }
        let bench = Bench::on(disk);
        let (mut log, report) = bench.reopen(config(), false);
        assert!(report.mark_lost);
        assert_eq!(report.damaged, [], "{left} left");
        assert_eq!(
            (log.log_start(), log.local_start()),
            (Offset::ZERO, bases[3])
        );
        assert_eq!(log.end(), bases[3], "{left} left");
        bench.begin(&mut log, 6);
        bench.append(&mut log, &batch_of_values(&[1]));
        assert_eq!(offsets(&log.view()), [bases[3].get()]);
    }
}
