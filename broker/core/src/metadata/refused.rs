//! Why a command was refused.

use super::topic_config::ConfigError;
use crate::ids::{BrokerEpoch, BrokerId, ClusterId, Revision, StorageId, TopicId};
use crate::names::TopicName;

/// Why a command was refused. Nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The cluster has not been formed.
    #[error("the cluster has not been formed yet; form it and try again")]
    NotFormed,
    /// Another cluster lives here.
    #[error("this is cluster {cluster} already; it cannot be formed again")]
    AlreadyFormed {
        /// The cluster.
        cluster: ClusterId,
    },
    /// A value of the command is out of its bounds.
    #[error("{field} is {given:?}; {allowed}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// A setting of a topic is out of its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What should be changed has been changed by somebody else.
    #[error("revision is {actual}, the request expects {expected}; read it again and retry")]
    RevisionMismatch {
        /// What the proposer had seen.
        expected: Revision,
        /// What is so.
        actual: Revision,
    },
    /// A topic of that name is there.
    #[error("topic {name} exists already")]
    TopicExists {
        /// The name.
        name: TopicName,
        /// Its id.
        id: TopicId,
    },
    /// That id is, or was, another topic's.
    #[error("topic id {id} is in use; draw another")]
    TopicIdUsed {
        /// The id.
        id: TopicId,
    },
    /// A Kafka client could not tell the two apart.
    #[error("topic {name} and topic {other} would have the same Kafka name; choose another")]
    TopicNameCollides {
        /// The name that was asked for.
        name: TopicName,
        /// The topic that is there.
        other: TopicName,
    },
    /// No topic has that id (any more).
    #[error("there is no topic with id {id}; it may just have been deleted")]
    TopicNotFound {
        /// The id.
        id: TopicId,
    },
    /// Partitions cannot be taken away.
    #[error(
        "the topic has {present} partitions and cannot shrink to {asked}; create another topic and \
         move the records"
    )]
    PartitionsShrink {
        /// What the topic has.
        present: u32,
        /// What was asked for.
        asked: u32,
    },
    /// More replicas than brokers.
    #[error(
        "replication_factor is {asked}, there are {brokers} brokers; ask for fewer or add brokers"
    )]
    NotEnoughBrokers {
        /// What was asked for.
        asked: u32,
        /// How many there are.
        brokers: usize,
    },
    /// A bound would be passed.
    #[error("{what} are limited to {limit}; {remedy}")]
    LimitExceeded {
        /// What is bounded.
        what: &'static str,
        /// The bound.
        limit: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// No broker has that id.
    #[error("there is no broker {broker}")]
    BrokerNotFound {
        /// The id.
        broker: BrokerId,
    },
    /// The broker has registered again since.
    #[error("broker {broker} is registered under epoch {current}, not {given}")]
    BrokerEpochStale {
        /// The broker.
        broker: BrokerId,
        /// Its registration.
        current: BrokerEpoch,
        /// What the command names.
        given: BrokerEpoch,
    },
    /// Another data directory was named as the first.
    #[error("storage {storage} is not the one that the cluster was formed with, {first}")]
    NotTheFirstStorage {
        /// Which wants to register.
        storage: StorageId,
        /// Which must be the first.
        first: StorageId,
    },
    /// Another data directory is registered under that node name.
    #[error(
        "node name {node_name} belongs to broker {broker} with another data directory; give this \
         broker its own name, or the directory back"
    )]
    NodeNameTaken {
        /// The name.
        node_name: String,
        /// Who has it.
        broker: BrokerId,
    },
    /// The broker's program is older than the cluster's feature level.
    #[error(
        "the cluster is at feature level {needed}, this broker knows up to {level}; upgrade it"
    )]
    BrokerTooOld {
        /// What the cluster needs.
        needed: u32,
        /// What the broker knows.
        level: u32,
    },
    /// The cluster's feature level is too low for the command.
    #[error(
        "this needs feature level {needed}, the cluster is at {present}; upgrade every broker, then \
         raise the level"
    )]
    FeatureLevel {
        /// What the command needs.
        needed: u32,
        /// What the cluster is at.
        present: u32,
    },
    /// Not every broker knows a feature level.
    #[error(
        "feature level {asked} is above {known}, which is what every broker knows; upgrade them"
    )]
    FeatureLevelUnknown {
        /// What was asked for.
        asked: u32,
        /// The highest that every broker knows.
        known: u32,
    },
    /// The tier of another cluster was to be adopted than the one that this cluster comes from.
    #[error("this cluster was not restored from cluster {cluster}; name the one it comes from")]
    NotRestoredFrom {
        /// What was named.
        cluster: ClusterId,
    },
}

/// What sort of refusal it is, so that an edge can choose its code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RefusedKind {
    /// What is named is not there.
    NotFound,
    /// What should be new is there.
    AlreadyExists,
    /// The command can never be accepted.
    Invalid,
    /// Something else was faster: read again and retry.
    Conflict,
    /// A bound was reached.
    Limit,
    /// The state of the cluster does not allow it.
    Precondition,
    /// Not yet.
    Unavailable,
}

