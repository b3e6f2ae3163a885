//! What holds for every batch, and for bytes that are none.

mod hostile;
mod oracle;
mod strategy;

use bytes::Bytes;
use headwater_record::{Batch, LeaderEpoch, Offset, Record, batches};
use proptest::prelude::*;
use strategy::{batch_of, codec, producer, records};

const DECODED_BYTES_MAX: usize = 1 << 20;

fn read(batch: &Batch) -> Vec<Record> {
    let stored = batch
        .records(DECODED_BYTES_MAX)
        .expect("an own batch decodes");
    let places = stored.iter().map(|stored| stored.offset);
    assert!(
        places.eq((0..)
            .map(|place| batch.header().base_offset.plus(place))
            .take(stored.len()))
    );
    stored.into_iter().map(|stored| stored.record).collect()
}

proptest! {
    #[test]
    fn records_come_back_as_they_were_pushed(
        records in records(),
        codec in codec(),
        producer in producer(),
        base_offset in 0..i64::MAX - 100,
        leader_epoch in any::<u32>(),
    ) {
        let (base_offset, leader_epoch) =
            (Offset::new(base_offset as u64), LeaderEpoch(leader_epoch));
        let built = batch_of(codec, producer, &records).stamped(base_offset, leader_epoch);
        let batch = Batch::verify(built.bytes().clone(), built.bytes().len())
            .expect("an own batch verifies");
        prop_assert_eq!(&batch, &built);
        let header = batch.header();
        prop_assert_eq!(header.producer, producer);
        prop_assert_eq!(header.base_offset, base_offset);
        prop_assert_eq!(header.leader_epoch, leader_epoch);
        prop_assert_eq!(header.end_offset(), base_offset.plus(records.len() as u64));
        let latest = records.iter().map(|record| record.timestamp_ms).max();
        prop_assert_eq!(Some(header.max_timestamp_ms), latest);
        prop_assert_eq!(read(&batch), records);
    }

    #[test]
    fn batches_end_to_end_are_walked_up_to_the_cut(
        lists in prop::collection::vec((records(), codec()), 1..5),
        cut in any::<prop::sample::Index>(),
    ) {
        let built: Vec<Batch> =
            lists.iter().map(|(records, codec)| batch_of(*codec, None, records)).collect();
        let all = built.iter().map(|batch| batch.bytes().as_ref()).collect::<Vec<_>>().concat();
        let cut = cut.index(all.len() + 1);
        let whole = built
            .iter()
            .scan(0, |end, batch| {
                *end += batch.bytes().len();
                Some(*end)
            })
            .filter(|end| *end <= cut)
            .count();
        let walked: Result<Vec<Batch>, _> =
            batches(Bytes::copy_from_slice(&all[..cut])).collect();
        prop_assert_eq!(walked.expect("whole batches verify"), &built[..whole]);
    }
}
