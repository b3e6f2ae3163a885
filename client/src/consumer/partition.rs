//! One partition that is read: where it stands, and what of a message is new.

use std::sync::Arc;

use bytes::Bytes;
use headwater_proto::v1;
use headwater_record::Batch;

use crate::error::Error;
use crate::limits;
use crate::record::ConsumerRecord;

/// How far a partition was read. `position <= high_watermark` unless the broker lost records.
#[derive(Debug)]
pub(super) struct Reading {
    /// As the application names it.
    pub(super) topic: Arc<str>,
    /// As the broker names it: `namespace/name`.
    pub(super) full_name: Arc<str>,
    pub(super) partition: u32,
    /// Next offset to be read.
    pub(super) position: u64,
    /// It ends here, if at all.
    pub(super) until: Option<u64>,
    /// As last heard.
    pub(super) log_start_offset: Option<u64>,
    /// As last heard.
    pub(super) high_watermark: Option<u64>,
    /// Why it is not read any more, until the next seek.
    pub(super) stopped: Option<Error>,
}

/// Records that cannot be read.
pub(super) struct Damage {
    pub(super) start_offset: u64,
    /// Exclusive.
    pub(super) end_offset: u64,
    /// The object of the tier that held them, if one did.
    pub(super) object: Option<String>,
}

impl Reading {
    pub(super) fn is_at_end(&self) -> bool {
        self.until.is_some_and(|until| self.position >= until)
    }

    /// Whether the stream should bring more of it.
    pub(super) fn is_wanted(&self) -> bool {
        self.stopped.is_none() && !self.is_at_end()
    }

    /// Takes notice of the partition's bounds.
    pub(super) fn heard(&mut self, data: &v1::PartitionData) {
        self.log_start_offset = u64::try_from(data.log_start_offset).ok();
        self.high_watermark = u64::try_from(data.high_watermark).ok();
    }

    /// Goes on behind what a message brought.
    pub(super) fn advance(&mut self, next_offset: u64) {
        let end = self.until.unwrap_or(u64::MAX);
        self.position = next_offset.min(end).max(self.position);
    }

    /// The batches of a message that hold something new.
    pub(super) fn new_batches(&self, bytes: Bytes) -> Result<Vec<Batch>, Error> {
        let mut left = bytes.len();
        let mut new = Vec::new();
        for batch in headwater_record::batches(bytes) {
            let batch = batch?;
            let header = batch.header();
            left -= header.size_bytes;
            let end = self.until.unwrap_or(u64::MAX);
            if header.end_offset().get() > self.position && header.base_offset.get() < end {
                new.push(batch);
            }
        }
        if left > 0 {
            return Err(Error::protocol("a message ends within a batch"));
        }
        Ok(new)
    }

    /// The records of a message from the position on, without control records.
    pub(super) fn new_records(&self, bytes: Bytes) -> Result<Vec<ConsumerRecord>, Error> {
        let batches = self.new_batches(bytes)?;
        let count = batches
            .iter()
            .map(|batch| batch.header().record_count as usize)
            .sum();
        // A count is checked against the batch's size only when it is opened.
        let mut records = Vec::with_capacity(usize::min(count, 1 << 16));
        let wanted = self.position..self.until.unwrap_or(u64::MAX);
        for batch in batches.iter().filter(|batch| !batch.header().is_control()) {
            for stored in batch.iter_records(limits::BATCH_DECODED_BYTES_MAX)? {
                let stored = stored?;
                let offset = stored.offset.get();
                if wanted.contains(&offset) {
                    let topic = Arc::clone(&self.topic);
                    records.push(ConsumerRecord::new(
                        topic,
                        self.partition,
                        offset,
                        stored.record,
                    ));
                }
            }
        }
        Ok(records)
    }

    /// The error that says where it can be read.
    pub(super) fn out_of_range(&self, log_start_offset: u64, high_watermark: u64) -> Error {
        Error::OffsetOutOfRange {
            topic: self.topic.to_string(),
            partition: self.partition,
            offset: self.position,
            log_start_offset,
            high_watermark,
        }
    }

    /// The error that names the damaged range.
    pub(super) fn data_loss(&self, damage: Damage) -> Error {
        Error::DataLoss {
            topic: self.topic.to_string(),
            partition: self.partition,
            start_offset: damage.start_offset,
            end_offset: damage.end_offset,
            object: damage.object,
        }
    }
}

#[cfg(test)]
mod tests {
    use headwater_record::{BatchBuilder, Compression, LeaderEpoch, Offset, Record};

    use super::*;

    fn batch(base_offset: u64, records: u32) -> Bytes {
        let mut builder = BatchBuilder::new(Compression::None);
        for index in 0..records {
            let value = Bytes::from(index.to_string());
            builder
                .push(&Record {
                    value: Some(value),
                    ..Record::default()
                })
                .expect("it is small");
        }
        let batch = builder.build().expect("it is not empty");
        batch
            .stamped(Offset::new(base_offset), LeaderEpoch(0))
            .bytes()
            .clone()
    }

    fn reading(position: u64, until: Option<u64>) -> Reading {
        Reading {
            topic: "t".into(),
            full_name: "default/t".into(),
            partition: 0,
            position,
            until,
            log_start_offset: None,
            high_watermark: None,
            stopped: None,
        }
    }

    fn check(position: u64, until: Option<u64>, offsets: &[u64]) {
        let bytes = [batch(10, 3), batch(13, 3)].concat().into();
        let records = reading(position, until)
            .new_records(bytes)
            .expect("all is well-formed");
        let got: Vec<u64> = records.iter().map(|record| record.offset).collect();
        assert_eq!(got, offsets, "from {position} until {until:?}");
    }

    #[test]
    fn only_records_between_position_and_end_are_new() {
        check(10, None, &[10, 11, 12, 13, 14, 15]);
        check(12, None, &[12, 13, 14, 15]);
        check(13, None, &[13, 14, 15]);
        check(16, None, &[]);
        check(11, Some(14), &[11, 12, 13]);
        check(10, Some(10), &[]);
    }

    #[test]
    fn a_cut_batch_is_an_error_and_not_a_gap() {
        let whole = batch(0, 3);
        let cut = whole.slice(..whole.len() - 1);
        let error = reading(0, None).new_records(cut).expect_err("it is cut");
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }

    #[test]
    fn a_flipped_bit_is_an_error() {
        let mut bytes = batch(0, 3).to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let error = reading(0, None)
            .new_records(bytes.into())
            .expect_err("the checksum differs");
        assert!(matches!(error, Error::Record(_)), "{error:?}");
    }

    #[test]
    fn the_position_never_goes_back_nor_past_the_end() {
        let mut reading = reading(5, Some(8));
        reading.advance(3);
        assert_eq!(reading.position, 5);
        reading.advance(20);
        assert_eq!(reading.position, 8);
        assert!(reading.is_at_end());
    }
}
