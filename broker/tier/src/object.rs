//! A segment object: batches, footer, trailer. See `docs/format/tier.md`.

use bytes::Bytes;
use headwater_log::{Epochs, PartitionKey};
use headwater_record::{BatchHeader, LeaderEpoch, Offset};
use uuid::Uuid;

use crate::limits::INDEX_INTERVAL_BYTES;
use crate::manifest::{offset, read_epochs, uuid, wire_epochs};
use crate::{frame, wire};

const FOOTER: [u8; 4] = *b"HWTF";
const TRAILER: [u8; 4] = *b"HWTO";
const VERSION: u32 = 1;

/// Length of the trailer.
pub(crate) const TRAILER_BYTES: u64 = 24;

/// A place in a segment where a batch begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexPlace {
    /// Records between the segment's base offset and the batch.
    pub relative_offset: u32,
    /// Bytes before the batch.
    pub position: u32,
    /// Largest timestamp before the batch.
    pub max_before_ms: i64,
}

impl IndexPlace {
    /// The segment's first batch, which no index names.
    pub const FIRST: IndexPlace = IndexPlace {
        relative_offset: 0,
        position: 0,
        max_before_ms: i64::MIN,
    };
}

/// What an object says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The cluster that wrote it.
    pub cluster: Uuid,
    /// The partition.
    pub key: PartitionKey,
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Offset behind the last.
    pub end_offset: Offset,
    /// The leadership that uploaded it.
    pub leader_epoch: LeaderEpoch,
    /// Epochs of its batches.
    pub epochs: Epochs,
    /// Places in the segment, in order.
    pub index: Vec<IndexPlace>,
    /// Largest timestamp of its records.
    pub max_timestamp_ms: i64,
    /// When records were appended: offset, and milliseconds since the epoch.
    pub append_marks: Vec<(Offset, i64)>,
    /// A time that none of its records was appended after.
    pub latest_append_ms: Option<i64>,
    /// The producer snapshot at its end, if the log had one.
    pub producers: Option<Vec<u8>>,
}

impl Footer {
    /// The footer's frame.
    pub fn encode(&self) -> Bytes {
        let message = wire::Footer {
            cluster: self.cluster.into(),
            topic: self.key.topic.into(),
            partition: self.key.index,
            base_offset: self.base_offset.get(),
            end_offset: self.end_offset.get(),
            leader_epoch: self.leader_epoch.0,
            epochs: wire_epochs(&self.epochs),
            index_offsets: self
                .index
                .iter()
                .map(|place| place.relative_offset)
                .collect(),
            index_positions: self.index.iter().map(|place| place.position).collect(),
            index_max_before_ms: self.index.iter().map(|place| place.max_before_ms).collect(),
            max_timestamp_ms: self.max_timestamp_ms,
            append_marks: self
                .append_marks
                .iter()
                .map(|&(offset, ms)| wire::AppendMark {
                    offset: offset.get(),
                    ms,
                })
                .collect(),
            latest_append_ms: self.latest_append_ms,
            producers: self.producers.clone(),
        };
        frame::encode(FOOTER, &message)
    }

    /// Reads a footer's frame; what is wrong with it, in words, otherwise.
    pub fn decode(bytes: &[u8]) -> Result<Footer, String> {
        let message: wire::Footer = frame::decode(FOOTER, bytes)?;
        let offsets = message.index_offsets.iter();
        let rest = message
            .index_positions
            .iter()
            .zip(&message.index_max_before_ms);
        let place = |(&relative_offset, (&position, &max_before_ms))| IndexPlace {
            relative_offset,
            position,
            max_before_ms,
        };
        let index: Vec<IndexPlace> = offsets.zip(rest).map(place).collect();
        let grows = index
            .is_sorted_by(|a, b| a.relative_offset < b.relative_offset && a.position < b.position);
        if !grows {
            return Err("has an index that does not grow".to_owned());
        }
        let mark = |mark: &wire::AppendMark| Ok((offset(mark.offset)?, mark.ms));
        Ok(Footer {
            cluster: uuid(&message.cluster)?,
            key: PartitionKey {
                topic: uuid(&message.topic)?,
                index: message.partition,
            },
            base_offset: offset(message.base_offset)?,
            end_offset: offset(message.end_offset)?,
            leader_epoch: LeaderEpoch(message.leader_epoch),
            epochs: read_epochs(&message.epochs)?,
            index,
            max_timestamp_ms: message.max_timestamp_ms,
            append_marks: message
                .append_marks
                .iter()
                .map(mark)
                .collect::<Result<_, String>>()?,
            latest_append_ms: message.latest_append_ms,
            producers: message.producers,
        })
    }

