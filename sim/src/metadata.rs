//! The cluster's metadata: the real image, and commands that reach it.

use headwater_core::ids::{BrokerId, ClusterId, IncarnationId, PartitionIdx, StorageId, TopicId};
use headwater_core::metadata::{
    Applied, Command, CommitTierHeads, CreateTopic, DeleteTopic, FEATURE_LEVEL, FormCluster, Image,
    RegisterBroker, TierHead, TierHeadCommit, TopicConfig,
};
use headwater_core::names::TopicName;
use headwater_log::PartitionKey;
use headwater_record::LeaderEpoch;
use headwater_tier::{Head, Proposal};
use uuid::Uuid;

use crate::world::World;

/// The metadata of a cluster with one broker and one topic of one partition.
pub(crate) struct Metadata {
    image: Image,
    cluster: ClusterId,
    storage: StorageId,
    topic: TopicId,
    broker: BrokerId,
    incarnations: Vec<IncarnationId>,
}

impl Metadata {
    /// A new cluster; its broker has not registered yet.
    pub(crate) fn new(world: &World) -> Metadata {
        let (cluster, storage, topic) = world.draw(|rng| (rng.uuid(), rng.uuid(), rng.uuid()));
        let mut metadata = Metadata {
            image: Image::default(),
            cluster: ClusterId(cluster),
            storage: StorageId(storage),
            topic: TopicId(topic),
            broker: BrokerId(1),
            incarnations: Vec::new(),
        };
        metadata.apply(&Command::FormCluster(FormCluster {
            cluster: metadata.cluster,
            first_storage: metadata.storage,
        }));
        metadata.register(world);
        let name = TopicName::parse("orders", "default");
        metadata.apply(&Command::CreateTopic(CreateTopic {
            id: metadata.topic,
            name: name.expect("a sound name"),
            default_namespace: "default".to_owned(),
            partitions: 1,
            replication_factor: None,
            config: TopicConfig::default(),
            create_time_ms: 0,
        }));
        metadata
    }

    fn apply(&mut self, command: &Command) -> Applied {
        let applied = self.image.apply(command);
        applied.unwrap_or_else(|refused| panic!("{command:?}: {refused}"))
    }

    /// The cluster's id.
    pub(crate) fn cluster(&self) -> Uuid {
        self.cluster.0
    }

    /// The partition.
    pub(crate) fn key(&self) -> PartitionKey {
        self.topic.partition(PartitionIdx(0))
    }

    /// A process of the broker has started: it leads under an epoch of its own.
    pub(crate) fn register(&mut self, world: &World) {
        self.incarnations
            .push(IncarnationId(world.draw(|rng| rng.uuid())));
        if self.incarnations.len() > 4 {
            self.incarnations.remove(0);
        }
        self.apply(&Command::RegisterBroker(RegisterBroker {
            storage: self.storage,
            incarnations: self.incarnations.clone(),
            node_name: "broker-1".to_owned(),
            version: "0".to_owned(),
            feature_level_max: FEATURE_LEVEL,
        }));
    }

    /// The epoch of the broker's last registration.
    pub(crate) fn broker_epoch(&self) -> u64 {
        let broker = self.image.broker(self.broker);
        broker.expect("it is registered").epoch.0
    }

    /// The epoch of the present leadership; `None` once the topic is deleted.
    pub(crate) fn epoch(&self) -> Option<LeaderEpoch> {
        self.image
            .partition(self.key())
            .map(|partition| partition.leader_epoch)
    }

    /// The head of the partition.
    pub(crate) fn head(&self) -> Option<Head> {
        let head = self.image.partition(self.key())?.tier?;
        Some(Head {
            number: head.number,
            leader_epoch: head.leader_epoch,
            start: head.start,
            end: head.end,
        })
    }

    /// Judges a head; why it was refused, if it was.
    pub(crate) fn commit(&mut self, proposal: &Proposal) -> Result<(), String> {
        let Head {
            number,
            leader_epoch,
            start,
            end,
        } = proposal.head;
        let commit = TierHeadCommit {
            partition: proposal.key,
            parent: proposal.parent,
            head: TierHead {
                number,
                leader_epoch,
                start,
                end,
            },
        };
        let applied = self.apply(&Command::CommitTierHeads(CommitTierHeads {
            broker: self.broker,
            heads: vec![commit],
        }));
        match applied {
            Applied::TierHeads { refused, .. } => match refused.first() {
                Some((_, why)) => Err(why.to_string()),
                None => Ok(()),
            },
            other => Err(format!("{other:?}")),
        }
    }

    /// Deletes the topic.
    pub(crate) fn delete_topic(&mut self) {
        let id = self.topic;
        self.apply(&Command::DeleteTopic(DeleteTopic { id, tiered: true }));
    }

    /// Whether something of the deleted topic is still looked after.
    pub(crate) fn has_tombstone(&self) -> bool {
        self.image.tombstones().next().is_some()
    }

    /// Nothing of the deleted topic is left, on disk and in the tier.
    pub(crate) fn confirm_deleted(&mut self) {
        let (id, broker) = (self.topic, self.broker);
        self.apply(&Command::ConfirmTopicDeleted { id, broker });
        self.apply(&Command::ConfirmTierDeleted { id });
    }
}
