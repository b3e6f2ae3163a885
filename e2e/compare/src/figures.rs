//! What is measured: figures, their units, and what several runs of them say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One kind of figure. Names are frozen: `results.json` is compared across commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    RecordsPerSecond,
    MibPerSecond,
    P50Us,
    P99Us,
    P999Us,
    /// Of the server, user and system, for each record that was sent (or read, where only that happens).
    CpuUsPerRecord,
    /// Of the server, for each MiB that readers were given.
    CpuMsPerMibDelivered,
    CpuSecondsPerGib,
    /// What the kernel says that the server's processes hold.
    ResidentMib,
    /// The same, with shared pages counted once.
    ProportionalMib,
    IdleMib,
    BytesPerPartition,
    BytesPerConnection,
    Descriptors,
    RestartAfterStopSeconds,
    RestartAfterKillSeconds,
    UploadMibPerSecond,
    ColdReadMibPerSecond,
    WritesPerGib,
}

impl Figure {
    /// Head of its column: what, and the unit.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Figure::RecordsPerSecond => "records/s",
            Figure::MibPerSecond => "MiB/s",
            Figure::P50Us => "p50, µs",
            Figure::P99Us => "p99, µs",
            Figure::P999Us => "p99.9, µs",
            Figure::CpuUsPerRecord => "server CPU, µs/record",
            Figure::CpuMsPerMibDelivered => "server CPU, ms/MiB delivered",
            Figure::CpuSecondsPerGib => "server CPU, s/GiB",
            Figure::ResidentMib => "RSS, MiB",
            Figure::ProportionalMib => "PSS, MiB",
            Figure::IdleMib => "RSS idle, MiB",
            Figure::BytesPerPartition => "bytes/partition",
            Figure::BytesPerConnection => "bytes/connection",
            Figure::Descriptors => "descriptors",
            Figure::RestartAfterStopSeconds => "start after a stop, s",
            Figure::RestartAfterKillSeconds => "start after a kill, s",
            Figure::UploadMibPerSecond => "upload, MiB/s",
            Figure::ColdReadMibPerSecond => "cold read, MiB/s",
            Figure::WritesPerGib => "store writes/GiB",
        }
    }

    /// Which way is better.
    pub(crate) fn better(self) -> &'static str {
        match self {
            Figure::RecordsPerSecond
            | Figure::MibPerSecond
            | Figure::UploadMibPerSecond
            | Figure::ColdReadMibPerSecond => "more",
            _ => "less",
        }
    }

    /// With as many digits as mean something.
    pub(crate) fn show(self, value: f64) -> String {
        let digits = match value.abs() {
            10_000.0.. => return thousands(value),
            100.0.. => 0,
            10.0.. => 1,
            _ => 2,
        };
        format!("{value:.digits$}")
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if 0 < place && (digits.len() - place) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// The figures of one run.
pub(crate) type Sample = BTreeMap<Figure, f64>;

/// All runs of one subject.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Who, and in which class.
    pub(crate) subject: String,
    /// What was checked after each run.
    pub(crate) verified: String,
    /// In the order of the runs; empty for those that failed.
    pub(crate) samples: Vec<Sample>,
    /// In which runs it failed, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) failures: Vec<String>,
}

impl Row {
    /// What a figure was, if every run that did not fail has it.
    pub(crate) fn values(&self, figure: Figure) -> Option<Spread> {
        let values: Option<Vec<f64>> = self
            .samples
            .iter()
            .filter(|sample| !sample.is_empty())
            .map(|sample| sample.get(&figure).copied())
            .collect();
        Spread::of(values?)
    }
}

/// What several runs say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` of nothing.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Spread {
            least,
            median,
            most,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_or_between_the_two_that_are() {
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.least, spread.median, spread.most), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of(vec![4.0, 1.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn a_figure_that_one_run_lacks_has_no_spread_unless_the_run_failed() {
        let sample = |figures: &[(Figure, f64)]| figures.iter().copied().collect();
        let row = Row {
            samples: vec![
                sample(&[(Figure::P50Us, 1.0), (Figure::P99Us, 2.0)]),
                sample(&[]),
                sample(&[(Figure::P50Us, 3.0)]),
            ],
            ..Row::default()
        };
        assert_eq!(row.values(Figure::P50Us).unwrap().median, 2.0);
        assert_eq!(row.values(Figure::P99Us), None);
    }

    #[test]
    fn numbers_are_shown_with_the_digits_that_mean_something() {
        let shown = [0.123, 12.34, 123.4, 1234.5, 1_234_567.8].map(|x| Figure::P50Us.show(x));
        assert_eq!(shown, ["0.12", "12.3", "123", "1234", "1,234,568"]);
    }
}