impl Refused {
    /// What sort of refusal this is.
    pub fn kind(&self) -> RefusedKind {
        match self {
            Refused::NotFormed => RefusedKind::Unavailable,
            Refused::Invalid { .. } | Refused::Config(_) => RefusedKind::Invalid,
            Refused::RevisionMismatch { .. }
            | Refused::TopicIdUsed { .. }
            | Refused::BrokerEpochStale { .. } => RefusedKind::Conflict,
            Refused::TopicExists { .. } => RefusedKind::AlreadyExists,
            Refused::TopicNotFound { .. } | Refused::BrokerNotFound { .. } => RefusedKind::NotFound,
            Refused::LimitExceeded { .. } => RefusedKind::Limit,
            Refused::AlreadyFormed { .. }
            | Refused::TopicNameCollides { .. }
            | Refused::PartitionsShrink { .. }
            | Refused::NotEnoughBrokers { .. }
            | Refused::NotTheFirstStorage { .. }
            | Refused::NodeNameTaken { .. }
            | Refused::BrokerTooOld { .. }
            | Refused::FeatureLevel { .. }
            | Refused::FeatureLevelUnknown { .. }
            | Refused::NotRestoredFrom { .. } => RefusedKind::Precondition,
        }
    }

    /// Stable, UPPER_SNAKE; what clients, metrics and logs go by.
    pub fn reason(&self) -> &'static str {
        match self {
            Refused::NotFormed => "CLUSTER_NOT_FORMED",
            Refused::AlreadyFormed { .. } => "CLUSTER_ALREADY_FORMED",
            Refused::Invalid { .. } => "INVALID_FIELD",
            Refused::Config(_) => "INVALID_CONFIG",
            Refused::RevisionMismatch { .. } => "REVISION_MISMATCH",
            Refused::TopicExists { .. } => "TOPIC_EXISTS",
            Refused::TopicIdUsed { .. } => "TOPIC_ID_USED",
            Refused::TopicNameCollides { .. } => "TOPIC_NAME_COLLIDES",
            Refused::TopicNotFound { .. } => "TOPIC_NOT_FOUND",
            Refused::PartitionsShrink { .. } => "PARTITIONS_SHRINK",
            Refused::NotEnoughBrokers { .. } => "NOT_ENOUGH_BROKERS",
            Refused::LimitExceeded { .. } => "LIMIT_EXCEEDED",
            Refused::BrokerNotFound { .. } => "BROKER_NOT_FOUND",
            Refused::BrokerEpochStale { .. } => "BROKER_EPOCH_STALE",
            Refused::NotTheFirstStorage { .. } => "NOT_THE_FIRST_STORAGE",
            Refused::NodeNameTaken { .. } => "NODE_NAME_TAKEN",
            Refused::BrokerTooOld { .. } => "BROKER_TOO_OLD",
            Refused::FeatureLevel { .. } => "FEATURE_LEVEL_TOO_LOW",
            Refused::FeatureLevelUnknown { .. } => "FEATURE_LEVEL_UNKNOWN",
            Refused::NotRestoredFrom { .. } => "NOT_RESTORED_FROM",
        }
    }

    /// The field of the command that is at fault, if one is.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Refused::Invalid { field, .. } => Some(field),
            Refused::Config(error) => Some(error.field),
            Refused::PartitionsShrink { .. } => Some("partitions"),
            Refused::NotEnoughBrokers { .. } => Some("replication_factor"),
            Refused::RevisionMismatch { .. } => Some("revision"),
            Refused::FeatureLevelUnknown { .. } => Some("level"),
            Refused::NotRestoredFrom { .. } => Some("cluster"),
            _ => None,
        }
    }

    /// The facts by name, for programs.
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        match self {
            Refused::AlreadyFormed { cluster } => vec![("cluster_id", cluster.to_string())],
            Refused::Invalid { given, .. } => vec![("given", given.clone())],
            Refused::Config(error) => vec![("given", error.given.to_string())],
            Refused::RevisionMismatch { expected, actual } => {
                vec![
                    ("expected", expected.to_string()),
                    ("actual", actual.to_string()),
                ]
            }
            Refused::TopicExists { name, id } => {
                vec![("topic", name.to_string()), ("topic_id", id.to_string())]
            }
            Refused::TopicNameCollides { name, other } => {
                vec![("topic", name.to_string()), ("other", other.to_string())]
            }
            Refused::TopicIdUsed { id } | Refused::TopicNotFound { id } => {
                vec![("topic_id", id.to_string())]
            }
            Refused::PartitionsShrink { present, asked } => {
                vec![
                    ("present", present.to_string()),
                    ("asked", asked.to_string()),
                ]
            }
            Refused::NotEnoughBrokers { asked, brokers } => {
                vec![
                    ("asked", asked.to_string()),
                    ("brokers", brokers.to_string()),
                ]
            }
            Refused::LimitExceeded { what, limit, .. } => {
                vec![("what", (*what).to_owned()), ("limit", limit.to_string())]
            }
            Refused::BrokerNotFound { broker } => vec![("broker_id", broker.to_string())],
            Refused::BrokerEpochStale {
                broker,
                current,
                given,
            } => vec![
                ("broker_id", broker.to_string()),
                ("current", current.to_string()),
                ("given", given.to_string()),
            ],
            Refused::NotTheFirstStorage { storage, first } => {
                vec![
                    ("storage_id", storage.to_string()),
                    ("first", first.to_string()),
                ]
            }
            Refused::NodeNameTaken { node_name, broker } => {
                vec![
                    ("node_name", node_name.clone()),
                    ("broker_id", broker.to_string()),
                ]
            }
            Refused::BrokerTooOld { needed, level } => {
                vec![("needed", needed.to_string()), ("level", level.to_string())]
            }
            Refused::FeatureLevel { needed, present } => vec![
                ("needed", needed.to_string()),
                ("present", present.to_string()),
            ],
            Refused::FeatureLevelUnknown { asked, known } => {
                vec![("asked", asked.to_string()), ("known", known.to_string())]
            }
            Refused::NotRestoredFrom { cluster } => vec![("cluster_id", cluster.to_string())],
            Refused::NotFormed => Vec::new(),
        }
    }
}
