//! Retries, fences and forgetting: what the producer state says of a batch.

use crate::common::{Bench, NOW, batch, batch_of, config};
use headwater_log::sim::Survival;
use headwater_log::{Log, Now, ProducerCheck};
use headwater_record::{Batch, LeaderEpoch, Offset, ProducerIdentity};
use std::path::PathBuf;

const MINUTE_MS: i64 = 60_000;

fn identity(id: i64, epoch: i16, base_sequence: i32) -> ProducerIdentity {
    ProducerIdentity {
        id,
        epoch,
        base_sequence,
    }
}

/// A batch of `records` whose bytes depend on all of these.
fn of(id: i64, epoch: i16, base_sequence: i32, records: usize) -> Batch {
    let salt = i64::from(base_sequence) % 1_000;
    batch_of(identity(id, epoch, base_sequence), records, salt)
}

fn append(log: &mut Log, batch: &Batch, now: Now) {
    assert_eq!(log.check_producer(batch, now), ProducerCheck::Fresh);
    log.append(batch, LeaderEpoch(5), now).unwrap();
}

#[test]
fn a_retry_is_told_from_other_bytes_under_the_same_sequence() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    append(&mut log, &batch(4, 0), NOW);
    append(&mut log, &of(1, 0, 0, 3), NOW);
    let ProducerCheck::Duplicate(appended) = log.check_producer(&of(1, 0, 0, 3), NOW) else {
        panic!("a retry is a duplicate");
    };
    assert_eq!(appended.base_offset, Offset::new(4));
    assert_eq!(appended.last_offset, Offset::new(6));
    assert_eq!(appended.append_time_ms, NOW.wall_ms);
    let other = batch_of(identity(1, 0, 0), 3, 99);
    let reused = ProducerCheck::SequenceReused { base_sequence: 0 };
    assert_eq!(log.check_producer(&other, NOW), reused);
}

#[test]
fn sequences_go_on_without_a_gap_and_wrap() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    assert_eq!(
        log.check_producer(&of(1, 0, 7, 1), NOW),
        ProducerCheck::Unknown
    );
    append(&mut log, &of(1, 0, 0, 3), NOW);
    let gap = ProducerCheck::OutOfOrder {
        expected: 3,
        got: 4,
    };
    assert_eq!(log.check_producer(&of(1, 0, 4, 1), NOW), gap);
    append(&mut log, &of(1, 0, 3, 1), NOW);
    // A leader takes any sequence of a batch that is in the log already.
    log.append(&of(2, 0, i32::MAX - 1, 3), LeaderEpoch(5), NOW)
        .unwrap();
    append(&mut log, &of(2, 0, 1, 2), NOW);
}

#[test]
fn an_older_epoch_is_fenced_and_a_newer_one_begins_at_zero() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    append(&mut log, &of(1, 3, 0, 2), NOW);
    let fenced = ProducerCheck::Fenced { current_epoch: 3 };
    assert_eq!(log.check_producer(&of(1, 2, 2, 1), NOW), fenced);
    let out_of_order = ProducerCheck::OutOfOrder {
        expected: 0,
        got: 2,
    };
    assert_eq!(log.check_producer(&of(1, 4, 2, 1), NOW), out_of_order);
    append(&mut log, &of(1, 4, 0, 1), NOW);
}

#[test]
fn the_last_sixteen_batches_are_remembered() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    for sequence in 0..17 {
        append(&mut log, &of(1, 0, sequence, 1), NOW);
    }
    let check = |sequence| log.check_producer(&of(1, 0, sequence, 1), NOW);
    assert!(matches!(check(1), ProducerCheck::Duplicate(_)));
    assert!(matches!(
        check(0),
        ProducerCheck::OutOfOrder { expected: 17, .. }
    ));
}

#[test]
fn only_a_producer_idle_for_fifteen_minutes_gives_way() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    let mut now = NOW;
    for id in 0..10 {
        append(&mut log, &of(id, 0, 0, 1), now);
        now.wall_ms += MINUTE_MS;
    }
    now.wall_ms = NOW.wall_ms + 15 * MINUTE_MS - 1;
    let full = ProducerCheck::TooManyProducers { max: 10 };
    assert_eq!(log.check_producer(&of(10, 0, 0, 1), now), full);
    now.wall_ms += 1;
    append(&mut log, &of(10, 0, 0, 1), now);
    assert_eq!(
        log.check_producer(&of(0, 0, 1, 1), now),
        ProducerCheck::Unknown
    );
    append(&mut log, &of(1, 0, 1, 1), now);
}

#[test]
fn the_state_is_the_same_after_a_stop_a_crash_and_a_truncation() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    let mut kept = Vec::new();
    for n in 0..200 {
        if n == 150 {
            kept = checks(&log);
        }
        append(&mut log, &of(i64::from(n) % 7, 0, n / 7, 1), NOW);
    }
    let whole = checks(&log);
    assert_ne!(whole, kept);
    bench.sync(&mut log);
    assert_eq!(checks(&bench.reopen(config(), false).0), whole);
    log.close().unwrap();
    let (mut log, _) = bench.reopen(config(), true);
    assert_eq!(checks(&log), whole);
    log.truncate(Offset::new(150)).unwrap();
    let files = bench.disk.files().into_iter().map(|(path, _)| path);
    let mut snapshots =
        files.filter(|path| path.extension().is_some_and(|kind| kind == "producers"));
    let later = |path: &PathBuf| path.file_stem().unwrap() > "00000000000000000150";
    assert_eq!(snapshots.find(later), None, "it tells of what was cut");
    assert_eq!(checks(&log), kept);
    assert_eq!(checks(&bench.reopen(config(), false).0), kept);
}

fn checks(log: &Log) -> Vec<ProducerCheck> {
    let batches = (0..7).flat_map(|id| (0..30).map(move |sequence| of(id, 0, sequence, 1)));
    batches
        .map(|batch| log.check_producer(&batch, NOW))
        .collect()
}

#[test]
fn producers_whose_batches_are_gone_are_known_after_a_power_loss() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    let sent: Vec<Batch> = (0..3).map(|id| of(10 + id, 0, 0, 3)).collect();
    sent.iter().for_each(|batch| append(&mut log, batch, NOW));
    bench.sync(&mut log);
    log.advance_start(log.end()).unwrap().run().unwrap();
    while log.reclaim(1).unwrap() {}
    let duplicates = |log: &Log| {
        let check = |batch: &&Batch| log.check_producer(batch, NOW);
        let is_duplicate = |check| matches!(check, ProducerCheck::Duplicate(_));
        sent.iter()
            .filter(|batch| is_duplicate(check(batch)))
            .count()
    };
    let after = |survival| {
        let disk = bench.disk.crash(survival);
        duplicates(&Bench::on(disk).reopen(config(), false).0)
    };
    let survivals = (0..20).map(Survival::Seeded);
    for survival in survivals.chain([Survival::Nothing]) {
        assert_eq!(after(survival), sent.len(), "{survival:?}");
    }
    // Snapshots of later segments do not take its place before they are synced.
    for at in 0..400 {
        append(&mut log, &of(1, 0, 3 * at, 3), NOW);
    }
    bench.sync(&mut log);
    assert!(log.segment_count() > 4);
    assert_eq!(after(Survival::Nothing), sent.len());
}
