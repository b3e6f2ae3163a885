//! A storage thread: owns the replicas of the partitions that hash to it and drives their turns.
//!
//! It takes what is in its mailbox, reads the clocks once, lets every touched replica take one
//! turn, and carries out what the turns say. Syncs run on the shard's [`syncer`]
//! while turns go on; whatever has become unsynced meanwhile is the next group to be committed.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use headwater_core::replica::{
    Append, Input, OrderStream, Output, Refusal, Replica, ReplicaConfig, Ticket, TierView,
    TurnContext,
};
use headwater_log::{Log, LogEnv, LogError, PartitionKey, RecoveryReport, SegmentContext};
use headwater_record::{LeaderEpoch, Offset};
use tokio::sync::oneshot;

use super::handle::{PartitionHandle, Published, ReplyTo};
use super::syncer::{self, Round, RoundDone, SyncerMailbox};
use crate::clock::Clock;
use crate::limits::{SHARD_MESSAGES_PER_TURN_MAX, SHARD_TICK, SHARD_TICK_FULL};
use crate::metrics::Metrics;
use crate::storage::{FailsOnPanic, Storage};

/// What a shard is told.
pub enum Message {
    /// Open a partition, making it if it is not there.
    Open(Box<Open>),
    /// Forget a partition. Its requests are answered; its files stay.
    Close {
        /// Which one.
        key: PartitionKey,
        /// Told when nothing holds its files any more.
        done: oneshot::Sender<()>,
    },
    /// The topic's settings have changed.
    Configure {
        /// Which one.
        key: PartitionKey,
        /// All of them.
        config: ReplicaConfig,
    },
    /// Append a batch.
    Append {
        /// Where.
        key: PartitionKey,
        /// What.
        append: Append,
        /// Where the outcome goes.
        reply: ReplyTo,
    },
    /// Move the log start.
    DeleteRecords {
        /// Where.
        key: PartitionKey,
        /// The new log start; `None` is the high watermark.
        before: Option<Offset>,
        /// Where the outcome goes.
        reply: ReplyTo,
    },
    /// A produce stream that wrote to the partition has ended.
    StreamClosed {
        /// Where.
        key: PartitionKey,
        /// Which stream.
        stream: OrderStream,
    },
    /// What lies below is in the tier, by the metadata.
    Tiered {
        /// Which one.
        key: PartitionKey,
        /// How far, and what follows.
        tiered: Tiered,
    },
    /// Retention over disk and tier moves the log start.
    Retain {
        /// Which one.
        key: PartitionKey,
        /// To here.
        start: Offset,
    },
    /// What the tier needs to know of a log. Unanswered if the partition is not here.
    TierView {
        /// Which one.
        key: PartitionKey,
        /// Where it goes.
        reply: oneshot::Sender<TierView>,
    },
    /// What belongs to a sealed segment beside its batches. Unanswered if the partition is not here.
    SegmentContext {
        /// Of which partition.
        key: PartitionKey,
        /// Where the segment begins.
        base: Offset,
        /// Where it ends.
        end: Offset,
        /// Where it goes.
        reply: oneshot::Sender<Result<SegmentContext, LogError>>,
    },
    /// From the syncer.
    RoundDone(RoundDone),
    /// From another shard: the data directory has failed.
    StorageFailed,
    /// Answer everything, sync and close all partitions, end the thread.
    Stop {
        /// The first error, if any.
        done: oneshot::Sender<Result<(), LogError>>,
    },
}

/// How much of a partition is in the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiered {
    /// First offset in the tier.
    pub start: Offset,
    /// Offset behind the last.
    pub end: Offset,
    /// The tier is on the same disk: copies outside of it only take room.
    pub eager: bool,
}

/// A partition to be opened.
pub struct Open {
    /// Where it shows itself.
    pub handle: Arc<PartitionHandle>,
    /// Its settings.
    pub config: ReplicaConfig,
    /// The epoch under which this broker leads it.
    pub leader_epoch: LeaderEpoch,
    /// How many replicas are in sync.
    pub in_sync: usize,
    /// What of it is in the tier.
    pub tiered: Option<Tiered>,
    /// The broker was stopped cleanly: nothing has to be recovered.
    pub clean: bool,
    /// What was found.
    pub done: oneshot::Sender<Result<RecoveryReport, LogError>>,
}

/// The way to a shard. Bounded by the budgets of those who send: every request holds its bytes.
#[derive(Clone)]
pub struct ShardMailbox(mpsc::Sender<Message>);

