//! The command line.

use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::commands;
use crate::talk::ColorChoice;
use crate::units::parse_duration;

const HELP: &str = "\
Start here:
  headwater quickstart                       a broker, a topic and 842 flights on this machine
  headwater topic create orders
  echo hello | headwater produce orders
  headwater consume orders

Exit codes: 0 ok, 1 error, 2 usage, 3 not found, 4 timeout, 5 partly done, 130 interrupted.
Data goes to stdout, everything else to stderr.";

/// Event streaming: create topics, send records, read them back.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, after_help = HELP, max_term_width = 100)]
pub(crate) struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Broker to talk to, HOST:PORT [env: HEADWATER_ENDPOINT] [default: localhost:7650]
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) endpoint: Option<String>,
    /// Named cluster to talk to, see `headwater context` [env: HEADWATER_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Namespace of topic names without one [env: HEADWATER_NAMESPACE]
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,
    /// How long one request may take, such as 500ms or 2m
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub(crate) timeout: Duration,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say more; twice for the client's own log
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to colour: auto (on a terminal, unless NO_COLOR is set), always or never
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(crate) color: ColorChoice,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a broker here, put 842 real flights in, read them back, keep serving
    #[cfg(feature = "embedded")]
    Quickstart(commands::quickstart::Args),
    /// Create, show and change topics
    #[command(subcommand)]
    Topic(commands::topic::Command),
    /// Send records from stdin or a file
    Produce(commands::produce::Args),
    /// Read records to stdout
    Consume(commands::consume::Args),
    /// Show the newest records and wait for more
    Tail(commands::consume::TailArgs),
    /// Show the cluster and what is wrong with it
    #[command(subcommand)]
    Cluster(commands::cluster::Command),
    /// Look at every step between this machine and a stored record
    Doctor(commands::doctor::Args),
    /// Measure throughput and latency
    #[command(subcommand)]
    Perf(commands::perf::Command),
    /// Keep clusters by name
    #[command(subcommand)]
    Context(commands::context::Command),
    /// Print a completion script for a shell
    Completion(commands::completion::Args),
}
