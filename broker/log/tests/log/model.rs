//! Random histories against a plain vector: append, roll, sync, read, truncate, delete, retain, drop, stop, crash.

use crate::common::{Bench, KEY, NOW, batch_of_values, config, is_exhaustive, values};
use headwater_log::sim::Survival;
use headwater_log::{Log, LogConfig, LogError, LogView, Now};
use headwater_record::{LeaderEpoch, Offset};
use std::ops::Range;

/// xorshift64*: the histories must not change with a library.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }
}

/// What the log should hold.
struct Model {
    /// By offset; those below `start` count for nothing, those below `local` are in the tier.
    values: Vec<u64>,
    start: u64,
    local: u64,
    /// What is sure to be there after a crash.
    durable_local: u64,
    synced: u64,
    epoch: u32,
    next_value: u64,
    now: Now,
}

impl Model {
    /// A local start that was not durable may have gone back.
    fn adopt_local(&mut self, log: &Log) {
        let local = log.local_start().get();
        assert!(
            self.durable_local.max(self.start) <= local && local <= self.local,
            "local start {local}, had {} and {} durable",
            self.local,
            self.durable_local
        );
        self.local = local;
    }
}

struct History {
    rng: Rng,
    bench: Bench,
    config: LogConfig,
    log: Option<Log>,
    model: Model,
}

impl History {
    fn new(seed: u64) -> History {
        let bench = Bench::new();
        let mut config = config();
        let mut rng = Rng::new(seed);
        config.segment_bytes = rng.below(300..3000);
        config.index_interval_bytes = rng.below(1..600) as u32;
        let log = bench.open(config.clone());
        let model = Model {
            values: Vec::new(),
            start: 0,
            local: 0,
            durable_local: 0,
            synced: 0,
            epoch: 5,
            next_value: 1,
            now: NOW,
        };
        History {
            rng,
            bench,
            config,
            log: Some(log),
            model,
        }
    }

