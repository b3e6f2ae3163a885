//! The persisted form of a command.

use prost::Message as _;

use super::{ConfigMessage, HeadMessage, WireError, id, malformed, producer_name, topic_name};
use crate::ids::{
    BrokerEpoch, BrokerId, ClusterId, IncarnationId, PartitionIdx, Revision, StorageId, TopicId,
};
use crate::metadata::command::{
    Command, ConfirmIncarnation, CreateTopic, DeleteTopic, FEATURE_LEVEL, FormCluster,
    RegisterBroker, UpdateTopic,
};
use crate::metadata::tier::{CommitTierHeads, TierHeadCommit};

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    /// Who knows less must not go on.
    #[prost(uint32, tag = "1")]
    feature_level: u32,
    #[prost(oneof = "Body", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14")]
    body: Option<Body>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Body {
    #[prost(message, tag = "2")]
    FormCluster(FormClusterMessage),
    #[prost(message, tag = "3")]
    RegisterBroker(RegisterBrokerMessage),
    #[prost(message, tag = "4")]
    ConfirmIncarnation(ConfirmIncarnationMessage),
    #[prost(message, tag = "5")]
    CreateTopic(CreateTopicMessage),
    #[prost(message, tag = "6")]
    UpdateTopic(UpdateTopicMessage),
    #[prost(message, tag = "7")]
    DeleteTopic(DeleteTopicMessage),
    #[prost(message, tag = "8")]
    ConfirmTopicDeleted(ConfirmTopicDeletedMessage),
    #[prost(message, tag = "9")]
    AllocateProducerIds(AllocateProducerIdsMessage),
    #[prost(message, tag = "10")]
    InitNamedProducer(InitNamedProducerMessage),
    #[prost(message, tag = "11")]
    CommitTierHeads(CommitTierHeadsMessage),
    #[prost(message, tag = "12")]
    ConfirmTierDeleted(ConfirmTierDeletedMessage),
    #[prost(message, tag = "13")]
    RaiseFeatureLevel(RaiseFeatureLevelMessage),
    #[prost(message, tag = "14")]
    AdoptTier(AdoptTierMessage),
}

