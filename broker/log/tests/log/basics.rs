//! What a log does on a disk that behaves.

use crate::common::{Bench, KEY, batch, config, offsets};
use headwater_log::sim::{Fault, SimOp};
use headwater_log::{Log, LogError};
use headwater_record::{BatchHeader, Offset};

#[test]
fn batches_come_back_at_dense_offsets() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    let mut expected = 0;
    for n in 1..=50 {
        let appended = bench.append(&mut log, &batch(n % 5 + 1, n as i64));
        assert_eq!(appended.base_offset, Offset::new(expected));
        expected += n as u64 % 5 + 1;
    }
    assert_eq!(log.end(), Offset::new(expected));
    assert_eq!(log.synced_end(), Offset::ZERO);
    bench.sync(&mut log);
    assert_eq!(log.synced_end(), log.end());
    assert_eq!(offsets(&log.view()), (0..expected).collect::<Vec<_>>());
}

#[test]
fn a_log_closed_and_opened_goes_on() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    for n in 0..200 {
        bench.append(&mut log, &batch(3, n));
    }
    let end = log.end();
    assert!(log.segment_count() > 3);
    log.close().unwrap();
    for clean in [true, false] {
        let (mut log, report) = bench.reopen(config(), clean);
        assert_eq!(report.cut, None);
        assert!(report.damaged.is_empty() && !report.epochs_rebuilt && !report.mark_lost);
        assert_eq!(report.scanned_bytes > 0, !clean);
        assert_eq!(log.end(), end);
        assert_eq!(log.synced_end(), end);
        assert_eq!(offsets(&log.view()), (0..end.get()).collect::<Vec<_>>());
        let from = log.end();
        bench.begin(&mut log, 7);
        assert_eq!(bench.append(&mut log, &batch(2, 1)).base_offset, from);
        log.truncate(from).unwrap();
        log.close().unwrap();
    }
}

#[test]
fn a_state_file_that_the_mark_contradicts_is_not_believed() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    bench.append(&mut log, &batch(3, 0));
    log.close().unwrap();
    let path = Log::dir(KEY).join("state");
    let old = bench.disk.read(&path).unwrap();
    let (mut log, _) = bench.reopen(config(), true);
    bench.begin(&mut log, 6);
    bench.append(&mut log, &batch(2, 1));
    bench.sync(&mut log);
    let segment = Log::dir(KEY).join("00000000000000000000.log");
    let len = bench.disk.read(&segment).unwrap().len() as u64;
    assert!(
        bench.disk.read(&path).is_none(),
        "removed at the first change"
    );
    drop(log);
    // The removal was not synced, and the second batch is lost to damage: the old file fits what is there.
    bench.disk.put(&path, &old);
    let first = bench.env.disk.open(&segment, false).unwrap();
    let half = BatchHeader::decode(&bench.disk.read(&segment).unwrap());
    first.truncate(half.unwrap().size_bytes as u64).unwrap();
    assert!(first.len().unwrap() < len);
    let (log, report) = bench.reopen(config(), true);
    assert_eq!(log.end(), Offset::new(5));
    assert_eq!(report.damaged, [Offset::new(3)..Offset::new(5)]);
}

#[test]
fn an_offset_outside_the_log_is_out_of_range() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    bench.append(&mut log, &batch(3, 0));
    let asked = Offset::new(4);
    let error = log.view().read(asked, asked, 100).unwrap_err();
    assert!(matches!(error, LogError::OutOfRange { .. }), "{error}");
    let slice = log.view().read(Offset::new(3), Offset::MAX, 100).unwrap();
    assert!(slice.bytes.is_empty());
}

#[test]
fn what_memory_holds_is_read_at_once_and_all_else_is_left_to_who_may_wait() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    for n in 0..100 {
        bench.append(&mut log, &batch(3, n));
    }
    let view = log.view();
    let now = |from| view.read_now(Offset::new(from), Offset::MAX, 1 << 20);
    let slice = now(298).unwrap();
    let waited = view.read(Offset::new(298), Offset::MAX, 1 << 20).unwrap();
    assert_eq!(
        (slice.bytes, slice.next_offset),
        (waited.bytes, Offset::new(300))
    );
    assert!(now(0).is_none(), "the index of a sealed segment is a file");
    assert!(now(300).is_none() && now(301).is_none(), "nothing is there");
    bench.disk.inject(Fault::once(SimOp::Read));
    assert!(now(298).is_none(), "what fails is told by who may wait");
    assert!(now(298).is_some());
}

#[test]
fn a_view_from_before_a_truncation_says_so_instead_of_calling_it_damage() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    for n in 0..100 {
        bench.append(&mut log, &batch(3, n));
    }
    let view = log.view();
    log.truncate(Offset::new(30)).unwrap();
    bench.begin(&mut log, 6);
    for n in 0..3 {
        bench.append(&mut log, &batch(7, n));
    }
    for asked in [30, 31, 45, 200, 299] {
        let error = view.read(Offset::new(asked), Offset::MAX, 100).unwrap_err();
        assert!(
            matches!(error, LogError::OutOfRange { .. }),
            "{asked}: {error}"
        );
    }
    assert_eq!(log.damaged(), []);
    assert_eq!(offsets(&log.view()), (0..51).collect::<Vec<_>>());
}

#[test]
fn a_sync_of_what_was_cut_since_counts_for_nothing() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    for n in 0..10 {
        bench.append(&mut log, &batch(1, n));
    }
    let job = log.sync_job().unwrap();
    log.truncate(Offset::new(5)).unwrap();
    bench.begin(&mut log, 6);
    for n in 0..10 {
        bench.append(&mut log, &batch(1, n));
    }
    job.run().unwrap();
    log.synced(job.end);
    assert_eq!(log.synced_end(), Offset::ZERO);
    bench.sync(&mut log);
    assert_eq!(log.synced_end(), Offset::new(15));
}
