//! Logs that begin with all their records in the tier.

use crate::common::{Bench, KEY, NOW, batch, batch_of, config, offsets};
use headwater_log::sim::{SimDisk, Survival};
use headwater_log::{
    Log, LogError, LogSeed, MarkState, Now, ProducerCheck, RecoveryReport, producers_after,
};
use headwater_record::{Batch, BatchHeader, LeaderEpoch, Offset, ProducerIdentity};
use std::io;

fn retried() -> Batch {
    let identity = ProducerIdentity {
        id: 7,
        epoch: 2,
        base_sequence: 0,
    };
    batch_of(identity, 3, 0)
}

fn seed() -> LogSeed {
    let header = BatchHeader {
        base_offset: Offset::new(897),
        ..*retried().header()
    };
    LogSeed {
        log_start: Offset::new(100),
        end: Offset::new(900),
        epochs: vec![
            (LeaderEpoch(2), Offset::new(50)),
            (LeaderEpoch(4), Offset::new(500)),
        ],
        latest_append_ms: Some(NOW.wall_ms + 5_000),
        producers: Some(producers_after(None, [header].into_iter(), 10)),
    }
}

/// Opens a log seeded so, and goes on with it.
fn check(disk: SimDisk, context: &str) {
    let bench = Bench::on(disk);
    let (mut log, report) = bench.reopen(config(), true);
    assert_eq!(report, RecoveryReport::default(), "{context}");
    assert_eq!(
        (log.log_start(), log.local_start(), log.end()),
        (Offset::new(100), Offset::new(900), Offset::new(900)),
        "{context}"
    );
    assert_eq!(log.synced_end(), log.end());
    assert_eq!(log.size_bytes(), 0);
    assert_eq!(log.last_epoch(), Some(LeaderEpoch(4)));
    assert_eq!(
        log.epoch_end(LeaderEpoch(3)),
        Some((LeaderEpoch(2), Offset::new(500)))
    );
    let error = log.view().read(Offset::new(100), Offset::MAX, 1);
    assert!(matches!(error, Err(LogError::NotLocal { .. })));
    let error = log.view().read(Offset::new(99), Offset::MAX, 1);
    assert!(matches!(error, Err(LogError::OutOfRange { .. })));
    let ProducerCheck::Duplicate(known) = log.check_producer(&retried(), NOW) else {
        panic!("{context}: a retry is known");
    };
    assert_eq!(known.base_offset, Offset::new(897));
    bench.begin(&mut log, 5);
    let appended = bench.append(&mut log, &batch(3, 1));
    assert_eq!(appended.base_offset, Offset::new(900));
    assert_eq!(
        appended.append_time_ms,
        NOW.wall_ms + 5_000,
        "nothing is appended earlier than what is there"
    );
    bench.sync(&mut log);
    log.close().unwrap();
    for clean in [true, false] {
        let (log, report) = bench.reopen(config(), clean);
        assert_eq!(report.damaged, [], "{context}");
        assert_eq!(
            (log.log_start(), log.local_start()),
            (Offset::new(100), Offset::new(900))
        );
        assert_eq!(offsets(&log.view()), [900, 901, 902]);
        log.close().unwrap();
    }
}

#[test]
fn a_seeded_log_goes_on_where_the_tier_ends() {
    let bench = Bench::new();
    Log::seed(&bench.env, KEY, &seed()).unwrap();
    let synced_end = Offset::new(900);
    assert_eq!(bench.env.marks.get(KEY), MarkState::Valid { synced_end });
    for survival in [Survival::Nothing, Survival::Everything] {
        check(bench.disk.crash(survival), &format!("{survival:?}"));
    }
}

