//! Medians, spreads and ratios as Markdown.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::scenario::{Measure, Sample, Scenario};

/// What is made by this program stands between these lines of the document.
const BEGIN: &str = "<!-- measured -->";
const END: &str = "<!-- end of measured -->";

/// One scenario's section.
pub(crate) fn of(scenario: &Scenario, samples: &[Vec<Sample>]) -> String {
    let mut text = format!("### {}\n\n{}\n\n", scenario.title, wrap(scenario.about));
    text += "| | MiB/s | records/s | p50 | p99 | server CPU | server memory | to the floor |\n";
    text += "|---|---|---|---|---|---|---|---|\n";
    let floor = samples.last().expect("a scenario has a floor");
    for (subject, samples) in scenario.subjects.iter().zip(samples) {
        let (figure, unit): (fn(&Sample) -> f64, _) = match scenario.by {
            Measure::Throughput => (|sample| sample.cpu_s_per_gib, "s/GiB"),
            Measure::Latency => (|sample| sample.cpu_us_per_record, "µs/record"),
        };
        let compared: fn(&Sample) -> f64 = match scenario.by {
            Measure::Throughput => |sample| sample.mib_per_s,
            Measure::Latency => |sample| sample.p50_us.unwrap_or(f64::NAN),
        };
        let ratio = median(samples, compared) / median(floor, compared);
        let latency = |value: fn(&Sample) -> Option<f64>| {
            let known = samples.iter().all(|sample| value(sample).is_some());
            if known {
                format!(
                    "{} µs",
                    spread(samples, |sample| value(sample).unwrap_or(f64::NAN), 0)
                )
            } else {
                "".to_owned()
            }
        };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} {unit} | {} MiB | {ratio:.2} |",
            subject.name(),
            spread(samples, |sample| sample.mib_per_s, 1),
            spread(samples, |sample| sample.records_per_s, 0),
            latency(|sample| sample.p50_us),
            latency(|sample| sample.p99_us),
            spread(samples, figure, 2),
            spread(samples, |sample| sample.resident_mib, 1),
        )
        .expect("writing to a string");
    }
    text
}

/// Replaces what was measured before; the rest of the document is written by people.
pub(crate) fn write(path: &Path, runs: usize, sections: &[String]) -> Result<()> {
    let document = fs::read_to_string(path)?;
    let (head, rest) = document.split_once(BEGIN).context("no place for figures")?;
    let (_, tail) = rest
        .split_once(END)
        .context("no end of the place for figures")?;
    let machine = machine();
    let figures = sections.join("\n");
    let text = format!("{head}{BEGIN}\n{machine} {runs} interleaved runs.\n\n{figures}{END}{tail}");
    fs::write(path, text)?;
    Ok(())
}

/// The median, with the least and the most behind it.
pub(crate) fn spread<T>(samples: &[T], value: impl Fn(&T) -> f64, digits: usize) -> String {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    let (least, most) = (values[0], values[values.len() - 1]);
    format!(
        "{:.digits$} ({least:.digits$} to {most:.digits$})",
        values[values.len() / 2]
    )
}

pub(crate) fn median<T>(samples: &[T], value: impl Fn(&T) -> f64) -> f64 {
    let mut values: Vec<f64> = samples.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// What was measured on.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(|| "unknown CPU".to_owned(), |(_, model)| model.to_owned());
    let kernel = read("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("On {cores} cores of {model}, Linux {}.", kernel.trim())
}

/// Breaks at 100 columns.
fn wrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            *line = word.to_owned();
        } else if line.len() + 1 + word.len() <= 100 {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}
