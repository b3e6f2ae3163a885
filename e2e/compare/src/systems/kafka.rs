//! Apache Kafka, driven by its own ProducerPerformance and ConsumerPerformance, and by `Load` where those cannot.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, ensure};
use headwater_e2e::{Process, free_port};

use super::{Bulk, Class, Paced, Records, System, Told, told};
use crate::process::{Hung, LOAD_PATIENCE, end, on_load_cpu, on_server_cpu, output, serve};
use crate::tools::Tools;

/// As Kafka's own start script sets them.
const JVM: &[&str] = &[
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];

/// Any id does; each data directory is a cluster of its own.
const CLUSTER_ID: &str = "aGVhZHdhdGVyLWNvbXBhcg";

/// How long it may take until nothing is left of a topic.
const DELETION_PATIENCE: Duration = Duration::from_secs(120);

/// One node that is broker and controller.
pub(crate) struct Kafka {
    process: Process,
    class_path: String,
    port: u16,
    folder: tempfile::TempDir,
}

impl Kafka {
    pub(crate) fn start(tools: &Tools) -> Result<Kafka> {
        let folder = tempfile::tempdir()?;
        let (port, controller_port) = (free_port(), free_port());
        let properties = folder.path().join("server.properties");
        let data = folder.path().join("data");
        let data = data.display();
        // Kafka's defaults but for what a node alone needs: fsync is left to the operating system.
        fs::write(
            &properties,
            format!(
                "process.roles=broker,controller\n\
                 node.id=1\n\
                 controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}\n\
                 controller.listener.names=CONTROLLER\n\
                 listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
                 advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
                 log.dirs={data}\n\
                 offsets.topic.replication.factor=1\n\
                 transaction.state.log.replication.factor=1\n\
                 transaction.state.log.min.isr=1\n\
                 share.coordinator.state.topic.replication.factor=1\n\
                 share.coordinator.state.topic.min.isr=1\n\
                 group.initial.rebalance.delay.ms=0\n\
                 # Deleted topics must not lie on the disk for the rest of the run.\n\
                 log.segment.delete.delay.ms=1000\n"
            ),
        )?;
        let class_path = tools.kafka_class_path.clone();
        let mut format = Command::new("java");
        format
            .args(["-cp", &class_path, "kafka.tools.StorageTool"])
            .args(["format", "--standalone", "-t", CLUSTER_ID, "-c"])
            .arg(&properties);
        output(&mut format)?;
        let log = folder.path().join("log");
        let process = serve(&mut server(&class_path, &properties), &log, port)?;
        Ok(Kafka {
            process,
            class_path,
            port,
            folder,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn properties(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn server(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A program of Kafka's, on the load's core.
    fn tool(&self, class: &str, arguments: &[String]) -> Result<String> {
        let mut java = on_load_cpu("java");
        java.args(["-Xmx1G", "-cp", &self.class_path, class])
            .args(arguments);
        output(&mut java)
    }

    /// Topics are deleted in the background, which must not be counted to who comes next.
    fn wait_until_deleted(&self, topic: &str) -> Result<()> {
        let deadline = Instant::now() + DELETION_PATIENCE;
        let of_topic = format!("{topic}-");
        loop {
            let entries = fs::read_dir(self.folder.path().join("data"))?;
            let names: Vec<_> = entries
                .map(|entry| Ok(entry?.file_name()))
                .collect::<Result<_>>()?;
            let of_topic = |name: &OsString| name.to_string_lossy().starts_with(&of_topic);
            let left = names.iter().any(of_topic);
            if !left {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{topic} is not deleted");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Says of a load that hangs how much of it the server has. Whatever was acknowledged is a part of that.
    fn how_far(&self, error: Error, topic: &str, records: Records) -> Error {
        let count = || told(&self.load("count", topic, &[])?);
        match error.is::<Hung>().then(count) {
            Some(Ok(Told { records: came, .. })) => {
                error.context(format!("hung: {came} of {} records came", records.count))
            }
            _ => error,
        }
    }

    /// Our own load.
    fn load(&self, command: &str, topic: &str, arguments: &[(&str, u64)]) -> Result<String> {
        let server = self.server();
        let mut words: Vec<String> = [command, "server", &server, "topic", topic]
            .map(str::to_owned)
            .to_vec();
        for (name, value) in arguments {
            words.extend([(*name).to_owned(), value.to_string()]);
        }
        self.tool("Load", &words)
    }
}

fn server(class_path: &str, properties: &std::path::Path) -> Command {
    let mut java = on_server_cpu("java");
    java.args(JVM)
        .args(["-cp", class_path, "kafka.Kafka"])
        .arg(properties);
    java
}

/// Five times the client's default, within which it gives up batches where each partition's file is synced by itself. As
/// long as a load may take in all.
const DELIVERY_TIMEOUT_MS: u128 = LOAD_PATIENCE.as_millis();

impl System for Kafka {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn create(&mut self, topic: &str, partitions: u32, class: Class) -> Result<()> {
        let mut arguments = vec![("partitions", u64::from(partitions))];
        if class == Class::Fsynced {
            arguments.push(("flush-messages", 1));
        }
        self.load("create", topic, &arguments)?;
        // A thousand partitions are there some seconds later. A producer that sends to them before has been seen to wait
        // in `close` for ever, with batches left that it had to send again.
        self.load("probe", topic, &[]).map(drop)
    }

    fn bulk(&mut self, topic: &str, bulk: &Bulk) -> Result<Told> {
        let Bulk {
            records,
            batch_bytes,
            linger_ms,
            ..
        } = bulk;
        let arguments = format!(
            "--bootstrap-server {} --topic {topic} --num-records {} --record-size {} --throughput -1 \
             --command-property acks=all linger.ms={linger_ms} batch.size={batch_bytes} buffer.memory=67108864 \
             delivery.timeout.ms={DELIVERY_TIMEOUT_MS}",
            self.server(),
            records.count,
            records.bytes,
        );
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        let printed = self.tool("org.apache.kafka.tools.ProducerPerformance", &arguments);
        producer_performance(&printed.map_err(|error| self.how_far(error, topic, *records))?)
    }

    fn drain(&mut self, topic: &str, records: Records) -> Result<Told> {
        let arguments = format!(
            "--bootstrap-server {} --topic {topic} --num-records {}",
            self.server(),
            records.count
        );
        let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
        consumer_performance(&self.tool("org.apache.kafka.tools.ConsumerPerformance", &arguments)?)
    }

    fn one_at_a_time(&mut self, topic: &str, records: Records) -> Result<Told> {
        let arguments = [
            ("records", records.count),
            ("warm-up", 0),
            ("record-bytes", records.bytes),
        ];
        told(&self.load("one-at-a-time", topic, &arguments)?)
    }

    fn paced(&mut self, topic: &str, paced: &Paced) -> Result<Told> {
        let mut arguments = paced.arguments();
        arguments.push(("linger-ms", 1));
        told(&self.load("paced", topic, &arguments)?)
    }

    fn verify_and_delete(&mut self, topic: &str, records: Records) -> Result<&'static str> {
        self.load("verify", topic, &records.verify_arguments())?;
        self.wait_until_deleted(topic)?;
        Ok("count, offsets, CRC of each batch")
    }

    fn restart(&mut self, topic: &str, kill: bool) -> Result<Duration> {
        end(&mut self.process, kill)?;
        let started = Instant::now();
        let mut command = server(&self.class_path, &self.properties());
        self.process = serve(&mut command, &self.folder.path().join("log"), self.port)?;
        // It takes connections before it has read its logs.
        self.load("probe", topic, &[])?;
        Ok(started.elapsed())
    }
}

/// The last line of ProducerPerformance: `300000 records sent, 26922.731760 records/sec (26.29 MB/sec), 823.94 ms avg
/// latency, 2234.00 ms max latency, 854 ms 50th, 1054 ms 95th, 1067 ms 99th, 1080 ms 99.9th.`
fn producer_performance(printed: &str) -> Result<Told> {
    let line = printed
        .lines()
        .rfind(|line| line.contains(" 99.9th"))
        .with_context(|| format!("no summary in {printed}"))?;
    let before = |unit: &str| -> Result<f64> {
        let (head, _) = line
            .split_once(unit)
            .with_context(|| format!("no {unit} in {line}"))?;
        Ok(head.rsplit([' ', '(']).next().unwrap_or_default().parse()?)
    };
    let records = before(" records sent")?;
    let us = |unit| before(unit).map(|ms| Some(ms * 1e3));
    Ok(Told {
        records: records as u64,
        seconds: records / before(" records/sec")?,
        p50_us: us(" ms 50th")?,
        p99_us: us(" ms 99th")?,
        p999_us: us(" ms 99.9th")?,
    })
}

/// ConsumerPerformance prints names and values, with commas.
fn consumer_performance(printed: &str) -> Result<Told> {
    let mut lines = printed.lines();
    let names = lines
        .find(|line| line.starts_with("start.time"))
        .context("no head in what ConsumerPerformance printed")?;
    let values = lines
        .next()
        .context("no values in what ConsumerPerformance printed")?;
    let column = |wanted: &str| -> Result<f64> {
        let (_, value) = names
            .split(", ")
            .zip(values.split(", "))
            .find(|(name, _)| *name == wanted)
            .with_context(|| format!("no {wanted} in {names}"))?;
        Ok(value.parse()?)
    };
    Ok(Told {
        records: column("data.consumed.in.nMsg")? as u64,
        // Without the time that the group takes to form.
        seconds: column("fetch.time.ms")? / 1e3,
        ..Told::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_producer_performance_prints_is_understood() {
        let printed = "\
75608 records sent, 15106.5 records/sec (14.75 MB/sec), 721.7 ms avg latency, 2234.0 ms max latency.
182159 records sent, 36315.6 records/sec (35.46 MB/sec), 848.7 ms avg latency, 1093.0 ms max latency.
300000 records sent, 26922.731760 records/sec (26.29 MB/sec), 823.94 ms avg latency, 2234.00 ms max latency, 854 ms 50th, 1054 ms 95th, 1067 ms 99th, 1080 ms 99.9th.
";
        let told = producer_performance(printed).unwrap();
        assert_eq!(told.records, 300_000);
        assert!((told.seconds - 300_000.0 / 26_922.731_760).abs() < 1e-9);
        assert_eq!(told.p50_us, Some(854_000.0));
        assert_eq!(told.p99_us, Some(1_067_000.0));
        assert_eq!(told.p999_us, Some(1_080_000.0));
        assert!(producer_performance("nothing").is_err());
    }

    #[test]
    fn what_consumer_performance_prints_is_understood() {
        let printed = "\
start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, fetch.MB.sec, fetch.nMsg.sec
2026-11-27 22:20:56:084, 2026-11-27 22:21:07:144, 292.9688, 26.4890, 300000, 27124.7740, 3667, 7393, 39.6279, 40578.9260
";
        let told = consumer_performance(printed).unwrap();
        assert_eq!((told.records, told.seconds), (300_000, 7.393));
        assert!(consumer_performance("start.time\n").is_err());
    }
}
