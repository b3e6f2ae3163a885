//! Opening batches for those who ask for plain records, within the memory of the answer.
//!
//! A batch that is well compressed takes far more memory opened than read. An answer therefore holds no more opened bytes
//! than it has memory from the budget. Where not even its first batch fits, it asks for memory for the largest; if there is
//! none, one answer at a time goes beyond the budget, by one batch. While a batch is being opened it takes about twice
//! what it opens to and what its codec needs, so few are opened at once.

use bytes::Bytes;
use headwater_record::{Compression, Offset, Record, RecordError, StoredRecord};

use crate::limits::{DECODED_BYTES_MAX, FETCH_RECORDS_MAX};

/// What of an answer is not filled yet. One record always fits.
pub(super) struct OpenRoom {
    bytes: usize,
    records: usize,
    is_empty: bool,
}

/// What was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) records: Vec<StoredRecord>,
    /// Where to go on, if something was left out.
    pub(super) next_offset: Option<Offset>,
}

impl OpenRoom {
    pub(super) fn new(bytes: usize) -> OpenRoom {
        OpenRoom {
            bytes,
            records: FETCH_RECORDS_MAX,
            is_empty: true,
        }
    }

    /// Bytes that are left.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether more memory would help with this error.
    pub(super) fn is_too_small(&self, error: &RecordError) -> bool {
        self.is_empty
            && self.bytes < DECODED_BYTES_MAX
            && matches!(error, RecordError::DecodedTooLarge { .. })
    }

    /// How much a batch may take. One that is not compressed takes nothing: it is there, within what reads may take.
    fn bytes_for(&self, compression: Compression) -> usize {
        match compression {
            Compression::None => DECODED_BYTES_MAX,
            _ => self.bytes,
        }
    }

    /// Whether the record still has its place. Its headers count as it does.
    fn take(&mut self, record: &Record) -> bool {
        let size = 1 + record.headers.len();
        let fits = self.is_empty || size <= self.records;
        if fits {
            self.records = self.records.saturating_sub(size);
            self.is_empty = false;
        }
        fits
    }
}

/// Opens batches from an offset until the room is filled. The first one that cannot be opened is an error, if nothing
/// comes before it.
pub(super) fn open(
    batches: Bytes,
    from: Offset,
    room: &mut OpenRoom,
) -> Result<Opened, RecordError> {
    let mut records = Vec::new();
    let up_to = |records, offset| {
        let next_offset = Some(offset);
        Ok(Opened {
            records,
            next_offset,
        })
    };
    for batch in headwater_record::batches(batches) {
        let batch = batch?;
        let header = batch.header();
        if header.is_control() {
            continue;
        }
        let at = header.base_offset.max(from);
        let opened = match batch.iter_records(room.bytes_for(header.compression())) {
            Ok(opened) => opened,
            Err(RecordError::DecodedTooLarge { .. }) if !room.is_empty => {
                return up_to(records, at);
            }
            Err(_) if !records.is_empty() => return up_to(records, at),
            Err(error) => return Err(error),
        };
        room.bytes = room.bytes.saturating_sub(opened.decoded_bytes());
        for stored in opened {
            let stored = match stored {
                Ok(stored) if stored.offset < from => continue,
                Ok(stored) => stored,
                Err(_) if !records.is_empty() => {
                    let next = records
                        .last()
                        .map_or(at, |last: &StoredRecord| last.offset.plus(1));
                    return up_to(records, next);
                }
                Err(error) => return Err(error),
            };
            if !room.take(&stored.record) {
                return up_to(records, stored.offset);
            }
            records.push(stored);
        }
    }
    Ok(Opened {
        records,
        next_offset: None,
    })
}

#[cfg(test)]
mod tests {
    use headwater_record::{BatchBuilder, Header, LeaderEpoch};

    use super::*;

    const ZEROS: usize = 100_000;

