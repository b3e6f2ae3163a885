//! What opening the data directory tells the people who look after it.

use headwater_core::metadata::{Durability, Image, MetadataReport, Opened, Topic};

use crate::config::Settings;
use crate::facade::{Finding, Findings, Severity};

pub(super) fn add_findings(
    findings: &Findings,
    found: &Opened,
    report: &MetadataReport,
    node_name: &str,
) {
    if let Some(reason) = &found.poisoned {
        findings.add(Finding {
            severity: Severity::Warning,
            reason: "WAS_POISONED",
            subject: node_name.to_owned(),
            message: format!("an earlier run could not sync ({reason}); the log was read again"),
            remedy: "check the disk and its kernel log".to_owned(),
        });
    }
    if report.cut_nonzero_bytes > 0 || report.mark_slot_lost {
        let MetadataReport {
            cut_bytes,
            mark_slot_lost,
            ..
        } = report;
        findings.add(Finding {
            severity: Severity::Info,
            reason: "METADATA_RECOVERED",
            subject: node_name.to_owned(),
            message: format!(
                "{cut_bytes} bytes of unacknowledged metadata were cut; mark slot lost: {mark_slot_lost}"
            ),
            remedy: "none; expected after a crash or power loss".to_owned(),
        });
    }
}

/// After the host went down without a clean stop, class `replicated` on a lone broker may have lost
/// what it had acknowledged and not synced. That is its bargain, but never a silent one.
pub(super) fn add_loss_finding(
    findings: &Findings,
    found: &Opened,
    image: &Image,
    settings: &Settings,
) {
    if found.clean || found.created || !found.other_boot {
        return;
    }
    let defaults = settings.topics.effective();
    let replicated =
        |topic: &&Topic| topic.config.effective(&defaults).durability == Durability::Replicated;
    let names: Vec<&str> = image
        .topics()
        .filter(replicated)
        .map(|topic| topic.name.as_str())
        .take(16)
        .collect();
    if !names.is_empty() {
        let interval = settings.storage.background_sync_interval;
        findings.add(Finding {
            severity: Severity::Warning,
            reason: "DATA_LOSS_POSSIBLE",
            subject: names.join(", "),
            message: format!(
                "the host went down without a clean stop; records of topics with durability \
                 `replicated` that were acknowledged within {interval:?} before may be missing"
            ),
            remedy: "use durability `fsync` where that must not happen".to_owned(),
        });
    }
}
