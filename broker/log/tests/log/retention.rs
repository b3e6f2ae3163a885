//! What goes from the front of a log, and when.

use crate::common::{Bench, NOW, batch, config, offsets};
use headwater_log::{Log, LogError, Now};
use headwater_record::{LeaderEpoch, Offset};

const EPOCH: LeaderEpoch = LeaderEpoch(5);
const HOUR_MS: i64 = 3_600_000;

fn later(ms: i64) -> Now {
    Now {
        monotonic_ms: NOW.monotonic_ms + ms as u64,
        wall_ms: NOW.wall_ms + ms,
    }
}

/// A log of one batch of three records a minute.
fn filled(bench: &Bench, minutes: i64) -> Log {
    let mut log = bench.open(config());
    for minute in 0..minutes {
        log.append(&batch(3, minute), EPOCH, later(minute * 60_000))
            .unwrap();
    }
    bench.sync(&mut log);
    log
}

fn retain(log: &mut Log, start: Offset) {
    log.advance_start(start).unwrap().run().unwrap();
    while log.reclaim(1).unwrap() {}
}

#[test]
fn segments_go_when_their_last_record_is_old_enough() {
    let bench = Bench::new();
    let mut log = filled(&bench, 120);
    let mut config = config();
    config.retention_ms = Some(HOUR_MS as u64);
    log.set_config(config);
    assert_eq!(log.retention_plan(later(HOUR_MS), log.end()), None);
    // At two hours everything of the first hour may go, as far as whole segments reach.
    let start = log.retention_plan(later(2 * HOUR_MS), log.end()).unwrap();
    assert!(
        start <= Offset::new(180) && start > Offset::new(100),
        "{start}"
    );
    assert_eq!(
        log.retention_plan(later(2 * HOUR_MS), Offset::new(20)),
        None
    );
    retain(&mut log, start);
    assert_eq!(log.log_start(), start);
    assert_eq!(offsets(&log.view())[0], start.get());
}

#[test]
fn an_active_segment_that_is_wholly_expired_goes_as_well() {
    let bench = Bench::new();
    let mut log = filled(&bench, 10);
    let mut config = config();
    config.segment_ms = u64::MAX;
    config.retention_ms = Some(HOUR_MS as u64);
    log.set_config(config);
    assert_eq!(log.segment_count(), 1);
    assert!(!log.roll_if_due(later(HOUR_MS)).unwrap());
    assert!(log.roll_if_due(later(HOUR_MS + 600_000)).unwrap());
    assert!(
        !log.roll_if_due(later(HOUR_MS + 600_000)).unwrap(),
        "empty segments never roll"
    );
    let start = log.retention_plan(later(HOUR_MS + 600_000), log.end());
    assert_eq!(start, Some(log.end()));
    let end = log.end();
    retain(&mut log, end);
    assert_eq!((log.size_bytes(), log.segment_count()), (0, 1));
    assert_eq!(
        bench.append(&mut log, &batch(1, 0)).base_offset,
        Offset::new(30)
    );
}

#[test]
fn segments_go_while_enough_bytes_stay() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let mut config = config();
    config.retention_bytes = Some(9_000);
    log.set_config(config);
    let start = log.retention_plan(NOW, log.end()).unwrap();
    retain(&mut log, start);
    assert!(log.size_bytes() >= 9_000 && log.size_bytes() < 9_000 + 4_096);
    assert_eq!(log.retention_plan(NOW, log.end()), None);
}

#[test]
fn a_segment_rolls_when_its_first_record_is_old_enough() {
    let bench = Bench::new();
    let mut log = filled(&bench, 1);
    let age = config().segment_ms as i64;
    assert!(!log.roll_if_due(later(age - 1)).unwrap());
    log.append(&batch(1, 0), EPOCH, later(age)).unwrap();
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn nothing_is_unlinked_before_the_start_is_durable() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let (view, segments) = (log.view(), log.segment_count());
    let job = log.advance_start(Offset::new(500)).unwrap();
    assert!(!log.reclaim(10).unwrap());
    assert_eq!(log.segment_count(), segments);
    job.run().unwrap();
    assert!(log.reclaim(1).unwrap());
    while log.reclaim(1).unwrap() {}
    assert!(log.segment_count() < segments);
    // A reader with an older view is told, not crashed.
    let error = view.read(Offset::ZERO, Offset::MAX, 100).unwrap_err();
    assert!(
        matches!(error, LogError::OutOfRange { start, .. } if start == Offset::new(500)),
        "{error}"
    );
    assert_eq!(offsets(&log.view()).last(), Some(&599));
    drop(log);
    let (log, report) = bench.reopen(config(), false);
    assert_eq!(log.log_start(), Offset::new(500));
    assert_eq!(report.damaged, []);
}

#[test]
fn deleting_everything_leaves_no_bytes_and_keeps_the_offsets() {
    let bench = Bench::new();
    let mut log = filled(&bench, 50);
    retain(&mut log, Offset::new(150));
    assert_eq!((log.size_bytes(), log.segment_count()), (0, 1));
    let error = log.advance_start(Offset::new(151)).err().unwrap();
    assert!(matches!(error, LogError::OutOfRange { .. }), "{error}");
    drop(log);
    let (log, _) = bench.reopen(config(), false);
    assert_eq!(
        (log.log_start(), log.end()),
        (Offset::new(150), Offset::new(150))
    );
}
