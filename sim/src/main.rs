//! Runs seeds of the simulator and says what it found.
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use headwater_sim::faults::{Fault, Faults};
use headwater_sim::{bugs, run};

/// Simulates a broker's tier with faults from seeds.
#[derive(Parser)]
#[command(name = "headwater-sim")]
struct Args {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// Run this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Print what happened.
    #[arg(long)]
    trace: bool,
    /// Plant this bug.
    #[arg(long)]
    bug: Option<String>,
    /// Print the bugs that can be planted.
    #[arg(long)]
    list_bugs: bool,
    /// Threads.
    #[arg(long)]
    threads: Option<usize>,
}

/// In so many seeds every fault strikes.
const SEEDS_WITH_ALL_FAULTS: u64 = 1_000;

#[derive(Default)]
struct Totals {
    faults: Faults,
    steps: u64,
    virtual_ms: u64,
    failed: Vec<(u64, String)>,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.list_bugs {
        for (name, bug) in bugs::BUGS {
            println!("{name:<24} {bug:?}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    let bug = match &args.bug {
        Some(name) => {
            let unknown = || anyhow::anyhow!("no bug is called {name}; see --list-bugs");
            Some(bugs::by_name(name).ok_or_else(unknown)?)
        }
        None => None,
    };
    let (first, count) = match args.seed {
        Some(seed) => (seed, 1),
        None => (args.first, args.seeds),
    };
    let begun = Instant::now();
    let (next, stop) = (AtomicU64::new(first), AtomicBool::new(false));
    let totals = Mutex::new(Totals::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..args.threads.unwrap_or(cores).max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    let outcome = run(seed, bug, args.trace);
                    let mut totals = totals.lock().expect("nobody panics with it");
                    if args.trace {
                        println!("{}", outcome.trace.text());
                    }
                    totals.faults.add(&outcome.faults);
                    totals.steps += outcome.steps;
                    totals.virtual_ms += outcome.virtual_ms;
                    if let Some(failure) = outcome.failure {
                        println!("seed {seed}: {failure}");
                        totals.failed.push((seed, failure));
                        // A planted bug is found once; others may be several.
                        let enough = if bug.is_some() { 1 } else { 10 };
                        stop.store(totals.failed.len() >= enough, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let totals = totals.into_inner().expect("nobody panicked with it");
    Ok(report(&args, count, &totals, begun.elapsed().as_secs_f64()))
}

fn report(args: &Args, count: u64, totals: &Totals, seconds: f64) -> ExitCode {
    println!(
        "{count} seeds, {} events, {:.0} virtual hours in {seconds:.1} s: {:.0} seeds a second",
        totals.steps,
        totals.virtual_ms as f64 / 3_600_000.0,
        count as f64 / seconds,
    );
    println!("faults that struck:\n{}", totals.faults);
    let bug = args
        .bug
        .as_ref()
        .map_or(String::new(), |bug| format!(" --bug {bug}"));
    for (seed, failure) in &totals.failed {
        println!("{}", failure.lines().next().unwrap_or_default());
        println!("  again: cargo run -p headwater-sim --release -- --seed {seed} --trace{bug}");
    }
    let missing = missing(args, count, totals);
    for fault in &missing {
        println!("{fault:?} never struck: these seeds prove nothing of it");
    }
    match totals.failed.is_empty() && missing.is_empty() {
        true => {
            println!("nothing was found that must not be");
            ExitCode::SUCCESS
        }
        false => ExitCode::FAILURE,
    }
}

/// Faults that had to strike and did not. What ended early, or has a bug, or few seeds, owes none.
fn missing(args: &Args, count: u64, totals: &Totals) -> Vec<Fault> {
    let ran_through = args.bug.is_none() && totals.failed.is_empty();
    match ran_through && count >= SEEDS_WITH_ALL_FAULTS {
        true => totals.faults.missing(),
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing_of(words: &[&str], totals: &Totals) -> Vec<Fault> {
        let args = Args::parse_from(words);
        missing(&args, args.seeds, totals)
    }

    #[test]
    fn a_thousand_seeds_without_a_fault_are_a_failure_and_fewer_are_not() {
        let mut totals = Totals::default();
        assert!(missing_of(&["sim"], &totals).contains(&Fault::DiskFull));
        assert_eq!(missing_of(&["sim", "--seeds", "999"], &totals), []);
        assert_eq!(missing_of(&["sim", "--bug", "skip-verify"], &totals), []);
        let args = Args::parse_from(["sim"]);
        assert_eq!(report(&args, 1_000, &totals, 1.0), ExitCode::FAILURE);
        totals.failed.push((7, "something else".to_owned()));
        assert_eq!(missing_of(&["sim"], &totals), []);
    }
}
