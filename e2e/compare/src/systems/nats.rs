//! NATS JetStream, driven by `nats bench`, and by a load of ours where that cannot.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use headwater_e2e::{Process, free_port};

use super::{Bulk, Class, Paced, Records, System, Told, told};
use crate::process::{end, on_load_cpu, on_server_cpu, output, serve};
use crate::tools::Tools;

/// Messages that `nats bench` may have on their way.
const IN_FLIGHT: &str = "500";

/// One server. The class is the server's: it cannot be chosen for each stream.
pub(crate) struct Nats {
    process: Process,
    class: Class,
    port: u16,
    folder: tempfile::TempDir,
    server: PathBuf,
    command: PathBuf,
    load: PathBuf,
    /// Makes a stream, not a subject, for each partition.
    pub(crate) streams_for_partitions: bool,
}

impl Nats {
    pub(crate) fn start(tools: &Tools, class: Class) -> Result<Nats> {
        let folder = tempfile::tempdir()?;
        let port = free_port();
        let sync_interval = match class {
            // The default.
            Class::Unsynced => "2m",
            Class::Fsynced => "always",
        };
        let store = folder.path().join("data");
        fs::write(
            folder.path().join("nats.conf"),
            format!(
                "listen: \"127.0.0.1:{port}\"\n\
                 jetstream {{ store_dir: \"{}\", sync_interval: \"{sync_interval}\" }}\n",
                store.display()
            ),
        )?;
        let mut command = server(&tools.nats_server, folder.path());
        let process = serve(&mut command, &folder.path().join("log"), port)?;
        Ok(Nats {
            process,
            class,
            port,
            folder,
            server: tools.nats_server.clone(),
            command: tools.nats.clone(),
            load: tools.nats_load.clone(),
            streams_for_partitions: false,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn bench(&self, topic: &str, how: &str, records: Records, more: &[&str]) -> Result<Told> {
        let mut nats = on_load_cpu(&self.command);
        nats.args(["--server", &format!("nats://{}", self.address())])
            .args(["bench", "js"])
            .args(how.split(' '))
            .args(["--stream", topic, "--no-progress"])
            .args(["--msgs", &records.count.to_string()])
            .args(["--size", &records.bytes.to_string()])
            .args(more);
        bench_report(&output(&mut nats)?, records.count)
    }

    fn load(&self, command: &str, topic: &str, arguments: &[(&str, u64)]) -> Result<String> {
        let mut load = on_load_cpu(&self.load);
        load.arg(command)
            .args(["-server", &self.address(), "-stream", topic]);
        for (name, value) in arguments {
            load.arg(format!("-{name}={value}"));
        }
        output(&mut load)
    }
}

fn server(program: &std::path::Path, folder: &std::path::Path) -> Command {
    let mut command = on_server_cpu(program);
    command.arg("--config").arg(folder.join("nats.conf"));
    command
}

impl System for Nats {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// A stream is one log; what is a partition elsewhere is a subject of it.
    fn create(&mut self, topic: &str, partitions: u32, class: Class) -> Result<()> {
        ensure!(class == self.class, "this server has another class");
        let streams = if self.streams_for_partitions {
            partitions
        } else {
            1
        };
        self.load("create", topic, &[("streams", streams.into())])
            .map(drop)
    }

    fn bulk(&mut self, topic: &str, bulk: &Bulk) -> Result<Told> {
        let most = bulk.partitions.to_string();
        let mut more = vec!["--batch", IN_FLIGHT];
        if 1 < bulk.partitions {
            more.extend(["--multisubject", "--multisubjectmax", &most]);
        }
        self.bench(topic, &format!("pub async {topic}"), bulk.records, &more)
    }

    fn drain(&mut self, topic: &str, records: Records) -> Result<Told> {
        self.bench(topic, "ordered", records, &[])
    }

    fn one_at_a_time(&mut self, topic: &str, records: Records) -> Result<Told> {
        self.bench(topic, &format!("pub sync {topic}"), records, &[])
    }

    fn paced(&mut self, topic: &str, paced: &Paced) -> Result<Told> {
        told(&self.load("paced", topic, &paced.arguments())?)
    }

    fn verify_and_delete(&mut self, topic: &str, records: Records) -> Result<&'static str> {
        self.load("verify", topic, &records.verify_arguments())?;
        Ok("count, sequence numbers, sizes")
    }

    fn restart(&mut self, _: &str, kill: bool) -> Result<Duration> {
        end(&mut self.process, kill)?;
        let started = Instant::now();
        let mut command = server(&self.server, self.folder.path());
        self.process = serve(&mut command, &self.folder.path().join("log"), self.port)?;
        Ok(started.elapsed())
    }
}

/// The last line of `nats bench`: `NATS JetStream asynchronous publisher stats: 35,884 msgs/sec ~ 35 MiB/sec ~ min:
/// 4,365.12us ~ avg: 13,924.96us ~ max: 36,133.76us ~ P50: 13,426.66us ~ P90: 19,765.77us ~ P99: 29,707.41us ~ P99.9:
/// 36,133.76us`. Readers have no latencies.
fn bench_report(printed: &str, records: u64) -> Result<Told> {
    let (_, stats) = printed
        .lines()
        .rev()
        .find_map(|line| line.split_once(" stats: "))
        .with_context(|| format!("no statistics in {printed}"))?;
    let number = |text: &str| text.replace(',', "").parse::<f64>();
    let mut parts = stats.trim().split(" ~ ");
    let rate = parts
        .next()
        .and_then(|part| part.strip_suffix(" msgs/sec"))
        .with_context(|| format!("no rate in {stats}"))?;
    let mut told = Told {
        records,
        seconds: records as f64 / number(rate)?,
        ..Told::default()
    };
    for part in parts {
        let Some((name, value)) = part.split_once(": ") else {
            continue;
        };
        let us = value.strip_suffix("us").map(number).transpose()?;
        match name {
            "P50" => told.p50_us = us,
            "P99" => told.p99_us = us,
            "P99.9" => told.p999_us = us,
            _ => {}
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nats_bench_prints_is_understood() {
        let printed = "\
22:22:37 Using stream: s1
22:22:37 [1] Starting JetStream asynchronous publisher, publishing 200,000 messages

NATS JetStream asynchronous publisher stats: 35,884 msgs/sec ~ 35 MiB/sec ~ min: 4,365.12us ~ avg: 13,924.96us ~ max: 36,133.76us ~ P50: 13,426.66us ~ P90: 19,765.77us ~ P99: 29,707.41us ~ P99.9: 36,133.76us

";
        let told = bench_report(printed, 200_000).unwrap();
        assert!((told.seconds - 200_000.0 / 35_884.0).abs() < 1e-9);
        assert_eq!(told.p50_us, Some(13_426.66));
        assert_eq!(told.p99_us, Some(29_707.41));
        assert_eq!(told.p999_us, Some(36_133.76));

        let reader =
            "NATS JetStream ordered ephemeral consumer stats: 58,810 msgs/sec ~ 57 MiB/sec\n";
        let told = bench_report(reader, 58_810).unwrap();
        assert_eq!((told.seconds, told.p50_us), (1.0, None));
        assert!(bench_report("nothing", 1).is_err());
    }
}