    fn record(value_bytes: usize, headers: usize) -> Record {
        let header = Header {
            name: String::new(),
            value: None,
        };
        Record {
            value: Some(vec![0; value_bytes].into()),
            headers: vec![header; headers],
            timestamp_ms: 1,
            ..Record::default()
        }
    }

    /// Batches that follow each other from offset 0.
    fn batches(compression: Compression, batches: &[&[Record]]) -> Bytes {
        let (mut bytes, mut at) = (Vec::new(), Offset::ZERO);
        for records in batches {
            let mut builder = BatchBuilder::new(compression);
            records
                .iter()
                .for_each(|record| builder.push(record).unwrap());
            let batch = builder.build().unwrap().stamped(at, LeaderEpoch(0));
            bytes.extend_from_slice(batch.bytes());
            at = batch.header().end_offset();
        }
        bytes.into()
    }

    fn shown(opened: Result<Opened, RecordError>) -> (usize, Option<u64>) {
        let opened = opened.unwrap();
        (opened.records.len(), opened.next_offset.map(Offset::get))
    }

    #[test]
    fn what_does_not_fit_opened_is_left_for_the_next_answer_however_small_it_is_compressed() {
        let zeros: &[Record] = &[record(ZEROS, 0)];
        let bytes = batches(Compression::Zstd, &[zeros; 5]);
        assert!(bytes.len() < ZEROS / 10);
        let mut room = OpenRoom::new(2 * ZEROS + ZEROS / 2);
        assert_eq!(
            shown(open(bytes.clone(), Offset::ZERO, &mut room)),
            (2, Some(2))
        );
        // Nor does what another partition has.
        assert_eq!(
            shown(open(bytes.clone(), Offset::new(3), &mut room)),
            (0, Some(3))
        );
        let mut room = OpenRoom::new(DECODED_BYTES_MAX);
        assert_eq!(shown(open(bytes, Offset::new(3), &mut room)), (2, None));
    }

    #[test]
    fn more_memory_helps_where_not_even_the_first_batch_fits_and_only_there() {
        let zeros: &[Record] = &[record(ZEROS, 0)];
        let bytes = batches(Compression::Zstd, &[zeros; 2]);
        let mut room = OpenRoom::new(ZEROS);
        let error = open(bytes.clone(), Offset::ZERO, &mut room).unwrap_err();
        assert!(room.is_too_small(&error), "{error}");
        assert!(!OpenRoom::new(DECODED_BYTES_MAX).is_too_small(&error));
        let other = RecordError::TrailingRecords { extra: 1 };
        assert!(!room.is_too_small(&other));
        // What is not compressed is there already.
        let bytes = batches(Compression::None, &[zeros; 2]);
        assert_eq!(shown(open(bytes, Offset::ZERO, &mut room)), (2, None));
    }

    #[test]
    fn records_and_headers_are_bounded_by_their_number_within_a_batch_too() {
        let empty = vec![record(0, 0); FETCH_RECORDS_MAX + 10];
        let bytes = batches(Compression::Zstd, &[&empty]);
        let max = FETCH_RECORDS_MAX as u64;
        let mut room = OpenRoom::new(DECODED_BYTES_MAX);
        let first = open(bytes.clone(), Offset::ZERO, &mut room);
        assert_eq!(shown(first), (FETCH_RECORDS_MAX, Some(max)));
        let mut room = OpenRoom::new(DECODED_BYTES_MAX);
        let rest = open(bytes, Offset::new(max), &mut room);
        assert_eq!(shown(rest), (10, None));
        // A single record is given whole.
        let many = FETCH_RECORDS_MAX + 1;
        let two: &[Record] = &[record(1, many), record(1, many)];
        let bytes = batches(Compression::Zstd, &[two]);
        let mut room = OpenRoom::new(DECODED_BYTES_MAX);
        assert_eq!(shown(open(bytes, Offset::ZERO, &mut room)), (1, Some(1)));
    }
}
