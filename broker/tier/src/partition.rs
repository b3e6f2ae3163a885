//! What is to be done for one partition that this broker leads: a state machine that decides and touches nothing.
//!
//! [`Partition::plan`] looks at the log, the head and the time and says what to do; whoever drives it does that and
//! tells how it went. Nothing here waits, so that a stop between any two steps is a state that the next plan starts
//! from: what counts is in the head and in the log.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use headwater_log::planted::{self, Bug};
use headwater_log::{Now, PartitionKey, SealedSegment};
use headwater_record::{LeaderEpoch, Offset};
use uuid::Uuid;

use crate::commit::CommitJob;
use crate::error::TierError;
use crate::limits::{PARTITION_UPLOADS_MAX, RETRY_MS_MAX, RETRY_MS_MIN, TRIM_INTERVAL_MS};
use crate::manifest::Head;
use crate::retain::{RetainJob, Retention};
use crate::sweep::{SweepJob, SweepReport};
use crate::upload::{UploadJob, Uploaded};

/// The log of a partition, as a plan needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogState {
    /// First readable offset, local or tiered.
    pub log_start: Offset,
    /// First offset on the local disk.
    pub local_start: Offset,
    /// High watermark.
    pub committed: Offset,
    /// Sealed local segments that end at or below both high watermark and synced end, oldest first.
    pub sealed: Vec<SealedSegment>,
    /// Bytes of the segments behind them.
    pub active_bytes: u64,
}

/// What the partition's topic and the broker's settings ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether sealed segments are uploaded.
    pub tiering: bool,
    /// How much is kept, over both places.
    pub retention: Retention,
    /// The wall clock cannot be trusted: nothing goes by age.
    pub wall_clock_suspect: bool,
    /// How often retention is looked at, in milliseconds.
    pub retain_interval_ms: u64,
    /// How long what no manifest names any more stays, in milliseconds.
    pub grace_ms: u64,
    /// How often the partition is swept, in milliseconds.
    pub sweep_interval_ms: u64,
    /// Clusters whose prefix is swept.
    pub clusters: Vec<Uuid>,
}

/// Something to be done; each is answered by the method of the same name.
#[derive(Clone, Debug)]
pub enum Action {
    /// [`crate::Tier::upload`], then [`Partition::uploaded`].
    Upload(UploadJob),
    /// [`crate::Tier::write_manifest`], then [`Partition::written`].
    Write(CommitJob),
    /// [`crate::Tier::retain`], then [`Partition::retained`].
    Retain(RetainJob),
    /// [`crate::Tier::sweep`], then [`Partition::swept`].
    Sweep(SweepJob),
}

/// A head to be proposed to the metadata. [`Partition::committed`] is told when it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The partition.
    pub key: PartitionKey,
    /// Number of the head that it replaces.
    pub parent: Option<u64>,
    /// The new head.
    pub head: Head,
}

#[derive(Debug)]
struct Upload {
    end: Offset,
    id: Uuid,
    /// `None` while it is under way.
    done: Option<Uploaded>,
}

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// For people.
    pub reason: String,
    /// The store did not do as asked, which is the same for all partitions.
    pub of_store: bool,
}

/// One partition under one leadership. Another leadership begins with another one of these.
#[derive(Debug)]
pub struct Partition {
    key: PartitionKey,
    leader_epoch: LeaderEpoch,
    head: Option<Head>,
    /// By the monotonic clock.
    led_since_ms: u64,
    /// Heads that were replaced, and until when the manifests count all the same.
    replaced: VecDeque<(u64, u64)>,
    /// By the offset from which they count; contiguous.
    uploads: BTreeMap<Offset, Upload>,
    /// The pages that the manifest under way may come to name; `None`: no manifest is.
    writing: Option<Vec<Uuid>>,
    retaining: bool,
    sweeping: bool,
    failures: u32,
    retry_at_ms: u64,
    retain_at_ms: u64,
    trim_at_ms: u64,
    sweep_at_ms: u64,
    last_error: Option<Failure>,
    fenced: bool,
}

