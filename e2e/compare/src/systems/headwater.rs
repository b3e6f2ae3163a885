//! Headwater, driven by `headwater perf`.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use headwater_client::Position;
use headwater_client::types::{Durability, TopicConfig};
use headwater_e2e::{Broker, BrokerOptions, Program};
use serde_json::Value;

use super::{Bulk, Class, Paced, Records, System, Told};
use crate::process::{LOAD_PATIENCE, SERVER_CPU, on_load_cpu, output};

/// A broker that runs.
pub(crate) struct Headwater {
    pub(crate) broker: Broker,
}

impl Headwater {
    /// Starts a broker on the servers' core.
    pub(crate) fn start(options: BrokerOptions) -> Headwater {
        let cpus = Some(SERVER_CPU.to_owned());
        Headwater {
            broker: Broker::start_with(BrokerOptions { cpus, ..options }),
        }
    }

    pub(crate) fn port(&self) -> Result<u16> {
        let endpoint = self.broker.endpoint();
        let (_, port) = endpoint.rsplit_once(':').context("host:port")?;
        Ok(port.parse()?)
    }

    /// Runs `headwater` on the load's core.
    pub(crate) fn command(&self, arguments: &[&str]) -> Result<Value> {
        let mut command = on_load_cpu(Program::Cli.path());
        command
            .args(["--endpoint", &self.broker.endpoint()])
            .args(arguments)
            .args(["-o", "json"]);
        let printed = output(&mut command)?;
        Ok(serde_json::from_str(&printed).unwrap_or_default())
    }

    fn perf(&self, what: &str, topic: &str, arguments: &[String]) -> Result<Told> {
        let mut words = vec!["perf", what, "--topic", topic];
        words.extend(arguments.iter().map(String::as_str));
        report(&self.command(&words)?)
    }

    /// Reads all records of a topic: the SDK checks the CRC of each batch.
    fn read_back_and_delete(&self, topic: &str, records: Records) -> Result<()> {
        within_patience(async {
            let client = self.broker.client().await;
            let consumer = client.consumer().topic(topic, Position::Earliest);
            let mut consumer = consumer.until_latest(true).build().await?;
            let mut next: HashMap<u32, u64> = HashMap::new();
            let mut count = 0;
            while let Some(raw) = consumer.next_raw().await? {
                for batch in &raw.batches {
                    let header = batch.header();
                    let next = next.entry(raw.partition).or_default();
                    ensure!(
                        header.base_offset.get() == *next,
                        "offset {next} is missing"
                    );
                    *next = header.end_offset().get();
                    count += u64::from(header.record_count);
                }
            }
            ensure!(
                count == records.count,
                "{count} of {} records are there",
                records.count
            );
            client.admin().delete_topic(topic, None).await?;
            Ok(())
        })
    }
}

impl System for Headwater {
    fn pid(&self) -> u32 {
        self.broker.pid()
    }

    fn create(&mut self, topic: &str, partitions: u32, class: Class) -> Result<()> {
        let durability = match class {
            Class::Unsynced => Durability::Replicated,
            Class::Fsynced => Durability::Fsync,
        };
        let config = TopicConfig {
            durability: Some(durability as i32),
            ..TopicConfig::default()
        };
        within_patience(async {
            let admin = self.broker.client().await.admin();
            admin.create_topic(topic, partitions, config, false).await?;
            Ok(())
        })
    }

    fn bulk(&mut self, topic: &str, bulk: &Bulk) -> Result<Told> {
        let linger = format!("{}ms", bulk.linger_ms);
        let batch = format!("{}B", bulk.batch_bytes);
        let mut arguments = counted(bulk.records);
        arguments.extend(words(&["--batch-size", &batch, "--linger", &linger]));
        self.perf("produce", topic, &arguments)
    }

    fn drain(&mut self, topic: &str, _: Records) -> Result<Told> {
        self.perf("consume", topic, &[])
    }

    fn one_at_a_time(&mut self, topic: &str, records: Records) -> Result<Told> {
        let mut arguments = counted(records);
        arguments.extend(words(&["--in-flight", "1"]));
        self.perf("produce", topic, &arguments)
    }

    fn paced(&mut self, topic: &str, paced: &Paced) -> Result<Told> {
        let warm_up_ms = paced.warm_up * 1000 / paced.per_second;
        self.perf(
            "e2e",
            topic,
            &words(&[
                "--count",
                &paced.records.count.to_string(),
                "--record-size",
                &format!("{}B", paced.records.bytes),
                "--rate",
                &paced.per_second.to_string(),
                "--warm-up",
                &format!("{warm_up_ms}ms"),
                "--readers",
                &paced.readers.to_string(),
                "--batch-size",
                "128KiB",
                "--linger",
                "1ms",
            ]),
        )
    }

    fn verify_and_delete(&mut self, topic: &str, records: Records) -> Result<&'static str> {
        self.read_back_and_delete(topic, records)?;
        Ok("count, offsets, CRC of each batch")
    }

    fn restart(&mut self, _: &str, kill: bool) -> Result<Duration> {
        if kill {
            self.broker.kill();
        } else {
            self.broker.stop();
        }
        self.broker.restart();
        Ok(self.broker.started_in())
    }
}

/// What is asked of a broker by the SDK has a limit, as programs have.
fn within_patience(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build()?.block_on(async {
        let work = tokio::time::timeout(LOAD_PATIENCE, work).await;
        work.context("the broker has not answered in time")?
    })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn counted(records: Records) -> Vec<String> {
    let (count, bytes) = (records.count.to_string(), format!("{}B", records.bytes));
    words(&[
        "--count",
        &count,
        "--record-size",
        &bytes,
        "--warm-up",
        "0ms",
    ])
}

/// What `headwater perf` says.
fn report(report: &Value) -> Result<Told> {
    let latency = |name: &str| report["latency_us"][name].as_f64();
    Ok(Told {
        records: report["records"]
            .as_u64()
            .context("a report says how many")?,
        seconds: report["elapsed_s"]
            .as_f64()
            .context("a report says how long")?,
        p50_us: latency("p50"),
        p99_us: latency("p99"),
        p999_us: latency("p999"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_perf_is_understood() {
        let printed = r#"{"kind": "produce", "topic": "t", "partitions": 1, "record_bytes": 1024,
            "setup": "acks all", "records": 1000, "bytes": 1024000, "elapsed_s": 0.5,
            "records_per_s": 2000.0, "mib_per_s": 1.95, "latency_us": {"samples": 63, "mean": 1.0,
            "p50": 2.5, "p90": 3.0, "p99": 4.5, "p999": 5.5, "p9999": 6.0, "max": 7.0}}"#;
        let told = report(&serde_json::from_str(printed).unwrap()).unwrap();
        assert_eq!((told.records, told.seconds), (1000, 0.5));
        assert_eq!(
            (told.p50_us, told.p99_us, told.p999_us),
            (Some(2.5), Some(4.5), Some(5.5))
        );
    }
}