#[derive(Clone, PartialEq, prost::Message)]
struct FormClusterMessage {
    #[prost(bytes = "vec", tag = "1")]
    cluster: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    first_storage: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RegisterBrokerMessage {
    #[prost(bytes = "vec", tag = "1")]
    storage: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    incarnations: Vec<Vec<u8>>,
    #[prost(string, tag = "3")]
    node_name: String,
    #[prost(string, tag = "4")]
    version: String,
    #[prost(uint32, tag = "5")]
    feature_level_max: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ConfirmIncarnationMessage {
    #[prost(uint32, tag = "1")]
    broker: u32,
    #[prost(uint64, tag = "2")]
    epoch: u64,
    #[prost(bytes = "vec", tag = "3")]
    incarnation: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CreateTopicMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    default_namespace: String,
    #[prost(uint32, tag = "4")]
    partitions: u32,
    #[prost(uint32, optional, tag = "5")]
    replication_factor: Option<u32>,
    #[prost(message, optional, tag = "6")]
    config: Option<ConfigMessage>,
    #[prost(int64, tag = "7")]
    create_time_ms: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct UpdateTopicMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    expected_revision: u64,
    #[prost(uint32, optional, tag = "3")]
    partitions: Option<u32>,
    #[prost(message, optional, tag = "4")]
    config: Option<ConfigMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeleteTopicMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bool, tag = "2")]
    tiered: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ConfirmTopicDeletedMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(uint32, tag = "2")]
    broker: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AllocateProducerIdsMessage {
    #[prost(uint32, tag = "1")]
    count: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct InitNamedProducerMessage {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CommitTierHeadsMessage {
    #[prost(uint32, tag = "1")]
    broker: u32,
    #[prost(message, repeated, tag = "2")]
    heads: Vec<HeadCommitMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HeadCommitMessage {
    #[prost(bytes = "vec", tag = "1")]
    topic: Vec<u8>,
    #[prost(uint32, tag = "2")]
    partition: u32,
    #[prost(uint64, optional, tag = "3")]
    parent: Option<u64>,
    #[prost(message, optional, tag = "4")]
    head: Option<HeadMessage>,
}

impl From<&TierHeadCommit> for HeadCommitMessage {
    fn from(commit: &TierHeadCommit) -> HeadCommitMessage {
        HeadCommitMessage {
            topic: commit.partition.topic.into(),
            partition: commit.partition.index,
            parent: commit.parent,
            head: Some((&commit.head).into()),
        }
    }
}

impl HeadCommitMessage {
    fn read(self) -> Result<TierHeadCommit, WireError> {
        let topic = id("topic id", &self.topic, TopicId::from_slice)?;
        let head = self.head.ok_or_else(|| malformed("tier head", "absent"))?;
        Ok(TierHeadCommit {
            partition: topic.partition(PartitionIdx(self.partition)),
            parent: self.parent,
            head: head.read(),
        })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ConfirmTierDeletedMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RaiseFeatureLevelMessage {
    #[prost(uint32, tag = "1")]
    level: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct AdoptTierMessage {
    #[prost(bytes = "vec", tag = "1")]
    cluster: Vec<u8>,
}

pub(in crate::metadata) fn encode_command(command: &Command) -> Vec<u8> {
    let body = match command {
        Command::FormCluster(form) => Body::FormCluster(FormClusterMessage {
            cluster: form.cluster.0.into(),
            first_storage: form.first_storage.0.into(),
        }),
        Command::RegisterBroker(register) => Body::RegisterBroker(RegisterBrokerMessage {
            storage: register.storage.0.into(),
            incarnations: register.incarnations.iter().map(|id| id.0.into()).collect(),
            node_name: register.node_name.clone(),
            version: register.version.clone(),
            feature_level_max: register.feature_level_max,
        }),
        Command::ConfirmIncarnation(confirm) => {
            Body::ConfirmIncarnation(ConfirmIncarnationMessage {
                broker: confirm.broker.0,
                epoch: confirm.epoch.0,
                incarnation: confirm.incarnation.0.into(),
            })
        }
        Command::CreateTopic(create) => Body::CreateTopic(CreateTopicMessage {
            id: create.id.0.into(),
            name: create.name.to_string(),
            default_namespace: create.default_namespace.clone(),
            partitions: create.partitions,
            replication_factor: create.replication_factor,
            config: Some((&create.config).into()),
            create_time_ms: create.create_time_ms,
        }),
        Command::UpdateTopic(update) => Body::UpdateTopic(UpdateTopicMessage {
            id: update.id.0.into(),
            expected_revision: update.expected_revision.0,
            partitions: update.partitions,
            config: Some((&update.config).into()),
        }),
        Command::DeleteTopic(delete) => Body::DeleteTopic(DeleteTopicMessage {
            id: delete.id.0.into(),
            tiered: delete.tiered,
        }),
        Command::ConfirmTopicDeleted { id, broker } => {
            Body::ConfirmTopicDeleted(ConfirmTopicDeletedMessage {
                id: id.0.into(),
                broker: broker.0,
            })
        }
        Command::AllocateProducerIds { count } => {
            Body::AllocateProducerIds(AllocateProducerIdsMessage { count: *count })
        }
        Command::InitNamedProducer { name } => Body::InitNamedProducer(InitNamedProducerMessage {
            name: name.to_string(),
        }),
        Command::CommitTierHeads(commit) => Body::CommitTierHeads(CommitTierHeadsMessage {
            broker: commit.broker.0,
            heads: commit.heads.iter().map(Into::into).collect(),
        }),
        Command::ConfirmTierDeleted { id } => {
            Body::ConfirmTierDeleted(ConfirmTierDeletedMessage { id: id.0.into() })
        }
        Command::RaiseFeatureLevel { level } => {
            Body::RaiseFeatureLevel(RaiseFeatureLevelMessage { level: *level })
        }
        Command::AdoptTier { cluster } => Body::AdoptTier(AdoptTierMessage {
            cluster: cluster.0.into(),
        }),
    };
    Envelope {
        feature_level: command.feature_level(),
        body: Some(body),
    }
    .encode_to_vec()
}

pub(in crate::metadata) fn decode_command(bytes: &[u8]) -> Result<Command, WireError> {
    let Envelope {
        feature_level,
        body,
    } = Envelope::decode(bytes)?;
    if feature_level > FEATURE_LEVEL {
        let (found, known) = (feature_level.into(), FEATURE_LEVEL.into());
        return Err(WireError::Newer {
            what: "feature level",
            found,
            known,
        });
    }
    let body = body.ok_or_else(|| WireError::Malformed("the command is unknown".to_owned()))?;
    Ok(match body {
        Body::FormCluster(form) => Command::FormCluster(FormCluster {
            cluster: id("cluster id", &form.cluster, ClusterId::from_slice)?,
            first_storage: id("storage id", &form.first_storage, StorageId::from_slice)?,
        }),
        Body::RegisterBroker(register) => {
            let incarnation =
                |bytes: &Vec<u8>| id("incarnation id", bytes, IncarnationId::from_slice);
            Command::RegisterBroker(RegisterBroker {
                storage: id("storage id", &register.storage, StorageId::from_slice)?,
                incarnations: register
                    .incarnations
                    .iter()
                    .map(incarnation)
                    .collect::<Result<_, _>>()?,
                node_name: register.node_name,
                version: register.version,
                feature_level_max: register.feature_level_max,
            })
        }
        Body::ConfirmIncarnation(confirm) => Command::ConfirmIncarnation(ConfirmIncarnation {
            broker: BrokerId(confirm.broker),
            epoch: BrokerEpoch(confirm.epoch),
            incarnation: id(
                "incarnation id",
                &confirm.incarnation,
                IncarnationId::from_slice,
            )?,
        }),
        Body::CreateTopic(create) => {
            if !crate::names::is_namespace(&create.default_namespace) {
                return Err(malformed("default namespace", create.default_namespace));
            }
            Command::CreateTopic(CreateTopic {
                id: id("topic id", &create.id, TopicId::from_slice)?,
                name: topic_name(&create.name)?,
                default_namespace: create.default_namespace,
                partitions: create.partitions,
                replication_factor: create.replication_factor,
                config: ConfigMessage::read(create.config)?,
                create_time_ms: create.create_time_ms,
            })
        }
        Body::UpdateTopic(update) => Command::UpdateTopic(UpdateTopic {
            id: id("topic id", &update.id, TopicId::from_slice)?,
            expected_revision: Revision(update.expected_revision),
            partitions: update.partitions,
            config: ConfigMessage::read(update.config)?,
        }),
        Body::DeleteTopic(delete) => Command::DeleteTopic(DeleteTopic {
            id: id("topic id", &delete.id, TopicId::from_slice)?,
            tiered: delete.tiered,
        }),
        Body::ConfirmTopicDeleted(confirm) => Command::ConfirmTopicDeleted {
            id: id("topic id", &confirm.id, TopicId::from_slice)?,
            broker: BrokerId(confirm.broker),
        },
        Body::AllocateProducerIds(allocate) => Command::AllocateProducerIds {
            count: allocate.count,
        },
        Body::InitNamedProducer(init) => Command::InitNamedProducer {
            name: producer_name(&init.name)?,
        },
        Body::CommitTierHeads(commit) => {
            let heads = commit.heads.into_iter().map(HeadCommitMessage::read);
            Command::CommitTierHeads(CommitTierHeads {
                broker: BrokerId(commit.broker),
                heads: heads.collect::<Result<_, _>>()?,
            })
        }
        Body::ConfirmTierDeleted(confirm) => Command::ConfirmTierDeleted {
            id: id("topic id", &confirm.id, TopicId::from_slice)?,
        },
        Body::RaiseFeatureLevel(raise) => Command::RaiseFeatureLevel { level: raise.level },
        Body::AdoptTier(adopt) => Command::AdoptTier {
            cluster: id("cluster id", &adopt.cluster, ClusterId::from_slice)?,
        },
    })
}
