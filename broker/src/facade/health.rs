//! What is wrong, why, and what to do.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use headwater_record::Offset;

use headwater_core::ids::TopicId;
use headwater_tier::Failure;

use super::Broker;
use super::room::{self, TierRoom};
use crate::limits::TIER_FAILING_TOLERATED;
use crate::restore::moment;

/// Holds that have a finding each; more are in the bucket.
const HOLDS_SHOWN_MAX: usize = 10;

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

    /// An object of the tier that is missing or altered. Said once for each.
    pub fn add_lost_object(
        &self,
        topic: &str,
        partition: u32,
        range: &Range<Offset>,
        object: &str,
    ) {
        let finding = Finding {
            severity: Severity::Critical,
            reason: "TIER_OBJECT_LOST",
            subject: format!("{topic}/{partition}"),
            message: format!(
                "records {} to {} cannot be read from the tier: object {object} is missing or altered",
                range.start,
                range.end.get().saturating_sub(1)
            ),
            remedy: "restore the object if the store has an older version of it; find out who changed it; `headwater \
                     tier verify` checks all others"
                .to_owned(),
        };
        if !self.list().contains(&finding) {
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
    fn tier_findings(&self) -> Vec<Finding> {
        let (Some(tier), Some(facts)) = (&self.tier, self.tier_facts()) else {
            return self.tier_missing().into_iter().collect();
        };
        let wall_ms = self.clock.now().wall_ms;
        let since = |ms: i64| Duration::from_millis(wall_ms.saturating_sub(ms).max(0) as u64);
        let mut findings = Vec::new();
        let mut find = |severity, reason, subject: String, message: String, remedy: &str| {
            findings.push(Finding {
                severity,
                reason,
                subject,
                message,
                remedy: remedy.to_owned(),
            });
        };
        if let Some(by) = &facts.fenced_by {
            find(
                Severity::Critical,
                "TIER_FENCED",
                tier.url.clone(),
                format!(
                    "cluster {by} has adopted this cluster's objects; nothing is uploaded or deleted here any more"
                ),
                "stop this cluster if the other one has taken its place; else give this one another prefix in tier.url",
            );
        }
        if facts.superseded {
            find(
                Severity::Critical,
                "TIER_SUPERSEDED",
                tier.url.clone(),
                "another process of this cluster has taken its objects over; nothing is uploaded or deleted here any \
                 more"
                    .to_owned(),
                &format!(
                    "find the other broker, which runs on this disk elsewhere or on a copy of it, and stop this one. If \
                     this one is to go on, stop the other one and start this one anew; should it say so again, delete \
                     all below {0}/owner/ and {0}/metadata/ in the tier before",
                    tier.tier.cluster()
                ),
            );
        }
        for hold in facts.holds.iter().take(HOLDS_SHOWN_MAX) {
            let since = hold.since_ms.map(moment);
            let since = since.map_or_else(String::new, |since| format!(" since {since}"));
            find(
                Severity::Warning,
                "TIER_HELD",
                tier.url.clone(),
                format!(
                    "cluster {} was restored from this one's objects and holds them{since}: nothing is deleted from \
                     the tier, so it grows by what retention and deleted topics leave, {} objects by now",
                    hold.holder, facts.garbage_objects
                ),
                &format!(
                    "once that cluster is not needed any more: headwater tier release --from '{}' --cluster {} \
                     --holder {}",
                    tier.url,
                    tier.tier.cluster(),
                    hold.holder
                ),
            );
        }
        if let Some(why) = &facts.unusable {
            find(
                Severity::Critical,
                "TIER_UNUSABLE",
                tier.url.clone(),
                format!("nothing is uploaded: {why}"),
                "do what the message says; the broker looks again by itself",
            );
        }
        if let (Some(failing), Some((error, _))) = (facts.failing_since_ms, &facts.last_error)
            && since(failing) >= TIER_FAILING_TOLERATED
        {
            find(
                Severity::Warning,
                "TIER_UNAVAILABLE",
                tier.url.clone(),
                format!(
                    "the tier has not done as asked for {} s: {error}",
                    since(failing).as_secs()
                ),
                "check the store, the network and the credentials; produce goes on until the disk is full, and \
                 uploads go on by themselves",
            );
        }
        if let Some(oldest) = facts.backlog_since_ms
            && since(oldest) >= tier.settings.backlog_tolerated
        {
            find(
                Severity::Warning,
                "TIER_BACKLOG",
                tier.url.clone(),
                format!(
                    "{} sealed segments, {} MiB, wait for their upload, the oldest for {} min",
                    facts.backlog_segments,
                    facts.backlog_bytes >> 20,
                    since(oldest).as_secs() / 60
                ),
                "check the store; if it is well, raise tier.upload_concurrency",
            );
        }
        // What ails the store is said above, once for all.
        let of_its_own =
            |why: &Failure| !why.of_store && facts.fenced_by.is_none() && !facts.superseded;
        for (key, why) in facts.blocked.iter().filter(|(_, why)| of_its_own(why)) {
            let image = self.image();
            let topic = image.topic_by_id(TopicId(key.topic));
            let name = topic.map_or_else(|| key.topic.to_string(), |topic| topic.name.to_string());
            find(
                Severity::Critical,
                "TIER_UPLOAD_BLOCKED",
                format!("{name}/{}", key.index),
                format!("the tier cannot go on with this partition: {}", why.reason),
                "if a segment on the disk is damaged: delete the records up to its end, once what can be read is \
                 saved; if an object is: restore it; anything else is tried again",
            );
        }
        findings
    }

    fn tier_room(&self) -> Option<TierRoom> {
        let tier = self.tier.as_ref()?;
        let backlog_bytes = tier.state.facts().backlog_bytes;
        Some(match tier.eager {
            true => TierRoom::Shared,
            false => TierRoom::Elsewhere { backlog_bytes },
        })
    }

    /// Records that are in a tier alone, while this broker has none.
    fn tier_missing(&self) -> Option<Finding> {
        let image = self.image();
        let own = Some(self.identity.broker_id);
        let tiered = image.topics().find(|topic| {
            topic
                .partitions
                .iter()
                .any(|partition| partition.leader == own && partition.tier.is_some())
        })?;
        Some(Finding {
            severity: Severity::Critical,
            reason: "TIER_NOT_CONFIGURED",
            subject: tiered.name.to_string(),
            message: "records of this and maybe of other topics are in a tier, and tier.url is not set: they cannot be \
                      read, and retention waits"
                .to_owned(),
            remedy: "set tier.url to what it was".to_owned(),
        })
    }

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
                remedy: room::remedy(self.tier_room()),
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
        findings.extend(self.tier_findings());
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
