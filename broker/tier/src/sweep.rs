//! Deleting what no manifest names any more. A listing nominates; manifests, grace and the store's own time decide.

use std::collections::HashSet;

use bytes::Bytes;
use headwater_log::PartitionKey;
use headwater_log::planted::{self, Bug};
use uuid::Uuid;

use crate::error::TierError;
use crate::fence::FenceWatch;
use crate::keys::{self, PartitionObject};
use crate::limits::LIST_PAGE;
use crate::store::{Listed, ObjectMeta};
use crate::tier::Tier;

/// Sweeps of which one looks after the clock's objects.
const SWEEPS_PER_CLOCK: u128 = 4;

/// A partition to be swept.
#[derive(Clone, Debug)]
pub struct SweepJob {
    /// The partition.
    pub key: PartitionKey,
    /// When it was planned, by the own monotonic clock.
    pub planned_ms: u64,
    /// Numbers of the manifests that count: the head, and those that were heads within the grace.
    pub keep: Vec<u64>,
    /// Uploads under way, those that wait for a manifest, and pages of the manifest under way.
    pub in_progress: HashSet<Uuid>,
    /// Younger objects stay, by the store's own time, in milliseconds.
    pub grace_ms: u64,
    /// Clusters whose prefix is swept: the own, and one that was adopted.
    pub clusters: Vec<Uuid>,
    /// For the object that is written for its date; never used before.
    pub clock: Uuid,
}

/// What a sweep found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Objects that were deleted.
    pub deleted: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// Objects that nothing names, still within the grace.
    pub waiting: u64,
    /// Objects that nothing names, past their grace, that another cluster holds.
    pub held: u64,
}

impl Tier {
    /// Sweeps one partition. `now_ms` is the own monotonic clock, asked before each deletion.
    pub async fn sweep(
        &self,
        job: &SweepJob,
        fence: &FenceWatch,
        now_ms: &(dyn Fn() -> u64 + Send + Sync),
    ) -> Result<SweepReport, TierError> {
        let lowest = job.keep.iter().min().copied().unwrap_or(0);
        let mut named = HashSet::new();
        for &number in &job.keep {
            let manifest = self.manifest(job.key, number).await?;
            named.extend(manifest.pages.iter().map(|page| page.upload));
            named.extend(
                self.entries(&manifest)
                    .await?
                    .iter()
                    .map(|entry| entry.upload),
            );
        }
        let is_garbage = |object: PartitionObject| match object {
            PartitionObject::Segment(upload) | PartitionObject::Page(upload) => {
                !named.contains(&upload) && !job.in_progress.contains(&upload)
            }
            PartitionObject::Manifest(number) => number < lowest,
        };
        let store_now_ms = self.store_time(job.clock).await?;
        // What is old by this time was there when the sweep was planned. Held up for longer, what was uploaded since, by
        // this process or another leader, could have come to be old.
        let held_up_ms = now_ms().saturating_sub(job.planned_ms);
        if held_up_ms >= job.grace_ms && !planted::is(Bug::SweepHeldUp) {
            return Err(TierError::HeldUp { held_up_ms });
        }
        let mut report = SweepReport::default();
        // One sweep in so many, as the UUID falls: there are few, and each look is a request.
        if job.clock.as_u128().is_multiple_of(SWEEPS_PER_CLOCK) {
            self.sweep_clock(store_now_ms, job.grace_ms, &mut report)
                .await?;
        }
        for &cluster in &job.clusters {
            let prefix = keys::partition_prefix(cluster, job.key);
            let own = cluster == self.cluster();
            let mut after = None;
            loop {
                let listed = self
                    .store()
                    .list(&prefix, after.as_deref(), LIST_PAGE)
                    .await?;
                for Listed { key, meta } in &listed {
                    let nominated =
                        keys::parse_in_partition(key, &prefix).filter(|&object| match object {
                            // An adopted cluster's manifests are named by nobody.
                            PartitionObject::Manifest(_) if !own => true,
                            object => planted::is(Bug::SweepByListing) || is_garbage(object),
                        });
                    if nominated.is_none() {
                        continue;
                    }
                    let old = is_old(*meta, store_now_ms, job.grace_ms);
                    if !old && !planted::is(Bug::SweepForgetsGrace) {
                        report.waiting += 1;
                        continue;
                    }
                    if report.held == 0 && self.delete_unheld(key, fence, now_ms).await? {
                        report.deleted += 1;
                        report.deleted_bytes += meta.size_bytes;
                    } else {
                        report.held += 1;
                    }
                }
                match listed.last() {
                    Some(last) if listed.len() >= LIST_PAGE => after = Some(last.key.clone()),
                    _ => break,
                }
            }
        }
        Ok(report)
    }

    /// Deletes objects that were written for their date, or to try the store, and not deleted, because an answer got lost
    /// or a broker stopped. Nobody reads them, so no hold keeps them.
    async fn sweep_clock(
        &self,
        store_now_ms: i64,
        grace_ms: u64,
        report: &mut SweepReport,
    ) -> Result<(), TierError> {
        let prefix = keys::clock_prefix(self.cluster());
        let listed = self.store().list(&prefix, None, LIST_PAGE).await?;
        for Listed { key, meta } in listed {
            if is_old(meta, store_now_ms, grace_ms) {
                self.store().delete(&key).await?;
                report.deleted += 1;
            }
        }
        Ok(())
    }

    /// Deletes an object unless another cluster holds it; whether it did.
    pub(crate) async fn delete_unheld(
        &self,
        key: &str,
        fence: &FenceWatch,
        now_ms: &(dyn Fn() -> u64 + Send + Sync),
    ) -> Result<bool, TierError> {
        match fence.check_deletion(self, now_ms).await {
            Err(TierError::Held { .. }) => return Ok(false),
            checked => checked?,
        }
        self.store().delete(key).await?;
        Ok(true)
    }

    /// Deletes at most `objects_max` objects of a deleted topic; returns how many there were to delete.
    /// [`TierError::Held`] while another cluster holds them.
    pub async fn delete_topic(
        &self,
        cluster: Uuid,
        topic: Uuid,
        objects_max: usize,
        fence: &FenceWatch,
        now_ms: &(dyn Fn() -> u64 + Send + Sync),
    ) -> Result<usize, TierError> {
        let prefix = keys::topic_prefix(cluster, topic);
        let listed = self
            .store()
            .list(&prefix, None, objects_max.min(LIST_PAGE))
            .await?;
        for Listed { key, .. } in &listed {
            fence.check_deletion(self, now_ms).await?;
            self.store().delete(key).await?;
        }
        Ok(listed.len())
    }

    /// The store's own time, in milliseconds since the epoch: the date of an object that is written for it.
    pub(crate) async fn store_time(&self, clock: Uuid) -> Result<i64, TierError> {
        let key = keys::clock(self.cluster(), clock);
        self.store().put_if_absent(&key, Bytes::new()).await?;
        let meta = self.store().stat(&key).await;
        self.store().delete(&key).await?;
        let undated = || TierError::Damaged {
            object: key.clone(),
            detail: "has no date, so nothing can be known to be old".to_owned(),
        };
        meta?.modified_ms.ok_or_else(undated)
    }
}

pub(crate) fn is_old(meta: ObjectMeta, store_now_ms: i64, grace_ms: u64) -> bool {
    let grace_ms = i64::try_from(grace_ms).unwrap_or(i64::MAX);
    let old = |at| store_now_ms.saturating_sub(at) > grace_ms;
    meta.modified_ms.is_some_and(old)
}
