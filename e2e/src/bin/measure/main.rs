//! Measures a broker beside the floors of the same minute and writes `docs/benchmarks.md`.
//! Started by `cargo xtask bench`, which says where the floor programs are.
#![allow(
    clippy::print_stderr,
    reason = "a measurement of minutes says where it is"
)]

mod partitions;
mod scenario;
mod table;
mod tier;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use scenario::{Sample, Subject};

/// How often each subject is measured, one after the other: A B A B …
const RUNS_DEFAULT: usize = 5;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: measure FLOORS OUTPUT [RUNS]";
    let floors = PathBuf::from(arguments.next().context(usage)?);
    let output = PathBuf::from(arguments.next().context(usage)?);
    let runs = arguments
        .next()
        .map_or(Ok(RUNS_DEFAULT), |runs| runs.parse())?;
    ensure!(0 < runs, "at least one run");

    let mut sections = Vec::new();
    for scenario in scenario::ALL {
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); scenario.subjects.len()];
        for run in 1..=runs {
            for (subject, samples) in scenario.subjects.iter().zip(&mut samples) {
                eprintln!(
                    "{}, run {run} of {runs}: {}",
                    scenario.title,
                    subject.name()
                );
                samples.push(subject.measure(&floors)?);
            }
        }
        sections.push(table::of(scenario, &samples));
    }
    eprintln!("ten thousand partitions");
    sections.push(partitions::measure());
    sections.push(tier::measure(&floors, runs)?);
    table::write(&output, runs, &sections)
}

impl Subject {
    /// As the table calls it.
    fn name(&self) -> &'static str {
        match self {
            Subject::Broker { name, .. } | Subject::Floor { name, .. } => name,
        }
    }
}