impl ShardMailbox {
    /// Sends. After the shard has stopped the message is dropped, and with it the way back.
    pub fn send(&self, message: Message) {
        drop(self.0.send(message));
    }
}

/// What all shards share.
pub struct ShardEnv {
    /// Where logs live.
    pub log: LogEnv,
    /// Whether the data directory is well.
    pub storage: Arc<Storage>,
    /// Counters.
    pub metrics: Metrics,
    /// The clocks.
    pub clock: Clock,
    /// How often roll, retention and background sync are looked at.
    pub retention_interval: Duration,
}

/// Starts the thread.
pub fn start(index: usize, env: Arc<ShardEnv>) -> std::io::Result<ShardMailbox> {
    let (sender, mailbox) = mpsc::channel();
    let syncer = syncer::start(index, env.clone(), ShardMailbox(sender.clone()))?;
    let shard = Shard {
        index,
        env,
        mailbox,
        syncer,
        slots: HashMap::new(),
        replies: HashMap::new(),
        next_ticket: 0,
        touched: Vec::new(),
        round: Round::default(),
        round_running: false,
        unsynced: Vec::new(),
        reclaim: Vec::new(),
        ticked_ms: 0,
        closing: Vec::new(),
    };
    std::thread::Builder::new()
        .name(format!("shard-{index}"))
        .spawn(move || {
            let _holds = FailsOnPanic(shard.env.storage.clone());
            shard.run();
        })?;
    Ok(ShardMailbox(sender))
}

struct Slot {
    replica: Replica,
    handle: Arc<PartitionHandle>,
    inbox: Vec<Input>,
    /// Stands in `unsynced`.
    sync_wanted: bool,
}

struct Shard {
    index: usize,
    env: Arc<ShardEnv>,
    mailbox: mpsc::Receiver<Message>,
    syncer: SyncerMailbox,
    slots: HashMap<PartitionKey, Slot>,
    replies: HashMap<Ticket, ReplyTo>,
    next_ticket: u64,
    /// Partitions with something in their inbox.
    touched: Vec<PartitionKey>,
    /// What the syncer gets next, besides the sync jobs.
    round: Round,
    round_running: bool,
    /// Partitions that asked for a sync.
    unsynced: Vec<PartitionKey>,
    /// Partitions with segments to unlink.
    reclaim: Vec<PartitionKey>,
    ticked_ms: u64,
    /// Those who wait until nothing holds the files of partitions that were closed.
    closing: Vec<oneshot::Sender<()>>,
}

impl Shard {
    fn run(mut self) {
        let mut stop = None;
        loop {
            let Some(first) = self.wait() else { break };
            if let Some(first) = first {
                self.accept(first, &mut stop);
            }
            for _ in 1..SHARD_MESSAGES_PER_TURN_MAX {
                let Ok(message) = self.mailbox.try_recv() else {
                    break;
                };
                self.accept(message, &mut stop);
            }
            self.tick();
            self.take_turns();
            self.tell_closed();
            self.start_round();
            self.reclaim_some();
            if stop.is_some() && !self.round_running && self.replies.is_empty() {
                break;
            }
        }
        let result = self.close_all().and_then(|()| self.close_journal());
        if let Some(done) = stop {
            drop(done.send(result));
        }
    }

