//! Disks that fail and disks that are full.

use crate::common::{Bench, KEY, NOW, batch, batch_of_values, config, offsets};
use headwater_log::sim::{Fault, SimOp, Survival};
use headwater_log::{Log, LogError};
use headwater_record::{LeaderEpoch, Offset};

const EPOCH: LeaderEpoch = LeaderEpoch(5);

#[test]
fn after_a_failed_write_nothing_is_appended_any_more() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    bench.append(&mut log, &batch(3, 0));
    let fault = bench.disk.inject(Fault::once(SimOp::Write).on_path(".log"));
    let error = log.append(&batch(2, 1), EPOCH, NOW).unwrap_err();
    assert!(
        matches!(error, LogError::Io { .. }) && !error.is_full(),
        "{error}"
    );
    assert_eq!(bench.disk.struck(fault), 1);
    let error = log.append(&batch(2, 1), EPOCH, NOW).unwrap_err();
    assert!(matches!(error, LogError::Failed), "{error}");
    assert_eq!(log.end(), Offset::new(3));
    assert_eq!(offsets(&log.view()), [0, 1, 2], "reading goes on");
}

#[test]
fn an_append_to_a_full_disk_leaves_nothing_behind_and_may_be_tried_again() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    let mut refused = 0;
    let mut free = 0;
    while refused < 200 {
        bench.disk.set_capacity(free);
        let end = log.end();
        match log.append(&batch(3, 0), EPOCH, NOW) {
            Ok(appended) => assert_eq!(appended.base_offset, end),
            Err(error) => {
                assert!(error.is_full(), "{error}");
                assert_eq!(log.end(), end);
                assert_eq!(
                    segment_bytes(&bench),
                    log.size_bytes(),
                    "nothing is left behind"
                );
                refused += 1;
                free += 977;
            }
        }
    }
    assert!(log.segment_count() > 3, "rolls were refused as well");
    bench.disk.set_capacity(u64::MAX);
    bench.append(&mut log, &batch(1, 1));
    bench.sync(&mut log);
    let end = log.end();
    let (log, report) = bench.reopen(config(), false);
    assert_eq!(report.cut, None);
    assert_eq!(offsets(&log.view()), (0..end.get()).collect::<Vec<_>>());
}

#[test]
fn a_write_that_a_full_disk_cut_short_is_cut_back() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    bench.append(&mut log, &batch(3, 0));
    let fault = Fault::once(SimOp::Write).on_path(".log").full();
    let fault = bench.disk.inject(fault);
    let error = log.append(&batch(30, 1), EPOCH, NOW).unwrap_err();
    assert!(error.is_full(), "{error}");
    assert_eq!(bench.disk.struck(fault), 1);
    assert_eq!(segment_bytes(&bench), log.size_bytes());
    bench.append(&mut log, &batch(1, 2));
    assert_eq!(offsets(&log.view()), [0, 1, 2, 3]);
}

fn segment_bytes(bench: &Bench) -> u64 {
    let files = bench.disk.files().into_iter();
    let segments = files.filter(|(path, _)| path.extension().is_some_and(|kind| kind == "log"));
    segments.map(|(_, bytes)| bytes.len() as u64).sum()
}

#[test]
fn a_failed_sync_is_an_error_of_its_job() {
    let bench = Bench::new();
    let mut log = bench.open(config());
    for op in [SimOp::Sync, SimOp::SyncDir] {
        bench.append(&mut log, &batch(3, 0));
        bench.disk.inject(Fault::once(op));
        let job = log.sync_job().unwrap();
        assert!(matches!(
            job.run(),
            Err(LogError::Io { action: "sync", .. })
        ));
        assert_eq!(log.synced_end(), Offset::ZERO);
    }
}

#[test]
fn whatever_call_fails_the_synced_records_are_there_afterwards() {
    let ops = [
        SimOp::Open,
        SimOp::Read,
        SimOp::Write,
        SimOp::Sync,
        SimOp::Truncate,
        SimOp::Look,
        SimOp::Rename,
        SimOp::Remove,
        SimOp::SyncDir,
    ];
    for op in ops {
        for calls in 0.. {
            let bench = Bench::new();
            let mut log = bench.open(config());
            let fault = bench.disk.inject(Fault::once(op).after(calls));
            let (mut synced, mut end_max) = (0, 0);
            let result = run(&bench, &mut log, &mut synced, &mut end_max);
            let struck = bench.disk.struck(fault);
            drop(log);
            for survival in [
                Survival::Nothing,
                Survival::Everything,
                Survival::Seeded(calls),
            ] {
                let crashed = Bench::on(bench.disk.crash(survival));
                let (log, report) = crashed.reopen(config(), false);
                let context = format!("{op:?} {calls} {survival:?} {result:?} {report:?}");
                assert_eq!(report.damaged, [], "{context}");
                let end = log.end().get();
                assert!(
                    synced <= end && end <= end_max,
                    "{synced} {end} {end_max} {context}"
                );
                let expected: Vec<u64> = (log.local_start().get()..end).collect();
                assert!(offsets(&log.view()).ends_with(&expected), "{context}");
            }
            if struck == 0 {
                break;
            }
        }
    }
}

/// Some of everything; stops at the first error, as the broker does.
fn run(bench: &Bench, log: &mut Log, synced: &mut u64, end_max: &mut u64) -> Result<(), LogError> {
    let mut epoch = EPOCH;
    for n in 0..80 {
        *end_max = (*end_max).max(log.end().get() + 3);
        log.append(&batch_of_values(&[n, n, n]), epoch, NOW)?;
        if n % 10 == 9
            && let Some(job) = log.sync_job()
        {
            job.run()?;
            log.synced(job.end);
            bench
                .env
                .marks
                .write(bench.env.marks.shard_of(KEY), &[(KEY, job.end)])?;
            *synced = job.end.get();
        }
        if n == 35 || n == 65 {
            let to = log.end().get() - 9;
            *synced = (*synced).min(to);
            log.truncate(Offset::new(to))?;
            epoch = LeaderEpoch(epoch.0 + 1);
            log.begin_epoch(epoch).run()?;
            log.epoch_begun(epoch);
        }
        if n == 45 {
            log.drop_local(Offset::new(*synced))?.run()?;
            log.reclaim(1)?;
        }
        if n == 50 {
            log.advance_start(Offset::new(*synced))?.run()?;
            while log.reclaim(1)? {}
        }
    }
    Ok(())
}
