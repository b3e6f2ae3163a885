//! What changes the metadata.

use crate::ids::{BrokerEpoch, BrokerId, ClusterId, IncarnationId, Revision, StorageId, TopicId};
use crate::names::{ProducerName, TopicName};

use super::tier::CommitTierHeads;
use super::topic_config::TopicConfig;

/// The highest feature level that this program knows. Raised with each new kind of command, each
/// change of a persisted format, and each change of what an old command does (placement included).
pub const FEATURE_LEVEL: u32 = 2;
/// The feature level of everything about the tier.
pub(super) const TIER_LEVEL: u32 = 2;

/// A change of the metadata. Each is judged alone, and accepted or refused as a whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Forms the cluster. The same again changes nothing.
    FormCluster(FormCluster),
    /// A broker's process has started. Raises the leader epoch of every partition that it leads.
    /// The same incarnation again changes nothing.
    RegisterBroker(RegisterBroker),
    /// A running broker has drawn a new incarnation id.
    ConfirmIncarnation(ConfirmIncarnation),
    /// Creates a topic.
    CreateTopic(CreateTopic),
    /// Changes a topic's settings, or grows it.
    UpdateTopic(UpdateTopic),
    /// Deletes a topic. A tombstone stays until every replica is known to be gone.
    DeleteTopic(DeleteTopic),
    /// A broker holds nothing of a deleted topic any more. Again changes nothing.
    ConfirmTopicDeleted {
        /// The deleted topic.
        id: TopicId,
        /// The broker.
        broker: BrokerId,
    },
    /// Takes producer ids out of those that nobody has.
    AllocateProducerIds {
        /// How many, see [`crate::limits::PRODUCER_ID_BLOCK`].
        count: u32,
    },
    /// Raises the epoch of a producer that is known by name; makes it known if it is not.
    InitNamedProducer {
        /// Its name.
        name: ProducerName,
    },
    /// A leader's new heads in the tier. Each is judged alone; the command is accepted even if all
    /// of them are refused, and then changes nothing.
    CommitTierHeads(CommitTierHeads),
    /// Nothing of a deleted topic is in the tier any more. Again changes nothing.
    ConfirmTierDeleted {
        /// The deleted topic.
        id: TopicId,
    },
    /// Brokers older than this level never come back. Refused unless every broker that ever
    /// registered knows it; a level that was reached already changes nothing.
    RaiseFeatureLevel {
        /// The new level, see [`FEATURE_LEVEL`].
        level: u32,
    },
    /// A restored cluster takes the objects of the old one for its own. Again changes nothing.
    AdoptTier {
        /// The cluster that it was restored from.
        cluster: ClusterId,
    },
}

impl Command {
    /// The feature level without which this command makes no sense. Who knows less must stop where
    /// it reads the command.
    pub(super) fn feature_level(&self) -> u32 {
        match self {
            Command::CreateTopic(create) => create.config.feature_level(),
            Command::UpdateTopic(update) => update.config.feature_level(),
            Command::DeleteTopic(delete) if delete.tiered => TIER_LEVEL,
            Command::CommitTierHeads(_)
            | Command::ConfirmTierDeleted { .. }
            | Command::AdoptTier { .. } => TIER_LEVEL,
            Command::RaiseFeatureLevel { level } => (*level).max(TIER_LEVEL),
            Command::FormCluster(_)
            | Command::RegisterBroker(_)
            | Command::ConfirmIncarnation(_)
            | Command::DeleteTopic(_)
            | Command::ConfirmTopicDeleted { .. }
            | Command::AllocateProducerIds { .. }
            | Command::InitNamedProducer { .. } => 1,
        }
    }
}

/// See [`Command::FormCluster`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormCluster {
    /// The new cluster.
    pub cluster: ClusterId,
    /// Data directory of the broker that is to register first.
    pub first_storage: StorageId,
}

/// See [`Command::RegisterBroker`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterBroker {
    /// Its data directory.
    pub storage: StorageId,
    /// Every incarnation id since the last that the metadata has confirmed, oldest first, that one
    /// included; the last is that of this start.
    pub incarnations: Vec<IncarnationId>,
    /// Its stable name, a DNS name.
    pub node_name: String,
    /// Version of the program.
    pub version: String,
    /// The highest feature level that it knows: [`FEATURE_LEVEL`].
    pub feature_level_max: u32,
}

/// See [`Command::ConfirmIncarnation`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfirmIncarnation {
    /// The broker.
    pub broker: BrokerId,
    /// Its registration.
    pub epoch: BrokerEpoch,
    /// The new id.
    pub incarnation: IncarnationId,
}

/// See [`Command::CreateTopic`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CreateTopic {
    /// Its id, drawn by the proposer.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// What bare names mean; decides which Kafka names collide, see
    /// [`TopicName::collides_with`].
    pub default_namespace: String,
    /// How many partitions.
    pub partitions: u32,
    /// How many replicas of each; `None` is the cluster's rule.
    pub replication_factor: Option<u32>,
    /// Its settings.
    pub config: TopicConfig,
    /// When, by the proposer's wall clock, in milliseconds since the epoch.
    pub create_time_ms: i64,
}

/// See [`Command::UpdateTopic`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UpdateTopic {
    /// The topic.
    pub id: TopicId,
    /// Refused unless the topic still has this revision.
    pub expected_revision: Revision,
    /// Grow to this many partitions.
    pub partitions: Option<u32>,
    /// All of its settings from now on.
    pub config: TopicConfig,
}

/// See [`Command::DeleteTopic`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeleteTopic {
    /// The topic.
    pub id: TopicId,
    /// Objects of it may be in a tier: the proposer has one. The tombstone then stays until
    /// [`Command::ConfirmTierDeleted`], as it does where a partition has a head.
    pub tiered: bool,
}
