//! A replica: the only writer of one partition's log on this broker.
//!
//! ```text
//!   log start          high watermark      synced end       log end
//!       |  readable, committed  |  stored, not  |  in the page  |
//!       |                       |  committed    |  cache only   |
//! ```
//!
//! `log_start ≤ high_watermark ≤ log_end`, and in class `fsync` also `high_watermark ≤ synced_end`.
//! With a tier the front of the log may be there alone: `log_start ≤ local_start ≤ log_end`.
//!
//! A replica owns its [`Log`] and changes only inside [`Replica::turn`], a function of its state,
//! the time and its inputs. A turn writes but never syncs: it says what has to be synced, the
//! driver does that elsewhere and brings the result back as an input of a later turn. No request
//! is answered but by [`Output::Complete`], and no such output exists before the durability that
//! the request asked for is there. A broker that is alone is an in-sync replica set of one.

mod append;
mod config;
mod effect;
mod maintain;
mod order;
mod progress;
#[cfg(test)]
mod tests;
mod tier;

use std::collections::{HashMap, VecDeque};

pub use config::ReplicaConfig;
pub use effect::{
    Acks, Append, Input, Order, OrderStream, Outcome, Output, Refusal, Ticket, TurnContext,
};
use headwater_log::{Log, LogView, SyncJob};
use headwater_record::{LeaderEpoch, Offset};

use self::order::OrderWindows;
use self::progress::Progress;
pub use self::tier::TierView;

/// What readers are shown.
#[derive(PartialEq, Eq)]
struct Published {
    log_start: Offset,
    local_start: Offset,
    high_watermark: Offset,
    synced_end: Offset,
    end: Offset,
    leader_epoch: Option<LeaderEpoch>,
}

/// One partition on this broker. See the module for what always holds.
pub struct Replica {
    log: Log,
    config: ReplicaConfig,
    /// The epoch under which this broker leads; `None` while it does not.
    leader_epoch: Option<LeaderEpoch>,
    progress: Progress,
    /// Appends that wait for the epochs file to name the present epoch, durably.
    epoch_pending: Option<VecDeque<Append>>,
    /// Stored appends that wait for durability, oldest first, by what they wait for.
    pending_leader: VecDeque<append::Pending>,
    pending_all: VecDeque<append::Pending>,
    /// Unanswered batches of each idempotent producer, see `limits::PRODUCER_BATCHES_UNACKED_MAX`.
    unacked: HashMap<i64, usize>,
    windows: OrderWindows,
    /// Delete-records requests that wait for the new log start to be durable.
    pending_starts: VecDeque<(Offset, Ticket)>,
    start_job_running: bool,
    sync_running: bool,
    /// When the oldest unsynced byte was written, by the monotonic clock.
    unsynced_since_ms: Option<u64>,
    /// The tier holds everything from the log start up to here; `ZERO` if nothing.
    tiered_end: Offset,
    /// Local copies of what is in the tier go at once.
    eager: bool,
    /// A write or a sync failed: nothing is accepted or confirmed any more.
    failed: bool,
}

impl Replica {
    /// Takes over a log that has just been opened. All of it counts as stored: recovery syncs what
    /// it keeps. Appends are refused until the replica is told to lead.
    pub fn new(log: Log, config: ReplicaConfig) -> Replica {
        let progress = Progress::new(log.end(), config.durability);
        Replica {
            log,
            config,
            leader_epoch: None,
            progress,
            epoch_pending: None,
            pending_leader: VecDeque::new(),
            pending_all: VecDeque::new(),
            unacked: HashMap::new(),
            windows: OrderWindows::default(),
            pending_starts: VecDeque::new(),
            start_job_running: false,
            sync_running: false,
            unsynced_since_ms: None,
            tiered_end: Offset::ZERO,
            eager: false,
            failed: false,
        }
    }

    /// Applies inputs in order and says what follows from them.
    pub fn turn(
        &mut self,
        context: &TurnContext,
        inputs: impl IntoIterator<Item = Input>,
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        let before = self.published();
        for input in inputs {
            self.apply(context, input, &mut outputs);
        }
        self.complete(&mut outputs);
        if self.published() != before {
            // Ahead of the answers: who has heard that a record is stored must find it.
            outputs.insert(0, Output::Published);
        }
        self.check_invariants();
        outputs
    }

    fn apply(&mut self, context: &TurnContext, input: Input, outputs: &mut Vec<Output>) {
        match input {
            Input::Append(append) => self.append(context, append, outputs),
            Input::StreamClosed(stream) => self.windows.close(stream),
            Input::EpochBegun(epoch) => self.epoch_begun(context, epoch, outputs),
            Input::Synced(end) => self.synced(context, end, outputs),
            Input::Lead { epoch, in_sync } => self.lead(epoch, in_sync, outputs),
            Input::Configure(config) => self.configure(config, outputs),
            Input::DeleteRecords { ticket, before } => {
                self.delete_records(ticket, before, outputs);
            }
            Input::StartMoved(start) => self.start_moved(start, outputs),
            Input::Tiered { end, eager } => self.tiered(context, end, eager, outputs),
            Input::Retain { start } => self.retain(start, outputs),
            Input::Tick => self.tick(context, outputs),
            Input::Abandon => self.fail_all(outputs),
        }
    }

    /// Everything that has to be synced now, if anything has and no sync is running. The driver
    /// runs the job outside of the turn and answers with [`Input::Synced`] or
    /// [`Input::Abandon`].
    pub fn take_sync_job(&mut self) -> Option<SyncJob> {
        if self.failed || self.sync_running {
            return None;
        }
        let job = self.log.sync_job()?;
        self.sync_running = true;
        self.unsynced_since_ms = None;
        Some(job)
    }

    /// A snapshot for readers; they may see what lies below the high watermark.
    pub fn view(&self) -> LogView {
        self.log.view()
    }

    /// Everything below is committed.
    pub fn high_watermark(&self) -> Offset {
        self.progress.high_watermark()
    }

    /// The epoch under which this broker leads; `None` while it does not.
    pub fn leader_epoch(&self) -> Option<LeaderEpoch> {
        self.leader_epoch
    }

    /// The log, to look at.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Clean stop: everything is synced and closed. Unanswered requests must have been answered.
    pub fn close(self) -> Result<(), headwater_log::LogError> {
        self.log.close()
    }

    /// What readers are shown; a change of it is published.
    fn published(&self) -> Published {
        Published {
            log_start: self.log.log_start(),
            local_start: self.log.local_start(),
            high_watermark: self.progress.high_watermark(),
            synced_end: self.log.synced_end(),
            end: self.log.end(),
            leader_epoch: self.leader_epoch,
        }
    }

    fn check_invariants(&self) {
        let Published {
            log_start,
            local_start,
            high_watermark,
            end,
            ..
        } = self.published();
        assert!(
            log_start <= local_start && local_start <= end,
            "log start {log_start}, local start {local_start} and log end {end} are out of order"
        );
        assert!(
            high_watermark <= end,
            "high watermark {high_watermark} is behind the log end {end}"
        );
    }
}
