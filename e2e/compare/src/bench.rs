//! Runs scenarios: all subjects in turns, A B A B, on servers that are started and warmed once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use headwater_e2e::BrokerOptions;
use serde_json::Value;

use crate::figures::{Figure, Row, Sample};
use crate::process::{SERVER_CPU, Usage, on_load_cpu, output, touch_memory, usage};
use crate::scenarios::{Floor, Scenario, What, Work};
use crate::special::Special;
use crate::systems::{Bulk, Class, Headwater, Kafka, Nats, Paced, Records, System, Told};
use crate::tools::Tools;

/// NATS syncs each message by itself: it gets fewer, or a run would take minutes.
const NATS_SYNCED_SHARE: u64 = 20;

/// Time for servers to come to rest before their memory counts.
const REST: Duration = Duration::from_secs(3);

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Runs of each subject.
    pub(crate) runs: usize,
    /// Times 2 GB through the JVM, before anything counts.
    pub(crate) jvm_warm_up_runs: usize,
    /// All counts and durations are divided by this.
    pub(crate) divisor: u64,
}

/// All servers.
pub(crate) struct Bench {
    effort: Effort,
    /// The program with the floors, unless they are left out.
    floors: Option<PathBuf>,
    headwater: Headwater,
    kafka: Kafka,
    nats: Nats,
    nats_synced: Nats,
    /// Resident memory of each server just after its start.
    idle_mib: [f64; EVERYBODY.len()],
    tools: Tools,
    topics: u64,
    is_warm: bool,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Headwater,
    Kafka,
    Nats,
}

pub(crate) const EVERYBODY: [Who; 3] = [Who::Headwater, Who::Kafka, Who::Nats];

impl Bench {
    /// Starts everything. It is warmed when it is first measured: not all scenarios use these servers.
    pub(crate) fn start(effort: Effort, floors: Option<PathBuf>) -> Result<Bench> {
        let tools = Tools::fetch()?;
        let mut bench = Bench {
            effort,
            floors,
            headwater: Headwater::start(BrokerOptions::default()),
            kafka: Kafka::start(&tools)?,
            nats: Nats::start(&tools, Class::Unsynced)?,
            nats_synced: Nats::start(&tools, Class::Fsynced)?,
            idle_mib: [0.0; EVERYBODY.len()],
            topics: 0,
            is_warm: false,
            tools,
        };
        std::thread::sleep(REST);
        for who in EVERYBODY {
            let pid = bench.system(who, Class::Unsynced).pid();
            bench.idle_mib[who as usize] = usage(pid)?.resident_mib;
        }
        Ok(bench)
    }

    /// A JVM needs gigabytes until it has compiled what it does; the others one run.
    fn warm_up(&mut self) -> Result<()> {
        let bulk = Bulk {
            records: Records {
                count: self.count(2_000_000),
                bytes: 1 << 10,
            },
            ..crate::scenarios::BULK
        };
        for run in 1..=self.effort.jvm_warm_up_runs {
            for who in EVERYBODY {
                if who == Who::Kafka || run == 1 {
                    eprintln!("warming {who:?}, run {run}");
                    self.measure(who, Class::Unsynced, Work::Drain(bulk))?;
                }
            }
        }
        Ok(())
    }

    /// Measures a scenario.
    pub(crate) fn run(&mut self, scenario: &Scenario) -> Result<Vec<Row>> {
        match scenario.work {
            What::Load(work) => self.run_load(scenario, work),
            What::Special(special) => self.run_special(scenario, special),
        }
    }

    fn run_special(&mut self, scenario: &Scenario, special: Special) -> Result<Vec<Row>> {
        let mut rows: Vec<Row> = Vec::new();
        for run in 1..=scenario.runs(self.effort.runs) {
            eprintln!("{}, run {run} of {}", scenario.id, self.effort.runs);
            for said in special(self)? {
                let found = rows.iter_mut().find(|row| row.subject == said.subject);
                match found {
                    Some(row) => row.samples.push(said.sample),
                    None => rows.push(Row {
                        subject: said.subject,
                        verified: said.verified.to_owned(),
                        samples: vec![said.sample],
                    }),
                }
            }
        }
        Ok(rows)
    }

