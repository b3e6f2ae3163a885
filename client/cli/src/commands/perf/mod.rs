//! `headwater perf`: throughput and latency, seen from a client.
//!
//! With `--rate` the load is open loop: every record has a time at which it is due, and latency
//! counts from then on, however late it really left. A broker (or client) that stalls therefore
//! shows in every record that was due meanwhile, not in one of them.

mod consume;
mod e2e;
mod load;
mod produce;
mod report;
mod topic;

use std::time::Duration;

use headwater_client::{Error, ProducerConfig};

use self::load::Limit;
use super::produce::AcksArg;
use super::topic::CompressionArg;
use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::units::{parse_bytes, parse_count, parse_duration};

/// Measure throughput and latency
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Send records; latency is from when a record is due until it is acknowledged
    Produce(produce::Args),
    /// Read records as fast as possible
    Consume(consume::Args),
    /// Send and read; latency is from when a record is due until it is read back
    E2e(e2e::Args),
}

/// Form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people
    Text,
    /// One JSON document
    Json,
}

/// What is written to.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct TopicArgs {
    /// An existing topic [default: one of its own, deleted afterwards]
    #[arg(long)]
    topic: Option<String>,
    /// Partitions of its own topic
    #[arg(long, value_name = "N", default_value_t = 6, conflicts_with = "topic")]
    partitions: u32,
    /// Durability of its own topic: fsync or replicated [default: the broker's]
    #[arg(
        long,
        value_name = "CLASS",
        conflicts_with = "topic",
        hide_possible_values = true
    )]
    durability: Option<super::topic::DurabilityArg>,
}

/// What is sent.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RecordArgs {
    /// Size of a record's value
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = parse_bytes)]
    record_size: u64,
    /// Size of a batch before compression
    #[arg(long, value_name = "SIZE", default_value = "256KiB", value_parser = parse_bytes)]
    batch_size: u64,
    /// How long a batch waits for more records
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = parse_duration)]
    linger: Duration,
    /// Codec of the batches: none, gzip, snappy, lz4 or zstd
    #[arg(
        long,
        value_name = "CODEC",
        default_value = "none",
        hide_possible_values = true
    )]
    compression: CompressionArg,
    /// When a record is acknowledged: all (stored by every in-sync replica), leader or none
    #[arg(long, default_value = "all", hide_possible_values = true)]
    acks: AcksArg,
}

/// How long.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SpanArgs {
    /// Send for so long [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "count")]
    duration: Option<Duration>,
    /// Send so many records
    #[arg(long, value_name = "N", value_parser = parse_count)]
    count: Option<u64>,
    /// Send for so long before anything counts
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    warm_up: Duration,
}

impl SpanArgs {
    fn limit(&self) -> Limit {
        match self.count {
            Some(count) => Limit::Count(count),
            None => Limit::Time(self.duration.unwrap_or(Duration::from_secs(10))),
        }
    }
}

impl RecordArgs {
    fn producer_config(&self) -> ProducerConfig {
        ProducerConfig::new()
            .acks(self.acks.into())
            .compression(self.compression.into())
            .batch_bytes_max(usize::try_from(self.batch_size).unwrap_or(usize::MAX))
            .linger(self.linger)
    }
}

/// Runs it.
pub(crate) async fn run(command: Command, session: &Session) -> Outcome {
    match command {
        Command::Produce(args) => produce::run(args, session).await,
        Command::Consume(args) => consume::run(args, session).await,
        Command::E2e(args) => e2e::run(args, session).await,
    }
}

fn failed(error: Error) -> Failure {
    Failure::from_client("measure", &error)
}
