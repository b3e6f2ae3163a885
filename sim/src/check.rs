//! What must always hold, looked at whenever something changes.

mod heads;
mod history;
mod reads;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use headwater_core::replica::Replica;
use headwater_log::{Appended, Log, PartitionKey};
use headwater_record::{Batch, LeaderEpoch, Offset};
use headwater_tier::{Head, RetainJob};
use uuid::Uuid;

use crate::bucket::Bucket;
use crate::simulation::{ProcessId, Simulation};
use heads::Named;
use history::History;

/// What is known to be true, past everything that can fail.
pub(crate) struct Check {
    pub(crate) key: PartitionKey,
    pub(crate) cluster: Uuid,
    pub(crate) grace_ms: u64,
    /// Every committed batch, ever.
    pub(crate) history: History,
    /// What each head names that still counts.
    pub(crate) named: BTreeMap<u64, Named>,
    pub(crate) head: Option<Head>,
    /// Heads that were replaced, and when.
    pub(crate) replaced: VecDeque<(u64, u64)>,
    /// Uploads whose object was held against the history.
    pub(crate) verified: BTreeSet<Uuid>,
    /// Objects that were damaged behind everybody's back.
    pub(crate) damaged: BTreeSet<String>,
    pub(crate) is_deleted: bool,
    /// From when on nothing of the cluster may be deleted or committed.
    pub(crate) fenced_from_ms: Option<u64>,
    log_start: Offset,
    local_start: Offset,
    /// A log start that outlives every crash.
    durable_start: Offset,
    /// What outlives every crash of the records.
    durable_end: Offset,
}

impl Check {
    /// Nothing is there yet.
    pub(crate) fn new(key: PartitionKey, cluster: Uuid, grace_ms: u64) -> Check {
        Check {
            key,
            cluster,
            grace_ms,
            history: History::default(),
            named: BTreeMap::new(),
            head: None,
            replaced: VecDeque::new(),
            verified: BTreeSet::new(),
            damaged: BTreeSet::new(),
            is_deleted: false,
            fenced_from_ms: None,
            log_start: Offset::ZERO,
            local_start: Offset::ZERO,
            durable_start: Offset::ZERO,
            durable_end: Offset::ZERO,
        }
    }

    /// The log start as the leader has it.
    pub(crate) fn log_start(&self) -> Offset {
        self.log_start
    }

    /// A log start has been made durable.
    pub(crate) fn start_is_durable(&mut self, start: Offset) {
        self.durable_start = self.durable_start.max(start);
    }

    /// A new process has recovered the log: nothing durable is missing.
    pub(crate) fn recovered(&mut self, log: &Log) -> Result<(), String> {
        if log.end() < self.durable_end {
            return Err(format!(
                "the log ends at {}, {} were durable",
                log.end(),
                self.durable_end
            ));
        }
        if log.log_start() < self.durable_start {
            let (got, durable) = (log.log_start(), self.durable_start);
            return Err(format!(
                "the log start went back to {got} from {durable}, which was durable"
            ));
        }
        self.history.cut(log.end());
        self.log_start = log.log_start();
        self.local_start = log.local_start();
        self.covered(log)
    }

    /// A batch was acknowledged: it is what was sent, where it was said to be.
    pub(crate) fn acked(
        &self,
        appended: Appended,
        batch: &Batch,
        epoch: LeaderEpoch,
    ) -> Result<(), String> {
        let stamped = batch.stamped(appended.base_offset, epoch);
        match self.history.batch_at(appended.base_offset) {
            Some(kept) if kept.bytes() == stamped.bytes() => Ok(()),
            _ => Err(format!(
                "what was acknowledged at {} is not there",
                appended.base_offset
            )),
        }
    }

    /// The leader's replica after a turn.
    fn observe(&mut self, replica: &Replica, bucket: &Bucket) -> Result<(), String> {
        let log = replica.log();
        self.history.follow(log, replica.high_watermark())?;
        let durable = replica.high_watermark().min(log.synced_end());
        self.durable_end = self.durable_end.max(durable);
        if log.log_start() < self.log_start {
            return Err(format!(
                "the log start went back from {} to {}",
                self.log_start,
                log.log_start()
            ));
        }
        if log.log_start() > replica.high_watermark() {
            return Err("the log start is above the high watermark".to_owned());
        }
        self.log_start = log.log_start();
        self.covered(log)?;
        if log.local_start() > self.local_start {
            let dropped = self.local_start.max(log.log_start())..log.local_start();
            self.local_start = log.local_start();
            if dropped.start < dropped.end {
                self.dropped(bucket, dropped)?;
            }
        }
        Ok(())
    }

    /// Everything from the log start on is on the disk or in the tier.
    fn covered(&self, log: &Log) -> Result<(), String> {
        let (start, local) = (log.log_start(), log.local_start());
        let in_tier = |head: Head| head.start <= start && local <= head.end;
        if local <= start || self.head.is_some_and(in_tier) {
            return Ok(());
        }
        Err(format!(
            "{start}..{local} is neither local nor in the tier, whose head is {:?}",
            self.head
        ))
    }

    /// Retention moves the log start: only over what the policy lets go.
    pub(crate) fn retained(&self, job: &RetainJob, start: Offset) -> Result<(), String> {
        let kept_bytes = self.history.bytes_from(start);
        if job.retention.bytes.is_some_and(|kept| kept_bytes >= kept) {
            return Ok(());
        }
        let kept_ms = job
            .retention
            .ms
            .map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        // A record is appended no earlier than its timestamp.
        let ahead_ms = crate::process::WALL_MS - crate::scenario::TIMESTAMP_MS;
        let old = |timestamp_ms: i64| {
            let appended_ms = timestamp_ms + ahead_ms;
            kept_ms.is_some_and(|kept| appended_ms.saturating_add(kept) <= job.now.wall_ms)
        };
        let from = job.log_start.max(self.log_start);
        match self.history.max_timestamp_ms(from, start) {
            Some(latest_ms) if !old(latest_ms) => Err(format!(
                "retention {:?} took {from}..{start} and left {kept_bytes} bytes",
                job.retention
            )),
            _ => Ok(()),
        }
    }
}

impl Simulation {
    /// Looks at a process after its turn.
    pub(crate) fn observe(&mut self, id: ProcessId) {
        let Some(process) = self.processes.get(&id) else {
            return;
        };
        if process.is_deposed || self.check.is_deleted {
            return;
        }
        let observed = self.check.observe(&process.replica, &self.bucket);
        self.expect(observed);
    }
}