impl Partition {
    /// Takes a partition over. `spread_ms` is drawn at random: by so much the first sweep is later, so that a broker's
    /// partitions are not swept all at once.
    pub fn new(
        key: PartitionKey,
        leader_epoch: LeaderEpoch,
        head: Option<Head>,
        now: Now,
        policy: &Policy,
        spread_ms: u64,
    ) -> Partition {
        Partition {
            key,
            leader_epoch,
            head,
            led_since_ms: now.monotonic_ms,
            replaced: VecDeque::new(),
            uploads: BTreeMap::new(),
            writing: None,
            retaining: false,
            sweeping: false,
            failures: 0,
            retry_at_ms: 0,
            retain_at_ms: 0,
            trim_at_ms: 0,
            sweep_at_ms: match planted::is(Bug::SweepAtOnce) {
                false => now.monotonic_ms + policy.grace_ms + spread_ms,
                true => 0,
            },
            last_error: None,
            fenced: false,
        }
    }

    /// The leadership.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The head as of the last plan.
    pub fn head(&self) -> Option<Head> {
        self.head
    }

    /// Everything below is in the tier or on its way; `None` if nothing is.
    pub fn reached(&self) -> Option<Offset> {
        let upload = self.uploads.values().next_back().map(|upload| upload.end);
        upload.or(self.head.map(|head| head.end))
    }

    /// Nothing is planned before this time, by the monotonic clock.
    pub fn retry_at_ms(&self) -> u64 {
        self.retry_at_ms
    }

    /// Segments that are being uploaded or wait for their manifest.
    pub fn uploading(&self) -> usize {
        self.uploads.len()
    }

    /// Why the last attempt failed, until one succeeds.
    pub fn last_error(&self) -> Option<&Failure> {
        self.last_error.as_ref()
    }

    /// Whether another cluster, or another process of this one, has taken the objects over.
    pub fn is_fenced(&self) -> bool {
        self.fenced
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        let uploading = self.uploads.values().any(|upload| upload.done.is_none());
        !(uploading || self.writing.is_some() || self.retaining || self.sweeping)
    }

    /// What is to be done now. `head` is what the metadata says; `draw` gives UUIDs that were never used.
    pub fn plan(
        &mut self,
        head: Option<Head>,
        log: &LogState,
        policy: &Policy,
        now: Now,
        draw: &mut dyn FnMut() -> Uuid,
    ) -> Vec<Action> {
        self.follow(head, policy, now);
        let mut actions = Vec::new();
        if self.fenced || now.monotonic_ms < self.retry_at_ms {
            return actions;
        }
        if policy.tiering {
            self.plan_uploads(log, draw, &mut actions);
        }
        self.plan_write(log, now, draw, &mut actions);
        self.plan_retain(log, policy, now, &mut actions);
        self.plan_sweep(policy, now, draw, &mut actions);
        actions
    }

    /// Takes over what the metadata says, and forgets uploads that have their place, or cannot get it any more.
    fn follow(&mut self, head: Option<Head>, policy: &Policy, now: Now) {
        self.replaced
            .retain(|&(_, until_ms)| until_ms > now.monotonic_ms);
        if head == self.head {
            return;
        }
        if let Some(old) = self.head {
            let until_ms = now.monotonic_ms + policy.grace_ms;
            self.replaced.push_back((old.number, until_ms));
            let moved = head.is_some_and(|head| head.start > old.start);
            if moved {
                self.sweep_at_ms = self.sweep_at_ms.min(until_ms + 1);
            }
        }
        self.head = head;
        let end = head.map_or(Offset::ZERO, |head| head.end);
        self.uploads.retain(|&start, _| start >= end);
    }

