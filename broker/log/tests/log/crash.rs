//! A crash after every single call to the disk, in a history that does everything, and again in the recovery from it.

use crate::common::{Bench, KEY, NOW, batch_of_values, config, is_exhaustive, values};
use headwater_log::sim::{SimDisk, Survival};
use headwater_log::{Log, Now};
use headwater_record::{LeaderEpoch, Offset};
use std::collections::BTreeSet;

/// What must hold of the log after a crash at this moment.
#[derive(Clone, Debug, Default)]
struct Promise {
    /// Everything below is there.
    synced: u64,
    /// Nothing above was ever appended.
    end_max: u64,
    start_min: u64,
    start_max: u64,
    local_min: u64,
    local_max: u64,
    /// Values that an offset may hold: more than one while a truncation is under way.
    values: Vec<BTreeSet<u64>>,
}

struct History {
    bench: Bench,
    log: Option<Log>,
    promise: Promise,
    /// The disk after each call, with what held from before that call to after it.
    images: Vec<(SimDisk, Promise)>,
    now: Now,
    next_value: u64,
}

impl History {
    fn begin() -> History {
        let bench = Bench::new();
        bench.disk.keep_images();
        let log = Log::open(&bench.env, KEY, config(), NOW, false).unwrap().0;
        let mut history = History {
            bench,
            log: Some(log),
            promise: Promise::default(),
            images: Vec::new(),
            now: NOW,
            next_value: 0,
        };
        history.keep();
        history
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    /// Images of what has just been done, under the promise that holds meanwhile.
    fn keep(&mut self) {
        let images = self.bench.disk.take_images();
        let promised = images.into_iter().map(|disk| (disk, self.promise.clone()));
        self.images.extend(promised);
    }

    fn epoch(&mut self, epoch: u32) {
        let log = self.log.as_mut().unwrap();
        self.bench.begin(log, epoch);
        self.keep();
    }

    fn append(&mut self, batches: usize) {
        for _ in 0..batches {
            let values: Vec<u64> = (0..3).map(|n| self.next_value + n).collect();
            self.next_value += 3;
            self.now.wall_ms += 30_000;
            let end = self.log().end().get() as usize;
            self.promise.values.resize(end + 3, BTreeSet::new());
            for (at, value) in values.iter().enumerate() {
                self.promise.values[end + at].insert(*value);
            }
            self.promise.end_max = self.promise.end_max.max(end as u64 + 3);
            let (epoch, now) = (self.log().last_epoch().unwrap(), self.now);
            self.log()
                .append(&batch_of_values(&values), epoch, now)
                .unwrap();
            self.keep();
        }
    }

    fn sync(&mut self) {
        let log = self.log.as_mut().unwrap();
        self.bench.sync(log);
        let end = log.end().get();
        self.keep();
        self.promise.synced = end;
    }

    fn truncate(&mut self, end: u64) {
        self.promise.synced = self.promise.synced.min(end);
        self.log().truncate(Offset::new(end)).unwrap();
        self.keep();
        self.promise.values.truncate(end as usize);
        self.promise.end_max = end;
    }

    fn delete(&mut self, start: u64) {
        self.promise.start_max = start;
        self.promise.local_max = self.promise.local_max.max(start);
        let job = self.log().advance_start(Offset::new(start)).unwrap();
        job.run().unwrap();
        self.keep();
        self.promise.start_min = start;
        self.promise.local_min = self.promise.local_min.max(start);
        while self.log().reclaim(1).unwrap() {}
        self.keep();
    }

    /// Drops what is tiered: all that is sealed and lies below `to`. What is in the tier is there whatever happens here.
    fn drop_local(&mut self, to: u64) {
        let job = self.log().drop_local(Offset::new(to)).unwrap();
        self.promise.local_max = job.local_start.get();
        // Nothing may have gone yet.
        self.log().reclaim(usize::MAX).unwrap();
        self.keep();
        job.run().unwrap();
        self.keep();
        self.promise.local_min = job.local_start.get();
        while self.log().reclaim(1).unwrap() {}
        self.keep();
    }

    fn stop(&mut self) {
        let end = self.log().end().get();
        self.log.take().unwrap().close().unwrap();
        self.keep();
        self.promise.synced = end;
        let (log, report) = Log::open(&self.bench.env, KEY, config(), self.now, true).unwrap();
        assert_eq!(report.scanned_bytes, 0);
        self.log = Some(log);
        self.keep();
    }

    /// Everything that a log can do, and a crash would like.
    fn everything() -> Vec<(SimDisk, Promise)> {
        let mut history = History::begin();
        history.epoch(1);
        history.append(20);
        history.sync();
        history.append(45);
        history.epoch(3);
        history.append(8);
        history.sync();
        history.append(5);
        let end = history.log().end().get();
        history.truncate(end - 12);
        history.epoch(4);
        history.append(3);
        history.truncate(90);
        history.epoch(6);
        history.append(30);
        history.sync();
        history.delete(100);
        history.append(3);
        history.stop();
        history.epoch(7);
        history.append(50);
        history.sync();
        history.delete(210);
        history.append(1);
        history.stop();
        history.epoch(8);
        history.append(60);
        history.sync();
        history.drop_local(330);
        history.append(4);
        history.delete(300);
        history.stop();
        history.epoch(9);
        history.append(60);
        history.sync();
        history.drop_local(u64::MAX);
        let end = history.log().end().get();
        history.truncate(end - 6);
        history.epoch(10);
        history.append(2);
        history.delete(end - 10);
        history.stop();
        history.images
    }
}

fn check(disk: SimDisk, promise: &Promise, clean: bool, context: &str) -> Log {
    let bench = Bench::on(disk);
    let (mut log, report) = Log::open(&bench.env, KEY, config(), NOW, clean).unwrap();
    assert_eq!(report.damaged, [], "{context}: {report:?}");
    assert!(
        !report.epochs_rebuilt && !report.mark_lost && !report.start_lost,
        "{context}"
    );
    let (start, end) = (log.log_start().get(), log.end().get());
    assert!(
        promise.start_min <= start && start <= promise.start_max,
        "{context}: start {start}"
    );
    assert!(
        promise.synced <= end && end <= promise.end_max,
        "{context}: end {end}, {promise:?}"
    );
    let local = log.local_start().get();
    assert!(
        promise.local_min.max(start) <= local && local <= promise.local_max,
        "{context}: local start {local}, {promise:?}"
    );
    assert_eq!(log.synced_end(), log.end());
    check_values(&log, promise, context);
    // The log goes on, and is found again after it.
    let epoch = LeaderEpoch(100);
    log.begin_epoch(epoch).run().unwrap();
    log.epoch_begun(epoch);
    log.append(&batch_of_values(&[999_999]), epoch, NOW)
        .unwrap();
    bench.sync(&mut log);
    assert_eq!(log.end().get(), end + 1);
    log
}

fn check_values(log: &Log, promise: &Promise, context: &str) {
    let view = log.view();
    let mut next = view.local_start().get();
    while next < view.end().get() {
        let slice = view.read(Offset::new(next), Offset::MAX, 5_000).unwrap();
        for (offset, value) in values(&slice.bytes) {
            if offset < next {
                continue;
            }
            assert_eq!(offset, next, "{context}: not dense");
            let allowed = &promise.values[offset as usize];
            assert!(
                allowed.contains(&value),
                "{context}: phantom {value} at {offset}"
            );
            next += 1;
        }
        assert_eq!(slice.next_offset.get(), next);
    }
}

fn survivals(seeds: u64) -> impl Iterator<Item = Survival> {
    let seeded = (0..seeds).map(Survival::Seeded);
    [Survival::Nothing, Survival::Everything]
        .into_iter()
        .chain(seeded)
}

#[test]
fn power_loss_after_any_call_keeps_what_was_synced_and_invents_nothing() {
    let images = History::everything();
    assert!(images.len() > 300, "{} images", images.len());
    let (stride, seeds) = if is_exhaustive() { (1, 40) } else { (3, 2) };
    for (at, (disk, promise)) in images.iter().enumerate().step_by(stride) {
        for survival in survivals(seeds) {
            let context = format!("image {at}, {survival:?}");
            check(disk.crash(survival), promise, false, &context);
        }
    }
}

#[test]
fn power_loss_during_recovery_loses_nothing_more() {
    let images = History::everything();
    let (stride, seeds) = if is_exhaustive() { (3, 3) } else { (41, 1) };
    for (at, (disk, promise)) in images.iter().enumerate().step_by(stride) {
        // A killed process leaves its writes to the page cache, still unsynced.
        let killed = [("killed".to_owned(), disk.snapshot())];
        let lost = survivals(seeds).map(|survival| (format!("{survival:?}"), disk.crash(survival)));
        for (survival, crashed) in killed.into_iter().chain(lost) {
            crashed.keep_images();
            let bench = Bench::on(crashed.clone());
            let (log, _) = Log::open(&bench.env, KEY, config(), NOW, false).unwrap();
            let recovered_end = log.end().get();
            let mut again = crashed.take_images();
            again.push(crashed);
            let last = again.len() - 1;
            for (call, disk) in again.into_iter().enumerate() {
                let context = format!("image {at}, {survival}, recovery call {call}");
                // What recovery reported as synced stays.
                let mut promise = promise.clone();
                if call == last {
                    promise.synced = recovered_end;
                }
                check(
                    disk.crash(Survival::Seeded(call as u64)),
                    &promise,
                    false,
                    &context,
                );
            }
        }
    }
}
