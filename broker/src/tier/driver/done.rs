//! What follows from what has come back.

use headwater_core::metadata::Command;
use headwater_tier::TierError;
use rand::Rng;

use super::super::store::may_get_well;
use super::Driver;
use super::work::Done;

impl Driver {
    pub(super) fn done(&mut self, done: Done) {
        let now = self.parts.clock.now();
        let jitter = rand::rng().random();
        match done {
            Done::Upload(job, result) => {
                self.end_write(job.key);
                self.uploading -= 1;
                self.note(result.as_ref().err());
                if let Ok(uploaded) = &result {
                    let metrics = &self.parts.metrics;
                    metrics.tier_segments_uploaded.inc();
                    metrics
                        .tier_uploaded_bytes
                        .inc_by(uploaded.entry.segment_bytes);
                }
                if let Some(slot) = self.slots.get_mut(&job.key) {
                    slot.partition.uploaded(&job, result, now, jitter);
                }
                self.wake(job.key);
            }
            Done::Write(job, result) => {
                self.end_write(job.key);
                self.note(result.as_ref().err());
                if let Some(slot) = self.slots.get_mut(&job.key)
                    // What another leadership wrote is nobody's any more.
                    && slot.partition.leader_epoch() == job.leader_epoch
                {
                    let proposal = slot.partition.written(&job, result, now, jitter);
                    self.proposals.extend(proposal);
                }
                self.wake(job.key);
            }
            Done::Retain(job, result) => {
                self.note(result.as_ref().err());
                if let Some(slot) = self.slots.get_mut(&job.key)
                    && let Some(start) = slot.partition.retained(result, now, jitter)
                    && let Some(handle) = self.parts.registry.get(job.key)
                {
                    handle.retain(start);
                    self.wake(job.key);
                }
            }
            Done::Sweep(job, result) => {
                self.note(result.as_ref().err());
                let Some(slot) = self.slots.get_mut(&job.key) else {
                    return;
                };
                if let Ok(report) = &result {
                    slot.garbage = report.waiting + report.held;
                    self.parts
                        .metrics
                        .tier_objects_deleted
                        .inc_by(report.deleted);
                }
                slot.partition.swept(&job, result, now, jitter);
            }
            Done::Commit(proposals, result) => self.committed(&proposals, &result),
            Done::Delete(topic, result) => {
                self.note(result.as_ref().err());
                let deleted = result.ok();
                let objects = deleted.unwrap_or_default() as u64;
                self.parts.metrics.tier_objects_deleted.inc_by(objects);
                if self.deleted.swept(topic, deleted, now.monotonic_ms) {
                    let metadata = self.parts.metadata.clone();
                    let command = Command::ConfirmTierDeleted { id: topic };
                    tokio::spawn(async move { metadata.propose(command).await });
                }
            }
            Done::Snapshot(update, result) => {
                self.note(result.as_ref().err());
                self.snapshots.done(&update, result.is_ok());
                let changed = update.topics.iter().map(|(id, _)| *id);
                self.replaced.changed(changed, now.monotonic_ms);
            }
            Done::Trim(topic, result) => {
                self.note(result.as_ref().err());
                let left = match &result {
                    Ok(report) => report.waiting + report.held > 0,
                    Err(_) => true,
                };
                let deleted = result.map_or(0, |report| report.deleted);
                self.parts.metrics.tier_objects_deleted.inc_by(deleted);
                let grace_ms = self.parts.tier.settings.gc_grace.as_millis() as u64;
                self.replaced
                    .looked(topic, left.then_some(now.monotonic_ms + grace_ms));
            }
            Done::Holds(result) => {
                self.looking_for_holds = false;
                self.note(result.as_ref().err());
                if let Ok(holds) = result {
                    self.parts.tier.state.held(holds);
                }
            }
            Done::Probe(result) => {
                self.probing = false;
                if let Err(error) = result
                    && !may_get_well(&error)
                {
                    self.parts.tier.state.unusable(Some(format!("{error:#}")));
                }
            }
            Done::Asked => self.probing = false,
        }
    }

    fn note(&self, error: Option<&TierError>) {
        if let Some(error) = error
            && !self.parts.tier.state.gives_up(error)
        {
            tracing::debug!(%error, "the tier did not do as asked");
        }
    }
}
