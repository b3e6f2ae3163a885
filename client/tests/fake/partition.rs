//! One partition: batches in order, idempotence as the leader does it, windows.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use headwater_proto::v1;
use headwater_record::{Batch, LeaderEpoch, Offset};

#[derive(Default)]
pub(crate) struct FakePartition {
    pub(crate) batches: Vec<Batch>,
    pub(crate) log_start: u64,
    pub(crate) damaged: Option<(u64, u64)>,
    /// By producer id: epoch and the last 16 batches.
    pub(crate) producers: HashMap<i64, (i16, VecDeque<Stored>)>,
    /// By stream: number and whether it was refused.
    pub(crate) windows: HashMap<u64, (u32, bool)>,
}

pub(crate) struct Stored {
    base_sequence: i32,
    records: u32,
    crc: u32,
    base_offset: u64,
}

pub(crate) fn refusal(reason: &str, retriable: bool) -> v1::Error {
    v1::Error {
        code: 9,
        reason: reason.to_owned(),
        message: format!("the fake says {reason}"),
        metadata: HashMap::new(),
        retriable,
    }
}

impl FakePartition {
    pub(crate) fn end(&self) -> u64 {
        self.batches
            .last()
            .map_or(0, |batch| batch.header().end_offset().get())
    }

    pub(crate) fn values(&self) -> Vec<String> {
        let records = self
            .batches
            .iter()
            .flat_map(|batch| batch.records(1 << 30).expect("valid"));
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).expect("tests write text");
        records
            .map(|stored| text(stored.record.value.unwrap_or_default()))
            .collect()
    }

    /// Checks order and sequence, and stores. The flag says that it was there already.
    pub(crate) fn append(
        &mut self,
        stream: u64,
        window: u32,
        batch: &Batch,
        refuse: Option<v1::Error>,
    ) -> Result<(u64, bool), v1::Error> {
        let order = self.windows.entry(stream).or_insert((window, false));
        assert!(window >= order.0, "windows never go down");
        if window > order.0 {
            *order = (window, false);
        }
        if order.1 {
            return Err(refusal("ORDER_BROKEN", false));
        }
        let result = refuse.map_or_else(|| self.store(batch), Err);
        if result.is_err() {
            self.windows.insert(stream, (window, true));
        }
        result
    }

    fn store(&mut self, batch: &Batch) -> Result<(u64, bool), v1::Error> {
        let (header, end) = (*batch.header(), self.end());
        if let Some(producer) = header.producer {
            let known = self.producers.entry(producer.id).or_default();
            let epoch = known.0;
            if producer.epoch < epoch {
                return Err(refusal("FENCED", false));
            }
            if producer.epoch > epoch {
                *known = (producer.epoch, VecDeque::new());
            }
            let (_, stored) = known;
            for earlier in stored.iter() {
                if earlier.base_sequence == producer.base_sequence {
                    if earlier.crc != header.crc {
                        return Err(refusal("SEQUENCE_REUSED", false));
                    }
                    return Ok((earlier.base_offset, true));
                }
            }
            let expected = stored
                .back()
                .map(|last| last.base_sequence + last.records as i32);
            match expected {
                None if producer.base_sequence != 0 => {
                    return Err(refusal("UNKNOWN_PRODUCER", false));
                }
                Some(expected) if expected != producer.base_sequence => {
                    return Err(refusal("OUT_OF_ORDER_SEQUENCE", false));
                }
                _ => {}
            }
            stored.push_back(Stored {
                base_sequence: producer.base_sequence,
                records: header.record_count,
                crc: header.crc,
                base_offset: end,
            });
            if stored.len() > 16 {
                stored.pop_front();
            }
        }
        self.batches
            .push(batch.stamped(Offset::new(end), LeaderEpoch(0)));
        Ok((end, false))
    }
}
