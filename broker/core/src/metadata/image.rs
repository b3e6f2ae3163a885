//! The whole state of the cluster's metadata, and how commands change it.

mod brokers;
mod producers;
mod restore;
#[cfg(test)]
mod tests;
mod tier;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use headwater_log::PartitionKey;
use headwater_record::LeaderEpoch;

use super::applied::Applied;
use super::command::{Command, FEATURE_LEVEL, FormCluster};
use super::refused::Refused;
use super::tier::{RestoredFrom, TierHead};
use super::topic_config::TopicConfig;
use crate::ids::{
    BrokerEpoch, BrokerId, ClusterId, IncarnationId, ProducerId, Revision, StorageId, TopicId,
};
use crate::limits::{NEAREST_NAMES_COMPARED_MAX, NEAREST_NAMES_MAX};
use crate::names::{ProducerName, TopicName};

/// The cluster's metadata after some number of commands. A function of those commands and nothing
/// else, so that every broker that has applied the same ones holds the same bytes. Cheap to clone:
/// topics are shared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    pub(super) revision: Revision,
    pub(super) feature_level: u32,
    pub(super) cluster: Option<Cluster>,
    pub(super) brokers: BTreeMap<BrokerId, Broker>,
    pub(super) topics: BTreeMap<TopicName, Arc<Topic>>,
    /// `topics` by id.
    pub(super) names: BTreeMap<TopicId, TopicName>,
    pub(super) tombstones: BTreeMap<TopicId, Tombstone>,
    pub(super) named_producers: BTreeMap<ProducerName, NamedProducer>,
    pub(super) next_broker: BrokerId,
    pub(super) next_producer: ProducerId,
    pub(super) restored_from: Option<RestoredFrom>,
}

/// What was formed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cluster {
    /// Its id.
    pub id: ClusterId,
    /// Data directory of the broker that registered first.
    pub first_storage: StorageId,
}

/// A broker that has registered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broker {
    /// Its id, never reused.
    pub id: BrokerId,
    /// Its data directory.
    pub storage: StorageId,
    /// Its stable name.
    pub node_name: String,
    /// Version of the program.
    pub version: String,
    /// Number of its registration.
    pub epoch: BrokerEpoch,
    /// The newest incarnation id that is confirmed.
    pub incarnation: IncarnationId,
    /// The highest feature level that it knows.
    pub feature_level_max: u32,
    /// Replicas that it holds. Follows from the topics.
    pub replicas: usize,
}

/// A topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Its own settings.
    pub config: TopicConfig,
    /// Replicas of each partition.
    pub replication_factor: u32,
    /// Its partitions, by number.
    pub partitions: Vec<Partition>,
    /// When it was created, in milliseconds since the epoch.
    pub create_time_ms: i64,
    /// The image's revision of its last change, leaders not counted.
    pub revision: Revision,
}

/// Who holds and leads a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    /// The brokers that hold it; the first is preferred as leader. Empty only in a restored image
    /// before its first broker has registered.
    pub replicas: Vec<BrokerId>,
    /// Who leads it.
    pub leader: Option<BrokerId>,
    /// Number of the leadership.
    pub leader_epoch: LeaderEpoch,
    /// In-sync replicas, by id.
    pub isr: Vec<BrokerId>,
    /// Rises with every change of leader or in-sync replicas.
    pub epoch: u32,
    /// What of it is in the tier; `None` if nothing ever was.
    pub tier: Option<TierHead>,
}

/// A deleted topic of which replicas may still be on disks, or objects in the tier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tombstone {
    /// What it was called.
    pub name: TopicName,
    /// How many partitions it had.
    pub partitions: u32,
    /// Brokers that have not confirmed that theirs are gone. Empty only while `tiered`.
    pub brokers: BTreeSet<BrokerId>,
    /// Objects may be in the tier still.
    pub tiered: bool,
    /// The heads of its partitions, by number, where there were some. Empty unless `tiered`.
    pub heads: BTreeMap<u32, TierHead>,
}

/// A producer that is known by name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamedProducer {
    /// Its id.
    pub id: ProducerId,
    /// Its newest epoch.
    pub epoch: i16,
}

impl Default for Image {
    fn default() -> Image {
        Image {
            revision: Revision(0),
            feature_level: FEATURE_LEVEL,
            cluster: None,
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            named_producers: BTreeMap::new(),
            next_broker: BrokerId(1),
            next_producer: ProducerId(1),
            restored_from: None,
        }
    }
}

impl Image {
    /// Judges a command and, if it is accepted, applies it; the revision rises by one unless all was
    /// so already. A refused command changes nothing.
    pub fn apply(&mut self, command: &Command) -> Result<Applied, Refused> {
        if self.cluster.is_none() && !matches!(command, Command::FormCluster(_)) {
            return Err(Refused::NotFormed);
        }
        self.check_feature_level(command)?;
        let applied = match command {
            Command::FormCluster(form) => self.form_cluster(form)?,
            Command::RegisterBroker(register) => self.register_broker(register)?,
            Command::ConfirmIncarnation(confirm) => self.confirm_incarnation(confirm)?,
            Command::CreateTopic(create) => self.create_topic(create)?,
            Command::UpdateTopic(update) => self.update_topic(update)?,
            Command::DeleteTopic(delete) => self.delete_topic(delete)?,
            Command::ConfirmTopicDeleted { id, broker } => self.confirm_topic_deleted(*id, *broker),
            Command::AllocateProducerIds { count } => self.allocate_producer_ids(*count)?,
            Command::InitNamedProducer { name } => self.init_named_producer(name)?,
            Command::CommitTierHeads(commit) => self.commit_tier_heads(commit)?,
            Command::ConfirmTierDeleted { id } => self.confirm_tier_deleted(*id),
            Command::RaiseFeatureLevel { level } => self.raise_feature_level(*level)?,
            Command::AdoptTier { cluster } => self.adopt_tier(*cluster)?,
        };
        if applied.changes() {
            self.revision = self.next_revision();
        }
        Ok(applied)
    }

