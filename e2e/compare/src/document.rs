//! Results as JSON, and the generated part of `benchmarks.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

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
    conditions: String,
    pub(crate) rows: Vec<Row>,
}

/// What became of an aim.
#[derive(Debug, PartialEq)]
struct Verdict {
    what: &'static str,
    aim: String,
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
    pub(crate) fn add(&mut self, scenario: &Scenario, runs: usize, rows: Vec<Row>) {
        let measured = Measured {
            runs,
            conditions: conditions(),
            rows,
        };
        self.scenarios.insert(scenario.id.to_owned(), measured);
    }

    /// Writes JSON, plots and the document, whose other parts are written by people.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let beside = folder.join("benchmarks");
        fs::create_dir_all(&beside)?;
        fs::write(
            beside.join("results.json"),
            serde_json::to_string_pretty(self)? + "\n",
        )?;
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

    /// All aims in one table, and what is not measured yet.
    fn summary(&self) -> String {
        let mut text =
            "## What it must show\n\n| | | aim | measured | |\n|---|---|---|---|---|\n".to_owned();
        for scenario in scenarios::ALL {
            for verdict in self.verdicts(scenario) {
                let Verdict {
                    what,
                    aim,
                    measured,
                    met,
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
        let titles: Vec<&str> = columns.iter().map(|figure| figure.title()).collect();
        text += &format!("| | {} | verified |\n", titles.join(" | "));
        text += &format!("|---|{}---|\n", "---|".repeat(columns.len()));
        for row in &measured.rows {
            let cells: Vec<String> = columns
                .iter()
                .map(|figure| {
                    row.values(*figure)
                        .map_or_else(String::new, |spread| shown(*figure, spread))
                })
                .collect();
            text += &format!(
                "| {} | {} | {} |\n",
                row.subject,
                cells.join(" | "),
                row.verified
            );
        }
        let runs = match measured.runs {
            1 => "One run".to_owned(),
            runs => format!("Medians of {runs} interleaved runs, least and most in parentheses"),
        };
        text += &format!("\n{}\n", wrap(&format!("{runs}. {}", measured.conditions)));
        text
    }

    fn verdicts(&self, scenario: &Scenario) -> Vec<Verdict> {
        let rows = self
            .scenarios
            .get(scenario.id)
            .map(|one| one.rows.as_slice());
        let verdict = |aim| verdict(aim, rows.unwrap_or_default());
        scenario.aims.iter().map(verdict).collect()
    }
}

fn verdict(aim: &Aim, rows: &[Row]) -> Verdict {
    let median = |(subject, figure): (&str, Figure)| -> Option<f64> {
        let row = rows.iter().find(|row| row.subject == subject)?;
        Some(row.values(figure)?.median)
    };
    match *aim {
        Aim::Ratio {
            what,
            of,
            to,
            at_least,
        } => {
            let ratio = median(of).zip(median(to)).map(|(of, to)| of / to);
            Verdict {
                what,
                aim: format!("at least {at_least} ×"),
                measured: ratio.map_or_else(unmeasured, |ratio| format!("{ratio:.2} ×")),
                met: ratio.map(|ratio| at_least <= ratio),
            }
        }
        Aim::AtMost { what, of, most } => {
            let value = median(of);
            Verdict {
                what,
                aim: format!("at most {}", of.1.show(most)),
                measured: value.map_or_else(unmeasured, |value| of.1.show(value)),
                met: value.map(|value| value <= most),
            }
        }
    }
}

fn unmeasured() -> String {
    "not measured".to_owned()
}

/// The median, with the least and the most behind it if there are several.
fn shown(figure: Figure, spread: Spread) -> String {
    let Spread {
        least,
        median,
        most,
    } = spread;
    let (low, middle, high) = (figure.show(least), figure.show(median), figure.show(most));
    if low == high {
        return middle;
    }
    format!("{middle} ({low} to {high})")
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
        }
    }

    #[test]
    fn an_aim_is_met_missed_or_not_measured() {
        let aim = Aim::Ratio {
            what: "x",
            of: ("Kafka", Figure::CpuUsPerRecord),
            to: ("Headwater, replicated", Figure::CpuUsPerRecord),
            at_least: 3.0,
        };
        let ours = row("Headwater, replicated", &[1.0, 2.0, 1.0]);
        let met = verdict(&aim, &[row("Kafka", &[3.0, 3.5, 9.0]), ours.clone()]);
        assert_eq!((met.measured.as_str(), met.met), ("3.50 ×", Some(true)));
        let missed = verdict(&aim, &[row("Kafka", &[2.0]), ours]);
        assert_eq!(
            (missed.measured.as_str(), missed.met),
            ("2.00 ×", Some(false))
        );
        assert_eq!(verdict(&aim, &[]).met, None);
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
        results.add(scenario, 2, vec![row("Kafka", &[3.0, 4.0])]);
        results.write(folder.path()).unwrap();

        let again = Results::read(folder.path()).unwrap();
        assert_eq!(again.section(scenario), results.section(scenario));
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
    }
}
