//! Batches that were not yet sent, by partition.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use headwater_record::{Batch, BatchBuilder, Record};
use tokio::sync::oneshot;

use super::delivery::Outcome;
use crate::clock::BootTime;

/// Most that the encoding adds to key, value and headers of a record, apart from what each header
/// adds: three lengths, two deltas, a count and attributes.
const RECORD_OVERHEAD_BYTES: usize = 48;

/// Most that the encoding adds to a header: two lengths.
const HEADER_OVERHEAD_BYTES: usize = 10;

/// What waits for one partition.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) closed: VecDeque<Draft>,
    pub(super) open: Option<OpenBatch>,
}

/// A batch that takes more records.
#[derive(Debug)]
pub(super) struct OpenBatch {
    pub(super) ticket: Ticket,
    pub(super) builder: BatchBuilder,
    pub(super) created: BootTime,
}

/// A batch that was not yet sent.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) ticket: Ticket,
    pub(super) content: Content,
    pub(super) created: BootTime,
}

/// What was handed in.
#[derive(Debug)]
pub(super) enum Content {
    Records(BatchBuilder),
    Batch(Batch),
}

/// What is owed to the callers whose records are in a batch. It ends in `Accumulator::resolve`.
#[derive(Debug)]
#[must_use = "callers wait for the outcome"]
pub(super) struct Ticket {
    pub(super) id: u64,
    pub(super) held_bytes: usize,
    pub(super) outcome: oneshot::Sender<Outcome>,
}

/// What is known of a topic.
#[derive(Debug)]
pub(super) struct TopicState {
    pub(super) partitions: u32,
    pub(super) batch_bytes_max: usize,
    /// Its metadata was right when last heard of.
    pub(super) fresh: bool,
    /// Queue of each partition that was written to.
    pub(super) queues: HashMap<u32, usize>,
    /// Where records without a key go until the open batch there is closed.
    pub(super) sticky: u32,
}

impl TopicState {
    /// The partition for a record without a key: as before while it fits a batch there, else the
    /// next one. So every batch is large, and all partitions get as many batches.
    pub(super) fn stick(&mut self, queues: &[Queue], has_room: impl Fn(&OpenBatch) -> bool) -> u32 {
        let queue = self.queues.get(&self.sticky);
        let open = queue.and_then(|queue| queues[*queue].open.as_ref());
        if !open.is_some_and(has_room) {
            self.sticky = (self.sticky + 1) % self.partitions;
        }
        self.sticky
    }
}

impl Queue {
    /// The open batch takes no more.
    pub(super) fn close(&mut self) {
        self.closed.extend(self.open.take().map(|open| Draft {
            ticket: open.ticket,
            content: Content::Records(open.builder),
            created: open.created,
        }));
    }
}

/// Upper bound of what a record takes in a batch, in bytes before compression.
pub(super) fn encoded_size_max(record: &Record) -> usize {
    let bytes = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, |bytes| bytes.len());
    let headers = record.headers.iter();
    let header_bytes = headers
        .map(|header| header.name.len() + bytes(&header.value) + HEADER_OVERHEAD_BYTES)
        .sum::<usize>();
    bytes(&record.key) + bytes(&record.value) + header_bytes + RECORD_OVERHEAD_BYTES
}
