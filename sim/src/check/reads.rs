//! Reads: the very bytes that were committed, or an error that is true.

use headwater_log::ReadSlice;
use headwater_record::Offset;
use headwater_tier::TierError;

use super::Check;
use crate::bucket::Bucket;

impl Check {
    /// A read from `from` gave these batches.
    pub(crate) fn read(&self, from: Offset, slice: &ReadSlice) -> Result<(), String> {
        let mut rest = &slice.bytes[..];
        let mut at = from;
        for batch in self.history.from(from) {
            if rest.is_empty() {
                break;
            }
            let Some(behind) = rest.strip_prefix(&batch.bytes()[..]) else {
                return Err(format!(
                    "a read at {from} gave other records than were committed at {at}"
                ));
            };
            rest = behind;
            at = batch.header().end_offset();
        }
        match rest.is_empty() && at == slice.next_offset {
            true => Ok(()),
            false => Err(format!(
                "a read at {from} went on to {}, committed was up to {at}",
                slice.next_offset
            )),
        }
    }

    /// A read from `from` out of the tier failed.
    pub(crate) fn failed_read(
        &self,
        bucket: &Bucket,
        from: Offset,
        error: &TierError,
    ) -> Result<(), String> {
        let untrue = |what: &str| Err(format!("a read at {from} failed with {error}, but {what}"));
        match error {
            TierError::Store(error) if error.is_passing() => Ok(()),
            TierError::DataLoss { range, object, .. } if self.damaged.contains(object) => {
                let entries = self.named.values().flat_map(|named| &named.entries);
                let mut entries = entries.filter(|entry| entry.object_key(self.key) == *object);
                // A head that is long replaced is not known here any more.
                let fits = entries
                    .next()
                    .is_none_or(|entry| entry.start <= range.start && range.end <= entry.end);
                match fits && range.contains(&from) {
                    true => Ok(()),
                    false => untrue("the range is another"),
                }
            }
            // What came over the network falsified is looked at once more, and then may have been so again.
            TierError::DataLoss { object, .. } | TierError::Damaged { object, .. } => {
                match bucket.falsified(object) > 0 && bucket.get(object).is_some() {
                    true => Ok(()),
                    false => untrue("the object is sound"),
                }
            }
            _ => untrue("that is no reason"),
        }
    }
}
