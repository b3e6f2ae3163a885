//! A cheap way to a partition: readers look at what it published, writers use its shard's mailbox.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use headwater_core::replica::{Append, Outcome, Refusal, TierView};
use headwater_log::{LogError, LogView, PartitionKey, SegmentContext};
use headwater_record::{LeaderEpoch, Offset};
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, oneshot};

use super::shard::{Message, ShardMailbox};

/// Dead waiters are swept out when a list has grown to this many.
const WAITERS_BEFORE_SWEEP: usize = 64;

/// What a partition shows to readers.
pub struct Published {
    /// The log as of the last turn that changed it.
    pub view: LogView,
    /// Readers may see what lies below.
    pub high_watermark: Offset,
    /// Everything below is on the medium.
    pub synced_end: Offset,
    /// The epoch under which this broker leads; `None` while it does not.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// Segments on disk.
    pub segments: usize,
    /// Everything below is in sealed segments.
    pub sealed_end: Offset,
}

/// A partition of this broker.
pub struct PartitionHandle {
    /// Which one.
    pub key: PartitionKey,
    /// Unlike that of any other handle of this process.
    pub(super) number: u64,
    mailbox: ShardMailbox,
    published: ArcSwapOption<Published>,
    waiters: Mutex<Vec<Weak<Notify>>>,
}

/// Where the outcome of an append goes. Holds its share of the in-flight budget until then. If it
/// is dropped unsent, the outcome is unknown, and that is what is said.
pub struct ReplyTo {
    route: Option<ReplyRoute>,
    _budget: Option<OwnedSemaphorePermit>,
}

/// The way back.
pub enum ReplyRoute {
    /// To one waiting call.
    Call(oneshot::Sender<Result<Outcome, Refusal>>),
    /// To a stream.
    Stream(mpsc::UnboundedSender<StreamReply>, StreamSlot),
}

/// Where a stream keeps what it knows of a batch.
#[derive(Clone, Copy, Debug)]
pub struct StreamSlot {
    /// One for each partition that the stream writes to.
    pub lane: usize,
    /// The batch's number in the stream.
    pub index: u64,
}

/// The outcome of one batch of a stream.
pub struct StreamReply {
    /// Which batch.
    pub slot: StreamSlot,
    /// What became of it.
    pub result: Result<Outcome, Refusal>,
}

impl ReplyTo {
    /// A way back that gives `budget` back with the outcome.
    pub fn new(route: ReplyRoute, budget: Option<OwnedSemaphorePermit>) -> ReplyTo {
        ReplyTo {
            route: Some(route),
            _budget: budget,
        }
    }

    /// Sends the outcome. Nobody waiting any more is no error.
    pub fn send(mut self, result: Result<Outcome, Refusal>) {
        self.deliver(result);
    }

    fn deliver(&mut self, result: Result<Outcome, Refusal>) {
        match self.route.take() {
            Some(ReplyRoute::Call(sender)) => drop(sender.send(result)),
            Some(ReplyRoute::Stream(sender, slot)) => {
                drop(sender.send(StreamReply { slot, result }));
            }
            None => {}
        }
    }
}

impl Drop for ReplyTo {
    fn drop(&mut self) {
        self.deliver(Err(Refusal::OutcomeUnknown));
    }
}

impl PartitionHandle {
    /// A handle that shows nothing until its shard has opened the partition.
    pub fn new(key: PartitionKey, mailbox: ShardMailbox) -> Arc<PartitionHandle> {
        static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);
        Arc::new(PartitionHandle {
            key,
            number: NEXT_NUMBER.fetch_add(1, Ordering::Relaxed),
            mailbox,
            published: ArcSwapOption::empty(),
            waiters: Mutex::default(),
        })
    }

    /// What the partition shows; `None` while it is not open.
    pub fn published(&self) -> Option<Arc<Published>> {
        self.published.load_full()
    }

    /// Hands a batch to the owner; the outcome comes by `reply`. The ticket in `append` is
    /// overwritten by the shard.
    pub fn append(&self, append: Append, reply: ReplyTo) {
        self.mailbox.send(Message::Append {
            key: self.key,
            append,
            reply,
        });
    }

    /// Moves the log start; `None` is the high watermark.
    pub async fn delete_records(&self, before: Option<Offset>) -> Result<Outcome, Refusal> {
        let (sender, answer) = oneshot::channel();
        let reply = ReplyTo::new(ReplyRoute::Call(sender), None);
        self.mailbox.send(Message::DeleteRecords {
            key: self.key,
            before,
            reply,
        });
        answer.await.unwrap_or(Err(Refusal::OutcomeUnknown))
    }

    /// What the tier needs to know of the log; `None` once the partition is closed.
    pub async fn tier_view(&self) -> Option<TierView> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Message::TierView {
            key: self.key,
            reply,
        });
        answer.await.ok()
    }

    /// What belongs to a sealed segment beside its batches; `None` once the partition is closed.
    pub async fn segment_context(
        &self,
        base: Offset,
        end: Offset,
    ) -> Option<Result<SegmentContext, LogError>> {
        let (reply, answer) = oneshot::channel();
        self.mailbox.send(Message::SegmentContext {
            key: self.key,
            base,
            end,
            reply,
        });
        answer.await.ok()
    }

    /// Retention over disk and tier moves the log start.
    pub fn retain(&self, start: Offset) {
        self.mailbox.send(Message::Retain {
            key: self.key,
            start,
        });
    }

    /// Wakes `waiter` at the next publication. One shot; ask again after each wake.
    pub fn watch(&self, waiter: &Arc<Notify>) {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        if waiters.len() >= WAITERS_BEFORE_SWEEP {
            waiters.retain(|waiter| waiter.strong_count() > 0);
        }
        waiters.push(Arc::downgrade(waiter));
    }

    /// Shows a new state and wakes those who wait. Called by the shard only.
    pub(super) fn publish(&self, published: Option<Published>) {
        self.published.store(published.map(Arc::new));
        let waiters =
            std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner));
        for waiter in waiters.iter().filter_map(Weak::upgrade) {
            waiter.notify_one();
        }
    }
}
