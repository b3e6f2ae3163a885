//! What the metadata knows of the tier: the head of each partition, and where a restored cluster
//! comes from.

use std::fmt;

use headwater_log::PartitionKey;
use headwater_record::{LeaderEpoch, Offset};

use crate::ids::{BrokerId, ClusterId};

/// The committed manifest of a partition: which objects of the tier count. `start..end` are the
/// offsets that it names; empty where they are equal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TierHead {
    /// Number of the manifest, rises with each head.
    pub number: u64,
    /// The leadership under which it was committed.
    pub leader_epoch: LeaderEpoch,
    /// First offset in the tier.
    pub start: Offset,
    /// Offset behind the last one in the tier. `start <= end`.
    pub end: Offset,
}

/// See [`super::Command::CommitTierHeads`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitTierHeads {
    /// Who leads the partitions.
    pub broker: BrokerId,
    /// At most [`crate::limits::TIER_HEADS_PER_COMMAND_MAX`]; each is judged alone, in this order.
    pub heads: Vec<TierHeadCommit>,
}

/// A new head of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TierHeadCommit {
    /// The partition.
    pub partition: PartitionKey,
    /// Number of the head that the new one replaces; `None` where there is none yet.
    pub parent: Option<u64>,
    /// The new head.
    pub head: TierHead,
}

/// Why a head was not committed. The others of its command are judged all the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TierHeadRefused {
    /// There is no such partition (any more).
    #[error("the topic is gone; delete what was uploaded")]
    TopicGone,
    /// Another broker leads the partition, or nobody does.
    #[error("the broker does not lead the partition; leave the tier to the leader")]
    NotLeader,
    /// The head is of another leadership than the present one.
    #[error("the leader epoch is {current}; commit under that one", current = current.0)]
    StaleEpoch {
        /// The partition's.
        current: LeaderEpoch,
    },
    /// The head follows another one than the present head.
    #[error("the present head is {}; begin again from that one", Shown(*current))]
    WrongParent {
        /// Number of the present head, if there is one.
        current: Option<u64>,
    },
    /// The number is not above the parent's.
    #[error("the number is not above the present head's; take the next free one")]
    NumberNotAbove,
    /// Start or end are below the present head's, or the start is behind the end.
    #[error("start or end of the head would move back; offsets in the tier only move forward")]
    MovesBack,
}

/// The number of a head, or that there is none.
struct Shown(Option<u64>);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(number) => number.fmt(f),
            None => "none".fmt(f),
        }
    }
}

/// Where a restored cluster comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestoredFrom {
    /// The cluster that wrote the snapshot.
    pub cluster: ClusterId,
    /// Its objects are this cluster's now, to delete as well. Until then they are only read.
    pub adopted: bool,
}
