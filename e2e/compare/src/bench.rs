//! Runs scenarios: all subjects in turns, A B A B, on servers that are started and warmed once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::figures::{Figure, Row, Sample};
use crate::process::{SERVER_CPU, Usage, on_load_cpu, output, touch_memory, usage};
use crate::progress::say;
use crate::rounds::{Outcome, Rounds, caught};
use crate::scenarios::{BULK, Floor, Scenario, What, Work};
use crate::systems::{Bulk, Class, EVERYBODY, Paced, Records, System, Told, Who};
use crate::tools::Tools;

/// NATS syncs each message by itself: it gets fewer, or a run would take minutes.
const NATS_SYNCED_SHARE: u64 = 20;

/// Time for servers to come to rest before their memory counts.
const REST: Duration = Duration::from_secs(3);

/// What goes through a server before anything counts: 2 GB.
const WARM_UP: Bulk = Bulk {
    records: Records {
        count: 2_000_000,
        bytes: 1 << 10,
    },
    ..BULK
};

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
    servers: Vec<Server>,
    tools: Tools,
    topics: u64,
}

/// A server that stays for the whole run, unless it fails.
struct Server {
    who: Who,
    /// Those that it has.
    classes: &'static [Class],
    /// None after a failure, until it is asked for again.
    system: Option<Box<dyn System>>,
    is_warm: bool,
    /// Resident memory just after the start.
    idle_mib: Option<f64>,
}

impl Server {
    fn new(who: Who, classes: &'static [Class]) -> Server {
        Server {
            who,
            classes,
            system: None,
            is_warm: false,
            idle_mib: None,
        }
    }

    /// The system, started if it does not run.
    fn started(&mut self, tools: &Tools) -> Result<&mut dyn System> {
        let system = match self.system.take() {
            Some(system) => system,
            None => {
                self.is_warm = false;
                self.who.start(tools, self.classes[0])?
            }
        };
        Ok(&mut **self.system.insert(system))
    }
}

impl Bench {
    /// Starts everything. What does not start is tried again when it is measured.
    pub(crate) fn start(effort: Effort, floors: Option<PathBuf>) -> Result<Bench> {
        let mut bench = Bench {
            effort,
            floors,
            servers: vec![
                Server::new(Who::Headwater, &[Class::Unsynced, Class::Fsynced]),
                Server::new(Who::Kafka, &[Class::Unsynced, Class::Fsynced]),
                Server::new(Who::Nats, &[Class::Unsynced]),
                Server::new(Who::Nats, &[Class::Fsynced]),
            ],
            topics: 0,
            tools: Tools::fetch()?,
        };
        for server in &mut bench.servers {
            if let Err(error) = caught(|| server.started(&bench.tools).map(drop)) {
                say(format_args!("{:?} does not start: {error:#}", server.who));
            }
        }
        std::thread::sleep(REST);
        for server in &mut bench.servers {
            if let Some(system) = &server.system {
                server.idle_mib = Some(usage(system.pid())?.resident_mib);
            }
        }
        Ok(bench)
    }

    /// A system that runs and is warm: a JVM needs gigabytes until it has compiled what it does; the others one run, and a
    /// server that syncs each message none.
    fn warm(&mut self, who: Who, class: Class) -> Result<&mut dyn System> {
        let runs = match (who, class) {
            (Who::Nats, Class::Fsynced) => 0,
            (Who::Kafka, _) => self.effort.jvm_warm_up_runs,
            _ => 1,
        };
        self.started(who, class)?;
        if !std::mem::replace(&mut self.server(who, class).is_warm, true) {
            let work = self.scaled(Work::Drain(WARM_UP));
            for run in 1..=runs {
                say(format_args!("warming {who:?}, run {run} of {runs}"));
                let topic = self.topic();
                measure(self.started(who, class)?, &topic, Class::Unsynced, work)?;
            }
        }
        self.started(who, class)
    }

    /// A system that runs.
    pub(crate) fn started(&mut self, who: Who, class: Class) -> Result<&mut dyn System> {
        server(&mut self.servers, who, class).started(&self.tools)
    }

