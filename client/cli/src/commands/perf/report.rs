//! What a measurement says.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::ReportFormat;
use crate::failure::Outcome;
use crate::output::{facts, line};
use crate::units::{show_bytes, show_count, show_duration, show_many};

/// One measurement. Times are in the units that their names say.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) kind: &'static str,
    pub(super) topic: String,
    pub(super) partitions: u32,
    pub(super) record_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rate_target: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) in_flight_max: Option<usize>,
    /// Readers, each of which got every record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) readers: Option<u16>,
    /// What was asked for, for people.
    pub(super) setup: String,
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) elapsed_s: f64,
    pub(super) records_per_s: f64,
    pub(super) mib_per_s: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latency_us: Option<Latency>,
}

/// Percentiles in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    pub(super) samples: u64,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) p9999: f64,
    pub(super) max: f64,
}

impl Latency {
    /// Of a histogram in nanoseconds; `None` if it is empty.
    pub(super) fn of(histogram: &Histogram<u64>) -> Option<Latency> {
        if histogram.is_empty() {
            return None;
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Some(Latency {
            samples: histogram.len(),
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: histogram.max() as f64 / 1e3,
        })
    }
}

impl Report {
    /// Fills in what follows from records, size and time.
    pub(super) fn rates(mut self, records: u64, bytes: u64, elapsed: Duration) -> Report {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        self.records = records;
        self.bytes = bytes;
        self.elapsed_s = seconds;
        self.records_per_s = records as f64 / seconds;
        self.mib_per_s = bytes as f64 / f64::from(1 << 20) / seconds;
        self
    }

    /// Whether the load fell behind its rate by more than one in a hundred.
    pub(super) fn fell_behind(&self) -> bool {
        self.rate_target
            .is_some_and(|target| self.records_per_s < target as f64 * 0.99)
    }

    /// Prints it.
    pub(super) fn print(&self, format: ReportFormat) -> Outcome {
        match format {
            ReportFormat::Text => line(&self.text()),
            ReportFormat::Json => {
                line(&serde_json::to_string_pretty(self).expect("plain numbers and text"))
            }
        }
    }

    fn text(&self) -> String {
        let elapsed = show_duration(Duration::from_secs_f64(self.elapsed_s));
        let target = match self.rate_target {
            Some(target) => format!("  (of {} asked for)", show_count(target)),
            None => String::new(),
        };
        let mut lines = vec![
            ("what", format!("{}, {}", self.kind, self.setup)),
            (
                "topic",
                format!(
                    "{} with {}",
                    self.topic,
                    show_many(self.partitions, "partition")
                ),
            ),
            (
                "records",
                format!(
                    "{} of {} in {elapsed}",
                    show_count(self.records),
                    show_bytes(self.record_bytes)
                ),
            ),
            (
                "rate",
                format!(
                    "{}/s, {:.1} MiB/s{target}",
                    show_count(self.records_per_s as u64),
                    self.mib_per_s
                ),
            ),
        ];
        if let Some(readers) = self.readers.filter(|readers| 1 < *readers) {
            let delivered = self.mib_per_s * f64::from(readers);
            let all = show_count(self.records_per_s as u64 * u64::from(readers));
            lines.push((
                "readers",
                format!("{readers}, together {all}/s, {delivered:.1} MiB/s"),
            ));
        }
        if let Some(latency) = &self.latency_us {
            let time = |micros: f64| show_duration(Duration::from_nanos((micros * 1e3) as u64));
            lines.push((
                "latency",
                format!(
                    "p50 {}  p90 {}  p99 {}  p99.9 {}  p99.99 {}  max {}",
                    time(latency.p50),
                    time(latency.p90),
                    time(latency.p99),
                    time(latency.p999),
                    time(latency.p9999),
                    time(latency.max),
                ),
            ));
            lines.push(("", format!("of {}", show_many(latency.samples, "record"))));
        }
        facts(&lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_follow_from_records_and_time() {
        let report = Report {
            kind: "produce",
            topic: "t".into(),
            partitions: 1,
            record_bytes: 1024,
            rate_target: Some(1000),
            in_flight_max: None,
            readers: None,
            setup: "acks all".into(),
            records: 0,
            bytes: 0,
            elapsed_s: 0.0,
            records_per_s: 0.0,
            mib_per_s: 0.0,
            latency_us: None,
        };
        let report = report.rates(2048, 2048 * 1024, Duration::from_secs(2));
        assert_eq!((report.records_per_s, report.mib_per_s), (1024.0, 1.0));
        assert!(!report.fell_behind());
        assert!(report.rates(900, 0, Duration::from_secs(1)).fell_behind());
    }

    #[test]
    fn percentiles_are_in_microseconds() {
        let mut histogram = super::super::load::histogram();
        for millis in 1..=100 {
            super::super::load::note(&mut histogram, Duration::from_millis(millis));
        }
        let latency = Latency::of(&histogram).unwrap();
        assert!((latency.p50 - 50_000.0).abs() < 100.0, "{}", latency.p50);
        assert!((latency.max - 100_000.0).abs() < 200.0, "{}", latency.max);
        assert!(Latency::of(&super::super::load::histogram()).is_none());
    }
}