    fn plan_uploads(
        &mut self,
        log: &LogState,
        draw: &mut dyn FnMut() -> Uuid,
        actions: &mut Vec<Action>,
    ) {
        let mut next = self.reached();
        let under_way = |uploads: &BTreeMap<Offset, Upload>| {
            uploads
                .values()
                .filter(|upload| upload.done.is_none())
                .count()
        };
        for segment in &log.sealed {
            if under_way(&self.uploads) >= PARTITION_UPLOADS_MAX {
                break;
            }
            let reached = next.unwrap_or(Offset::ZERO);
            if segment.end_offset <= reached.max(log.log_start) {
                continue;
            }
            let start = match next {
                Some(next) if segment.base_offset <= next => next,
                // Behind what was deleted; only where all before it has its place, so that ranges stay contiguous.
                Some(_) if !self.uploads.is_empty() || segment.base_offset > log.log_start => break,
                _ => segment.base_offset,
            };
            let id = match planted::is(Bug::ReuseUpload) {
                false => draw(),
                true => Uuid::from_u128(u128::from(segment.base_offset.get()) + 1),
            };
            let upload = Upload {
                end: segment.end_offset,
                id,
                done: None,
            };
            self.uploads.insert(start, upload);
            next = Some(segment.end_offset);
            actions.push(Action::Upload(UploadJob {
                key: self.key,
                leader_epoch: self.leader_epoch,
                base_offset: segment.base_offset,
                end_offset: segment.end_offset,
                start,
                upload: id,
            }));
        }
    }

    fn plan_write(
        &mut self,
        log: &LogState,
        now: Now,
        draw: &mut dyn FnMut() -> Uuid,
        actions: &mut Vec<Action>,
    ) {
        if self.writing.is_some() {
            return;
        }
        let ready = self.uploads.values().map(|upload| upload.done.clone());
        let uploaded: Vec<Uploaded> = match planted::is(Bug::ManifestGap) {
            false => ready.map_while(|done| done).collect(),
            true => ready.flatten().collect(),
        };
        let trims = self.head.is_some_and(|head| {
            head.start < log.log_start
                && head.start < head.end
                && now.monotonic_ms >= self.trim_at_ms
        });
        if uploaded.is_empty() && !trims {
            return;
        }
        let job = CommitJob {
            key: self.key,
            leader_epoch: self.leader_epoch,
            parent: self.head,
            log_start: log.log_start,
            uploaded,
            page: draw(),
        };
        self.writing = Some(job.pages().collect());
        self.trim_at_ms = now.monotonic_ms + TRIM_INTERVAL_MS;
        actions.push(Action::Write(job));
    }

    fn plan_retain(
        &mut self,
        log: &LogState,
        policy: &Policy,
        now: Now,
        actions: &mut Vec<Action>,
    ) {
        if self.retaining || now.monotonic_ms < self.retain_at_ms {
            return;
        }
        let mut retention = policy.retention;
        if policy.wall_clock_suspect {
            retention.ms = None;
        }
        if retention == Retention::default() {
            return;
        }
        self.retaining = true;
        self.retain_at_ms = now.monotonic_ms + policy.retain_interval_ms;
        actions.push(Action::Retain(RetainJob {
            key: self.key,
            head: self.head,
            log_start: log.log_start,
            local_start: log.local_start,
            sealed: log.sealed.clone(),
            active_bytes: log.active_bytes,
            committed: log.committed,
            retention,
            now,
        }));
    }

    fn plan_sweep(
        &mut self,
        policy: &Policy,
        now: Now,
        draw: &mut dyn FnMut() -> Uuid,
        actions: &mut Vec<Action>,
    ) {
        // Without a head nothing is known to be garbage: the metadata may have lost it.
        let Some(head) = self.head else { return };
        // Heads before this leadership are not known; for the length of the grace they may still be read.
        let led_for_ms = now.monotonic_ms.saturating_sub(self.led_since_ms);
        let leads_long = led_for_ms >= policy.grace_ms || planted::is(Bug::SweepAtOnce);
        if self.sweeping || !leads_long || now.monotonic_ms < self.sweep_at_ms {
            return;
        }
        self.sweeping = true;
        self.sweep_at_ms = now.monotonic_ms + policy.sweep_interval_ms;
        let replaced = self.replaced.iter().map(|&(number, _)| number);
        let replaced = replaced.filter(|_| !planted::is(Bug::SweepForgetsReplaced));
        let uploads = self.uploads.values().map(|upload| upload.id);
        let uploads = uploads.filter(|_| !planted::is(Bug::SweepForgetsUploads));
        let pages = self.writing.iter().flatten().copied();
        let pages = pages.filter(|_| !planted::is(Bug::SweepForgetsPages));
        actions.push(Action::Sweep(SweepJob {
            key: self.key,
            planned_ms: now.monotonic_ms,
            keep: replaced.chain([head.number]).collect(),
            in_progress: uploads.chain(pages).collect(),
            grace_ms: policy.grace_ms,
            clusters: policy.clusters.clone(),
            clock: draw(),
        }));
    }

