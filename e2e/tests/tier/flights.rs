//! Flights, in the order of their departure.

use std::fmt::Write as _;

use headwater_e2e::{all_flights, sample_day};

/// How often the committed day is repeated where the year is not at hand.
const DAYS: i64 = 60;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// What every line begins with.
const TIMESTAMP: &str = "{\"timestamp_ms\":";

/// All of 2013; without them the committed day on many days, and a word that it is no more.
pub(crate) fn many() -> String {
    match all_flights() {
        Some(path) => std::fs::read_to_string(path).unwrap(),
        None => repeated(&std::fs::read_to_string(sample_day()).unwrap()),
    }
}

fn repeated(day: &str) -> String {
    let mut text = String::new();
    for number in 0..DAYS {
        for line in day.lines() {
            let (_, rest) = line.split_once(',').unwrap();
            let timestamp_ms = timestamp_ms(line) + number * DAY_MS;
            writeln!(text, "{TIMESTAMP}{timestamp_ms},{rest}").unwrap();
        }
    }
    text
}

/// When a flight left.
pub(crate) fn timestamp_ms(line: &str) -> i64 {
    let rest = line.strip_prefix(TIMESTAMP).unwrap();
    let (number, _) = rest.split_once(',').unwrap();
    number.parse().unwrap()
}
