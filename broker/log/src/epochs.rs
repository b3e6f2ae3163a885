//! Leader epochs of a log and where each began: what divergence checks and the context of batches are judged by.

use crate::files::Fields;
use crate::frame::{frame, unframe};
use headwater_record::{LeaderEpoch, Offset};
use std::ops::Range;

const MAGIC: [u8; 4] = *b"HWEP";

/// Epochs with their start offsets; both grow strictly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl Epochs {
    pub(crate) fn last(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|&(epoch, _)| epoch)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Records that `epoch` begins at `start`. An epoch that began there or later and got no record is forgotten.
    pub(crate) fn begin(&mut self, epoch: LeaderEpoch, start: Offset) {
        assert!(
            self.last() < Some(epoch),
            "leader epochs grow: {:?} then {epoch:?}",
            self.last()
        );
        self.truncate(start);
        self.entries.push((epoch, start));
    }

    /// The epoch that the batch at `offset` was written under; `None` below the first.
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let later = self.entries.partition_point(|&(_, start)| start <= offset);
        let (epoch, _) = self.entries.get(later.checked_sub(1)?)?;
        Some(*epoch)
    }

    /// Those that the batches of a range were written under, with where each began; the first may have begun before.
    pub(crate) fn covering(&self, offsets: Range<Offset>) -> Vec<(LeaderEpoch, Offset)> {
        let later = self
            .entries
            .partition_point(|&(_, start)| start <= offsets.start);
        let from = self.entries.iter().skip(later.saturating_sub(1));
        from.take_while(|&&(_, start)| start < offsets.end)
            .copied()
            .collect()
    }

    /// The largest epoch at or below `epoch`, and the offset at which the next one began (`end`, if none did).
    pub(crate) fn end_of(&self, epoch: LeaderEpoch, end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let later = self.entries.partition_point(|&(known, _)| known <= epoch);
        let (known, _) = self.entries.get(later.checked_sub(1)?)?;
        let epoch_end = self.entries.get(later).map_or(end, |&(_, start)| start);
        Some((*known, epoch_end))
    }

    /// Forgets what began at or above `end`.
    pub(crate) fn truncate(&mut self, end: Offset) {
        let kept = self.entries.partition_point(|&(_, start)| start < end);
        self.entries.truncate(kept);
    }

    /// Forgets what began above `end`: an epoch may have begun at the very end and have no record yet.
    pub(crate) fn truncate_above(&mut self, end: Offset) {
        let kept = self.entries.partition_point(|&(_, start)| start <= end);
        self.entries.truncate(kept);
    }

    /// Forgets epochs that ended at or below `offset`.
    pub fn forget_below(&mut self, offset: Offset) {
        let later = self.entries.partition_point(|&(_, start)| start <= offset);
        self.entries.drain(..later.saturating_sub(1));
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(self.entries.len() * 12);
        for (epoch, start) in &self.entries {
            payload.extend_from_slice(&epoch.0.to_le_bytes());
            payload.extend_from_slice(&start.get().to_le_bytes());
        }
        frame(MAGIC, &payload)
    }

    /// `None` if the bytes are not exactly what [`Epochs::encode`] makes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Epochs> {
        let mut fields = Fields(unframe(MAGIC, bytes).ok()?);
        let mut entries = Vec::new();
        while !fields.is_empty() {
            entries.push((LeaderEpoch(fields.u32()?), fields.offset()?));
        }
        Epochs::checked(&entries)
    }

    /// Adds what `other` says of offsets from `from` on. Below, what stands counts.
    pub fn extend(&mut self, other: &Epochs, from: Offset) {
        let first = other.at(from).map(|epoch| (epoch, from));
        let later = other.entries.iter().copied();
        let later = later.filter(|&(_, start)| first.is_none() || start > from);
        for (epoch, start) in first.into_iter().chain(later) {
            if self.last() < Some(epoch) {
                self.entries.push((epoch, start));
            }
        }
    }

    /// The epochs with where each began.
    pub fn entries(&self) -> &[(LeaderEpoch, Offset)] {
        &self.entries
    }

    /// From epochs with where each began; `None` unless both grow strictly.
    pub fn checked(entries: &[(LeaderEpoch, Offset)]) -> Option<Epochs> {
        let grows = entries
            .iter()
            .zip(entries.iter().skip(1))
            .all(|(before, after)| before.0 < after.0 && before.1 < after.1);
        grows.then(|| Epochs {
            entries: entries.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(u32, u64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for &(epoch, start) in entries {
            epochs.begin(LeaderEpoch(epoch), Offset::new(start));
        }
        epochs
    }

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let epochs = epochs(&[(1, 0), (3, 10), (4, 25)]);
        let end_of = |epoch| epochs.end_of(LeaderEpoch(epoch), Offset::new(40));
        assert_eq!(end_of(0), None);
        assert_eq!(end_of(1), Some((LeaderEpoch(1), Offset::new(10))));
        assert_eq!(end_of(2), Some((LeaderEpoch(1), Offset::new(10))));
        assert_eq!(end_of(3), Some((LeaderEpoch(3), Offset::new(25))));
        assert_eq!(end_of(9), Some((LeaderEpoch(4), Offset::new(40))));
        assert_eq!(epochs.at(Offset::new(9)), Some(LeaderEpoch(1)));
        assert_eq!(epochs.at(Offset::new(10)), Some(LeaderEpoch(3)));
    }

    #[test]
    fn a_range_is_covered_from_the_epoch_that_it_begins_in() {
        let epochs = epochs(&[(1, 0), (3, 10), (4, 25)]);
        let covering = |range: Range<u64>| -> Vec<u32> {
            let range = Offset::new(range.start)..Offset::new(range.end);
            let covering = epochs.covering(range).into_iter();
            covering.map(|(LeaderEpoch(epoch), _)| epoch).collect()
        };
        assert_eq!(covering(0..10), [1]);
        assert_eq!(covering(9..11), [1, 3]);
        assert_eq!(covering(10..25), [3]);
        assert_eq!(covering(12..90), [3, 4]);
        assert_eq!(covering(30..90), [4]);
        assert_eq!(covering(0..0), []);
    }

    #[test]
    fn what_follows_is_added_from_where_it_follows() {
        let mut known = epochs(&[(1, 0), (2, 10)]);
        known.extend(&epochs(&[(2, 12), (4, 20)]), Offset::new(15));
        assert_eq!(known, epochs(&[(1, 0), (2, 10), (4, 20)]));
        known.extend(&epochs(&[(3, 18), (7, 30)]), Offset::new(40));
        assert_eq!(known, epochs(&[(1, 0), (2, 10), (4, 20), (7, 40)]));
        known.forget_below(Offset::new(20));
        assert_eq!(known.at(Offset::new(19)), None);
        assert_eq!(known.at(Offset::new(39)), Some(LeaderEpoch(4)));
    }

    #[test]
    fn epochs_that_do_not_grow_are_refused() {
        let entries = [
            (LeaderEpoch(2), Offset::new(0)),
            (LeaderEpoch(2), Offset::new(5)),
        ];
        assert_eq!(Epochs::checked(&entries), None);
    }

    #[test]
    fn an_epoch_without_records_gives_way_to_the_next() {
        assert_eq!(
            epochs(&[(1, 0), (2, 10), (3, 10)]),
            epochs(&[(1, 0), (3, 10)])
        );
    }

    #[test]
    fn a_flip_of_any_bit_or_a_cut_at_any_byte_is_noticed() {
        let whole = epochs(&[(1, 0), (3, 10)]);
        let bytes = whole.encode();
        assert_eq!(Epochs::decode(&bytes), Some(whole));
        for at in 0..bytes.len() {
            assert_eq!(Epochs::decode(bytes.get(..at).unwrap_or_default()), None);
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                if let Some(byte) = damaged.get_mut(at) {
                    *byte ^= 1 << bit;
                }
                assert_eq!(Epochs::decode(&damaged), None, "byte {at} bit {bit}");
            }
        }
    }
}
