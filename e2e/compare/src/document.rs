//! Results as JSON, and the generated part of `benchmarks.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::figures::{Figure, Row, Spread};
use crate::plot;
use crate::scenarios::{self, Aim, Scenario};
use crate::tools::{KAFKA_VERSION, NATS_SERVER_VERSION};

/// What is made by this program stands between these lines of the document.
const BEGIN: &str = "<!-- measured -->";
const END: &str = "<!-- end of measured -->";

const LINE_COLUMNS: usize = 116;

/// All that was measured, by the scenarios' names. Those that are not measured again stay as they were.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    scenarios: BTreeMap<String, Measured>,
}

/// One scenario's rows, and when they hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    runs: usize,
    /// How long all of it took.
    #[serde(default)]
    seconds: Option<f64>,
    conditions: String,
    pub(crate) rows: Vec<Row>,
    /// For those who read the file: made of the rows when it is written.
    #[serde(default, skip_deserializing)]
    aims: Vec<Verdict>,
}

/// What became of an aim.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Verdict {
    what: &'static str,
    aim: String,
    /// Of each run in order: the ratio of two subjects in the same run, or the figure.
    rounds: Vec<f64>,
    measured: String,
    met: Option<bool>,
}

impl Results {
    /// Those in a folder, or none.
    pub(crate) fn read(folder: &Path) -> Result<Results> {
        let path = folder.join("benchmarks/results.json");
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{} is not of this program", path.display())),
            Err(_) => Ok(Results::default()),
        }
    }

    /// Takes the place of what was measured before.
    pub(crate) fn add(&mut self, scenario: &Scenario, runs: usize, took: Duration, rows: Vec<Row>) {
        let measured = Measured {
            runs,
            seconds: Some(took.as_secs_f64()),
            conditions: conditions(),
            rows,
            aims: Vec::new(),
        };
        self.scenarios.insert(scenario.id.to_owned(), measured);
    }

    /// How long so many runs take, by how long they took before.
    pub(crate) fn expected(&self, scenario: &Scenario, runs: usize) -> Option<Duration> {
        let measured = self.scenarios.get(scenario.id)?;
        let each = measured.seconds? / measured.runs as f64;
        Some(Duration::from_secs_f64(each * runs as f64))
    }

    /// What failed in a scenario: who, in which run, and why.
    pub(crate) fn failures(&self, scenario: &Scenario) -> Vec<String> {
        let rows = self.rows(scenario).iter();
        let failures = rows.flat_map(|row| row.failures.iter().map(move |why| (row, why)));
        failures
            .map(|(row, why)| format!("{}: {}, {why}", scenario.id, row.subject))
            .collect()
    }

    fn rows(&self, scenario: &Scenario) -> &[Row] {
        let measured = self.scenarios.get(scenario.id);
        measured.map_or(&[], |measured| &measured.rows)
    }

    /// Writes JSON, plots and the document, whose other parts are written by people.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let beside = folder.join("benchmarks");
        fs::create_dir_all(&beside)?;
        let json = serde_json::to_string_pretty(&self.judged())?;
        fs::write(beside.join("results.json"), json + "\n")?;
        for scenario in scenarios::ALL {
            if let Some(measured) = self.scenarios.get(scenario.id) {
                fs::write(
                    beside.join(format!("{}.svg", scenario.id)),
                    plot::draw(scenario, &measured.rows)?,
                )?;
            }
        }
        let path = folder.join("benchmarks.md");
        let document = fs::read_to_string(&path)
            .unwrap_or_else(|_| format!("# Benchmarks\n\n{BEGIN}\n{END}\n"));
        let (head, rest) = document.split_once(BEGIN).context("no place for figures")?;
        let (_, tail) = rest
            .split_once(END)
            .context("no end of the place for figures")?;
        let sections: Vec<String> = scenarios::ALL.iter().map(|one| self.section(one)).collect();
        let text = format!(
            "{head}{BEGIN}\n{}\n{}{END}{tail}",
            self.summary(),
            sections.join("")
        );
        fs::write(path, text)?;
        Ok(())
    }

    /// The same, with what became of the aims.
    fn judged(&self) -> Results {
        let mut scenarios = self.scenarios.clone();
        for scenario in scenarios::ALL {
            if let Some(measured) = scenarios.get_mut(scenario.id) {
                measured.aims = self.verdicts(scenario);
            }
        }
        Results { scenarios }
    }

    /// All aims in one table, and what is not measured yet.
    fn summary(&self) -> String {
        let mut text = format!(
            "## What it must show\n\n{}\n\n| | | aim | measured | |\n|---|---|---|---|---|\n",
            wrap(ABOUT_AIMS)
        );
        for scenario in scenarios::ALL {
            for verdict in self.verdicts(scenario) {
                let Verdict {
                    what,
                    aim,
                    measured,
                    met,
                    ..
                } = verdict;
                let met = match met {
                    Some(true) => "met",
                    Some(false) => "**missed**",
                    None => "",
                };
                let id = scenario.id;
                writeln!(
                    text,
                    "| [{id}](#{}) | {what} | {aim} | {measured} | {met} |",
                    anchor(scenario)
                )
                .expect("writing to a string");
            }
        }
        for (what, why) in scenarios::NOT_YET {
            writeln!(text, "| {what} | {why} | | not yet | |").expect("writing to a string");
        }
        text
    }

    /// One scenario's part of the document; empty if it was never measured.
    pub(crate) fn section(&self, scenario: &Scenario) -> String {
        let Some(measured) = self.scenarios.get(scenario.id) else {
            return String::new();
        };
        let mut text = format!(
            "\n## {}: {}\n\n{}\n\n![Bars of the table below](benchmarks/{}.svg)\n\n",
            scenario.id,
            scenario.title,
            wrap(scenario.about),
            scenario.id
        );
        let columns: Vec<Figure> = scenario
            .columns
            .iter()
            .copied()
            .filter(|figure| {
                measured
                    .rows
                    .iter()
                    .any(|row| row.values(*figure).is_some())
            })
            .collect();
        let titles = columns
            .iter()
            .map(|figure| format!(" {} |", figure.title()));
        text += &format!("| |{} verified |\n", titles.collect::<String>());
        text += &format!("|---|{}---|\n", "---|".repeat(columns.len()));
        for row in &measured.rows {
            let cells = columns.iter().map(|figure| {
                let spread = row.values(*figure);
                let cell = spread.map_or_else(String::new, |spread| shown(*figure, spread));
                format!(" {cell} |")
            });
            let cells: String = cells.collect();
            text += &format!("| {} |{cells} {} |\n", row.subject, verified(row));
        }
        let runs = match measured.runs {
            1 => "One run".to_owned(),
            runs => format!("Medians of {runs} interleaved runs, least and most in parentheses"),
        };
        text += &format!("\n{}\n", wrap(&format!("{runs}. {}", measured.conditions)));
        text
    }

    fn verdicts(&self, scenario: &Scenario) -> Vec<Verdict> {
        let verdict = |aim| verdict(aim, self.rows(scenario));
        scenario.aims.iter().map(verdict).collect()
    }
}

