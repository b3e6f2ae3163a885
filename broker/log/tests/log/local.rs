//! Where a log starts on this disk, and what stays there of what is in the tier.

use crate::common::{Bench, KEY, NOW, batch, batch_of_values, config, offsets, values};
use headwater_log::sim::{Fault, SimOp, Survival};
use headwater_log::{LocalRetention, Log, LogError, Now};
use headwater_record::{LeaderEpoch, Offset};

const EPOCH: LeaderEpoch = LeaderEpoch(5);
const MINUTE_MS: i64 = 60_000;

fn later(ms: i64) -> Now {
    Now {
        monotonic_ms: NOW.monotonic_ms + ms as u64,
        wall_ms: NOW.wall_ms + ms,
    }
}

/// A log of one batch of three records a minute, each with its offset as value and timestamp.
fn filled(bench: &Bench, minutes: u64) -> Log {
    let mut log = bench.open(config());
    append(bench, &mut log, minutes);
    log
}

fn append(bench: &Bench, log: &mut Log, minutes: u64) {
    let epoch = log.last_epoch().unwrap();
    for minute in 0..minutes {
        let end = log.end().get();
        let batch = batch_of_values(&[end, end + 1, end + 2]);
        let now = later(minute as i64 * MINUTE_MS);
        log.append(&batch, epoch, now).unwrap();
    }
    bench.sync(log);
}

fn drop_local(log: &mut Log, to: Offset) {
    log.drop_local(to).unwrap().run().unwrap();
    while log.reclaim(1).unwrap() {}
}

fn ends(log: &Log) -> Vec<Offset> {
    let sealed = log.sealed(Offset::MAX).into_iter();
    sealed.map(|segment| segment.end_offset).collect()
}

fn not_local(result: Result<impl Sized, LogError>) -> (u64, u64) {
    match result.err() {
        Some(LogError::NotLocal { asked, local_start }) => (asked.get(), local_start.get()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_dropped_is_not_local_and_no_loss() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let (size, end) = (log.size_bytes(), log.end());
    let local_start = ends(&log)[1];
    drop_local(&mut log, local_start);
    assert_eq!(
        (log.log_start(), log.local_start(), log.end()),
        (Offset::ZERO, local_start, end)
    );
    assert!(log.size_bytes() < size);
    assert_eq!(log.damaged(), []);
    let view = log.view();
    assert_eq!(view.local_start(), local_start);
    let asked = Offset::new(local_start.get() - 1);
    for asked in [Offset::ZERO, asked] {
        let read = view.read(asked, Offset::MAX, 100);
        assert_eq!(not_local(read), (asked.get(), local_start.get()));
    }
    let expected: Vec<u64> = (local_start.get()..end.get()).collect();
    assert_eq!(offsets(&view), expected);
    let above = view.read(end.plus(1), Offset::MAX, 100).unwrap_err();
    assert!(
        matches!(above, LogError::OutOfRange { start, .. } if start == Offset::ZERO),
        "{above}"
    );
    drop(log);
    for clean in [false, true] {
        let (log, report) = bench.reopen(config(), clean);
        assert_eq!((&report.damaged[..], report.cut), (&[][..], None));
        assert!(!report.start_lost);
        assert_eq!(
            (log.log_start(), log.local_start(), log.end()),
            (Offset::ZERO, local_start, end)
        );
        assert_eq!(offsets(&log.view()), expected);
        log.close().unwrap();
    }
}

#[test]
fn nothing_is_unlinked_before_the_local_start_is_durable() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let segments = log.segment_count();
    let job = log.drop_local(log.end()).unwrap();
    assert!(!log.reclaim(10).unwrap());
    assert_eq!(log.segment_count(), segments);
    job.run().unwrap();
    assert!(log.reclaim(1).unwrap());
    while log.reclaim(1).unwrap() {}
    assert_eq!(log.segment_count(), 1);
}

#[test]
fn a_job_that_failed_lets_nothing_go() {
    for op in [SimOp::Write, SimOp::Sync, SimOp::Rename, SimOp::SyncDir] {
        let bench = Bench::new();
        let mut log = filled(&bench, 200);
        let segments = log.segment_count();
        let job = log.drop_local(log.end()).unwrap();
        let fault = bench.disk.inject(Fault::once(op));
        job.run().unwrap_err();
        assert_eq!(bench.disk.struck(fault), 1, "{op:?}");
        assert!(!log.reclaim(10).unwrap());
        assert_eq!(log.segment_count(), segments, "{op:?}");
    }
}

#[test]
fn the_local_start_never_goes_back_nor_into_the_active_segment() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let (first, last) = (ends(&log)[0], *ends(&log).last().unwrap());
    let job = log.drop_local(log.end()).unwrap();
    assert_eq!(
        (job.log_start, job.local_start),
        (Offset::ZERO, last),
        "the active segment stays"
    );
    let _unchanged = log.drop_local(first).unwrap();
    assert_eq!(log.local_start(), last);
    let _moved = log.advance_start(first).unwrap();
    assert_eq!((log.log_start(), log.local_start()), (first, last));
    let end = log.end();
    let _moved = log.advance_start(end).unwrap();
    assert_eq!((log.log_start(), log.local_start()), (end, end));
}