    /// The next message; `Some(None)` when it is time for a tick; `None` when all senders are gone.
    fn wait(&self) -> Option<Option<Message>> {
        if !self.reclaim.is_empty() {
            return Some(self.mailbox.try_recv().ok());
        }
        match self.mailbox.recv_timeout(SHARD_TICK) {
            Ok(message) => Some(Some(message)),
            Err(mpsc::RecvTimeoutError::Timeout) => Some(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
        }
    }

    fn accept(
        &mut self,
        message: Message,
        stop: &mut Option<oneshot::Sender<Result<(), LogError>>>,
    ) {
        match message {
            Message::Open(open) => self.open(*open),
            Message::Close { key, done } => {
                self.close(key);
                self.closing.push(done);
            }
            Message::Configure { key, config } => self.push(key, Input::Configure(config)),
            Message::Append {
                key,
                mut append,
                reply,
            } => {
                if stop.is_some() || !self.slots.contains_key(&key) {
                    return reply.send(Err(Refusal::NotLeader));
                }
                append.ticket = self.ticket(reply);
                self.push(key, Input::Append(append));
            }
            Message::DeleteRecords { key, before, reply } => {
                if stop.is_some() || !self.slots.contains_key(&key) {
                    return reply.send(Err(Refusal::NotLeader));
                }
                let ticket = self.ticket(reply);
                self.push(key, Input::DeleteRecords { ticket, before });
            }
            Message::StreamClosed { key, stream } => self.push(key, Input::StreamClosed(stream)),
            Message::Tiered { key, tiered } => self.push(key, tiered_input(tiered)),
            Message::Retain { key, start } => self.push(key, Input::Retain { start }),
            Message::TierView { key, reply } => {
                if let Some(slot) = self.slots.get(&key) {
                    drop(reply.send(slot.replica.tier_view()));
                }
            }
            Message::SegmentContext {
                key,
                base,
                end,
                reply,
            } => {
                if let Some(slot) = self.slots.get(&key) {
                    drop(reply.send(slot.replica.log().segment_context(base, end)));
                }
            }
            Message::RoundDone(done) => self.round_done(done),
            Message::StorageFailed => self.storage_failed(),
            Message::Stop { done } => *stop = Some(done),
        }
    }

    fn ticket(&mut self, reply: ReplyTo) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.replies.insert(ticket, reply);
        ticket
    }

    fn push(&mut self, key: PartitionKey, input: Input) {
        if let Some(slot) = self.slots.get_mut(&key) {
            if slot.inbox.is_empty() {
                self.touched.push(key);
            }
            slot.inbox.push(input);
        }
    }

    fn open(&mut self, open: Open) {
        let Open {
            handle,
            config,
            leader_epoch,
            in_sync,
            tiered,
            clean,
            done,
        } = open;
        let key = handle.key;
        let (now, started) = (self.env.clock.now(), Instant::now());
        let result = Log::open(&self.env.log, key, config.log.clone(), now, clean);
        let result = result.and_then(|(mut log, report)| {
            if let Some(tiered) = tiered.filter(|_| report.start_lost) {
                // The tier has records that the damaged file said nothing of any more.
                log.restore_start(tiered.start)?.run()?;
            }
            Ok((log, report))
        });
        let result = result.map(|(log, report)| {
            self.env
                .metrics
                .observe_recovery(&report, started.elapsed());
            let replica = Replica::new(log, config);
            let slot = Slot {
                replica,
                handle,
                inbox: Vec::new(),
                sync_wanted: false,
            };
            self.slots.insert(key, slot);
            self.push(
                key,
                Input::Lead {
                    epoch: leader_epoch,
                    in_sync,
                },
            );
            if self.env.storage.has_failed() {
                self.push(key, Input::Abandon);
            }
            if let Some(tiered) = tiered {
                self.push(key, tiered_input(tiered));
            }
            self.take_turns();
            report
        });
        drop(done.send(result));
    }

