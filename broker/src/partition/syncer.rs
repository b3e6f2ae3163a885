//! The thread that waits for the disk, so that turns need not.
//!
//! One round syncs whatever the shard's partitions had unsynced when it began: the group commit.
//! Sync marks of a round are written after it and ride the next one, or are synced alone when no
//! next one comes. Small appends are synced in the journal, all with one call, and their marks wait with the
//! segments that hold them for a checkpoint, on a thread of its own.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use headwater_log::{Checkpoint, EpochJob, LogError, PartitionKey, StartJob, SyncJob};
use headwater_record::{LeaderEpoch, Offset};

use super::shard::{Message, ShardEnv, ShardMailbox};
use crate::limits::{JOURNAL_CHECKPOINT_INTERVAL, SYNC_MARKS_IDLE, SYNC_THREADS_PER_ROUND_MAX};
use crate::storage::FailsOnPanic;

/// What has to become durable together.
#[derive(Default)]
pub struct Round {
    /// Logs to sync.
    pub syncs: Vec<SyncJob>,
    /// Epochs files to replace.
    pub epochs: Vec<EpochJob>,
    /// Log starts to record.
    pub starts: Vec<StartJob>,
}

impl Round {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.syncs.is_empty() && self.epochs.is_empty() && self.starts.is_empty()
    }
}

/// What has become durable.
pub struct RoundDone {
    /// Partitions with their synced ends.
    pub synced: Vec<(PartitionKey, Offset)>,
    /// Partitions whose epochs file names the epoch.
    pub epochs: Vec<(PartitionKey, LeaderEpoch)>,
    /// Partitions whose log start is recorded.
    pub starts: Vec<(PartitionKey, Offset)>,
}

/// The way to a syncer.
pub struct SyncerMailbox(mpsc::Sender<Round>);

impl SyncerMailbox {
    /// Sends a round; its outcome comes to the shard's mailbox.
    pub fn send(&self, round: Round) {
        drop(self.0.send(round));
    }
}

/// Starts the thread. It ends when its mailbox is dropped, after it has synced its marks.
pub fn start(
    index: usize,
    env: Arc<ShardEnv>,
    shard: ShardMailbox,
) -> std::io::Result<SyncerMailbox> {
    let (sender, mailbox) = mpsc::channel();
    let syncer = Syncer {
        index,
        env,
        shard,
        checkpointed: Instant::now(),
        marks_are_due: false,
    };
    thread::Builder::new()
        .name(format!("sync-{index}"))
        .spawn(move || {
            let _holds = FailsOnPanic(syncer.env.storage.clone());
            syncer.run(&mailbox);
        })?;
    Ok(SyncerMailbox(sender))
}

struct Syncer {
    index: usize,
    env: Arc<ShardEnv>,
    shard: ShardMailbox,
    /// When a checkpoint of the journal was last begun.
    checkpointed: Instant,
    /// Whether the round before synced files: their marks are to be synced, as no journal holds them.
    marks_are_due: bool,
}

impl Syncer {
    fn run(mut self, mailbox: &mpsc::Receiver<Round>) {
        loop {
            let marks_dirty = self.env.log.marks.is_dirty(self.index);
            let idle = if marks_dirty {
                SYNC_MARKS_IDLE
            } else {
                JOURNAL_CHECKPOINT_INTERVAL
            };
            let outcome = match mailbox.recv_timeout(idle) {
                Ok(round) => self.run_round(&round),
                Err(mpsc::RecvTimeoutError::Timeout) => self.env.log.marks.sync(self.index),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            };
            let outcome = outcome.and_then(|()| self.checkpoint_if_due());
            if let Err(error) = outcome {
                self.env.storage.fail(&error);
                return;
            }
        }
        if !self.env.storage.has_failed()
            && let Err(error) = self.env.log.marks.sync(self.index)
        {
            self.env.storage.fail(&error);
        }
    }

