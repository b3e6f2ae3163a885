//! What happens in a run: producers, consumers, chaos; then quiet, in which all must come right.

use bytes::Bytes;
use headwater_core::replica::{Acks, Append, Input, Ticket};
use headwater_log::sim::{SimDisk, Survival};
use headwater_record::{Batch, BatchBuilder, Compression, Offset, Record};

use crate::faults::Fault;
use crate::simulation::{ProcessId, Simulation};

/// Timestamps of records begin about here.
pub(crate) const TIMESTAMP_MS: i64 = 1_600_000_000_000;

impl Simulation {
    /// Starts everything.
    pub fn begin(&mut self) {
        let seed = self.world.draw(|rng| rng.bits());
        self.start_process(SimDisk::new(seed));
        self.world.after(0, Simulation::produce);
        self.world.after(0, Simulation::consume);
        self.world.after(0, Simulation::chaos);
    }

    fn produce(&mut self) {
        if self.is_quiet {
            return;
        }
        // One that was deposed does not know and goes on taking records, too; nobody hears of them.
        let ids: Vec<ProcessId> = self.processes.keys().copied().collect();
        for id in ids {
            let deposed = self
                .processes
                .get(&id)
                .is_some_and(|process| process.is_deposed);
            if !deposed || self.world.draw(|rng| rng.below(4) == 0) {
                self.append(id);
            }
        }
        let pause_ms = self.world.draw(|rng| match rng.below(30) {
            0 => rng.within(10_000, 200_000),
            _ => rng.within(50, 4_000),
        });
        self.world.after(pause_ms, Simulation::produce);
    }

    /// A producer sends a batch.
    pub(crate) fn append(&mut self, id: ProcessId) {
        let now_ms = self.world.now_ms();
        let batch = self.world.draw(|rng| {
            let mut builder = BatchBuilder::new(Compression::None);
            for _ in 0..rng.within(1, 3) {
                let value: Vec<u8> = (0..rng.within(1, 120)).map(|_| rng.bits() as u8).collect();
                let timestamp_ms = TIMESTAMP_MS + now_ms as i64 - rng.below(20_000) as i64;
                let record = Record {
                    value: Some(Bytes::from(value)),
                    timestamp_ms,
                    ..Record::default()
                };
                builder.push(&record).expect("a small record");
            }
            builder.build().expect("a small batch")
        });
        let number = self.world.draw(|rng| rng.bits());
        self.in_process(id, move |simulation| {
            simulation.append_batch(id, number, batch)
        });
    }

    fn append_batch(&mut self, id: ProcessId, number: u64, batch: Batch) {
        let Some(process) = self.processes.get_mut(&id) else {
            return;
        };
        process.appends.insert(number, batch.clone());
        let append = Append {
            ticket: Ticket(number),
            batch,
            acks: Acks::All,
            expected_offset: None,
            order: None,
        };
        self.turn(id, vec![Input::Append(append)]);
    }

    fn consume(&mut self) {
        if self.is_quiet {
            return;
        }
        self.start_reader();
        let pause_ms = self.world.draw(|rng| rng.within(500, 20_000));
        self.world.after(pause_ms, Simulation::consume);
    }

    fn chaos(&mut self) {
        if self.is_calm {
            return;
        }
        match self.world.draw(|rng| rng.below(16)) {
            0 => self.stop_leader(Fault::PowerLoss),
            1 => self.stop_leader(Fault::Kill),
            2 | 3 => self.depose_leader(),
            4 | 5 => self.freeze(self.leader),
            6 => self.outage(),
            7 | 8 => self.reconfigure(),
            9 | 10 => self.delete_records(),
            11 => self.fill_disk(),
            12 => self.doubt_clock(),
            13 if self.settings.damage => self.damage_an_object(),
            _ => {}
        }
        let pause_ms = self.world.draw(|rng| rng.within(2_000, 90_000));
        self.world.after(pause_ms, Simulation::chaos);
    }

    /// Ends the leader's process; another one starts on what the disk has.
    fn stop_leader(&mut self, fault: Fault) {
        let Some(leader) = self.leader else { return };
        let Some(process) = self.end_process(leader) else {
            return;
        };
        self.world.struck(fault);
        let disk = process.disk.crash(self.survival(fault));
        self.restart(disk);
    }

    fn survival(&self, fault: Fault) -> Survival {
        match fault {
            Fault::PowerLoss => Survival::Seeded(self.world.draw(|rng| rng.bits())),
            _ => Survival::Everything,
        }
    }

    fn restart(&self, disk: SimDisk) {
        let down_ms = self.world.draw(|rng| rng.within(10, 30_000));
        self.world
            .after(down_ms, |simulation| simulation.start_process(disk));
    }

