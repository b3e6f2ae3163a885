//! Reading partitions: positions to offsets, and batches below the high watermark.

use std::sync::Arc;

use headwater_log::{LogError, ReadSlice};
use headwater_record::{LeaderEpoch, Offset};

use super::handle::{PartitionHandle, Published};
use super::tail::{TailCache, TailRead};
use crate::error::BrokerError;
use crate::limits::DECODED_BYTES_MAX;

/// A place in a partition to read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// This very offset.
    Offset(i64),
    /// The first record at or after this time, in milliseconds since the epoch.
    Timestamp(i64),
    /// The log start offset.
    Earliest,
    /// The high watermark.
    Latest,
    /// The high watermark less this many offsets.
    Last(u64),
}

/// One partition of one topic, by name for messages and by handle for work.
#[derive(Clone)]
pub struct PartitionRef {
    /// `namespace/name`.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The way to it.
    pub handle: Arc<PartitionHandle>,
}

/// A partition's offsets, as answers carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest offset that can be read.
    pub log_start: Offset,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// The leader's present epoch.
    pub leader_epoch: LeaderEpoch,
}

/// A position that was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Where it is.
    pub offset: Offset,
    /// For a time that found a record: that record's timestamp.
    pub timestamp_ms: Option<i64>,
    /// The partition's offsets at that moment.
    pub bounds: Bounds,
}

impl Published {
    fn bounds(&self) -> Bounds {
        Bounds {
            log_start: self.view.log_start(),
            high_watermark: self.high_watermark,
            leader_epoch: self.leader_epoch.unwrap_or_default(),
        }
    }
}

impl PartitionRef {
    /// What the partition shows, if this broker leads it.
    pub fn published(&self) -> Result<Arc<Published>, BrokerError> {
        self.handle
            .published()
            .ok_or_else(|| BrokerError::PartitionOffline {
                topic: self.topic.to_string(),
                partition: self.partition,
            })
    }

    /// The partition's offsets.
    pub fn bounds(&self) -> Result<Bounds, BrokerError> {
        Ok(self.published()?.bounds())
    }

    /// Refuses a reader that knows another leadership than the present one.
    pub fn check_epoch(&self, asked: Option<LeaderEpoch>) -> Result<(), BrokerError> {
        let actual = self.bounds()?.leader_epoch;
        match asked {
            Some(asked) if asked != actual => Err(BrokerError::WrongEpoch { asked, actual }),
            _ => Ok(()),
        }
    }

    /// Looks a position up. Blocks for a time, since that reads from the disk.
    pub fn resolve(&self, position: Position) -> Result<Resolved, BrokerError> {
        let published = self.published()?;
        let bounds = published.bounds();
        let at = |offset| Resolved {
            offset,
            timestamp_ms: None,
            bounds,
        };
        match position {
            Position::Offset(asked) => self.in_range(asked, bounds).map(at),
            Position::Earliest => Ok(at(bounds.log_start)),
            Position::Latest => Ok(at(bounds.high_watermark)),
            Position::Last(count) => {
                let back = bounds.high_watermark.get().saturating_sub(count);
                Ok(at(Offset::new(back).max(bounds.log_start)))
            }
            Position::Timestamp(asked_ms) => {
                let found = published
                    .view
                    .find_time(asked_ms, bounds.high_watermark, DECODED_BYTES_MAX)
                    .map_err(|source| self.read_error(source, bounds))?;
                Ok(
                    found.map_or(at(bounds.high_watermark), |(offset, timestamp_ms)| {
                        Resolved {
                            timestamp_ms: Some(timestamp_ms),
                            ..at(offset)
                        }
                    }),
                )
            }
        }
    }

    fn in_range(&self, asked: i64, bounds: Bounds) -> Result<Offset, BrokerError> {
        Offset::from_i64(asked)
            .filter(|offset| (bounds.log_start..=bounds.high_watermark).contains(offset))
            .ok_or_else(|| BrokerError::OffsetOutOfRange {
                topic: self.topic.to_string(),
                partition: self.partition,
                asked,
                start: bounds.log_start,
                end: bounds.high_watermark,
            })
    }

    /// Batches from the one that holds `from`, below the high watermark; at least one if there is
    /// any. Blocks.
    pub fn read(&self, from: Offset, bytes_max: usize) -> Result<(ReadSlice, Bounds), BrokerError> {
        let published = self.published()?;
        let bounds = published.bounds();
        self.in_range(from.to_i64(), bounds)?;
        if from == bounds.high_watermark {
            let nothing = ReadSlice {
                bytes: bytes::Bytes::new(),
                next_offset: from,
            };
            return Ok((nothing, bounds));
        }
        let slice = published
            .view
            .read(from, bounds.high_watermark, bytes_max)
            .map_err(|source| self.read_error(source, bounds))?;
        Ok((slice, bounds))
    }

    /// The same at once, without ever waiting for the disk; `None` if [`PartitionRef::read`] has to. What another reader
    /// has read just before is not read again.
    pub fn read_now(
        &self,
        from: Offset,
        bytes_max: usize,
        tails: &TailCache,
    ) -> Option<(ReadSlice, Bounds)> {
        let published = self.handle.published()?;
        let bounds = published.bounds();
        let slice = match from == bounds.high_watermark {
            true => ReadSlice {
                bytes: bytes::Bytes::new(),
                next_offset: from,
            },
            // Deleted since it was read.
            false if from < bounds.log_start => return None,
            false => {
                let (view, limit) = (&published.view, bounds.high_watermark);
                let name = TailRead {
                    handle: self.handle.number,
                    generation: view.generation(),
                    from,
                    limit,
                };
                tails.get(name, bytes_max, || view.read_now(from, limit, bytes_max))?
            }
        };
        Some((slice, bounds))
    }

    fn read_error(&self, source: LogError, bounds: Bounds) -> BrokerError {
        match source {
            LogError::OutOfRange { asked, start, .. } => BrokerError::OffsetOutOfRange {
                topic: self.topic.to_string(),
                partition: self.partition,
                asked: asked.to_i64(),
                start,
                end: bounds.high_watermark,
            },
            source => BrokerError::Read {
                topic: self.topic.to_string(),
                partition: self.partition,
                source,
            },
        }
    }
}