    fn run_round(&mut self, round: &Round) -> Result<(), LogError> {
        let started = Instant::now();
        for job in &round.epochs {
            self.with_reserve(|| job.run())?;
        }
        for job in &round.starts {
            self.with_reserve(|| job.run())?;
        }
        self.sync_all(&round.syncs)?;
        // From the first failure on nothing of this directory is confirmed, even if its own sync
        // went well.
        if self.env.storage.has_failed() {
            return Ok(());
        }
        let synced: Vec<_> = round.syncs.iter().map(|job| (job.key, job.end)).collect();
        let done = RoundDone {
            epochs: round
                .epochs
                .iter()
                .map(|job| (job.key, job.epoch))
                .collect(),
            starts: round
                .starts
                .iter()
                .map(|job| (job.key, job.log_start))
                .collect(),
            synced: synced.clone(),
        };
        self.env
            .metrics
            .observe_sync(started.elapsed(), round.syncs.len());
        self.shard.send(Message::RoundDone(done));
        self.env.log.marks.write(self.index, &synced)
    }

    /// Syncs every job: small ones in the journal, the others where they are.
    fn sync_all(&mut self, jobs: &[SyncJob]) -> Result<(), LogError> {
        let (small, large): (Vec<&SyncJob>, Vec<&SyncJob>) =
            jobs.iter().partition(|job| job.journal_bytes().is_some());
        let marks_are_due = std::mem::take(&mut self.marks_are_due);
        let journal = || self.env.log.journal.write(self.index, &small);
        let journaled = match large.is_empty() && !marks_are_due {
            true => journal()?,
            false => thread::scope(|scope| {
                let files = scope.spawn(|| self.sync_files(&large));
                let journaled = journal();
                files.join().expect("a sync job does not panic")?;
                journaled
            })?,
        };
        self.marks_are_due = !large.is_empty() || !journaled;
        match journaled {
            true => Ok(()),
            false => self.sync_files(&small),
        }
    }

    /// Begins a checkpoint of the journal on a thread of its own.
    fn checkpoint_if_due(&mut self) -> Result<(), LogError> {
        let long = self.checkpointed.elapsed() >= JOURNAL_CHECKPOINT_INTERVAL;
        let Some(checkpoint) = self.env.log.journal.begin_checkpoint(self.index, long) else {
            return Ok(());
        };
        self.checkpointed = Instant::now();
        let env = self.env.clone();
        let spawned = thread::Builder::new()
            .name(format!("checkpoint-{}", self.index))
            .spawn(move || {
                let _holds = FailsOnPanic(env.storage.clone());
                if let Err(error) = run_checkpoint(&env, checkpoint) {
                    env.storage.fail(&error);
                }
            });
        spawned.map(drop).map_err(|_| LogError::Failed)
    }

    /// Syncs every job and the marks of the round before, side by side: a disk merges what waits
    /// at the same time.
    fn sync_files(&self, jobs: &[&SyncJob]) -> Result<(), LogError> {
        let marks_dirty = self.env.log.marks.is_dirty(self.index);
        match jobs {
            [] if !marks_dirty => return Ok(()),
            [job] if !marks_dirty => return job.run(),
            _ => {}
        }
        let per_thread = jobs.len().div_ceil(SYNC_THREADS_PER_ROUND_MAX).max(1);
        thread::scope(|scope| {
            let mut chunks = jobs.chunks(per_thread);
            let first = chunks.next().unwrap_or_default();
            let others: Vec<_> = chunks.map(|chunk| scope.spawn(|| run_all(chunk))).collect();
            let marks = marks_dirty.then(|| scope.spawn(|| self.env.log.marks.sync(self.index)));
            let mut result = run_all(first);
            for thread in others.into_iter().chain(marks) {
                result = result.and(thread.join().expect("a sync job does not panic"));
            }
            result
        })
    }

    /// Small files that free or guard data may use the disk guard's reserve.
    fn with_reserve(&self, run: impl Fn() -> Result<(), LogError>) -> Result<(), LogError> {
        match run() {
            Err(error) if error.is_full() => {
                self.env.storage.release_reserve()?;
                run()
            }
            result => result,
        }
    }
}

fn run_all(jobs: &[&SyncJob]) -> Result<(), LogError> {
    jobs.iter().try_for_each(|job| job.run())
}

fn run_checkpoint(env: &ShardEnv, checkpoint: Checkpoint) -> Result<(), LogError> {
    let parts = SYNC_THREADS_PER_ROUND_MAX;
    thread::scope(|scope| {
        let checkpoint = &checkpoint;
        let threads: Vec<_> = (0..parts)
            .map(|part| scope.spawn(move || checkpoint.sync(part, parts)))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("a sync does not panic"))
    })?;
    checkpoint.finish(&env.log.marks)
}