    /// How an upload went. `jitter` is drawn at random.
    pub fn uploaded(
        &mut self,
        job: &UploadJob,
        result: Result<Uploaded, TierError>,
        now: Now,
        jitter: u64,
    ) {
        let is_expected = |upload: &Upload| upload.id == job.upload;
        if !self.uploads.get(&job.start).is_some_and(is_expected) {
            return;
        }
        match result {
            Ok(done) => {
                self.succeeded();
                if let Some(upload) = self.uploads.get_mut(&job.start) {
                    upload.done = Some(done);
                }
            }
            Err(error) => {
                // Its object, if there is one, is garbage. Those behind it wait for their turn again.
                self.uploads.split_off(&job.start);
                self.failed(&error, now, jitter);
            }
        }
    }

    /// How writing a manifest went; what to propose if it is there.
    pub fn written(
        &mut self,
        job: &CommitJob,
        result: Result<Head, TierError>,
        now: Now,
        jitter: u64,
    ) -> Option<Proposal> {
        match result {
            Ok(head) => Some(Proposal {
                key: job.key,
                parent: job.parent.map(|parent| parent.number),
                head,
            }),
            Err(error) => {
                self.writing = None;
                self.failed(&error, now, jitter);
                None
            }
        }
    }

    /// The metadata has answered a proposal: that it was accepted shows in the head of the next plan. Or the proposal
    /// was given up.
    pub fn committed(&mut self, refused: Option<&str>, now: Now, jitter: u64) {
        self.writing = None;
        match refused {
            None => self.succeeded(),
            Some(reason) => {
                // Where the head is another than was thought, what was uploaded may not fit behind it; and what is
                // under way would leave a gap before it.
                let leaves_gap = planted::is(Bug::RefusedLeavesGap);
                self.uploads
                    .retain(|_, upload| leaves_gap && upload.done.is_none());
                let failure = Failure {
                    reason: reason.to_owned(),
                    of_store: false,
                };
                self.back_off(failure, now, jitter);
            }
        }
    }

    /// How a look at retention went; the log start to move to, if it moves.
    pub fn retained(
        &mut self,
        result: Result<Option<Offset>, TierError>,
        now: Now,
        jitter: u64,
    ) -> Option<Offset> {
        self.retaining = false;
        match result {
            Ok(start) => {
                if start.is_some() {
                    self.trim_at_ms = 0;
                }
                start
            }
            Err(error) => {
                self.failed(&error, now, jitter);
                None
            }
        }
    }

    /// How a sweep went.
    pub fn swept(
        &mut self,
        job: &SweepJob,
        result: Result<SweepReport, TierError>,
        now: Now,
        jitter: u64,
    ) {
        self.sweeping = false;
        match result {
            Ok(report) if report.waiting > 0 || report.held > 0 => {
                // What waits for the end of its grace, or of a hold, is looked at again then.
                self.sweep_at_ms = self.sweep_at_ms.min(now.monotonic_ms + job.grace_ms);
            }
            Ok(_) => {}
            Err(error) => self.failed(&error, now, jitter),
        }
    }

    fn succeeded(&mut self) {
        self.failures = 0;
        self.last_error = None;
    }

    fn failed(&mut self, error: &TierError, now: Now, jitter: u64) {
        self.fenced |= matches!(error, TierError::Fenced { .. } | TierError::Superseded);
        let failure = Failure {
            reason: error.to_string(),
            of_store: matches!(error, TierError::Store(_)),
        };
        self.back_off(failure, now, jitter);
    }

    /// Doubles the pause, up to its bound, and spreads it by half.
    fn back_off(&mut self, failure: Failure, now: Now, jitter: u64) {
        let pause_ms = (RETRY_MS_MIN << self.failures.min(16)).min(RETRY_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.retry_at_ms = now.monotonic_ms + pause_ms / 2 + jitter % pause_ms;
        self.last_error = Some(failure);
    }
}