    fn close(&mut self, key: PartitionKey) {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.inbox.push(Input::Abandon);
            self.touched.push(key);
            self.take_turns();
            let slot = self.slots.remove(&key).expect("it was there just now");
            slot.handle.publish(None);
            self.round.epochs.retain(|job| job.key != key);
            self.round.starts.retain(|job| job.key != key);
        }
    }

    /// Tells those who wait for closed partitions, unless a round may still be about their files: what it syncs by name
    /// must not go away. No later round is.
    fn tell_closed(&mut self) {
        if !self.round_running {
            for done in self.closing.drain(..) {
                let _ = done.send(());
            }
        }
    }

    fn context(&self) -> TurnContext {
        TurnContext {
            now: self.env.clock.now(),
            storage_full: self.env.storage.is_full(),
            wall_clock_suspect: self.env.clock.is_suspect(),
        }
    }

    fn tick(&mut self) {
        let now = self.env.clock.now();
        // On a full disk what is safe in the tier goes at once.
        let interval = match self.env.storage.is_full() {
            true => self.env.retention_interval.min(SHARD_TICK_FULL),
            false => self.env.retention_interval,
        };
        let interval_ms = interval.as_millis() as u64;
        if now.monotonic_ms.saturating_sub(self.ticked_ms) < interval_ms {
            return;
        }
        self.ticked_ms = now.monotonic_ms;
        let keys: Vec<PartitionKey> = self.slots.keys().copied().collect();
        for key in keys {
            self.push(key, Input::Tick);
        }
    }

    fn take_turns(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        let context = self.context();
        for key in std::mem::take(&mut self.touched) {
            let Some(slot) = self.slots.get_mut(&key) else {
                continue;
            };
            let inbox = std::mem::take(&mut slot.inbox);
            let appends = inbox.iter().any(|input| matches!(input, Input::Append(_)));
            let started = Instant::now();
            let outputs = slot.replica.turn(&context, inbox);
            if appends {
                self.env.metrics.observe_append(started.elapsed());
            }
            for output in outputs {
                self.carry_out(key, output);
            }
        }
    }

    fn carry_out(&mut self, key: PartitionKey, output: Output) {
        match output {
            Output::Complete(ticket, result) => {
                if let Some(reply) = self.replies.remove(&ticket) {
                    reply.send(result);
                }
            }
            Output::NeedSync => self.want_sync(key),
            Output::BeginEpoch(job) => self.round.epochs.push(job),
            Output::MoveStart(job) => self.round.starts.push(job),
            Output::Published => self.publish(key),
            Output::NeedReclaim => self.reclaim.push(key),
            Output::StorageFailed(error) => self.env.storage.fail(&error),
        }
    }

    fn want_sync(&mut self, key: PartitionKey) {
        if let Some(slot) = self.slots.get_mut(&key)
            && !std::mem::replace(&mut slot.sync_wanted, true)
        {
            self.unsynced.push(key);
        }
    }

    fn publish(&self, key: PartitionKey) {
        let Some(slot) = self.slots.get(&key) else {
            return;
        };
        let log = slot.replica.log();
        slot.handle.publish(Some(Published {
            view: slot.replica.view(),
            high_watermark: slot.replica.high_watermark(),
            synced_end: log.synced_end(),
            leader_epoch: slot.replica.leader_epoch(),
            size_bytes: log.size_bytes(),
            segments: log.segment_count(),
            sealed_end: log.sealed_end(),
        }));
    }

    /// Hands all that waits to the syncer, unless it is busy: then it is the next group.
    fn start_round(&mut self) {
        // After a failure nothing would come back of it.
        if self.round_running || self.env.storage.has_failed() {
            return;
        }
        for key in std::mem::take(&mut self.unsynced) {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.sync_wanted = false;
                self.round.syncs.extend(slot.replica.take_sync_job());
            }
        }
        if !self.round.is_empty() {
            self.round_running = true;
            self.syncer.send(std::mem::take(&mut self.round));
        }
    }

    fn round_done(&mut self, done: RoundDone) {
        self.round_running = false;
        for (key, epoch) in done.epochs {
            self.push(key, Input::EpochBegun(epoch));
        }
        for (key, end) in done.synced {
            self.push(key, Input::Synced(end));
        }
        for (key, start) in done.starts {
            self.push(key, Input::StartMoved(start));
        }
    }

    fn reclaim_some(&mut self) {
        let Some(key) = self.reclaim.pop() else {
            return;
        };
        let Some(slot) = self.slots.get_mut(&key) else {
            return;
        };
        let before = (
            slot.replica.log().segment_count(),
            slot.replica.log().size_bytes(),
        );
        let result = slot.replica.reclaim(1);
        let after = (
            slot.replica.log().segment_count(),
            slot.replica.log().size_bytes(),
        );
        let metrics = &self.env.metrics;
        metrics
            .segments_deleted
            .inc_by(before.0.saturating_sub(after.0) as u64);
        metrics
            .deleted_bytes
            .inc_by(before.1.saturating_sub(after.1));
        match result {
            Ok(more) => {
                self.publish(key);
                if more {
                    self.reclaim.push(key);
                }
            }
            Err(error) => self.env.storage.fail(&error),
        }
    }

    fn storage_failed(&mut self) {
        self.round_running = false;
        let keys: Vec<PartitionKey> = self.slots.keys().copied().collect();
        for key in keys {
            self.push(key, Input::Abandon);
        }
    }

    fn close_journal(&self) -> Result<(), LogError> {
        let LogEnv { journal, marks, .. } = &self.env.log;
        if !self.env.storage.has_failed() {
            journal.close(self.index, marks)?;
        }
        marks.sync(self.index)
    }

    fn close_all(&mut self) -> Result<(), LogError> {
        let mut result = Ok(());
        for (_, slot) in self.slots.drain() {
            slot.handle.publish(None);
            if !self.env.storage.has_failed() {
                result = result.and(slot.replica.close());
            }
        }
        result
    }
}

fn tiered_input(tiered: Tiered) -> Input {
    let Tiered { end, eager, .. } = tiered;
    Input::Tiered { end, eager }
}
