//! Headwater beside its peers and the floors of the same machine in the same run; writes `docs/benchmarks.md`. Started
//! by `cargo xtask compare`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool talks on the terminal"
)]

mod bench;
mod document;
mod figures;
mod plot;
mod process;
mod progress;
mod rounds;
mod scenarios;
mod special;
mod systems;
mod tools;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;

use bench::{Bench, Effort};
use document::Results;
use progress::{clock, say};
use scenarios::Scenario;

/// Measures Headwater, Apache Kafka and NATS JetStream in turns.
#[derive(Parser)]
struct Arguments {
    /// Scenarios to measure: S1,S7; S6 is S6-1 and S6-1000 [default: all]
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Runs of each subject, interleaved
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Times that 2 GB go through Kafka before anything counts
    #[arg(long, default_value_t = 4)]
    warm_up_runs: usize,
    /// One short run of each, to see that all works; the figures mean nothing
    #[arg(long)]
    quick: bool,
    /// Folder of the document, in which `benchmarks.md` and `benchmarks/` are written [default: docs, and with --quick
    /// a temporary one]
    #[arg(long)]
    output: Option<PathBuf>,
    /// The program with the floors: xtask, built for release
    #[arg(long, required_unless_present = "no_floors")]
    floors: Option<PathBuf>,
    /// Leave the floors out
    #[arg(long)]
    no_floors: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let wanted: Vec<&Scenario> = scenarios::ALL
        .iter()
        .filter(|scenario| {
            let named = |name: &String| scenario.is_named(name);
            arguments.only.is_empty() || arguments.only.iter().any(named)
        })
        .collect();
    ensure!(!wanted.is_empty(), "no scenario has such a name");
    ensure!(0 < arguments.runs, "at least one run");
    let effort = if arguments.quick {
        Effort {
            runs: 1,
            jvm_warm_up_runs: 1,
            divisor: 32,
        }
    } else {
        Effort {
            runs: arguments.runs,
            jvm_warm_up_runs: arguments.warm_up_runs,
            divisor: 1,
        }
    };

    let scratch = tempfile::tempdir()?;
    let output = arguments.output.unwrap_or_else(|| {
        if arguments.quick {
            scratch.path().to_owned()
        } else {
            PathBuf::from("docs")
        }
    });
    let mut results = Results::read(&output)?;
    announce(&wanted, effort, &results);
    let floors = arguments.floors.filter(|_| !arguments.no_floors);
    let mut bench = Bench::start(effort, floors)?;
    let mut failures = Vec::new();
    for scenario in wanted {
        let started = Instant::now();
        let rows = bench.run(scenario);
        // After each one, so that a run that is broken off has not been for nothing.
        results.add(
            scenario,
            scenario.runs(effort.runs),
            started.elapsed(),
            rows,
        );
        results.write(&output)?;
        println!("{}", results.section(scenario));
        failures.extend(results.failures(scenario));
    }
    say("done");
    ensure!(
        failures.is_empty(),
        "the document has all that was measured, but not of these:\n{}",
        failures.join("\n")
    );
    Ok(())
}

/// Says what will be measured, and how long that takes if it takes as long as before.
fn announce(wanted: &[&Scenario], effort: Effort, results: &Results) {
    let mut all = Duration::ZERO;
    let mut is_known = true;
    for scenario in wanted {
        let runs = scenario.runs(effort.runs);
        let expected = results.expected(scenario, runs);
        is_known &= expected.is_some();
        all += expected.unwrap_or_default();
        let expected = expected.map_or_else(
            || "not measured before".to_owned(),
            |time| format!("about {}", clock(time.as_secs())),
        );
        let title = scenario.title;
        say(format_args!(
            "{:12} {title}, {runs} x: {expected}",
            scenario.id
        ));
    }
    if is_known {
        say(format_args!("in all about {}", clock(all.as_secs())));
    }
}