    fn run_load(&mut self, scenario: &Scenario, work: Work) -> Result<Vec<Row>> {
        let subjects: Vec<(Who, Class)> = scenario
            .classes
            .iter()
            .flat_map(|class| EVERYBODY.map(|who| (who, *class)))
            .collect();
        let row = |subject: &str, verified: &str| Row {
            subject: subject.to_owned(),
            verified: verified.to_owned(),
            samples: Vec::new(),
        };
        let mut rows: Vec<Row> = subjects
            .iter()
            .map(|(who, class)| row(self.system(*who, *class).name(*class), ""))
            .collect();
        let measured_floors = if self.floors.is_some() {
            scenario.floors
        } else {
            &[]
        };
        let mut floors: Vec<Row> = measured_floors
            .iter()
            .map(|floor| row(floor.name, "by its server: CRC of each batch"))
            .collect();
        touch_memory();
        for run in 1..=self.effort.runs {
            let at = format!("{}, run {run} of {}", scenario.id, self.effort.runs);
            for ((who, class), row) in subjects.iter().zip(&mut rows) {
                eprintln!("{at}: {}", row.subject);
                let (sample, verified) = self.measure(*who, *class, self.scaled(work))?;
                row.samples.push(sample);
                row.verified = verified.to_owned();
            }
            for (floor, row) in measured_floors.iter().zip(&mut floors) {
                eprintln!("{at}: {}", floor.name);
                row.samples.push(self.floor(floor)?);
            }
        }
        rows.extend(floors);
        Ok(rows)
    }

    pub(crate) fn system(&mut self, who: Who, class: Class) -> &mut dyn System {
        match (who, class) {
            (Who::Headwater, _) => &mut self.headwater,
            (Who::Kafka, _) => &mut self.kafka,
            (Who::Nats, Class::Unsynced) => &mut self.nats,
            (Who::Nats, Class::Fsynced) => &mut self.nats_synced,
        }
    }

    /// One run on a topic of its own. Says what was verified of it.
    pub(crate) fn measure(
        &mut self,
        who: Who,
        class: Class,
        work: Work,
    ) -> Result<(Sample, &'static str)> {
        if !std::mem::replace(&mut self.is_warm, true) {
            self.warm_up()?;
        }
        let work = match (who, class) {
            (Who::Nats, Class::Fsynced) => fewer(work, NATS_SYNCED_SHARE),
            _ => work,
        };
        self.topics += 1;
        let topic = format!("compare-{}", self.topics);
        let system = self.system(who, class);
        system.create(&topic, work.partitions(), class)?;
        if let Work::Drain(bulk) = work {
            system.bulk(&topic, &bulk)?;
        }
        let before = usage(system.pid())?;
        let told = match work {
            Work::Bulk(bulk) => system.bulk(&topic, &bulk)?,
            Work::Drain(bulk) => system.drain(&topic, bulk.records)?,
            Work::OneAtATime(records) => system.one_at_a_time(&topic, records)?,
            Work::Paced(paced) => system.paced(&topic, &paced)?,
        };
        let after = usage(system.pid())?;
        let verified = system.verify_and_delete(&topic, work.stored())?;
        Ok((sample(work, &told, before, after), verified))
    }

