//! The persisted form of an image.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater_record::LeaderEpoch;
use prost::Message as _;

use super::{ConfigMessage, HeadMessage, WireError, id, malformed, producer_name, topic_name};
use crate::ids::{
    BrokerEpoch, BrokerId, ClusterId, IncarnationId, ProducerId, Revision, StorageId, TopicId,
};
use crate::limits::NUMBER_MAX;
use crate::metadata::command::FEATURE_LEVEL;
use crate::metadata::image::{Broker, Cluster, Image, NamedProducer, Partition, Tombstone, Topic};
use crate::metadata::tier::{RestoredFrom, TierHead};

#[derive(Clone, PartialEq, prost::Message)]
struct ImageMessage {
    #[prost(uint32, tag = "1")]
    feature_level: u32,
    #[prost(uint64, tag = "2")]
    revision: u64,
    #[prost(message, optional, tag = "3")]
    cluster: Option<ClusterMessage>,
    #[prost(message, repeated, tag = "4")]
    brokers: Vec<BrokerMessage>,
    #[prost(message, repeated, tag = "5")]
    topics: Vec<TopicMessage>,
    #[prost(message, repeated, tag = "6")]
    tombstones: Vec<TombstoneMessage>,
    #[prost(message, repeated, tag = "7")]
    named_producers: Vec<NamedProducerMessage>,
    #[prost(uint32, tag = "8")]
    next_broker: u32,
    #[prost(int64, tag = "9")]
    next_producer: i64,
    #[prost(message, optional, tag = "10")]
    restored_from: Option<RestoredFromMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ClusterMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    first_storage: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct RestoredFromMessage {
    #[prost(bytes = "vec", tag = "1")]
    cluster: Vec<u8>,
    #[prost(bool, tag = "2")]
    adopted: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BrokerMessage {
    #[prost(uint32, tag = "1")]
    id: u32,
    #[prost(bytes = "vec", tag = "2")]
    storage: Vec<u8>,
    #[prost(string, tag = "3")]
    node_name: String,
    #[prost(string, tag = "4")]
    version: String,
    #[prost(uint64, tag = "5")]
    epoch: u64,
    #[prost(bytes = "vec", tag = "6")]
    incarnation: Vec<u8>,
    #[prost(uint32, tag = "7")]
    feature_level_max: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TopicMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, optional, tag = "3")]
    config: Option<ConfigMessage>,
    #[prost(uint32, tag = "4")]
    replication_factor: u32,
    #[prost(message, repeated, tag = "5")]
    partitions: Vec<PartitionMessage>,
    #[prost(int64, tag = "6")]
    create_time_ms: i64,
    #[prost(uint64, tag = "7")]
    revision: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartitionMessage {
    #[prost(uint32, repeated, tag = "1")]
    replicas: Vec<u32>,
    #[prost(uint32, optional, tag = "2")]
    leader: Option<u32>,
    #[prost(uint32, tag = "3")]
    leader_epoch: u32,
    #[prost(uint32, repeated, tag = "4")]
    isr: Vec<u32>,
    #[prost(uint32, tag = "5")]
    epoch: u32,
    #[prost(message, optional, tag = "6")]
    tier: Option<HeadMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct TombstoneMessage {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(uint32, tag = "3")]
    partitions: u32,
    #[prost(uint32, repeated, tag = "4")]
    brokers: Vec<u32>,
    #[prost(bool, tag = "5")]
    tiered: bool,
    #[prost(message, repeated, tag = "6")]
    heads: Vec<NumberedHeadMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NumberedHeadMessage {
    #[prost(uint32, tag = "1")]
    partition: u32,
    #[prost(message, optional, tag = "2")]
    head: Option<HeadMessage>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NamedProducerMessage {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(int64, tag = "2")]
    id: i64,
    #[prost(int32, tag = "3")]
    epoch: i32,
}

impl Image {
    /// The image in its persisted form, see `docs/format/metadata.md`. Equal images have equal
    /// bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode_image(self)
    }

    /// Reads what [`Image::encode`] wrote. Never trusts: ids, names, numbers and references are
    /// checked again.
    pub fn decode(bytes: &[u8]) -> Result<Image, WireError> {
        decode_image(bytes)
    }
}

pub(in crate::metadata) fn encode_image(image: &Image) -> Vec<u8> {
    let numbers = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    let partition = |partition: &Partition| PartitionMessage {
        replicas: numbers(&partition.replicas),
        leader: partition.leader.map(|leader| leader.0),
        leader_epoch: partition.leader_epoch.0,
        isr: numbers(&partition.isr),
        epoch: partition.epoch,
        tier: partition.tier.as_ref().map(Into::into),
    };
    let topic = |topic: &Topic| TopicMessage {
        id: topic.id.0.into(),
        name: topic.name.to_string(),
        config: Some((&topic.config).into()),
        replication_factor: topic.replication_factor,
        partitions: topic.partitions.iter().map(partition).collect(),
        create_time_ms: topic.create_time_ms,
        revision: topic.revision.0,
    };
    let broker = |broker: &Broker| BrokerMessage {
        id: broker.id.0,
        storage: broker.storage.0.into(),
        node_name: broker.node_name.clone(),
        version: broker.version.clone(),
        epoch: broker.epoch.0,
        incarnation: broker.incarnation.0.into(),
        feature_level_max: broker.feature_level_max,
    };
    let numbered = |(partition, head): (&u32, &TierHead)| NumberedHeadMessage {
        partition: *partition,
        head: Some(head.into()),
    };
    let tombstone = |(id, tombstone): (TopicId, &Tombstone)| TombstoneMessage {
        id: id.0.into(),
        name: tombstone.name.to_string(),
        partitions: tombstone.partitions,
        brokers: tombstone.brokers.iter().map(|broker| broker.0).collect(),
        tiered: tombstone.tiered,
        heads: tombstone.heads.iter().map(numbered).collect(),
    };
    let message = ImageMessage {
        feature_level: image.feature_level,
        revision: image.revision.0,
        cluster: image.cluster.map(|cluster| ClusterMessage {
            id: cluster.id.0.into(),
            first_storage: cluster.first_storage.0.into(),
        }),
        brokers: image.brokers().map(broker).collect(),
        topics: image.topics().map(topic).collect(),
        tombstones: image.tombstones().map(tombstone).collect(),
        named_producers: image
            .named_producers
            .iter()
            .map(|(name, producer)| NamedProducerMessage {
                name: name.to_string(),
                id: producer.id.0,
                epoch: producer.epoch.into(),
            })
            .collect(),
        next_broker: image.next_broker.0,
        next_producer: image.next_producer.0,
        restored_from: image.restored_from.map(|from| RestoredFromMessage {
            cluster: from.cluster.0.into(),
            adopted: from.adopted,
        }),
    };
    message.encode_to_vec()
}

pub(in crate::metadata) fn decode_image(bytes: &[u8]) -> Result<Image, WireError> {
    let message = ImageMessage::decode(bytes)?;
    if message.feature_level > FEATURE_LEVEL {
        let (found, known) = (message.feature_level.into(), FEATURE_LEVEL.into());
        return Err(WireError::Newer {
            what: "feature level",
            found,
            known,
        });
    }
    // Numbers that rise by one must have room to, see `NUMBER_MAX`.
    if message.revision > u64::from(NUMBER_MAX) << 32 || message.next_broker > NUMBER_MAX {
        return Err(malformed(
            "revision and next broker",
            (message.revision, message.next_broker),
        ));
    }
    let mut image = Image {
        revision: Revision(message.revision),
        feature_level: message.feature_level,
        cluster: message.cluster.as_ref().map(read_cluster).transpose()?,
        brokers: BTreeMap::new(),
        topics: BTreeMap::new(),
        names: BTreeMap::new(),
        tombstones: BTreeMap::new(),
        named_producers: BTreeMap::new(),
        next_broker: BrokerId(message.next_broker),
        next_producer: ProducerId(message.next_producer),
        restored_from: message
            .restored_from
            .as_ref()
            .map(read_restored_from)
            .transpose()?,
    };
    for broker in message.brokers {
        let broker = read_broker(broker)?;
        if broker.id >= image.next_broker || image.brokers.insert(broker.id, broker).is_some() {
            return Err(malformed("broker id", "not below the next, or twice there"));
        }
    }
    for topic in message.topics {
        let topic = read_topic(topic, &mut image.brokers)?;
        let twice = image.names.insert(topic.id, topic.name.clone()).is_some();
        if twice
            | image
                .topics
                .insert(topic.name.clone(), Arc::new(topic))
                .is_some()
        {
            return Err(malformed("topic", "twice there"));
        }
    }
    for tombstone in message.tombstones {
        let (id, tombstone) = read_tombstone(tombstone)?;
        image.tombstones.insert(id, tombstone);
    }
    for named in message.named_producers {
        let epoch =
            i16::try_from(named.epoch).map_err(|_| malformed("producer epoch", named.epoch))?;
        let producer = NamedProducer {
            id: ProducerId(named.id),
            epoch,
        };
        image
            .named_producers
            .insert(producer_name(&named.name)?, producer);
    }
    Ok(image)
}

fn read_cluster(message: &ClusterMessage) -> Result<Cluster, WireError> {
    Ok(Cluster {
        id: id("cluster id", &message.id, ClusterId::from_slice)?,
        first_storage: id("storage id", &message.first_storage, StorageId::from_slice)?,
    })
}

fn read_restored_from(message: &RestoredFromMessage) -> Result<RestoredFrom, WireError> {
    Ok(RestoredFrom {
        cluster: id("cluster id", &message.cluster, ClusterId::from_slice)?,
        adopted: message.adopted,
    })
}

/// A head that was accepted once: its offsets are in order.
fn read_head(message: HeadMessage) -> Result<TierHead, WireError> {
    let head = message.read();
    if head.start > head.end || head.leader_epoch.0 > NUMBER_MAX {
        return Err(malformed("tier head", head));
    }
    Ok(head)
}

fn read_broker(message: BrokerMessage) -> Result<Broker, WireError> {
    Ok(Broker {
        id: BrokerId(message.id),
        storage: id("storage id", &message.storage, StorageId::from_slice)?,
        node_name: message.node_name,
        version: message.version,
        epoch: BrokerEpoch(message.epoch),
        incarnation: id(
            "incarnation id",
            &message.incarnation,
            IncarnationId::from_slice,
        )?,
        feature_level_max: message.feature_level_max,
        replicas: 0,
    })
}

fn read_topic(
    message: TopicMessage,
    brokers: &mut BTreeMap<BrokerId, Broker>,
) -> Result<Topic, WireError> {
    let mut partitions = Vec::with_capacity(message.partitions.len());
    for partition in message.partitions {
        let partition = read_partition(partition)?;
        for replica in &partition.replicas {
            let broker = brokers
                .get_mut(replica)
                .ok_or_else(|| malformed("replica", replica))?;
            broker.replicas += 1;
        }
        let of_replicas = |id: &BrokerId| partition.replicas.contains(id);
        if partition.leader_epoch.0 > NUMBER_MAX || partition.epoch > NUMBER_MAX {
            return Err(malformed("partition", partition));
        }
        if !partition.isr.iter().all(of_replicas) || !partition.leader.iter().all(of_replicas) {
            return Err(malformed("partition", partition));
        }
        partitions.push(partition);
    }
    Ok(Topic {
        id: id("topic id", &message.id, TopicId::from_slice)?,
        name: topic_name(&message.name)?,
        config: ConfigMessage::read(message.config)?,
        replication_factor: message.replication_factor,
        partitions,
        create_time_ms: message.create_time_ms,
        revision: Revision(message.revision),
    })
}

fn read_partition(message: PartitionMessage) -> Result<Partition, WireError> {
    let ids = |numbers: Vec<u32>| numbers.into_iter().map(BrokerId).collect();
    Ok(Partition {
        replicas: ids(message.replicas),
        leader: message.leader.map(BrokerId),
        leader_epoch: LeaderEpoch(message.leader_epoch),
        isr: ids(message.isr),
        epoch: message.epoch,
        tier: message.tier.map(read_head).transpose()?,
    })
}

fn read_tombstone(message: TombstoneMessage) -> Result<(TopicId, Tombstone), WireError> {
    let brokers: BTreeSet<BrokerId> = message.brokers.into_iter().map(BrokerId).collect();
    let mut heads = BTreeMap::new();
    for numbered in message.heads {
        let head = numbered
            .head
            .ok_or_else(|| malformed("tier head", "absent"))?;
        heads.insert(numbered.partition, read_head(head)?);
    }
    let tombstone = Tombstone {
        name: topic_name(&message.name)?,
        partitions: message.partitions,
        brokers,
        tiered: message.tiered,
        heads,
    };
    Ok((id("topic id", &message.id, TopicId::from_slice)?, tombstone))
}
