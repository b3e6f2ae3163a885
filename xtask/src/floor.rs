//! Floors: the least that a machine needs for what a broker does, as programs to measure beside it.
//!
//! A ratio to a floor of the same minute says something; a rate alone says how fast the machine
//! was. Each floor has a server process of its own, so that its CPU time is known apart from
//! that of the load.

mod echo;
mod journal;
mod socket_write;
mod store;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::process;

/// What to measure, and where.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Processors that the floor's server may run on, as `taskset` takes them [default: all]
    #[arg(long, value_name = "LIST")]
    server_cpus: Option<String>,
    #[command(subcommand)]
    floor: Floor,
}

/// The floor programs.
#[derive(Subcommand)]
enum Floor {
    /// Batches over a loopback socket, CRC-32C, file write, ack: the floor of bulk produce.
    SocketWrite(socket_write::Load),
    /// One message at a time through stock tonic and back: the floor of a single record.
    Echo(echo::Load),
    /// Objects through opendal, written and read: the floor of the tier.
    Store(store::Load),
    /// Appends to many partitions, synced file by file or through a shared journal: the experiment of ADR 0007.
    Journal(journal::Load),
    /// The server side of `socket-write`.
    #[command(hide = true)]
    ServeSocketWrite(socket_write::Serve),
    /// The server side of `echo`.
    #[command(hide = true)]
    ServeEcho,
    /// The reader of `store --reader-cpus`.
    #[command(hide = true)]
    ServeReader,
}

/// Runs a floor and prints its report as one line of JSON.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    if matches!(
        arguments.floor,
        Floor::ServeSocketWrite(_) | Floor::ServeEcho | Floor::ServeReader
    ) {
        end_with_the_load();
    }
    let cpus = arguments.server_cpus.as_deref();
    let report = match arguments.floor {
        Floor::SocketWrite(load) => socket_write::measure(&load, cpus)?,
        Floor::Echo(load) => echo::measure(&load, cpus)?,
        Floor::Store(load) => store::measure(&load)?,
        Floor::Journal(load) => journal::measure(&load)?,
        Floor::ServeSocketWrite(serve) => return socket_write::serve(&serve),
        Floor::ServeEcho => return echo::serve(),
        Floor::ServeReader => return store::serve_reader(),
    };
    println!("{report}");
    Ok(())
}

/// A server ends when the load does, however that comes about: they share a pipe.
fn end_with_the_load() {
    thread::spawn(|| {
        // Whatever it returns, there is nobody at the other end.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// A floor's server in a process of its own; ends with this value.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Starts this very program with other arguments. A server prints its port first.
    fn start(arguments: &[&str], cpus: Option<&str>) -> Result<Server> {
        let own = std::env::current_exe()?;
        let mut command = match cpus {
            // Becomes the server: the process id stays.
            Some(cpus) => {
                let mut command = Command::new("taskset");
                command.args(["--cpu-list", cpus]).arg(own);
                command
            }
            None => Command::new(own),
        };
        let mut child = command
            .arg("floor")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let stdout = child
            .stdout
            .take()
            .context("no pipe to the floor's server")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let port = line
            .trim()
            .parse()
            .context("the floor's server did not print its port")?;
        Ok(Server { child, port })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was sent, how long it took, and what that cost the server.
struct Outcome {
    records: u64,
    bytes: u64,
    elapsed: Duration,
    server_cpu_seconds: f64,
    latency_us: Histogram<u64>,
}

impl Outcome {
    /// The report, with the same keys for every floor.
    fn report(&self, floor: &str, server: &Server) -> Result<Value> {
        let seconds = self.elapsed.as_secs_f64();
        Ok(json!({
            "floor": floor,
            "records": self.records,
            "bytes": self.bytes,
            "seconds": seconds,
            "records_per_second": self.records as f64 / seconds,
            "mib_per_second": self.bytes as f64 / f64::from(1 << 20) / seconds,
            "server_cpu_seconds": self.server_cpu_seconds,
            "server_cpu_seconds_per_gib":
                self.server_cpu_seconds / (self.bytes as f64 / f64::from(1 << 30)),
            "server_resident_bytes": process::resident_bytes(server.pid())?,
            "p50_us": self.latency_us.value_at_quantile(0.50),
            "p99_us": self.latency_us.value_at_quantile(0.99),
        }))
    }
}

/// Latencies from 1 us to a minute, to three digits.
fn histogram_us() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are in order")
}