    /// The last place at or below `offset`, and where the next one is.
    pub fn locate(&self, offset: Offset) -> (IndexPlace, Option<u32>) {
        let relative = offset.get().saturating_sub(self.base_offset.get());
        let later = self
            .index
            .partition_point(|place| u64::from(place.relative_offset) <= relative);
        let place = later.checked_sub(1).and_then(|at| self.index.get(at));
        let next = self.index.get(later).map(|place| place.position);
        (place.copied().unwrap_or(IndexPlace::FIRST), next)
    }

    /// The last place below which every timestamp is less.
    pub fn locate_time(&self, timestamp_ms: i64) -> IndexPlace {
        let later = self
            .index
            .partition_point(|place| place.max_before_ms < timestamp_ms);
        let place = later.checked_sub(1).and_then(|at| self.index.get(at));
        place.copied().unwrap_or(IndexPlace::FIRST)
    }
}

/// The trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Bytes of batches.
    pub(crate) segment_bytes: u64,
    /// Bytes of the footer's frame.
    pub(crate) footer_bytes: u32,
    /// CRC-32C of all before the trailer.
    pub(crate) crc: u32,
}

impl Trailer {
    /// Its bytes.
    pub(crate) fn encode(self) -> Bytes {
        let mut bytes = Vec::with_capacity(TRAILER_BYTES as usize);
        bytes.extend_from_slice(&self.segment_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.footer_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&TRAILER);
        bytes.into()
    }
}

/// Makes a sparse index while batches go by.
#[derive(Debug)]
pub(crate) struct Indexer {
    base_offset: Offset,
    position: u64,
    last_place: u64,
    max_timestamp_ms: i64,
    places: Vec<IndexPlace>,
}

impl Indexer {
    /// Nothing has gone by yet.
    pub(crate) fn new(base_offset: Offset) -> Indexer {
        Indexer {
            base_offset,
            position: 0,
            last_place: 0,
            max_timestamp_ms: i64::MIN,
            places: Vec::new(),
        }
    }

    /// The next batch.
    pub(crate) fn note(&mut self, header: &BatchHeader) {
        if self.position >= self.last_place + INDEX_INTERVAL_BYTES {
            let relative = header.base_offset.since(self.base_offset);
            // Both fit: a segment is bounded so that they do.
            self.places.push(IndexPlace {
                relative_offset: u32::try_from(relative).unwrap_or(u32::MAX),
                position: u32::try_from(self.position).unwrap_or(u32::MAX),
                max_before_ms: self.max_timestamp_ms,
            });
            self.last_place = self.position;
        }
        self.max_timestamp_ms = self.max_timestamp_ms.max(header.max_timestamp_ms);
        self.position += header.size_bytes as u64;
    }

    /// The places, and the largest timestamp.
    pub(crate) fn finish(self) -> (Vec<IndexPlace>, i64) {
        (self.places, self.max_timestamp_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footer_reads_back_and_finds_offsets_and_times() {
        let place = |relative_offset, position, max_before_ms| IndexPlace {
            relative_offset,
            position,
            max_before_ms,
        };
        let footer = Footer {
            cluster: Uuid::from_u128(1),
            key: PartitionKey {
                topic: Uuid::from_u128(2),
                index: 0,
            },
            base_offset: Offset::new(100),
            end_offset: Offset::new(200),
            leader_epoch: LeaderEpoch(3),
            epochs: Epochs::checked(&[(LeaderEpoch(2), Offset::new(90))]).unwrap(),
            index: vec![place(20, 500, 7), place(60, 900, 9)],
            max_timestamp_ms: 11,
            append_marks: vec![(Offset::new(100), 5)],
            latest_append_ms: Some(6),
            producers: Some(vec![1, 2]),
        };
        assert_eq!(Footer::decode(&footer.encode()), Ok(footer.clone()));
        let at = |offset| footer.locate(Offset::new(offset));
        assert_eq!(at(119), (IndexPlace::FIRST, Some(500)));
        assert_eq!(at(120), (place(20, 500, 7), Some(900)));
        assert_eq!(at(199), (place(60, 900, 9), None));
        assert_eq!(footer.locate_time(7), IndexPlace::FIRST);
        assert_eq!(footer.locate_time(8), place(20, 500, 7));
        assert_eq!(footer.locate_time(10), place(60, 900, 9));
    }
}
