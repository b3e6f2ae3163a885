//! The vocabulary of a replica: what it is told, and what follows.

use headwater_log::{Appended, EpochJob, LogError, Now, StartJob};
use headwater_record::{Batch, LeaderEpoch, Offset};

use super::ReplicaConfig;

/// Names a request that waits for an answer. The driver makes them; a replica only returns them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ticket(pub u64);

/// Names a produce stream for as long as the process runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OrderStream(pub u64);

/// Place of a batch in its stream: it is appended only if the previous position of the same
/// window was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// The stream.
    pub stream: OrderStream,
    /// Raised by the client after it has resolved a failure.
    pub window: u32,
    /// Counts the batches of (stream, partition, window) from 0.
    pub position: u64,
}

/// When an append is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// As soon as it is written.
    None,
    /// When this broker has stored it as the durability class demands.
    Leader,
    /// When every in-sync replica has, and there are enough of them.
    All,
}

/// A verified batch to be appended.
#[derive(Debug)]
pub struct Append {
    /// For the answer.
    pub ticket: Ticket,
    /// Checked by `Batch::verify`.
    pub batch: Batch,
    /// When to answer.
    pub acks: Acks,
    /// Append only if the log ends here.
    pub expected_offset: Option<Offset>,
    /// Place in a produce stream.
    pub order: Option<Order>,
}

/// What a replica is told.
#[derive(Debug)]
pub enum Input {
    /// Append a batch.
    Append(Append),
    /// A produce stream has ended; its order state can go.
    StreamClosed(OrderStream),
    /// An [`Output::BeginEpoch`] is durable.
    EpochBegun(LeaderEpoch),
    /// A sync job has run: everything below is on the medium.
    Synced(Offset),
    /// This broker leads the partition.
    Lead {
        /// Number of the leadership. Never lower than before.
        epoch: LeaderEpoch,
        /// How many replicas are in sync, this one included.
        in_sync: usize,
    },
    /// The topic's settings have changed.
    Configure(ReplicaConfig),
    /// Move the log start.
    DeleteRecords {
        /// For the answer.
        ticket: Ticket,
        /// The new log start; `None` is the high watermark.
        before: Option<Offset>,
    },
    /// An [`Output::MoveStart`] is durable; its log start.
    StartMoved(Offset),
    /// The partition's head in the tier, when the log is opened and each time that one is
    /// committed. Local copies below its end may go.
    Tiered {
        /// Offset behind the last one in the tier.
        end: Offset,
        /// The tier is on the same disk: local copies go at once, since they only cost space.
        eager: bool,
    },
    /// Total retention over the local disk and the tier, as the tier's planner has decided it.
    /// Ignored beyond the high watermark, and by a replica that does not lead.
    Retain {
        /// The new log start; what is not above the present one changes nothing.
        start: Offset,
    },
    /// Time has passed: roll, background sync, retention of the log or of its local copies.
    Tick,
    /// The log will not be written again: storage has failed, or the partition is being closed.
    Abandon,
}

/// What surrounds a turn.
#[derive(Clone, Copy, Debug)]
pub struct TurnContext {
    /// Both clocks, read once.
    pub now: Now,
    /// The disk guard refuses new records.
    pub storage_full: bool,
    /// The wall clock cannot be trusted for time retention at present.
    pub wall_clock_suspect: bool,
}

/// What follows from a turn.
pub enum Output {
    /// A request is answered.
    Complete(Ticket, Result<Outcome, Refusal>),
    /// Take and run a sync job soon: somebody waits, or the background sync is due.
    NeedSync,
    /// Run this, then answer [`Input::EpochBegun`].
    BeginEpoch(EpochJob),
    /// The log start or the local start has moved. Run this, then answer [`Input::StartMoved`].
    MoveStart(StartJob),
    /// Offsets or leadership have changed: publish a new view to readers. Comes before every answer
    /// of its turn.
    Published,
    /// Segments wait to be unlinked, see `Replica::reclaim`.
    NeedReclaim,
    /// A write failed for another reason than a full disk.
    StorageFailed(LogError),
}

/// A request has succeeded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The batch is stored.
    Appended {
        /// Where.
        appended: Appended,
        /// It had been stored before.
        duplicate: bool,
    },
    /// The log start is durable.
    StartMoved(Offset),
}

/// Why a request was refused. Nothing was changed, but for [`Refusal::OutcomeUnknown`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Another broker leads the partition, or nobody does.
    #[error("this broker does not lead the partition")]
    NotLeader,
    /// The batch is larger than the topic takes.
    #[error("batch of {got} bytes is larger than the topic's limit of {max}")]
    TooLarge {
        /// Bytes of the batch.
        got: usize,
        /// The topic's `message_bytes_max`.
        max: usize,
    },
    /// Clients cannot write control batches.
    #[error("control batches are written by brokers only")]
    ControlBatch,
    /// Transactions are not supported.
    #[error("transactional batches are not supported")]
    Transactional,
    /// A record is too far in the future.
    #[error(
        "record timestamp {timestamp_ms} is more than {ahead_ms_max} ms ahead of the broker's clock"
    )]
    TimestampAhead {
        /// The batch's largest timestamp.
        timestamp_ms: i64,
        /// The topic's `timestamp_ahead_ms_max`.
        ahead_ms_max: u64,
    },
    /// The log does not end where the client expects.
    #[error("the next offset is {actual}, expected was {expected}")]
    OffsetMismatch {
        /// What the client expected.
        expected: Offset,
        /// Where the log ends.
        actual: Offset,
    },
    /// An earlier batch of the same window was not appended.
    #[error("an earlier batch of the same window was not appended")]
    OrderBroken,
    /// A newer epoch of the same producer has written.
    #[error("producer epoch is stale, the current one is {current_epoch}")]
    Fenced {
        /// The epoch that counts.
        current_epoch: i16,
    },
    /// A sequence number was left out or repeated beyond the window.
    #[error("sequence {got} is out of order, expected is {expected}")]
    OutOfOrder {
        /// The next sequence.
        expected: i32,
        /// The batch's sequence.
        got: i32,
    },
    /// The sequence was used for other bytes.
    #[error("sequence {base_sequence} was used before for another batch")]
    SequenceReused {
        /// The batch's sequence.
        base_sequence: i32,
    },
    /// The partition has no state of this producer, and the sequence is not 0.
    #[error("the partition does not know this producer")]
    UnknownProducer,
    /// Too many producers were active lately.
    #[error("more than {max} producers wrote to the partition lately")]
    TooManyProducers {
        /// The bound.
        max: usize,
    },
    /// The producer has too many unanswered batches.
    #[error("more than {max} unacknowledged batches of one producer")]
    TooManyUnacked {
        /// The bound.
        max: usize,
    },
    /// Fewer replicas are in sync than the topic demands.
    #[error("{in_sync} replicas are in sync, the topic demands {min}")]
    NotEnoughReplicas {
        /// How many are.
        in_sync: usize,
        /// The topic's `min_in_sync_replicas`.
        min: usize,
    },
    /// The disk guard refuses, or the disk is full.
    #[error("storage is full")]
    StorageFull,
    /// Delete-records beyond the high watermark.
    #[error("offset {asked} is above the high watermark {high_watermark}")]
    AboveHighWatermark {
        /// What was asked for.
        asked: Offset,
        /// The bound.
        high_watermark: Offset,
    },
    /// The data directory failed before anything was written.
    #[error("storage has failed")]
    StorageFailed,
    /// The batch may or may not survive: storage failed after it was written.
    #[error("storage failed while the batch was on its way; whether it is kept is unknown")]
    OutcomeUnknown,
}
