//! The rows of one scenario while it is measured, run by run. Whatever fails is a matter of one subject in one run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Error, Result, anyhow};

use crate::figures::{Row, Sample};
use crate::progress::say;

/// Runs in which a subject may fail; after that it is left out of the scenario, for each hang takes minutes.
const FAILURES_MAX: usize = 2;

/// Letters of a reason in a table.
const REASON_MAX: usize = 160;

/// The figures of a run, and what was verified of it.
pub(crate) type Outcome = Result<(Sample, &'static str)>;

/// The subjects of a scenario. Sample n of each row is that of run n, empty if that has failed: a ratio is of one run.
pub(crate) struct Rounds {
    scenario: &'static str,
    runs: usize,
    /// From 1.
    run: usize,
    /// What is done before each measurement.
    prepare: fn(),
    rows: Vec<Row>,
}

impl Rounds {
    pub(crate) fn new(scenario: &'static str, runs: usize, prepare: fn()) -> Rounds {
        Rounds {
            scenario,
            runs,
            run: 0,
            prepare,
            rows: Vec::new(),
        }
    }

    /// Begins the next run. False after the last one.
    pub(crate) fn next(&mut self) -> bool {
        self.run += 1;
        self.run <= self.runs
    }

    /// Measures a subject in this run, unless it has failed too often. False if it fails now, by an error or a panic.
    pub(crate) fn measure(&mut self, subject: &str, work: impl FnOnce() -> Outcome) -> bool {
        let at = format!(
            "{}, run {} of {}: {subject}",
            self.scenario, self.run, self.runs
        );
        let (run, prepare) = (self.run, self.prepare);
        let row = self.row(subject);
        if FAILURES_MAX <= row.failures.len() {
            row.samples.push(Sample::new());
            return true;
        }
        say(&at);
        prepare();
        match caught(work) {
            Ok((sample, verified)) => {
                row.samples.push(sample);
                verified.clone_into(&mut row.verified);
                true
            }
            Err(error) => {
                say(format_args!("{at} has failed: {error:#}"));
                row.samples.push(Sample::new());
                row.failures.push(format!("run {run}: {}", reason(&error)));
                false
            }
        }
    }

    pub(crate) fn rows(self) -> Vec<Row> {
        self.rows
    }

    fn row(&mut self, subject: &str) -> &mut Row {
        let place = self.rows.iter().position(|row| row.subject == subject);
        let place = place.unwrap_or_else(|| {
            let subject = subject.to_owned();
            self.rows.push(Row {
                subject,
                ..Row::default()
            });
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }
}

/// Brokers of tests, which are used here, panic where something is wrong.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // What was in the middle of being changed is measured anew, or thrown away.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(anyhow!(said(&*panic))))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic".to_owned())
}

/// An error in one line, as a cell of a table may hold it.
fn reason(error: &Error) -> String {
    let causes = error.chain().map(|cause| {
        let text = cause.to_string();
        text.lines().next().unwrap_or_default().to_owned()
    });
    let causes: Vec<String> = causes.collect();
    let line = causes.join(": ").replace('|', "/");
    line.chars().take(REASON_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Figure;
    use anyhow::Context;

    #[test]
    fn a_failure_is_a_matter_of_one_subject_in_one_run() {
        let sample = || Sample::from([(Figure::P50Us, 1.0)]);
        let mut rounds = Rounds::new("S1", 2, || {});
        let mut results = Vec::new();
        while rounds.next() {
            let run = rounds.run;
            results.push(rounds.measure("sound", || Ok((sample(), "count"))));
            results.push(rounds.measure("broken", || match run {
                1 => Err(anyhow!("two\nlines")).context("a | b"),
                _ => panic!("{run} is too much"),
            }));
        }
        assert_eq!(results, [true, false, true, false]);
        let rows = rounds.rows();
        assert_eq!(rows[0].samples, [sample(), sample()]);
        assert_eq!(
            (rows[0].verified.as_str(), rows[0].failures.len()),
            ("count", 0)
        );
        assert_eq!(rows[1].samples, [Sample::new(), Sample::new()]);
        assert_eq!(
            rows[1].failures,
            ["run 1: a / b: two", "run 2: 2 is too much"]
        );
    }

    #[test]
    fn what_fails_again_and_again_is_left_out() {
        let (mut rounds, mut tries) = (Rounds::new("S1", 5, || {}), 0);
        while rounds.next() {
            rounds.measure("broken", || {
                tries += 1;
                Err(anyhow!("no"))
            });
        }
        assert_eq!(tries, FAILURES_MAX);
        assert_eq!(rounds.rows()[0].samples.len(), 5);
    }
}