/// How the table of the aims is to be read.
const ABOUT_AIMS: &str = "Ratios are of two subjects in the same run, of which the median stands here, and the least and \
                          the most in parentheses: where these are far apart, the median says little.";

fn verdict(aim: &Aim, rows: &[Row]) -> Verdict {
    match *aim {
        Aim::Ratio {
            what,
            of,
            to,
            at_least,
        } => {
            let values = runs(rows, of).zip(runs(rows, to));
            let ratios: Vec<f64> = values.filter_map(|(of, to)| Some(of? / to?)).collect();
            let show = |ratio: f64| format!("{ratio:.2}");
            Verdict {
                what,
                aim: format!("at least {at_least} ×"),
                measured: measured(&ratios, [of.0, to.0], rows, show, " ×"),
                met: median(&ratios).map(|ratio| at_least <= ratio),
                rounds: ratios,
            }
        }
        Aim::AtMost { what, of, most } => {
            let values: Vec<f64> = runs(rows, of).flatten().collect();
            let show = |value| of.1.show(value);
            Verdict {
                what,
                aim: format!("at most {}", show(most)),
                measured: measured(&values, [of.0, of.0], rows, show, ""),
                met: median(&values).map(|value| value <= most),
                rounds: values,
            }
        }
    }
}

/// What each run says of a subject, in order; nothing where it failed.
fn runs<'a>(
    rows: &'a [Row],
    (subject, figure): (&str, Figure),
) -> impl Iterator<Item = Option<f64>> + use<'a> {
    let row = rows.iter().find(|row| row.subject == subject);
    let samples = row.map_or(&[][..], |row| &row.samples);
    samples
        .iter()
        .map(move |sample| sample.get(&figure).copied())
}

fn median(values: &[f64]) -> Option<f64> {
    Spread::of(values.to_vec()).map(|spread| spread.median)
}

/// What stands in the table of the aims: of the values, or why there are none.
fn measured(
    values: &[f64],
    subjects: [&str; 2],
    rows: &[Row],
    show: impl Fn(f64) -> String,
    unit: &str,
) -> String {
    let failed = |row: &Row| subjects.contains(&row.subject.as_str()) && !row.failures.is_empty();
    match Spread::of(values.to_vec()) {
        Some(spread) => with_range(spread, show, unit),
        None if rows.iter().any(failed) => "failed".to_owned(),
        None => "not measured".to_owned(),
    }
}

/// What was checked of a row, and what of it failed.
fn verified(row: &Row) -> String {
    let verified = Some(&row.verified).filter(|verified| !verified.is_empty());
    let failures = row
        .failures
        .iter()
        .map(|why| format!("**failed** in {why}"));
    let said: Vec<String> = verified.cloned().into_iter().chain(failures).collect();
    said.join("; ")
}

fn shown(figure: Figure, spread: Spread) -> String {
    with_range(spread, |value| figure.show(value), "")
}

