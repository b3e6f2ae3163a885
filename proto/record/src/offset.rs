//! Places in a partition and numbers of leaderships.

use std::fmt;

/// Place of a record in a partition, dense from 0; at most `i64::MAX`, because the wire is signed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(u64);

impl Offset {
    /// The first offset of every partition.
    pub const ZERO: Offset = Offset(0);
    /// The largest offset: it can be the end of a partition, never the place of a record.
    pub const MAX: Offset = Offset(i64::MAX as u64);

    /// The offset `value`; values above `i64::MAX` become [`Offset::MAX`], so that no number from
    /// outside can make an offset that the wire would show as negative.
    pub const fn new(value: u64) -> Offset {
        if value > Offset::MAX.0 {
            Offset::MAX
        } else {
            Offset(value)
        }
    }

    /// The plain number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// For the wire; never negative.
    pub const fn to_i64(self) -> i64 {
        self.0 as i64
    }

    /// `None` if negative.
    pub const fn from_i64(value: i64) -> Option<Offset> {
        if value < 0 {
            None
        } else {
            Some(Offset(value as u64))
        }
    }

    /// The offset `count` places later, at most [`Offset::MAX`].
    pub const fn plus(self, count: u64) -> Offset {
        Offset::new(self.0.saturating_add(count))
    }

    /// Places from `earlier` to `self`; 0 if `earlier` is later.
    pub const fn since(self, earlier: Offset) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Number of a leadership of a partition. Every stored batch carries it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LeaderEpoch(pub u32);

impl LeaderEpoch {
    /// What a batch holds that no leader has stamped: -1 on the wire, as Kafka's producers send it.
    pub const UNSTAMPED: LeaderEpoch = LeaderEpoch(u32::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_never_turns_negative_on_the_wire() {
        for offset in [
            Offset::new(u64::MAX),
            Offset::MAX.plus(1),
            Offset::new(5).plus(u64::MAX),
        ] {
            assert_eq!(offset.to_i64(), i64::MAX);
        }
        assert_eq!(Offset::from_i64(-1), None);
        assert_eq!(Offset::from_i64(i64::MAX), Some(Offset::MAX));
    }

    #[test]
    fn distance_counts_forward_only() {
        assert_eq!(Offset::new(7).since(Offset::new(4)), 3);
        assert_eq!(Offset::new(4).since(Offset::new(7)), 0);
    }
}