#[test]
fn of_each_start_the_later_one_counts_in_whatever_order_the_jobs_run() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let (first, last) = (ends(&log)[0], *ends(&log).last().unwrap());
    let jobs = [
        log.drop_local(first).unwrap(),
        log.advance_start(Offset::new(20)).unwrap(),
        log.drop_local(last).unwrap(),
    ];
    let path = Log::dir(KEY).join("start");
    jobs[2].run().unwrap();
    let written = bench.disk.read(&path).unwrap();
    assert_eq!(written.len(), 64);
    jobs[0].run().unwrap();
    jobs[1].run().unwrap();
    assert_eq!(bench.disk.read(&path), Some(written));
    let (log, _) = bench.reopen(config(), false);
    assert_eq!(
        (log.log_start(), log.local_start()),
        (Offset::new(20), last)
    );
}

#[test]
fn the_start_file_of_a_log_that_is_not_tiered_is_as_it_was_before_the_tier() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    log.advance_start(Offset::new(500)).unwrap().run().unwrap();
    let path = Log::dir(KEY).join("start");
    assert_eq!(bench.disk.read(&path).unwrap().len(), 48);
    let (log, _) = bench.reopen(config(), false);
    assert_eq!(
        (log.log_start(), log.local_start()),
        (Offset::new(500), Offset::new(500))
    );
}

#[test]
fn a_view_held_over_a_drop_reads_what_is_there_and_says_what_is_not() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let (view, end) = (log.view(), log.end());
    let local_start = *ends(&log).last().unwrap();
    let job = log.drop_local(local_start).unwrap();
    assert_eq!(offsets(&view), (0..end.get()).collect::<Vec<_>>());
    job.run().unwrap();
    assert_eq!(offsets(&view), (0..end.get()).collect::<Vec<_>>());
    while log.reclaim(1).unwrap() {}
    for asked in [0, 7, local_start.get() - 1] {
        let read = view.read(Offset::new(asked), Offset::MAX, 100);
        assert_eq!(not_local(read), (asked, local_start.get()));
    }
    let slice = view.read(local_start, Offset::MAX, 1).unwrap();
    assert_eq!(values(&slice.bytes)[0].0, local_start.get());
    let found = view.find_time(0, Offset::MAX, 1 << 20);
    assert_eq!(not_local(found).1, local_start.get());
    assert_eq!(log.damaged(), [], "what was dropped is no damage");
    // Deleted as well: then it is out of range.
    log.advance_start(Offset::new(9)).unwrap().run().unwrap();
    let error = view.read(Offset::new(8), Offset::MAX, 100).unwrap_err();
    assert!(
        matches!(error, LogError::OutOfRange { start, .. } if start == Offset::new(9)),
        "{error}"
    );
    let read = view.read(Offset::new(9), Offset::MAX, 100);
    assert_eq!(not_local(read), (9, local_start.get()));
}

#[test]
fn a_search_by_time_looks_at_the_local_part_only() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let within = ends(&log)[0].plus(4);
    drop_local(&mut log, within);
    let found = log.view().find_time(3, Offset::MAX, 1 << 20).unwrap();
    assert_eq!(found, Some((within, within.get() as i64)));
    let found = log.view().find_time(300, Offset::MAX, 1 << 20).unwrap();
    assert_eq!(found, Some((Offset::new(300), 300)));
    let found = log.view().find_time(3, within, 1 << 20).unwrap();
    assert_eq!(found, None);
}

