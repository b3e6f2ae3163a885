//! Futures of outcomes. All records of a batch share one channel.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use futures::future::Shared;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::record::{BatchAck, RecordMetadata};

/// What became of a batch.
pub(crate) type Outcome = Result<BatchAck, Error>;

/// Resolves when the batch has an outcome.
#[derive(Clone)]
#[must_use = "await it, or drop it knowingly and call flush"]
pub struct BatchDelivery {
    outcome: Shared<oneshot::Receiver<Outcome>>,
}

impl BatchDelivery {
    /// The two ends: who decides, and who waits.
    pub(crate) fn channel() -> (oneshot::Sender<Outcome>, BatchDelivery) {
        let (sender, receiver) = oneshot::channel();
        (
            sender,
            BatchDelivery {
                outcome: receiver.shared(),
            },
        )
    }
}

impl Future for BatchDelivery {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        // The other end goes away unanswered only if the runtime stops the sending task.
        let outcome = ready!(self.outcome.poll_unpin(cx));
        Poll::Ready(outcome.unwrap_or(Err(Error::Closed)))
    }
}

impl fmt::Debug for BatchDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchDelivery")
            .field("outcome", &self.outcome.peek())
            .finish()
    }
}

/// Resolves when the record has an outcome.
#[derive(Clone, Debug)]
#[must_use = "await it, or drop it knowingly and call flush"]
pub struct Delivery {
    pub(super) batch: BatchDelivery,
    pub(super) topic: Arc<str>,
    /// The record's place in its batch.
    pub(super) index: u32,
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ack = ready!(self.batch.poll_unpin(cx))?;
        Poll::Ready(Ok(RecordMetadata {
            topic: Arc::clone(&self.topic),
            partition: ack.partition,
            offset: ack.base_offset.map(|base| base + u64::from(self.index)),
            append_time_ms: ack.append_time_ms,
            duplicate: ack.duplicate,
        }))
    }
}