    fn floor(&self, floor: &Floor) -> Result<Sample> {
        let program = self.floors.as_ref().context("the floors are left out")?;
        let mut command = on_load_cpu(program);
        command
            .args(["floor", "--server-cpus", SERVER_CPU])
            .args(floor.arguments);
        let report: Value = serde_json::from_str(&output(&mut command)?)?;
        let number = |name: &str| report[name].as_f64();
        let required = |name: &str| number(name).with_context(|| format!("no {name} in a report"));
        let mut sample = Sample::from([
            (Figure::RecordsPerSecond, required("records_per_second")?),
            (Figure::MibPerSecond, required("mib_per_second")?),
            (
                Figure::CpuUsPerRecord,
                required("server_cpu_seconds")? * 1e6 / required("records")?,
            ),
            (
                Figure::ResidentMib,
                required("server_resident_bytes")? / f64::from(1 << 20),
            ),
        ]);
        let latencies = [(Figure::P50Us, "p50_us"), (Figure::P99Us, "p99_us")];
        sample.extend(
            latencies
                .into_iter()
                .filter_map(|(figure, name)| Some((figure, number(name)?))),
        );
        Ok(sample)
    }

    pub(crate) fn scaled(&self, work: Work) -> Work {
        fewer(work, self.effort.divisor)
    }

    /// A count in proportion to the effort.
    pub(crate) fn count(&self, count: u64) -> u64 {
        (count / self.effort.divisor).max(1)
    }

    pub(crate) fn divisor(&self) -> u64 {
        self.effort.divisor
    }

    pub(crate) fn floors(&self) -> Option<&Path> {
        self.floors.as_deref()
    }

    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }

    /// What a server held before it had anything to do.
    pub(crate) fn idle_mib(&self, who: Who) -> f64 {
        self.idle_mib[who as usize]
    }
}

/// The same work in less time.
fn fewer(work: Work, divisor: u64) -> Work {
    let records = |records: Records| Records {
        count: (records.count / divisor).max(1),
        ..records
    };
    let bulk = |bulk: Bulk| Bulk {
        records: records(bulk.records),
        ..bulk
    };
    match work {
        Work::Bulk(work) => Work::Bulk(bulk(work)),
        Work::Drain(work) => Work::Drain(bulk(work)),
        Work::OneAtATime(work) => Work::OneAtATime(records(work)),
        Work::Paced(paced) => Work::Paced(Paced {
            records: records(paced.records),
            warm_up: paced.warm_up / divisor,
            ..paced
        }),
    }
}

impl Work {
    fn partitions(&self) -> u32 {
        match self {
            Work::Bulk(bulk) | Work::Drain(bulk) => bulk.partitions,
            Work::OneAtATime(_) | Work::Paced(_) => 1,
        }
    }

    /// What is in the topic afterwards.
    fn stored(&self) -> Records {
        match self {
            Work::Bulk(bulk) | Work::Drain(bulk) => bulk.records,
            Work::OneAtATime(records) => *records,
            Work::Paced(paced) => Records {
                count: paced.warm_up + paced.records.count,
                ..paced.records
            },
        }
    }

    fn readers(&self) -> u64 {
        match self {
            Work::Bulk(_) | Work::OneAtATime(_) => 0,
            Work::Drain(_) => 1,
            Work::Paced(paced) => paced.readers,
        }
    }
}

/// Figures of a run, from what the load says of time and the kernel of cost.
fn sample(work: Work, told: &Told, before: Usage, after: Usage) -> Sample {
    let stored = work.stored();
    let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
    let mib = |records: u64| (records * stored.bytes) as f64 / f64::from(1 << 20);
    let mut sample = Sample::from([
        (Figure::RecordsPerSecond, told.records as f64 / told.seconds),
        (Figure::MibPerSecond, mib(told.records) / told.seconds),
        (
            Figure::CpuUsPerRecord,
            cpu_seconds * 1e6 / stored.count as f64,
        ),
        (Figure::ResidentMib, after.resident_mib),
        (Figure::ProportionalMib, after.proportional_mib),
    ]);
    if 0 < work.readers() {
        let delivered = mib(stored.count * work.readers());
        sample.insert(Figure::CpuMsPerMibDelivered, cpu_seconds * 1e3 / delivered);
    }
    let latencies = [
        (Figure::P50Us, told.p50_us),
        (Figure::P99Us, told.p99_us),
        (Figure::P999Us, told.p999_us),
    ];
    sample.extend(
        latencies
            .into_iter()
            .filter_map(|(figure, value)| Some((figure, value?))),
    );
    sample
}