    fn server(&mut self, who: Who, class: Class) -> &mut Server {
        server(&mut self.servers, who, class)
    }

    fn topic(&mut self) -> String {
        self.topics += 1;
        format!("compare-{}", self.topics)
    }

    /// Measures a scenario. What fails stands in its row.
    pub(crate) fn run(&mut self, scenario: &Scenario) -> Vec<Row> {
        let mut rounds = Rounds::new(scenario.id, scenario.runs(self.effort.runs), touch_memory);
        match scenario.work {
            What::Load(work) => self.run_load(scenario, work, &mut rounds),
            What::Special(special) => {
                while rounds.next() {
                    special(self, &mut rounds);
                }
            }
        }
        rounds.rows()
    }

    fn run_load(&mut self, scenario: &Scenario, work: Work, rounds: &mut Rounds) {
        let subjects: Vec<(Who, Class)> = scenario
            .classes
            .iter()
            .flat_map(|class| EVERYBODY.map(|who| (who, *class)))
            .collect();
        for (who, class) in &subjects {
            if let Err(error) = caught(|| self.warm(*who, *class).map(drop)) {
                say(format_args!("{who:?} does not become warm: {error:#}"));
                self.server(*who, *class).system = None;
            }
        }
        let floors = match self.floors {
            Some(_) => scenario.floors,
            None => &[],
        };
        while rounds.next() {
            for (who, class) in &subjects {
                let (who, class) = (*who, *class);
                let work = match (who, class) {
                    (Who::Nats, Class::Fsynced) => fewer(self.scaled(work), NATS_SYNCED_SHARE),
                    _ => self.scaled(work),
                };
                self.attempt(rounds, who, class, |bench| bench.measure(who, class, work));
            }
            for floor in floors {
                rounds.measure(floor.name, || {
                    Ok((self.floor(floor)?, "by its server: CRC of each batch"))
                });
            }
        }
    }

    /// Measures a subject. What fails gets a new server next time, for nobody knows in which state it is.
    pub(crate) fn attempt(
        &mut self,
        rounds: &mut Rounds,
        who: Who,
        class: Class,
        work: impl FnOnce(&mut Bench) -> Outcome,
    ) {
        if !rounds.measure(who.subject(class), || work(self)) {
            self.server(who, class).system = None;
        }
    }

    /// One run on a topic of its own.
    pub(crate) fn measure(&mut self, who: Who, class: Class, work: Work) -> Outcome {
        let topic = self.topic();
        measure(self.warm(who, class)?, &topic, class, work)
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
    pub(crate) fn idle_mib(&mut self, who: Who) -> Result<f64> {
        let server = self.server(who, Class::Unsynced);
        server.idle_mib.context("it did not start")
    }
}

/// The one that a system has for a class.
fn server(servers: &mut [Server], who: Who, class: Class) -> &mut Server {
    let of = |server: &&mut Server| server.who == who && server.classes.contains(&class);
    let found = servers.iter_mut().find(of);
    found.expect("everybody has a server in each class")
}

/// One run. Says what was verified of it.
fn measure(system: &mut dyn System, topic: &str, class: Class, work: Work) -> Outcome {
    system.create(topic, work.partitions(), class)?;
    if let Work::Drain(bulk) = work {
        system.bulk(topic, &bulk)?;
    }
    let before = usage(system.pid())?;
    let told = match work {
        Work::Bulk(bulk) => system.bulk(topic, &bulk)?,
        Work::Drain(bulk) => system.drain(topic, bulk.records)?,
        Work::OneAtATime(records) => system.one_at_a_time(topic, records)?,
        Work::Paced(paced) => system.paced(topic, &paced)?,
    };
    let after = usage(system.pid())?;
    let verified = system.verify_and_delete(topic, work.stored())?;
    Ok((sample(work, &told, before, after), verified))
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
        Work::Paced(paced) => {
            // Whole milliseconds, as `headwater perf` takes them.
            let per_ms = paced.per_second / 1000;
            Work::Paced(Paced {
                records: records(paced.records),
                warm_up: paced.warm_up / divisor / per_ms * per_ms,
                ..paced
            })
        }
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
