//! What an accepted command has changed: what the shell acts upon.

use std::ops::Range;

use headwater_log::PartitionKey;
use headwater_record::LeaderEpoch;

use super::tier::TierHeadRefused;
use crate::ids::{BrokerEpoch, BrokerId, ProducerId, TopicId};

/// What an accepted command has changed. The image holds the rest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Applied {
    /// All was so already.
    Nothing,
    /// The cluster was formed.
    ClusterFormed,
    /// A broker is registered (also the answer where it was already).
    BrokerRegistered {
        /// Its id.
        broker: BrokerId,
        /// Its registration.
        epoch: BrokerEpoch,
        /// The recorded incarnation is not among the broker's: its disk is an old copy of itself,
        /// and what it had acknowledged may be missing.
        rolled_back: bool,
        /// The partitions that it leads under a new epoch.
        led: Vec<(PartitionKey, LeaderEpoch)>,
    },
    /// The broker's incarnation is recorded.
    IncarnationConfirmed,
    /// A topic is there: its replicas open their partitions, and the leaders lead.
    TopicCreated {
        /// The topic.
        id: TopicId,
    },
    /// A topic has changed.
    TopicUpdated {
        /// The topic.
        id: TopicId,
        /// Its settings are others.
        config_changed: bool,
        /// The partitions that are new, to be opened like those of a new topic.
        added: Range<u32>,
    },
    /// A topic is gone: brokers that hold replicas close them, remove the directory, and confirm.
    TopicDeleted {
        /// The topic.
        id: TopicId,
        /// How many partitions it had.
        partitions: u32,
    },
    /// A broker's part of a deleted topic is gone, or the tier's.
    TopicDeletionConfirmed {
        /// Whether it was the last part, so that the tombstone was dropped.
        last: bool,
    },
    /// These producer ids are nobody else's.
    ProducerIds(Range<ProducerId>),
    /// A named producer has this identity from now on.
    NamedProducer {
        /// Its id.
        id: ProducerId,
        /// Its epoch; fences all lower ones.
        epoch: i16,
    },
    /// New heads in the tier were judged.
    TierHeads {
        /// Whose head is the new one, in the order of the command.
        committed: Vec<PartitionKey>,
        /// Whose head is as it was, and why.
        refused: Vec<(PartitionKey, TierHeadRefused)>,
    },
    /// The cluster is at a higher feature level.
    FeatureLevelRaised {
        /// The level.
        level: u32,
    },
    /// The objects of the cluster that this one was restored from are its own now.
    TierAdopted,
}

impl Applied {
    /// Whether the image is another than before: its revision has risen.
    pub(super) fn changes(&self) -> bool {
        match self {
            Applied::Nothing => false,
            Applied::TierHeads { committed, .. } => !committed.is_empty(),
            _ => true,
        }
    }
}