#[test]
fn a_lost_file_that_holds_the_local_start_is_damage_and_not_elsewhere() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let (base, end) = (ends(&log)[0], ends(&log)[1]);
    let local_start = base.plus(4);
    drop_local(&mut log, local_start);
    let path = Log::dir(KEY).join(format!("{:020}.log", base.get()));
    bench.env.files.forget(&path);
    bench.env.disk.remove_file(&path).unwrap();
    let view = log.view();
    let error = view.read(local_start, Offset::MAX, 100).unwrap_err();
    assert!(
        matches!(&error, LogError::DataLoss { range } if *range == (local_start..end)),
        "{error}"
    );
    let error = view.find_time(0, Offset::MAX, 1 << 20).unwrap_err();
    assert!(matches!(error, LogError::DataLoss { .. }), "{error}");
    assert_eq!(log.damaged(), [local_start..end]);
    drop_local(&mut log, end);
    assert_eq!(log.damaged(), [], "the tier has a sound copy");
}

#[test]
fn a_truncation_below_the_local_start_is_out_of_range() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let local_start = *ends(&log).last().unwrap();
    drop_local(&mut log, local_start);
    let error = log
        .truncate(Offset::new(local_start.get() - 1))
        .unwrap_err();
    assert!(
        matches!(error, LogError::OutOfRange { start, .. } if start == Offset::ZERO),
        "{error}"
    );
    log.truncate(local_start).unwrap();
    assert_eq!(log.end(), local_start);
    bench.begin(&mut log, 6);
    append(&bench, &mut log, 2);
    assert_eq!(
        offsets(&log.view()),
        (local_start.get()..local_start.get() + 6).collect::<Vec<_>>()
    );
}

#[test]
fn a_drop_whose_job_never_ran_is_taken_back_by_a_stop() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let end = log.end();
    let _never_run = log.drop_local(end).unwrap();
    log.close().unwrap();
    for clean in [true, false] {
        let (mut log, report) = bench.reopen(config(), clean);
        assert_eq!(report.damaged, []);
        assert_eq!(log.local_start(), Offset::ZERO);
        assert_eq!(offsets(&log.view()), (0..end.get()).collect::<Vec<_>>());
        assert!(!log.reclaim(usize::MAX).unwrap());
        log.close().unwrap();
    }
}

#[test]
fn a_log_start_that_a_stop_kept_but_no_job_made_durable_takes_nothing_with_it() {
    for moved_before in [0, 4] {
        let bench = Bench::new();
        let mut log = filled(&bench, 200);
        let segments = log.segment_count();
        let before = log.advance_start(Offset::new(moved_before)).unwrap();
        before.run().unwrap();
        let _never_run = log.advance_start(Offset::new(500)).unwrap();
        log.close().unwrap();
        let (mut log, _) = bench.reopen(config(), true);
        assert_eq!(log.log_start(), Offset::new(500));
        assert!(!log.reclaim(usize::MAX).unwrap());
        assert_eq!(log.segment_count(), segments);
        // Another job makes it durable.
        let start = log.log_start();
        log.advance_start(start).unwrap().run().unwrap();
        while log.reclaim(1).unwrap() {}
        assert!(log.segment_count() < segments);
        drop(log);
        let (log, report) = bench.reopen(config(), false);
        assert_eq!((log.log_start(), report.damaged), (start, Vec::new()));
    }
}

#[test]
fn epochs_of_what_is_in_the_tier_are_remembered() {
    let bench = Bench::new();
    let mut log = filled(&bench, 60);
    for epoch in 6..9 {
        bench.begin(&mut log, epoch);
        append(&bench, &mut log, 60);
    }
    let last = *ends(&log).last().unwrap();
    drop_local(&mut log, last);
    bench.begin(&mut log, 9);
    drop(log);
    let (mut log, _) = bench.reopen(config(), false);
    let end_of = |log: &Log, epoch: u32| log.epoch_end(LeaderEpoch(epoch));
    assert_eq!(end_of(&log, 5), Some((EPOCH, Offset::new(180))));
    log.advance_start(Offset::new(180)).unwrap().run().unwrap();
    bench.begin(&mut log, 10);
    assert_eq!(end_of(&log, 5), None, "what was deleted is forgotten");
    assert_eq!(end_of(&log, 6), Some((LeaderEpoch(6), Offset::new(360))));
}

#[test]
fn a_lost_log_start_is_set_back_to_what_the_tier_knows() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    log.advance_start(Offset::new(30)).unwrap().run().unwrap();
    let local_start = *ends(&log).last().unwrap();
    drop_local(&mut log, local_start);
    drop(log);
    let path = Log::dir(KEY).join("start");
    for copy in [0, 1] {
        bench.disk.corrupt(&path, copy * 32 + 20, 3);
    }
    for restore in [false, true] {
        let (mut log, report) = bench.reopen(config(), false);
        assert!(report.start_lost);
        assert_eq!(
            (log.log_start(), log.local_start()),
            (local_start, local_start)
        );
        if restore {
            let job = log.restore_start(Offset::new(30)).unwrap();
            assert_eq!(log.log_start(), Offset::new(30));
            let read = log.view().read(Offset::new(30), Offset::MAX, 100);
            assert_eq!(not_local(read), (30, local_start.get()));
            job.run().unwrap();
        }
    }
    let (mut log, report) = bench.reopen(config(), false);
    assert!(!report.start_lost);
    assert_eq!(
        (log.log_start(), log.local_start()),
        (Offset::new(30), local_start)
    );
    let error = log.restore_start(Offset::new(29)).err().unwrap();
    assert!(matches!(error, LogError::OutOfRange { .. }), "{error}");
}

