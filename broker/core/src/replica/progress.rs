//! How far a partition is stored, and what follows for the high watermark.

use headwater_record::Offset;

use crate::metadata::Durability;

/// Progress of the in-sync replicas. This broker's own is all there is until followers report.
pub(super) struct Progress {
    durability: Durability,
    /// A change of class that waits until everything below the offset is on the medium.
    change: Option<(Durability, Offset)>,
    /// Replicas in sync, this one included.
    in_sync: usize,
    written_end: Offset,
    synced_end: Offset,
    high_watermark: Offset,
}

impl Progress {
    /// All below `end` is stored and, since this broker is alone, committed.
    pub(super) fn new(end: Offset, durability: Durability) -> Progress {
        Progress {
            durability,
            change: None,
            in_sync: 1,
            written_end: end,
            synced_end: end,
            high_watermark: end,
        }
    }

    pub(super) fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    pub(super) fn in_sync(&self) -> usize {
        self.in_sync
    }

    pub(super) fn set_in_sync(&mut self, in_sync: usize) {
        assert!(in_sync >= 1, "a leader is in sync with itself");
        self.in_sync = in_sync;
    }

    /// The class that counts now.
    #[cfg(test)]
    pub(super) fn durability(&self) -> Durability {
        self.durability
    }

    /// Asks for another class. It counts once everything written so far is on the medium, so that
    /// no acknowledged record is ever covered by less than its class promised. Returns whether a
    /// sync is needed for that.
    pub(super) fn change_durability(&mut self, to: Durability) -> bool {
        self.change = (to != self.durability).then_some((to, self.written_end));
        self.apply_change();
        self.change.is_some()
    }

    /// End of what this broker has stored as the class demands.
    pub(super) fn stored_end(&self) -> Offset {
        match self.durability {
            Durability::Fsync => self.synced_end,
            Durability::Replicated => self.written_end,
        }
    }

    pub(super) fn written(&mut self, end: Offset) {
        assert!(end >= self.written_end);
        self.written_end = end;
    }

    pub(super) fn synced(&mut self, end: Offset) {
        self.synced_end = self.synced_end.max(end);
        self.apply_change();
    }

    /// Moves the high watermark to where all in-sync replicas are, if there are enough of them.
    pub(super) fn advance(&mut self, min_in_sync: usize) {
        if self.in_sync >= min_in_sync {
            self.high_watermark = self.high_watermark.max(self.stored_end());
        }
    }

    fn apply_change(&mut self) {
        if let Some((to, end)) = self.change
            && self.synced_end >= end
        {
            self.durability = to;
            self.change = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Offset {
        Offset::new(offset)
    }

    #[test]
    fn fsync_counts_the_synced_end_and_replicated_the_written_one() {
        for (durability, expected) in [(Durability::Fsync, 3), (Durability::Replicated, 7)] {
            let mut progress = Progress::new(at(0), durability);
            progress.written(at(7));
            progress.synced(at(3));
            progress.advance(1);
            assert_eq!(progress.high_watermark(), at(expected), "{durability:?}");
        }
    }

    #[test]
    fn the_high_watermark_waits_for_enough_replicas() {
        let mut progress = Progress::new(at(0), Durability::Fsync);
        progress.written(at(5));
        progress.synced(at(5));
        progress.advance(2);
        assert_eq!(progress.high_watermark(), at(0));
        progress.set_in_sync(2);
        progress.advance(2);
        assert_eq!(progress.high_watermark(), at(5));
    }

    #[test]
    fn a_stricter_class_counts_only_when_all_is_on_the_medium() {
        let mut progress = Progress::new(at(0), Durability::Replicated);
        progress.written(at(9));
        progress.advance(1);
        assert!(progress.change_durability(Durability::Fsync));
        assert_eq!(progress.durability(), Durability::Replicated);
        progress.written(at(12));
        progress.synced(at(8));
        assert_eq!(progress.durability(), Durability::Replicated);
        progress.synced(at(9));
        assert_eq!(progress.durability(), Durability::Fsync);
        progress.advance(1);
        assert_eq!(
            progress.high_watermark(),
            at(9),
            "12 is written, but not on the medium"
        );
    }

    #[test]
    fn a_change_that_is_taken_back_leaves_nothing_behind() {
        let mut progress = Progress::new(at(0), Durability::Replicated);
        progress.written(at(9));
        assert!(progress.change_durability(Durability::Fsync));
        assert!(!progress.change_durability(Durability::Replicated));
        progress.synced(at(9));
        assert_eq!(progress.durability(), Durability::Replicated);
    }
}
