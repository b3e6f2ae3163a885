//! A file of flights goes in by one command line and comes back by another, line by line.
//!
//! The committed day always; all of 2013 (336,776 lines, sorted by time) if `HEADWATER_FLIGHTS` names
//! the file.
#![allow(clippy::print_stderr, reason = "what was measured is for who runs it")]

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Instant;

use headwater_e2e::{Broker, all_flights, headwater, sample_day};
use serde_json::Value;

const PARTITIONS: usize = 6;
/// Noon of the first day in New York.
const NOON: (&str, i64) = ("@2013-01-01T12:00-05:00", 1_357_059_600_000);

#[test]
fn a_day_of_flights_comes_back_as_it_went_in() {
    there_and_back(&sample_day());
}

#[test]
fn a_year_of_flights_comes_back_as_it_went_in() {
    if let Some(path) = all_flights() {
        there_and_back(&path);
    }
}

fn there_and_back(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    let source: Vec<Flight<'_>> = text.lines().enumerate().map(Flight::parse).collect();
    let places: HashMap<&str, usize> = source
        .iter()
        .map(|flight| (flight.line, flight.place))
        .collect();
    assert_eq!(
        places.len(),
        source.len(),
        "lines must be unique, to be told apart"
    );
    assert!(
        source.is_sorted_by_key(|flight| flight.timestamp_ms),
        "not sorted by time"
    );

    let broker = Broker::start();
    let run = |arguments: &[&str]| stdout(&broker, arguments);
    run(&[
        "topic",
        "create",
        "flights",
        "--partitions",
        &PARTITIONS.to_string(),
    ]);
    let start = Instant::now();
    run(&["produce", "flights", "--file", path.to_str().unwrap()]);
    let produced = start.elapsed();

    let start = Instant::now();
    let all = run(&["consume", "flights", "-o", "ndjson"]);
    eprintln!(
        "{} flights: in {produced:?} in, in {:?} out",
        source.len(),
        start.elapsed()
    );
    same_lines(&all, source.iter());

    // Each partition holds its part of the source in the source's order, whole keys at a time.
    let mut homes: HashMap<&str, usize> = HashMap::new();
    let mut first_pass = Vec::new();
    for partition in 0..PARTITIONS {
        let part = run(&[
            "consume",
            "flights",
            "-p",
            &partition.to_string(),
            "-o",
            "ndjson",
        ]);
        let found: Vec<usize> = part.lines().map(|line| places[line]).collect();
        assert!(
            found.is_sorted_by(|a, b| a < b),
            "partition {partition} is out of order"
        );
        for place in &found {
            let Some(key) = &source[*place].key else {
                continue;
            };
            let home = *homes.entry(key).or_insert(partition);
            assert_eq!(home, partition, "{key} is in two partitions");
        }
        assert!(!found.is_empty(), "partition {partition} is empty");
        first_pass.push(part);
    }
    assert_eq!(
        first_pass
            .iter()
            .map(|part| part.lines().count())
            .sum::<usize>(),
        source.len()
    );

    // A second reader gets the same from the start, byte for byte.
    for (partition, first) in first_pass.iter().enumerate() {
        let again = run(&[
            "consume",
            "flights",
            "-p",
            &partition.to_string(),
            "-o",
            "ndjson",
        ]);
        assert!(
            again == *first,
            "partition {partition} reads differently the second time"
        );
    }

    let afternoon = run(&["consume", "flights", "--from", NOON.0, "-o", "ndjson"]);
    same_lines(
        &afternoon,
        source.iter().filter(|flight| NOON.1 <= flight.timestamp_ms),
    );
    let morning = run(&["consume", "flights", "--until", NOON.0, "-o", "ndjson"]);
    same_lines(
        &morning,
        source.iter().filter(|flight| flight.timestamp_ms < NOON.1),
    );
}

/// A line of the file, and what stands in it.
struct Flight<'a> {
    place: usize,
    line: &'a str,
    key: Option<String>,
    timestamp_ms: i64,
}

impl Flight<'_> {
    fn parse((place, line): (usize, &str)) -> Flight<'_> {
        let value: Value = serde_json::from_str(line).unwrap();
        Flight {
            place,
            line,
            key: value["key"].as_str().map(str::to_owned),
            timestamp_ms: value["timestamp_ms"].as_i64().unwrap(),
        }
    }
}

/// Both hold the same lines, each once, in whatever order.
fn same_lines<'a>(output: &str, expected: impl Iterator<Item = &'a Flight<'a>>) {
    let expected: HashSet<&str> = expected.map(|flight| flight.line).collect();
    let found: HashSet<&str> = output.lines().collect();
    assert_eq!(output.lines().count(), found.len(), "some lines came twice");
    assert!(!expected.is_empty());
    let missing: Vec<_> = expected.difference(&found).take(3).collect();
    let strange: Vec<_> = found.difference(&expected).take(3).collect();
    assert!(
        missing.is_empty() && strange.is_empty(),
        "missing {missing:#?}, strange {strange:#?}"
    );
}

fn stdout(broker: &Broker, arguments: &[&str]) -> String {
    let output = headwater(&broker.endpoint(), arguments);
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "headwater {arguments:?} has failed: {talk}"
    );
    String::from_utf8(output.stdout).unwrap()
}