    /// Another process takes over from the disk as it is now; the old one goes on with a copy and does not know.
    fn depose_leader(&mut self) {
        let Some(leader) = self.leader.take() else {
            return;
        };
        let fault = self.world.draw(|rng| match rng.below(2) {
            0 => Fault::PowerLoss,
            _ => Fault::Kill,
        });
        let survival = self.survival(fault);
        let Some(process) = self.processes.get_mut(&leader) else {
            return;
        };
        process.is_deposed = true;
        let disk = process.disk.crash(survival);
        self.world.struck(Fault::Deposed);
        self.start_process(disk);
        let lives_ms = self.world.draw(|rng| rng.below(1_500_000));
        self.world.after(lives_ms, move |simulation| {
            simulation.end_process(leader);
        });
    }

    /// The leader stands still, perhaps for so long that another one takes over.
    fn freeze(&mut self, process: Option<ProcessId>) {
        let Some(leader) = process.filter(|_| process == self.leader) else {
            return;
        };
        let now_ms = self.world.now_ms();
        let for_ms = self.world.draw(|rng| match rng.below(2) {
            0 => rng.within(100, 20_000),
            _ => rng.within(20_000, 900_000),
        });
        let Some(process) = self.processes.get_mut(&leader) else {
            return;
        };
        process.frozen_until_ms = now_ms + for_ms;
        self.world.struck(Fault::Frozen);
        if for_ms > 20_000 {
            let after_ms = self.world.draw(|rng| rng.below(20_000));
            self.world.after(after_ms, move |simulation| {
                if simulation.leader == Some(leader) && !simulation.is_calm {
                    simulation.depose_leader();
                }
            });
        }
    }

    /// A sweep begins: a good moment to stand still.
    pub(crate) fn perhaps_freeze(&mut self, process: ProcessId) {
        if !self.is_calm && self.world.draw(|rng| rng.per_mille(50)) {
            let after_ms = self.world.draw(|rng| rng.below(300));
            self.world.after(after_ms, move |simulation| {
                if !simulation.is_calm {
                    simulation.freeze(Some(process));
                }
            });
        }
    }

    fn outage(&mut self) {
        let for_ms = self.world.draw(|rng| match rng.below(3) {
            0 => rng.within(600_000, 3_600_000),
            _ => rng.within(1_000, 300_000),
        });
        self.take_store_away(for_ms);
    }

    /// From now on nothing gets through to the store, for so long.
    pub(crate) fn take_store_away(&self, for_ms: u64) {
        let until_ms = self.world.now_ms() + for_ms;
        self.world.struck(Fault::Outage);
        self.world
            .change_weather(|weather| weather.outage_until_ms = until_ms);
    }

    fn reconfigure(&mut self) {
        let mut settings = self.settings.clone();
        self.world.draw(|rng| settings.redraw(rng));
        self.settings = settings;
        self.configure();
    }

    /// Tells the leader what the topic is set to.
    pub(crate) fn configure(&mut self) {
        let config = self.settings.replica();
        let settings = format!("{:?}", self.settings);
        self.world.trace(format_args!("settings {settings}"));
        if let Some(leader) = self.leader {
            self.in_process(leader, move |simulation| {
                simulation.turn(leader, vec![Input::Configure(config)]);
            });
        }
    }

    fn delete_records(&mut self) {
        let Some(leader) = self.leader else { return };
        let (start, end) = (self.check.log_start(), self.check.history.end());
        let before = self.world.draw(|rng| match rng.below(8) {
            0 => end.get(),
            _ => rng.within(start.get(), start.get() + (end.get() - start.get()) / 4),
        });
        let number = self.world.draw(|rng| rng.bits());
        self.world
            .trace(format_args!("deletes records before {before}"));
        self.in_process(leader, move |simulation| {
            let before = Some(Offset::new(before));
            let ticket = Ticket(number);
            simulation.turn(leader, vec![Input::DeleteRecords { ticket, before }]);
        });
    }

    fn fill_disk(&mut self) {
        self.settings.storage_full = true;
        self.world.struck(Fault::DiskFull);
        let for_ms = self.world.draw(|rng| rng.within(1_000, 60_000));
        self.world.after(for_ms, |simulation| {
            simulation.settings.storage_full = false
        });
    }

    fn doubt_clock(&mut self) {
        self.settings.clock_suspect = true;
        self.world.struck(Fault::ClockSuspect);
        let for_ms = self.world.draw(|rng| rng.within(1_000, 300_000));
        self.world.after(for_ms, |simulation| {
            simulation.settings.clock_suspect = false
        });
    }
}