#[test]
fn a_crash_at_any_step_of_seeding_leaves_all_of_it_or_none() {
    let bench = Bench::new();
    bench.disk.keep_images();
    Log::seed(&bench.env, KEY, &seed()).unwrap();
    let images = bench.disk.take_images();
    assert!(images.len() > 20, "{} images", images.len());
    let last = images.len() - 1;
    let (mut none, mut whole) = (0, 0);
    for (at, image) in images.iter().enumerate() {
        for seed_of_crash in 0..20 {
            let crashed = image.crash(Survival::Seeded(seed_of_crash));
            // Who opens it without looking finds an empty log or the seeded one.
            let (log, report) = Bench::on(crashed.snapshot()).reopen(config(), false);
            assert_eq!(report.damaged, [], "image {at}, seed {seed_of_crash}");
            assert!([0, 900].contains(&log.end().get()));
            let again = Bench::on(crashed.clone());
            let context = format!("image {at}, seed {seed_of_crash}");
            match Log::seed(&again.env, KEY, &seed()) {
                Ok(()) => none += 1,
                Err(LogError::Io { source, .. }) => {
                    assert_eq!(source.kind(), io::ErrorKind::AlreadyExists, "{context}");
                    whole += 1;
                }
                Err(error) => panic!("{context}: {error}"),
            }
            assert!(at < last || none == 0 || whole > 0);
            check(crashed, &context);
        }
    }
    assert!(none > 20 && whole > 20, "{none} {whole}");
}

#[test]
fn a_partition_that_has_a_directory_is_not_seeded() {
    let bench = Bench::new();
    drop(bench.open(config()));
    let files = bench.disk.files();
    let error = Log::seed(&bench.env, KEY, &seed()).unwrap_err();
    assert!(
        matches!(&error, LogError::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists),
        "{error}"
    );
    assert_eq!(bench.disk.files(), files);
}

#[test]
fn a_mark_of_a_directory_that_is_gone_does_not_count() {
    let bench = Bench::new();
    bench.env.marks.lower(KEY, Offset::new(5_000)).unwrap();
    Log::seed(&bench.env, KEY, &seed()).unwrap();
    check(bench.disk.crash(Survival::Nothing), "with an old mark");
}

#[test]
fn a_seed_that_does_not_fit_together_is_refused_before_anything_is_written() {
    let refused = |change: fn(&mut LogSeed)| {
        let bench = Bench::new();
        let files = bench.disk.files();
        let mut seed = seed();
        change(&mut seed);
        let error = Log::seed(&bench.env, KEY, &seed).unwrap_err();
        assert!(matches!(error, LogError::Seed { .. }), "{error}");
        assert_eq!(bench.disk.files(), files);
        error.to_string()
    };
    let message = refused(|seed| seed.log_start = Offset::new(901));
    assert!(message.ends_with("cannot be seeded: log start 901 lies above end 900"));
    refused(|seed| seed.epochs.reverse());
    refused(|seed| seed.epochs.push((LeaderEpoch(4), Offset::new(600))));
    let message = refused(|seed| seed.epochs.push((LeaderEpoch(9), Offset::new(901))));
    assert!(message.contains("leader epoch 9 begins at 901"));
    refused(|seed| seed.producers = Some(b"no state".to_vec()));
}

#[test]
fn a_log_without_a_record_may_be_seeded() {
    let bench = Bench::new();
    Log::seed(&bench.env, KEY, &LogSeed::default()).unwrap();
    let disk = bench.disk.crash(Survival::Nothing);
    let (log, report) = Bench::on(disk).reopen(config(), false);
    assert_eq!(report, RecoveryReport::default());
    assert_eq!((log.log_start(), log.end()), (Offset::ZERO, Offset::ZERO));
}

#[test]
fn a_seeded_log_whose_records_were_all_deleted_starts_at_its_end() {
    let bench = Bench::new();
    let seed = LogSeed {
        log_start: Offset::new(900),
        ..seed()
    };
    Log::seed(&bench.env, KEY, &seed).unwrap();
    let later = Now {
        wall_ms: NOW.wall_ms + 10_000,
        ..NOW
    };
    let (mut log, _) = Log::open(&bench.env, KEY, config(), later, false).unwrap();
    assert_eq!((log.log_start(), log.local_start()), (seed.end, seed.end));
    bench.begin(&mut log, 5);
    bench.append(&mut log, &retried());
    assert_eq!(offsets(&log.view()), [900, 901, 902]);
}
