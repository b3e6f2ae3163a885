//! Leader epochs and where each began: the context that batches are held to.

use headwater_record::{LeaderEpoch, Offset};

use crate::wire;

/// Epochs with their start offsets; both grow strictly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lineage(Vec<(LeaderEpoch, Offset)>);

impl Lineage {
    /// From pairs; `None` unless both grow strictly.
    pub fn new(epochs: Vec<(LeaderEpoch, Offset)>) -> Option<Lineage> {
        let grows = epochs.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1);
        grows.then_some(Lineage(epochs))
    }

    /// The pairs.
    pub fn epochs(&self) -> &[(LeaderEpoch, Offset)] {
        &self.0
    }

    /// The epoch that the batch at `offset` was written under; `None` below the first.
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let later = self.0.partition_point(|&(_, start)| start <= offset);
        self.0.get(later.checked_sub(1)?).map(|&(epoch, _)| epoch)
    }

    /// Adds what `other` says of offsets from `from` on. Below, what stands counts.
    pub fn extend(&mut self, other: &Lineage, from: Offset) {
        let Some(first) = other.at(from) else {
            return other
                .0
                .iter()
                .for_each(|&(epoch, start)| self.push(epoch, start));
        };
        self.push(first, from);
        let later = other.0.iter().filter(|&&(_, start)| start > from);
        later.for_each(|&(epoch, start)| self.push(epoch, start));
    }

    /// Forgets epochs that ended at or below `offset`.
    pub fn forget_below(&mut self, offset: Offset) {
        let later = self.0.partition_point(|&(_, start)| start <= offset);
        self.0.drain(..later.saturating_sub(1));
    }

    fn push(&mut self, epoch: LeaderEpoch, start: Offset) {
        if self.0.last().is_none_or(|&(last, _)| last < epoch) {
            self.0.push((epoch, start));
        }
    }

    pub(crate) fn to_wire(&self) -> Vec<wire::Epoch> {
        let epoch = |&(epoch, start): &(LeaderEpoch, Offset)| wire::Epoch {
            epoch: epoch.0,
            start: start.get(),
        };
        self.0.iter().map(epoch).collect()
    }

    pub(crate) fn from_wire(epochs: &[wire::Epoch]) -> Option<Lineage> {
        let pairs = epochs.iter().map(|epoch| {
            let start = i64::try_from(epoch.start).ok().and_then(Offset::from_i64)?;
            Some((LeaderEpoch(epoch.epoch), start))
        });
        Lineage::new(pairs.collect::<Option<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lineage(epochs: &[(u32, u64)]) -> Lineage {
        let pair = |&(epoch, start): &(u32, u64)| (LeaderEpoch(epoch), Offset::new(start));
        Lineage::new(epochs.iter().map(pair).collect()).unwrap()
    }

    #[test]
    fn what_follows_is_added_from_where_it_follows() {
        let mut known = lineage(&[(1, 0), (2, 10)]);
        known.extend(&lineage(&[(2, 12), (4, 20)]), Offset::new(15));
        assert_eq!(known, lineage(&[(1, 0), (2, 10), (4, 20)]));
        known.extend(&lineage(&[(3, 18), (7, 30)]), Offset::new(40));
        assert_eq!(known, lineage(&[(1, 0), (2, 10), (4, 20), (7, 40)]));
        known.forget_below(Offset::new(20));
        assert_eq!(known.at(Offset::new(19)), None);
        assert_eq!(known.at(Offset::new(39)), Some(LeaderEpoch(4)));
    }

    #[test]
    fn epochs_that_do_not_grow_are_refused() {
        let pairs = vec![
            (LeaderEpoch(2), Offset::new(0)),
            (LeaderEpoch(2), Offset::new(5)),
        ];
        assert_eq!(Lineage::new(pairs), None);
    }
}