/// The median, with the least and the most behind it unless they look the same.
fn with_range(spread: Spread, show: impl Fn(f64) -> String, unit: &str) -> String {
    let [low, middle, high] = [spread.least, spread.median, spread.most].map(show);
    if low == high {
        return format!("{middle}{unit}");
    }
    format!("{middle}{unit} ({low} to {high})")
}

/// As GitHub makes links of headings.
fn anchor(scenario: &Scenario) -> String {
    format!("{} {}", scenario.id, scenario.title)
        .to_lowercase()
        .chars()
        .filter_map(|letter| match letter {
            ' ' => Some('-'),
            letter if letter.is_alphanumeric() || letter == '-' => Some(letter),
            _ => None,
        })
        .collect()
}

/// What was measured on, and of which versions.
fn conditions() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let model = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or_else(|| "unknown CPU".to_owned(), |(_, model)| model.to_owned());
    let kernel = read("/proc/sys/kernel/osrelease");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "{cores} cores of {model}, Linux {}; Headwater {}, Kafka {KAFKA_VERSION}, NATS {NATS_SERVER_VERSION}.",
        kernel.trim(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Breaks lines between words.
fn wrap(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            *line = word.to_owned();
        } else if line.len() + 1 + word.len() <= LINE_COLUMNS {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Sample;

    fn row(subject: &str, values: &[f64]) -> Row {
        let sample = |value: &f64| Sample::from([(Figure::CpuUsPerRecord, *value)]);
        Row {
            subject: subject.to_owned(),
            verified: "count".to_owned(),
            samples: values.iter().map(sample).collect(),
            failures: Vec::new(),
        }
    }

    const KAFKA_TO_OURS: Aim = Aim::Ratio {
        what: "x",
        of: ("Kafka", Figure::CpuUsPerRecord),
        to: ("Headwater, replicated", Figure::CpuUsPerRecord),
        at_least: 3.0,
    };

    #[test]
    fn an_aim_is_met_missed_or_not_measured() {
        let met = |rows: &[Row]| {
            let verdict = verdict(&KAFKA_TO_OURS, rows);
            (verdict.measured, verdict.met)
        };
        let ours = row("Headwater, replicated", &[1.0, 2.0, 1.0]);
        let good = row("Kafka", &[3.0, 4.0, 9.0]);
        assert_eq!(
            met(&[good, ours.clone()]),
            ("3.00 × (2.00 to 9.00)".to_owned(), Some(true))
        );
        let bad = row("Kafka", &[2.0]);
        assert_eq!(met(&[bad, ours]), ("2.00 ×".to_owned(), Some(false)));
        assert_eq!(met(&[]), ("not measured".to_owned(), None));
    }

    #[test]
    fn a_ratio_is_of_the_same_run_and_leaves_out_those_that_failed() {
        let ours = row("Headwater, replicated", &[1.0, 2.0, 4.0]);
        let mut kafka = row("Kafka", &[3.0, 9.0, 8.0]);
        kafka.samples[1].clear();
        kafka.failures.push("run 2: hung".to_owned());
        let of_two = verdict(&KAFKA_TO_OURS, &[kafka.clone(), ours.clone()]);
        assert_eq!(of_two.rounds, [3.0, 2.0]);
        assert_eq!(verified(&kafka), "count; **failed** in run 2: hung");

        kafka.samples.iter_mut().for_each(Sample::clear);
        let of_none = verdict(&KAFKA_TO_OURS, &[kafka, ours]);
        assert_eq!((of_none.measured.as_str(), of_none.met), ("failed", None));
    }

    #[test]
    fn results_are_read_as_they_were_written_and_the_rest_of_the_document_stays() {
        let folder = tempfile::tempdir().unwrap();
        let document = folder.path().join("benchmarks.md");
        fs::write(
            &document,
            format!("before\n{BEGIN}\nstale figures\n{END}\nafter\n"),
        )
        .unwrap();
        let mut results = Results::default();
        let scenario = &scenarios::ALL[0];
        let rows = vec![
            row("Kafka", &[3.0, 4.0]),
            row("Headwater, replicated", &[1.0, 1.0]),
        ];
        results.add(scenario, 2, Duration::from_secs(10), rows);
        results.write(folder.path()).unwrap();

        let again = Results::read(folder.path()).unwrap();
        assert_eq!(again.section(scenario), results.section(scenario));
        assert_eq!(again.expected(scenario, 5), Some(Duration::from_secs(25)));
        let text = fs::read_to_string(document).unwrap();
        assert!(
            text.starts_with("before\n") && text.ends_with("\nafter\n"),
            "{text}"
        );
        assert!(
            text.contains("| Kafka | 3.50 (3.00 to 4.00) | count |"),
            "{text}"
        );
        assert!(!text.contains("stale figures"), "{text}");
        let json = fs::read_to_string(folder.path().join("benchmarks/results.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let aim = &json["scenarios"]["S1"]["aims"][0];
        assert_eq!(aim["measured"], "3.50 × (3.00 to 4.00)");
        assert_eq!(aim["rounds"], serde_json::json!([3.0, 4.0]));
    }
}