#[test]
fn retention_counts_what_is_on_this_disk() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let mut settings = config();
    settings.retention_bytes = Some(9_000);
    log.set_config(settings);
    let plan = log.retention_plan(NOW, log.end()).unwrap();
    let _not_reclaimed = log.drop_local(plan).unwrap();
    assert_eq!(log.retention_plan(NOW, log.end()), None);
    let job = log.drop_local(*ends(&log).last().unwrap()).unwrap();
    job.run().unwrap();
    assert_eq!(log.retention_plan(NOW, log.end()), None);
}

#[test]
fn local_retention_takes_what_is_tiered_and_old_enough_or_more_than_is_to_stay() {
    let bench = Bench::new();
    let mut log = filled(&bench, 200);
    let (ends, end) = (ends(&log), log.end());
    let first_two: u64 = log.sealed(Offset::MAX)[..2]
        .iter()
        .map(|segment| segment.size_bytes)
        .sum();
    let hour = later(60 * MINUTE_MS);
    let aged = |minutes: i64| later(ends[1].get() as i64 / 3 * MINUTE_MS + minutes * MINUTE_MS);
    let keep = |ms: Option<u64>, bytes: Option<u64>| LocalRetention { ms, bytes };
    let hour_ms = Some(60 * MINUTE_MS as u64);
    let rest = Some(log.size_bytes() - first_two);
    let check = |log: &Log, now, tiered_end: Offset, keep, plan: Option<Offset>| {
        let found = log.local_plan(now, tiered_end, keep);
        assert_eq!(found, plan, "{now:?} {tiered_end} {keep:?}");
    };
    let all = *ends.last().unwrap();
    check(&log, hour, end, keep(None, None), None);
    check(&log, NOW, end, keep(Some(0), None), Some(all));
    check(&log, NOW, end, keep(None, Some(0)), Some(all));
    check(&log, NOW, Offset::ZERO, keep(Some(0), Some(0)), None);
    check(&log, NOW, ends[0], keep(Some(0), None), Some(ends[0]));
    let within = Offset::new(ends[1].get() - 1);
    check(&log, NOW, within, keep(Some(0), None), Some(ends[0]));
    check(&log, aged(60), end, keep(hour_ms, None), Some(ends[1]));
    check(&log, aged(60), ends[0], keep(hour_ms, None), Some(ends[0]));
    check(&log, aged(58), end, keep(hour_ms, None), Some(ends[0]));
    check(&log, NOW, end, keep(hour_ms, None), None);
    check(&log, NOW, end, keep(None, rest), Some(ends[1]));
    check(&log, NOW, end, keep(hour_ms, rest), Some(ends[1]));
    check(
        &log,
        NOW,
        end,
        keep(None, rest.map(|n| n + 1)),
        Some(ends[0]),
    );
    check(&log, NOW, end, keep(None, Some(u64::MAX)), None);
    // What has gone does not go again.
    drop_local(&mut log, ends[1]);
    check(&log, NOW, end, keep(None, rest), None);
    check(&log, NOW, ends[1], keep(Some(0), None), None);
    check(&log, NOW, end, keep(Some(0), None), Some(all));
}

#[test]
fn a_follower_that_drops_what_it_has_not_synced_loses_nothing_by_a_crash() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    for n in 0..200 {
        bench.append(&mut log, &batch(3, n));
    }
    assert_eq!(log.synced_end(), Offset::ZERO);
    let end = log.end();
    drop_local(&mut log, end);
    let local_start = log.local_start();
    drop(log);
    for seed in 0..20 {
        let crashed = bench.disk.crash(Survival::Seeded(seed));
        let (log, report) = Bench::on(crashed).reopen(config(), false);
        assert_eq!(report.damaged, [], "seed {seed}");
        assert_eq!(
            (log.log_start(), log.local_start()),
            (Offset::ZERO, local_start)
        );
        assert!(log.end() >= local_start);
    }
}
