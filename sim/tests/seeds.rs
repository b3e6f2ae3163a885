//! A sample of seeds; the program runs as many as one likes.

use std::sync::atomic::{AtomicU64, Ordering};

use headwater_sim::{bugs, run};

/// Seeds that a debug build runs within seconds.
const SEEDS: u64 = 24;

/// Within so many seeds every planted bug is found, but for those of [`RARE`].
const SEEDS_TO_FIND_MAX: u64 = 100;

/// Bugs whose turn comes once in some hundred or thousand seeds, with one that shows it. When a change of the simulation
/// makes another of it, `headwater-sim --bug NAME --seeds 4000` finds the next.
const RARE: &[(&str, u64)] = &[("start-not-durable", 637), ("sweep-forgets-uploads", 267)];

fn in_parallel(count: u64, work: impl Fn(u64) + Sync) {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    work(number);
                }
            });
        }
    });
}

#[test]
fn nothing_is_found_that_must_not_be() {
    in_parallel(SEEDS, |number| {
        let outcome = run(number + 1, None, false);
        assert_eq!(outcome.failure, None, "seed {}", outcome.seed);
    });
}

#[test]
fn a_seed_gives_the_same_trace_to_the_byte() {
    in_parallel(4, |number| {
        let seed = 1_000 + number;
        let (first, second) = (run(seed, None, true), run(seed, None, true));
        assert!(first.trace.lines() > 100);
        assert!(first.trace.text() == second.trace.text(), "seed {seed}");
        assert_eq!(first.trace.crc(), second.trace.crc());
    });
}

#[test]
fn every_planted_bug_is_found() {
    in_parallel(bugs::BUGS.len() as u64, |number| {
        let (name, bug) = bugs::BUGS[number as usize];
        let known = RARE.iter().find(|(rare, _)| *rare == name);
        let mut seeds = match known {
            Some(&(_, seed)) => seed..=seed,
            None => 1..=SEEDS_TO_FIND_MAX,
        };
        let found = seeds.find(|&seed| run(seed, Some(bug), false).failure.is_some());
        let Some(seed) = found else {
            panic!("{name} was not found");
        };
        // What is found is the bug: without it the seed is well.
        assert_eq!(run(seed, None, false).failure, None, "seed {seed}");
    });
}
