//! What the driver has done elsewhere, and how it comes back.

use std::collections::HashMap;
use std::sync::Arc;

use headwater_core::ids::TopicId;
use headwater_core::replica::TierView;
use headwater_log::PartitionKey;
use headwater_record::Offset;
use headwater_tier::{
    Action, CommitJob, Head, Hold, Proposal, RetainJob, StoreError, StoreErrorKind, SweepJob,
    SweepReport, TierError, UploadJob, Uploaded,
};

use super::super::segment::LocalSegment;
use super::super::snapshots::Update;
use super::Driver;
use crate::partition::handle::PartitionHandle;

/// How something went.
pub(super) enum Done {
    Upload(UploadJob, Result<Uploaded, TierError>),
    Write(CommitJob, Result<Head, TierError>),
    Retain(RetainJob, Result<Option<Offset>, TierError>),
    Sweep(SweepJob, Result<SweepReport, TierError>),
    /// Those that were refused, and why; or why all were.
    Commit(Vec<Proposal>, Result<HashMap<PartitionKey, String>, String>),
    Delete(TopicId, Result<usize, TierError>),
    Snapshot(Update, Result<(), TierError>),
    /// Replaced objects of a topic.
    Trim(TopicId, Result<SweepReport, TierError>),
    /// Who holds this cluster's objects.
    Holds(Result<Vec<Hold>, TierError>),
    /// Whether the store can be a tier's.
    Probe(anyhow::Result<()>),
    /// Whether it is well shows in the state of the tier.
    Asked,
}

impl Driver {
    pub(super) fn start(&mut self, action: Action, handle: &Arc<PartitionHandle>, view: &TierView) {
        let tier = self.parts.tier.clone();
        let ready = self.ready();
        match action {
            Action::Upload(job) => {
                self.begin_write(job.key);
                self.uploading += 1;
                let permits = self.uploads.clone();
                let bytes = segment_bytes(&job, view);
                let storage = self.parts.storage.clone();
                let mut source = LocalSegment {
                    handle: handle.clone(),
                    view: view.view.clone(),
                    base: job.base_offset,
                    end: job.end_offset,
                };
                self.running.spawn(async move {
                    let result = match ready {
                        Err(error) => Err(error),
                        Ok(()) => {
                            let _permit = permits.acquire().await;
                            // A copy on the same disk makes no room, and for a moment takes some.
                            match tier.eager.then(|| storage.reserve(bytes)) {
                                Some(None) => Err(not_now(
                                    &tier.url,
                                    "the disk, which the tier shares with the log, has no room for a copy of the segment",
                                )),
                                _room => tier.tier.upload(&job, &mut source).await,
                            }
                        }
                    };
                    Done::Upload(job, result)
                });
            }
            Action::Write(job) => {
                self.begin_write(job.key);
                self.spawn_small(async move {
                    let result = match ready {
                        Err(error) => Err(error),
                        Ok(()) => tier.tier.write_manifest(&job).await,
                    };
                    Done::Write(job, result)
                });
            }
            Action::Retain(job) => self.spawn_small(async move {
                let result = tier.tier.retain(&job).await;
                Done::Retain(job, result)
            }),
            Action::Sweep(job) => {
                let clock = self.parts.clock.clone();
                self.spawn_small(async move {
                    let now_ms = move || clock.now().monotonic_ms;
                    let result = match ready {
                        Err(error) => Err(error),
                        Ok(()) => tier.tier.sweep(&job, &tier.fence, &now_ms).await,
                    };
                    Done::Sweep(job, result)
                });
            }
        }
    }

    pub(super) fn spawn_small(&mut self, work: impl Future<Output = Done> + Send + 'static) {
        let permits = self.small.clone();
        self.running.spawn(async move {
            let _permit = permits.acquire().await;
            work.await
        });
    }

    /// Whether something may be begun now.
    fn ready(&self) -> Result<(), TierError> {
        let tier = &self.parts.tier;
        match tier.is_ready() {
            true => Ok(()),
            false => Err(not_now(
                &tier.url,
                "the store has not shown yet that it keeps what is written once, and that the tier is this broker's",
            )),
        }
    }

    fn begin_write(&mut self, key: PartitionKey) {
        *self.writing.entry(TopicId(key.topic)).or_default() += 1;
    }

    pub(super) fn end_write(&mut self, key: PartitionKey) {
        let topic = TopicId(key.topic);
        if let Some(count) = self.writing.get_mut(&topic) {
            *count -= 1;
            if *count == 0 {
                self.writing.remove(&topic);
            }
        }
    }
}

fn not_now(url: &str, why: &str) -> TierError {
    let error = StoreError::new(StoreErrorKind::Unavailable, "write", url, why);
    TierError::Store(error)
}

/// Bytes of the segment that is to be uploaded.
fn segment_bytes(job: &UploadJob, view: &TierView) -> u64 {
    let segments = view.sealed.iter();
    let mut segments = segments.filter(|segment| segment.base_offset == job.base_offset);
    segments.next().map_or(0, |segment| segment.size_bytes)
}
