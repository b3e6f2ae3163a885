//! The systems that are measured, behind one trait: ours, and its peers.

mod headwater;
mod kafka;
mod nats;

use std::time::Duration;

use anyhow::Result;
use headwater_e2e::BrokerOptions;
use serde::Deserialize;

use crate::tools::Tools;

pub(crate) use headwater::Headwater;
pub(crate) use kafka::Kafka;
pub(crate) use nats::Nats;

/// What an acknowledgement promises of a system alone. Never compare across classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// In the page cache; the medium follows later.
    Unsynced,
    /// On the medium.
    Fsynced,
}

/// Whom to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Headwater,
    Kafka,
    Nats,
}

pub(crate) const EVERYBODY: [Who; 3] = [Who::Headwater, Who::Kafka, Who::Nats];

impl Who {
    /// As tables call it, in a class.
    pub(crate) fn subject(self, class: Class) -> &'static str {
        match (self, class) {
            (Who::Headwater, Class::Unsynced) => "Headwater, replicated",
            (Who::Headwater, Class::Fsynced) => "Headwater, fsync",
            (Who::Kafka, Class::Unsynced) => "Kafka",
            (Who::Kafka, Class::Fsynced) => "Kafka, flush.messages=1",
            (Who::Nats, Class::Unsynced) => "NATS",
            (Who::Nats, Class::Fsynced) => "NATS, sync_interval=always",
        }
    }

    /// A new server of this system, with nothing on it.
    pub(crate) fn start(self, tools: &Tools, class: Class) -> Result<Box<dyn System>> {
        Ok(match self {
            Who::Headwater => Box::new(Headwater::start(BrokerOptions::default())),
            Who::Kafka => Box::new(Kafka::start(tools)?),
            Who::Nats => Box::new(Nats::start(tools, class)?),
        })
    }
}

/// Records that are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Records {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Records {
    /// What a peer's load is told so that it reads all of them back, and deletes their topic.
    fn verify_arguments(&self) -> [(&'static str, u64); 3] {
        [
            ("records", self.count),
            ("record-bytes", self.bytes),
            ("delete", 1),
        ]
    }
}

/// Records in batches, as fast as possible.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bulk {
    pub(crate) records: Records,
    pub(crate) partitions: u32,
    pub(crate) batch_bytes: u64,
    pub(crate) linger_ms: u64,
}

/// Records at a rate, and readers at the end of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paced {
    pub(crate) records: Records,
    pub(crate) per_second: u64,
    /// Records before those that count.
    pub(crate) warm_up: u64,
    pub(crate) readers: u64,
}

impl Paced {
    /// What a peer's load is told of it.
    fn arguments(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("records", self.records.count),
            ("warm-up", self.warm_up),
            ("record-bytes", self.records.bytes),
            ("rate", self.per_second),
            ("readers", self.readers),
        ]
    }
}

/// What a load says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(crate) struct Told {
    pub(crate) records: u64,
    pub(crate) seconds: f64,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    pub(crate) p999_us: Option<f64>,
}

/// A server that runs, and the best client that there is for it.
pub(crate) trait System {
    fn pid(&self) -> u32;

    /// Makes a topic, or what comes nearest.
    fn create(&mut self, topic: &str, partitions: u32, class: Class) -> Result<()>;

    fn bulk(&mut self, topic: &str, bulk: &Bulk) -> Result<Told>;

    /// Reads from the beginning, as fast as possible.
    fn drain(&mut self, topic: &str, records: Records) -> Result<Told>;

    /// Each record is sent when the one before is acknowledged.
    fn one_at_a_time(&mut self, topic: &str, records: Records) -> Result<Told>;

    /// Latency is from when a record is due until a reader has it.
    fn paced(&mut self, topic: &str, paced: &Paced) -> Result<Told>;

    /// Reads everything back, and deletes the topic. Says what was checked.
    fn verify_and_delete(&mut self, topic: &str, records: Records) -> Result<&'static str>;

    /// Starts again on the same data, after a stop or a kill; says how long it took until it served that topic.
    fn restart(&mut self, topic: &str, kill: bool) -> Result<Duration>;
}

/// The last line of a load's output is its report.
fn told(output: &str) -> Result<Told> {
    Ok(serde_json::from_str(
        output.trim().lines().last().unwrap_or_default(),
    )?)
}