    fn log(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    fn step(&mut self) {
        self.model.now.monotonic_ms += 10_000;
        self.model.now.wall_ms += 10_000;
        match self.rng.below(0..42) {
            0..=17 => self.append(),
            18..=23 => self.sync(),
            24..=28 => self.read(),
            29 => self.truncate(),
            30 => self.delete(),
            31 => self.retain(),
            32 | 33 => self.begin_epoch(),
            34 => {
                let now = self.model.now;
                self.log().roll_if_due(now).unwrap();
            }
            35 | 36 => self.stop(),
            40 | 41 => self.drop_local(),
            _ => self.crash(),
        }
        self.check();
    }

    fn append(&mut self) {
        let count = self.rng.below(1..6);
        let values: Vec<u64> = (0..count).map(|n| self.model.next_value + n).collect();
        self.model.next_value += count;
        let (epoch, now) = (LeaderEpoch(self.model.epoch), self.model.now);
        let end = self.model.values.len() as u64;
        let appended = self.log().append(&batch_of_values(&values), epoch, now);
        assert_eq!(appended.unwrap().base_offset, Offset::new(end));
        self.model.values.extend(values);
    }

    fn sync(&mut self) {
        let ride = self.rng.below(0..2) == 0;
        let log = self.log.as_mut().unwrap();
        let Some(job) = log.sync_job() else {
            assert_eq!(log.synced_end(), log.end());
            return;
        };
        job.run().unwrap();
        log.synced(job.end);
        let marks = &self.bench.env.marks;
        marks.write(marks.shard_of(KEY), &[(KEY, job.end)]).unwrap();
        if ride {
            marks.sync(marks.shard_of(KEY)).unwrap();
        }
        self.model.synced = job.end.get();
    }

    fn read(&mut self) {
        let (start, end) = (self.model.local, self.model.values.len() as u64);
        let from = self.rng.below(start..end + 1);
        let limit = self.rng.below(from..end + 2);
        let bytes_max = self.rng.below(1..2000) as usize;
        let view = self.log().view();
        let slice = view
            .read(Offset::new(from), Offset::new(limit), bytes_max)
            .unwrap();
        if let Some(now) = view.read_now(Offset::new(from), Offset::new(limit), bytes_max) {
            assert_eq!(now.bytes, slice.bytes);
            assert_eq!(now.next_offset, slice.next_offset);
        }
        let read = values(&slice.bytes);
        assert_eq!(read.is_empty(), from >= limit.min(end));
        for (offset, value) in read {
            assert_eq!(value, self.model.values[offset as usize], "offset {offset}");
        }
        // Timestamps are the values, which grow.
        let asked = self.rng.below(0..self.model.next_value + 2);
        let live = self.model.values.iter().enumerate().skip(start as usize);
        let expected = live
            .map(|(offset, &value)| (offset as u64, value))
            .find(|&(offset, value)| value >= asked && offset < limit);
        let found = view
            .find_time(asked as i64, Offset::new(limit), 1 << 20)
            .unwrap();
        assert_eq!(
            found.map(|(offset, ms)| (offset.get(), ms as u64)),
            expected
        );
    }

    fn truncate(&mut self) {
        let (start, end) = (self.model.local, self.model.values.len() as u64);
        let to = self.rng.below(start.max(end.saturating_sub(20))..end + 1);
        let log = self.log.as_mut().unwrap();
        if let Err(error) = log.truncate(Offset::new(to)) {
            // The batch that holds the local start stays whole.
            assert!(matches!(error, LogError::OutOfRange { .. }), "{error}");
            assert!(to - start < 5);
            return;
        }
        let cut = log.end().get();
        assert!(
            cut <= to && to - cut < 5,
            "truncated to {cut}, asked for {to}"
        );
        self.model.values.truncate(cut as usize);
        self.model.synced = self.model.synced.min(cut);
        self.begin_epoch();
    }

    fn delete(&mut self) {
        let (start, end) = (self.model.start, self.model.values.len() as u64);
        let to = self.rng.below(start..end + 1);
        // What was deleted was committed, so it was synced.
        self.sync();
        let job = self.log().advance_start(Offset::new(to)).unwrap();
        self.model.start = to;
        self.model.local = self.model.local.max(to);
        if self.rng.below(0..4) > 0 {
            job.run().unwrap();
            self.model.durable_local = self.model.local;
            self.log().reclaim(2).unwrap();
        } else {
            self.crash_expecting(|model, log| {
                assert!(log.log_start().get() <= model.start);
                model.start = log.log_start().get();
            });
        }
    }

    /// What is sealed and synced counts as tiered.
    fn drop_local(&mut self) {
        self.sync();
        let end = self.model.values.len() as u64;
        let asked = self.rng.below(self.model.start..end + 1);
        let log = self.log.as_mut().unwrap();
        let view = log.view();
        let job = log.drop_local(Offset::new(asked)).unwrap();
        let local = log.local_start().get();
        assert!(local <= asked.max(self.model.local));
        self.model.local = local;
        if self.rng.below(0..3) > 0 {
            job.run().unwrap();
            self.model.durable_local = local;
            let more = self.rng.below(0..5) as usize;
            self.log().reclaim(more).unwrap();
            self.read_held(&view);
        } else if self.rng.below(0..2) > 0 {
            self.crash();
        }
    }

    /// A view from before a drop still answers, or says that what is asked for is not local any more.
    fn read_held(&mut self, view: &LogView) {
        for from in view.local_start().get()..view.end().get() {
            match view.read(Offset::new(from), Offset::MAX, 1) {
                Ok(slice) => {
                    let mut read = values(&slice.bytes).into_iter();
                    let value = self.model.values[from as usize];
                    assert!(read.any(|found| found == (from, value)), "offset {from}");
                }
                Err(LogError::NotLocal { asked, local_start }) => {
                    assert_eq!(asked.get(), from);
                    assert_eq!(local_start.get(), self.model.local);
                    assert!(from < self.model.local);
                }
                Err(error) => panic!("offset {from}: {error}"),
            }
        }
    }

    fn retain(&mut self) {
        self.sync();
        let mut config = self.config.clone();
        config.retention_bytes = Some(self.rng.below(500..6000));
        let (now, end) = (self.model.now, self.model.values.len() as u64);
        let log = self.log.as_mut().unwrap();
        log.set_config(config);
        // What was dropped goes first, so that the bound at the end is about retention.
        log.drop_local(Offset::ZERO).unwrap().run().unwrap();
        while log.reclaim(1).unwrap() {}
        self.model.durable_local = self.model.local;
        if let Some(start) = log.retention_plan(now, Offset::new(end)) {
            assert!(start > log.local_start() && start <= log.end());
            log.advance_start(start).unwrap().run().unwrap();
            while log.reclaim(1).unwrap() {}
            self.model.start = start.get();
            self.model.local = start.get();
            self.model.durable_local = start.get();
        }
        assert!(log.size_bytes() < 6000 + 2 * self.config.segment_bytes + 1000);
    }

    fn begin_epoch(&mut self) {
        self.model.epoch += 1;
        let epoch = self.model.epoch;
        self.bench.begin(self.log.as_mut().unwrap(), epoch);
    }

    fn stop(&mut self) {
        self.log.take().unwrap().close().unwrap();
        self.model.synced = self.model.values.len() as u64;
        let clean = self.rng.below(0..3) > 0;
        if self.rng.below(0..2) == 0 {
            let disk = self.bench.disk.crash(Survival::Seeded(self.rng.next()));
            self.bench = Bench::on(disk);
        } else {
            self.bench = Bench::on(self.bench.disk.clone());
        }
        let (log, report) = Log::open(
            &self.bench.env,
            KEY,
            self.config.clone(),
            self.model.now,
            clean,
        )
        .unwrap();
        assert_eq!(report.damaged, []);
        assert_eq!(report.cut, None);
        assert_eq!(log.end().get(), self.model.synced);
        self.model.adopt_local(&log);
        self.log = Some(log);
        self.begin_epoch();
    }

    fn crash(&mut self) {
        self.crash_expecting(|_, _| {});
    }

    fn crash_expecting(&mut self, adjust: impl FnOnce(&mut Model, &Log)) {
        let seed = self.rng.next();
        let disk = &self.bench.disk;
        let disk = match self.rng.below(0..4) {
            0 => disk.crash(Survival::Nothing),
            // A killed process: what was not synced is still there, and still not synced.
            1 => disk.snapshot(),
            _ => disk.crash(Survival::Seeded(seed)),
        };
        self.bench = Bench::on(disk);
        let (log, report) = Log::open(
            &self.bench.env,
            KEY,
            self.config.clone(),
            self.model.now,
            false,
        )
        .unwrap();
        assert_eq!(report.damaged, []);
        assert!(
            !report.epochs_rebuilt && !report.mark_lost && !report.start_lost,
            "{report:?}"
        );
        let end = log.end().get();
        assert!(
            end >= self.model.synced && end <= self.model.values.len() as u64,
            "recovered to {end} of {}..{}: {report:?}",
            self.model.synced,
            self.model.values.len()
        );
        assert_eq!(log.synced_end(), log.end());
        self.model.values.truncate(end as usize);
        self.model.synced = end;
        adjust(&mut self.model, &log);
        self.model.adopt_local(&log);
        self.log = Some(log);
        self.check();
        self.begin_epoch();
    }

    fn check(&mut self) {
        let log = self.log.as_ref().unwrap();
        assert_eq!(log.end().get(), self.model.values.len() as u64);
        assert_eq!(log.log_start().get(), self.model.start);
        assert_eq!(log.local_start().get(), self.model.local);
        assert_eq!(log.synced_end().get(), self.model.synced);
        let view = log.view();
        if let Some(below) = self.model.local.checked_sub(1)
            && below >= self.model.start
        {
            let error = view.read(Offset::new(below), Offset::MAX, 1).unwrap_err();
            assert!(matches!(error, LogError::NotLocal { .. }), "{error}");
        }
        let mut from = view.local_start();
        while from < view.end() {
            let slice = view.read(from, Offset::MAX, 10_000).unwrap();
            let read = values(&slice.bytes);
            for (offset, value) in read {
                assert_eq!(value, self.model.values[offset as usize], "offset {offset}");
            }
            from = slice.next_offset;
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "a failed history is found again by its seed"
)]
fn check_seed(seed: u64, steps: usize) {
    eprintln!("seed {seed}");
    let mut history = History::new(seed);
    for _ in 0..steps {
        history.step();
    }
}

#[test]
fn random_histories_agree_with_a_vector() {
    let seeds = if is_exhaustive() { 3_000 } else { 25 };
    for seed in 0..seeds {
        check_seed(seed, 200);
    }
}

#[test]
fn one_random_history_agrees_with_a_vector() {
    let seed = std::env::var("HEADWATER_SEED").ok();
    check_seed(seed.and_then(|seed| seed.parse().ok()).unwrap_or(0), 200);
}
