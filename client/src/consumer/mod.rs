//! Reading records.

mod config;

use std::sync::Arc;

use futures::Stream;
use headwater_record::Batch;

pub use config::{ConsumerBuilder, OnOutOfRange};

use crate::error::Error;
use crate::record::{ConsumerRecord, Position};

/// Reads partitions in order, over one stream; reconnects and goes on where it was. Made by
/// [`Client::consumer`](crate::Client::consumer).
#[derive(Debug)]
pub struct Consumer {}

impl Consumer {
    /// The next records of one partition, never empty. `None` when
    /// [`until_latest`](ConsumerBuilder::until_latest) was asked for and is reached. May be
    /// dropped and called again (for example in `select!`) without losing records.
    ///
    /// # Errors
    ///
    /// [`Error::OffsetOutOfRange`] and [`Error::DataLoss`] stop their partition until it is
    /// [`seek`](Consumer::seek)ed; the others go on with the next call.
    pub async fn next_batch(&mut self) -> Result<Option<ConsumerBatch>, Error> {
        todo!()
    }

    /// As [`next_batch`](Consumer::next_batch), but the batches as stored, not opened. The first
    /// may begin below the position, and control batches are included.
    ///
    /// # Errors
    ///
    /// As [`next_batch`](Consumer::next_batch).
    pub async fn next_raw(&mut self) -> Result<Option<RawBatches>, Error> {
        todo!()
    }

    /// All records one by one. The stream ends as `next_batch` does, or after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<ConsumerRecord, Error>> + Send {
        futures::stream::once(async { todo!() })
    }

    /// Goes on from another place; a stopped partition starts again. Adds the partition if it was
    /// not read before.
    ///
    /// # Errors
    ///
    /// If `position` cannot be turned into an offset.
    pub async fn seek(
        &mut self,
        _topic: &str,
        _partition: u32,
        _position: Position,
    ) -> Result<(), Error> {
        todo!()
    }

    /// Every partition that is read, with its place, by topic and number.
    pub fn partitions(&self) -> Vec<PartitionProgress> {
        todo!()
    }

    /// Next offset of a partition; `None` if it is not read.
    pub fn position(&self, _topic: &str, _partition: u32) -> Option<u64> {
        todo!()
    }
}

/// Records of one partition, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerBatch {
    /// The topic as it was subscribed.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// At least one.
    pub records: Vec<ConsumerRecord>,
    /// Where the partition goes on.
    pub next_offset: u64,
    /// Everything below is committed; as of this answer.
    pub high_watermark: u64,
}

/// Batches of one partition as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawBatches {
    /// The topic as it was subscribed.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// At least one, in order.
    pub batches: Vec<Batch>,
    /// Where the partition goes on.
    pub next_offset: u64,
    /// Everything below is committed; as of this answer.
    pub high_watermark: u64,
}

/// How far a partition was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionProgress {
    /// The topic as it was subscribed.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// Next offset to be read.
    pub position: u64,
    /// The oldest offset that can be read, as last heard; `None` before anything was heard.
    pub log_start_offset: Option<u64>,
    /// Everything below is committed, as last heard; `None` before anything was heard.
    pub high_watermark: Option<u64>,
}
