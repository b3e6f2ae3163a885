//! Flights, in the order of their departure.

use std::fmt::Write as _;
use std::path::Path;

use headwater_e2e::sample_day;

/// How often the committed day is repeated where the year is not at hand.
const DAYS: i64 = 60;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// What every line begins with.
const TIMESTAMP: &str = "{\"timestamp_ms\":";

/// All of 2013, or the committed day on many days.
pub(crate) fn many() -> String {
    let day = || repeated(&std::fs::read_to_string(sample_day()).unwrap());
    match std::env::var_os("HEADWATER_FLIGHTS") {
        Some(path) => std::fs::read_to_string(Path::new(&path)).unwrap(),
        None => day(),
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