    /// How many commands have changed something.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Level of formats and commands in use.
    pub fn feature_level(&self) -> u32 {
        self.feature_level
    }

    /// The cluster, once it is formed.
    pub fn cluster(&self) -> Option<Cluster> {
        self.cluster
    }

    /// The cluster that this one was restored from, if it was.
    pub fn restored_from(&self) -> Option<RestoredFrom> {
        self.restored_from
    }

    /// A broker by id.
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// All brokers, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    /// A topic by name.
    pub fn topic(&self, name: &TopicName) -> Option<&Topic> {
        self.topics.get(name).map(Arc::as_ref)
    }

    /// A topic by id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Topic> {
        self.names.get(&id).and_then(|name| self.topic(name))
    }

    /// A partition by the log engine's key.
    pub fn partition(&self, key: PartitionKey) -> Option<&Partition> {
        let topic = self.topic_by_id(TopicId(key.topic))?;
        topic.partitions.get(key.index as usize)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.topics.values().map(Arc::as_ref)
    }

    /// Deleted topics whose replicas and objects are not all known to be gone, by id.
    pub fn tombstones(&self) -> impl Iterator<Item = (TopicId, &Tombstone)> {
        self.tombstones
            .iter()
            .map(|(id, tombstone)| (*id, tombstone))
    }

    /// An image with the cluster and one topic and nothing else: what a bucket keeps of each topic. No partition has a
    /// replica in it, because it has no brokers.
    pub fn with_topic_alone(&self, id: TopicId) -> Image {
        let mut image = Image {
            revision: self.revision,
            feature_level: self.feature_level,
            cluster: self.cluster,
            next_broker: self.next_broker,
            next_producer: self.next_producer,
            ..Image::default()
        };
        if let Some(topic) = self.topic_by_id(id) {
            image.take_topic(topic);
        }
        image
    }

    /// Names of topics that somebody may have meant, nearest first: of the same name elsewhere, and
    /// of similar names in the same namespace. Looks at a bounded number of topics.
    pub fn nearest_topics(&self, name: &TopicName) -> Vec<String> {
        // A third of the letters may be wrong; else everything is like everything.
        let distance_max = (name.name().len() / 3).clamp(1, 4);
        let first = self
            .topics
            .range(name.clone()..)
            .take(NEAREST_NAMES_COMPARED_MAX / 2);
        let before = self
            .topics
            .range(..name.clone())
            .rev()
            .take(NEAREST_NAMES_COMPARED_MAX / 2);
        let mut near: Vec<(usize, &TopicName)> = first
            .chain(before)
            .filter_map(|(other, _)| {
                let lengths = other.name().len().abs_diff(name.name().len());
                if lengths > distance_max {
                    return None;
                }
                let namespaces = usize::from(other.namespace() != name.namespace());
                let distance = strsim::osa_distance(other.name(), name.name());
                (distance <= distance_max && distance * namespaces == 0)
                    .then_some((distance + namespaces, other))
            })
            .collect();
        near.sort();
        near.into_iter()
            .take(NEAREST_NAMES_MAX)
            .map(|(_, name)| name.to_string())
            .collect()
    }

    pub(super) fn next_revision(&self) -> Revision {
        Revision(self.revision.0 + 1)
    }

    fn partition_mut(&mut self, key: PartitionKey) -> Option<&mut Partition> {
        let name = self.names.get(&TopicId(key.topic))?;
        let topic = self.topics.get_mut(name)?;
        // Looked up first: nothing is copied for a partition that is not there.
        topic.partitions.get(key.index as usize)?;
        Arc::make_mut(topic).partitions.get_mut(key.index as usize)
    }

    fn check_feature_level(&self, command: &Command) -> Result<(), Refused> {
        let (needed, present) = (command.feature_level(), self.feature_level);
        match command {
            // What reaches a level does not need it.
            Command::RaiseFeatureLevel { .. } => Ok(()),
            _ if needed > present => Err(Refused::FeatureLevel { needed, present }),
            _ => Ok(()),
        }
    }

    /// It never goes back: what was accepted at a level stays in the image.
    fn raise_feature_level(&mut self, level: u32) -> Result<Applied, Refused> {
        if level <= self.feature_level {
            return Ok(Applied::Nothing);
        }
        let known = self.brokers().map(|broker| broker.feature_level_max).min();
        let known = known.unwrap_or(self.feature_level);
        if level > known {
            let asked = level;
            return Err(Refused::FeatureLevelUnknown { asked, known });
        }
        self.feature_level = level;
        Ok(Applied::FeatureLevelRaised { level })
    }

    fn form_cluster(&mut self, form: &FormCluster) -> Result<Applied, Refused> {
        let FormCluster {
            cluster: id,
            first_storage,
        } = *form;
        let formed = Cluster { id, first_storage };
        match self.cluster {
            None => {
                self.cluster = Some(formed);
                Ok(Applied::ClusterFormed)
            }
            Some(present) if present == formed => Ok(Applied::Nothing),
            Some(present) => Err(Refused::AlreadyFormed {
                cluster: present.id,
            }),
        }
    }
}
