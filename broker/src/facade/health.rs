//! What is wrong, why, and what to do.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use headwater_record::Offset;

use super::Broker;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// Needs somebody soon.
    Warning,
    /// Something does not work, or data is at risk.
    Critical,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Stable, UPPER_SNAKE.
    pub reason: &'static str,
    /// What it is about.
    pub subject: String,
    /// What is wrong, and why.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

/// Findings that were made once, mostly when the data directory was opened, and stay until the
/// broker is started again.
#[derive(Clone, Default)]
pub struct Findings(Arc<Mutex<Vec<Finding>>>);

/// Findings that are kept; the rest is in the log.
const FINDINGS_MAX: usize = 1_000;

impl Findings {
    /// Keeps a finding, and logs it.
    pub fn add(&self, finding: Finding) {
        let Finding {
            reason,
            subject,
            message,
            remedy,
            ..
        } = &finding;
        tracing::warn!(reason, subject, remedy, "{message}");
        let mut findings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if findings.len() < FINDINGS_MAX {
            findings.push(finding);
        }
    }

    /// Damage that a reader has met. Said once for each range, however often it is read.
    pub fn add_damage(&self, topic: &str, partition: u32, range: &Range<Offset>) {
        let finding = damage(&format!("{topic}/{partition}"), range);
        let known = self.list().contains(&finding);
        if !known {
            self.add(finding);
        }
    }

    fn list(&self) -> Vec<Finding> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Records below the sync mark that cannot be read.
pub fn damage(subject: &str, range: &Range<Offset>) -> Finding {
    Finding {
        severity: Severity::Critical,
        reason: "DATA_LOSS",
        subject: subject.to_owned(),
        message: format!(
            "records {} to {} cannot be read",
            range.start,
            range.end.get().saturating_sub(1)
        ),
        remedy: "check the disk; readers get DATA_LOSS for this range alone and go on behind it"
            .to_owned(),
    }
}

impl Broker {
    /// All findings, the worst first.
    pub fn health(&self) -> Vec<Finding> {
        let mut findings = self.findings.list();
        let data_dir = self.settings.data_dir.display().to_string();
        if let Some(reason) = self.storage.failure().borrow().clone() {
            findings.push(Finding {
                severity: Severity::Critical,
                reason: "STORAGE_FAILED",
                subject: data_dir.clone(),
                message: format!("the data directory has failed: {reason}"),
                remedy: "check the disk and its kernel log; the broker recovers what is on it at \
                         the next start"
                    .to_owned(),
            });
        }
        if self.storage.is_full() {
            findings.push(Finding {
                severity: Severity::Critical,
                reason: "STORAGE_FULL",
                subject: data_dir,
                message: "free space is below the low water mark; produce is refused".to_owned(),
                remedy: "delete records or topics, shorten retention, or grow the volume"
                    .to_owned(),
            });
        }
        if self.clock.is_suspect() {
            findings.push(Finding {
                severity: Severity::Warning,
                reason: "CLOCK_SUSPECT",
                subject: "wall clock".to_owned(),
                message: if self.clock.is_waiting() {
                    "the broker was off for more than a day; time retention waits for an hour"
                } else {
                    "the wall clock has jumped; time retention does not act"
                }
                .to_owned(),
                remedy:
                    "check the machine's clock; after a jump that was meant, restart the broker"
                        .to_owned(),
            });
        }
        if *self.draining.borrow() {
            findings.push(Finding {
                severity: Severity::Info,
                reason: "DRAINING",
                subject: self.settings.node_name.clone(),
                message: "the broker is about to stop".to_owned(),
                remedy: String::new(),
            });
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }
}
